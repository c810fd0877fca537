  // One workgroup per (batch, head, query). Keys come in chunks of WG: each invocation scores one key,
  // then the invocations share the value columns. The softmax is online: no S × S buffer.
  let t = {{T}};
  let s = {{S}};
  let heads = {{HQ}};
  if (group >= u32(t) * u32(heads) * {{B}}) { return; }
  let i = i32(group % u32(t));
  let h = i32((group / u32(t)) % u32(heads));
  let b = i32(group / (u32(t) * u32(heads)));
  let hk = h / {{GROUP}};
  let d = {{D}};
  let dv = {{DV}};
  let q0 = {{Q_BASE}};
  let k0 = {{K_BASE}};
  let v0 = {{V_BASE}};
  for (var e = i32(lid); e < d; e += i32(WG)) { query[e] = {{Q_LOAD}}(q0 + e * {{Q_E}}) * bitcast<f32>({{SCALE}}); }
  // Invocations per slice of the keys: the value columns, rounded up to a power of two.
  let lanes = {{LANES}};
  let slices = WG / lanes;
  let column = i32(lid % lanes);
  let slice = lid / lanes;
  let first = {{FIRST}};
  let end = {{END}};
  var largest = -3.4028234663852886e38;
  var total = 0.0;
  var out0 = 0.0;
  var out1 = 0.0;
  for (var chunk = first; chunk < end; chunk += i32(WG)) {
    workgroupBarrier();
    let j = chunk + i32(lid);
    var score = -3.4028234663852886e38;
    var visible = j < end;
    if (visible) {
      let key = k0 + j * {{K_J}};
      var sum = 0.0;
{{DOT}}
      score = sum;
{{MASK}}
    }
    let top = max(largest, workgroup_max(score, lid));
    let shrink = exp(largest - top);
    let weight = select(0.0, exp(score - top), visible);
    total = total * shrink + workgroup_sum(weight, lid);
    largest = top;
    weights[lid] = weight;
    workgroupBarrier();
    out0 *= shrink;
    out1 *= shrink;
    let count = min(i32(WG), end - chunk);
    if (column < dv) {
      for (var r = i32(slice); r < count; r += i32(slices)) {
        let value = v0 + (chunk + r) * {{V_J}};
        out0 += weights[r] * {{V_LOAD}}(value + column * {{V_E}});
        if (column + i32(WG) < dv) { out1 += weights[r] * {{V_LOAD}}(value + (column + i32(WG)) * {{V_E}}); }
      }
    }
  }
{{SINK}}
  workgroupBarrier();
  weights[lid] = out0;
  workgroupBarrier();
  // A query that sees no key has no result.
  let inverse = select(1.0 / total, fnan(), total == 0.0);
  if (slice == 0u && column < dv) {
    var sum = 0.0;
    for (var r = 0u; r < slices; r++) { sum += weights[r * lanes + lid]; }
    let o = {{O_BASE}};
    st(o + column * {{O_E}}, sum * inverse);
    if (column + i32(WG) < dv) { st(o + (column + i32(WG)) * {{O_E}}, out1 * inverse); }
  }
