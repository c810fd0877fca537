  // An implicit matrix product: 16 × TX invocations compute TILE_O output channels of a group × 4 TX
  // positions of all images, {{RO}} × 4 each. The reduction, over input channels and taps, advances by 16.
  let outs = {{OUTS}};
  let positions = {{POSITIONS}};
  let depth = {{DEPTH}};
  let tiles_o = (u32(outs) + {{TILE_O}}u - 1u) / {{TILE_O}}u;
  let tiles_p = (u32(positions) + {{TILE_P}}u - 1u) / {{TILE_P}}u;
  if (group >= tiles_o * tiles_p * {{GROUPS}}) { return; }
  let o0 = i32(group % tiles_o) * {{TILE_O}};
  let p0 = i32((group / tiles_o) % tiles_p) * {{TILE_P}};
  let g = i32(group / (tiles_o * tiles_p));
  let tx = lid % {{TX}}u;
  let ty = lid / {{TX}}u;
  let image = {{X_BASE}};
  let filter_at = {{W_BASE}};
{{STARTS}}
{{ACCUMULATORS}}
  for (var step0 = 0; step0 < depth; step0 += 16) {
    {
      let column = lid % 16u;
      let k = step0 + i32(column);
{{FILTER_TAP}}
      for (var row = lid / 16u; row < 16u; row += {{TX}}u) {
        let o = o0 + i32(row) * {{RO}};
        var v = {{CHANNELS}}();
        if (k < depth) {
{{FILTER_LOADS}}
        }
        tile_a[column * 17u + row] = v;
      }
    }
    {
      let k = step0 + i32(ty);
{{IMAGE_TAP}}
{{IMAGE_LOADS}}
    }
    workgroupBarrier();
    for (var kk = 0u; kk < 16u; kk++) {
      let a = tile_a[kk * 17u + ty];
      let y = tile_b[kk * {{PITCH}}u + tx];
{{MULTIPLY}}
    }
    workgroupBarrier();
  }
{{RESULTS}}
