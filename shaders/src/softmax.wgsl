  // One workgroup per row of n elements; two passes: running maximum and sum, then the result.
  if (group >= {{ROWS}}) { return; }
{{COORDINATES}}
  let n = {{N}};
  var largest = -3.4028234663852886e38;
  var bad = 0.0;
  for (var i = i32(lid); i < n; i += i32(WG)) {
    let x = {{X}};
    if (is_nan(x) || order_key(x) == 0x7f800000) { bad = 1.0; } else { largest = max(largest, x); }
  }
  largest = workgroup_max(largest, lid);
  bad = workgroup_max(bad, lid);
  var sum = 0.0;
  for (var i = i32(lid); i < n; i += i32(WG)) { sum += fexp({{X}} - largest); }
  sum = workgroup_sum(sum, lid);
  // A row of −inf, or with NaN or +inf, has no softmax.
  let poison = select(0.0, fnan(), bad > 0.0 || sum == 0.0);
  let inverse = 1.0 / sum;
  for (var i = i32(lid); i < n; i += i32(WG)) { st({{OUT}}, fexp({{X}} - largest) * inverse + poison); }
