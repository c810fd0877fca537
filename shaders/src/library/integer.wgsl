//@ idiv
// Division by 0 gives 0; the least integer by −1 wraps to itself.
fn idiv(a: i32, b: i32) -> i32 {
  if (b == 0) { return 0; }
  if (b == -1) { return -a; }
  return a / b;
}
//@ udiv
fn udiv(a: u32, b: u32) -> u32 { return select(a / max(b, 1u), 0u, b == 0u); }
//@ imod
fn imod(a: i32, b: i32) -> i32 {
  if (b == 0 || b == -1) { return 0; }
  return a % b;
}
//@ umod
fn umod(a: u32, b: u32) -> u32 { return select(a % max(b, 1u), 0u, b == 0u); }
//@ ifloordiv
fn ifloordiv(a: i32, b: i32) -> i32 {
  let q = idiv(a, b);
  let r = imod(a, b);
  return select(q, q - 1, r != 0 && ((r < 0) != (b < 0)));
}
//@ upow
fn upow(base: u32, exponent: u32) -> u32 {
  var result = 1u;
  var square = base;
  for (var e = exponent; e != 0u; e = e >> 1u) {
    if ((e & 1u) == 1u) { result *= square; }
    square *= square;
  }
  return result;
}
//@ ipow
fn ipow(base: i32, exponent: i32) -> i32 {
  if (exponent < 0) { return 0; }
  return i32(upow(u32(base), u32(exponent)));
}
//@ fail_index
// Records the first failing index: 1 + node, index, extent.
fn fail_index(node: u32, index: i32, extent: i32) {
  for (var i = 0; i < 64; i++) {
    let claim = atomicCompareExchangeWeak(&status[0], 0u, node + 1u);
    if (claim.exchanged) {
      atomicStore(&status[1], u32(index));
      atomicStore(&status[2], u32(extent));
      return;
    }
    if (claim.old_value != 0u) { return; }
  }
}
