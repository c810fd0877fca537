// Reductions over the WG invocations of a workgroup; WG is a power of two. Call in uniform control flow.
//@ scratch
var<workgroup> scratch: array<f32, WG>;
//@ workgroup_sum
fn workgroup_sum(value: f32, lid: u32) -> f32 {
  workgroupBarrier();
  scratch[lid] = value;
  workgroupBarrier();
  for (var s = WG / 2u; s > 0u; s = s >> 1u) {
    if (lid < s) { scratch[lid] += scratch[lid + s]; }
    workgroupBarrier();
  }
  return scratch[0];
}
//@ workgroup_max
fn workgroup_max(value: f32, lid: u32) -> f32 {
  workgroupBarrier();
  scratch[lid] = value;
  workgroupBarrier();
  for (var s = WG / 2u; s > 0u; s = s >> 1u) {
    if (lid < s) { scratch[lid] = max(scratch[lid], scratch[lid + s]); }
    workgroupBarrier();
  }
  return scratch[0];
}
