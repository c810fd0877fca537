  // An implicit matrix product: 256 invocations compute TILE_O output channels of a group × 64 positions
  // of all images, {{RO}} × 4 each. The reduction, over input channels and taps, advances by 16.
  let outs = {{OUTS}};
  let positions = {{POSITIONS}};
  let depth = {{DEPTH}};
  let tiles_o = (u32(outs) + {{TILE_O}}u - 1u) / {{TILE_O}}u;
  let tiles_p = (u32(positions) + 63u) / 64u;
  if (group >= tiles_o * tiles_p * {{GROUPS}}) { return; }
  let o0 = i32(group % tiles_o) * {{TILE_O}};
  let p0 = i32((group / tiles_o) % tiles_p) * 64;
  let g = i32(group / (tiles_o * tiles_p));
  let tx = lid % 16u;
  let ty = lid / 16u;
  let image = {{X_BASE}};
  let filter_at = {{W_BASE}};
{{STARTS}}
{{ACCUMULATORS}}
  for (var step0 = 0; step0 < depth; step0 += 16) {
    {
      let k = step0 + i32(tx);
{{FILTER_TAP}}
      for (var oo = ty; oo < {{TILE_O}}u; oo += 16u) {
        var v = 0.0;
        if (k < depth && o0 + i32(oo) < outs) { v = {{W_LOAD}}(tap + (o0 + i32(oo)) * {{W_O}}); }
        tile_a[tx * {{PITCH}}u + oo] = v;
      }
    }
    {
      let k = step0 + i32(ty);
{{IMAGE_TAP}}
{{IMAGE_LOADS}}
    }
    workgroupBarrier();
    for (var kk = 0u; kk < 16u; kk++) {
      let ra = kk * {{PITCH}}u + ty * {{RO}}u;
      let rb = kk * 68u + tx * 4u;
      let y = vec4<f32>(tile_b[rb], tile_b[rb + 1u], tile_b[rb + 2u], tile_b[rb + 3u]);
{{MULTIPLY}}
    }
    workgroupBarrier();
  }
{{RESULTS}}
