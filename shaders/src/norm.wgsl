  // One workgroup per row of n elements.
  if (group >= {{ROWS}}) { return; }
{{COORDINATES}}
  let n = {{N}};
  var sum = 0.0;
{{MEAN}}
  for (var i = i32(lid); i < n; i += i32(WG)) {
    let d = {{X}} - mean;
    sum += d * d;
  }
  let inverse = 1.0 / sqrt(workgroup_sum(sum, lid) / f32(n) + bitcast<f32>({{EPS}}));
  for (var i = i32(lid); i < n; i += i32(WG)) {
    st({{OUT}}, ({{X}} - mean) * inverse * {{SCALE}}{{BIAS}});
  }
