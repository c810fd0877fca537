  // 256 invocations compute a tile of TILE_M × 64 results, {{RM}} × 4 each; k advances by 16.
  let tiles_m = (u32({{M}}) + {{TILE_M}}u - 1u) / {{TILE_M}}u;
  let tiles_n = (u32({{N}}) + 63u) / 64u;
  if (group >= tiles_m * tiles_n * {{BATCHES}}) { return; }
  let m0 = i32(group % tiles_m) * {{TILE_M}};
  let n0 = i32((group / tiles_m) % tiles_n) * 64;
  let batch = group / (tiles_m * tiles_n);
{{COORDINATES}}
  let a0 = {{A_BASE}};
{{B_BASES}}
  let tx = lid % 16u;
  let ty = lid / 16u;
{{ACCUMULATORS}}
  for (var k0 = 0; k0 < {{K}}; k0 += 16) {
    for (var i = lid; i < {{TILE_M}}u * 16u; i += WG) {
      let kk = {{A_KK}};
      let mm = {{A_MM}};
      var v = 0.0;
      if (m0 + i32(mm) < {{M}} && k0 + i32(kk) < {{K}}) {
        v = {{A_LOAD}}(a0 + (m0 + i32(mm)) * {{A_M}} + (k0 + i32(kk)) * {{A_K}});
      }
      tile_a[kk * {{PITCH_M}}u + mm] = v;
    }
    for (var i = lid; i < 1024u; i += WG) {
      let kk = {{B_KK}};
      let nn = {{B_NN}};
      let inside = n0 + i32(nn) < {{N}} && k0 + i32(kk) < {{K}};
      let e = (n0 + i32(nn)) * {{B_N}} + (k0 + i32(kk)) * {{B_K}};
      let at = kk * 68u + nn;
{{B_LOADS}}
    }
    workgroupBarrier();
    for (var kk = 0u; kk < 16u; kk++) {
      let ra = kk * {{PITCH_M}}u + ty * {{RM}}u;
      let rb = kk * 68u + tx * 4u;
{{MULTIPLY}}
    }
    workgroupBarrier();
  }
{{RESULTS}}
