// Infinities and NaN are made and tested by bits: compilers may assume that they do not occur.
//@ special_bits
var<private> special_bits: u32 = 0x7f800000u;
//@ finf
fn finf() -> f32 { return bitcast<f32>(special_bits); }
//@ fnan
fn fnan() -> f32 { return bitcast<f32>(special_bits | 0x400000u); }
//@ from_bits
// Bit pattern that may be infinite or NaN.
fn from_bits(u: u32) -> f32 { return bitcast<f32>(u ^ special_bits ^ 0x7f800000u); }
//@ is_nan
fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
//@ is_inf
fn is_inf(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) == 0x7f800000u; }
//@ order_key
// Integers that compare as the floats do; both zeros give 0.
fn order_key(x: f32) -> i32 {
  let u = bitcast<u32>(x);
  let magnitude = i32(u & 0x7fffffffu);
  return select(magnitude, -magnitude, (u >> 31u) == 1u);
}
//@ feq
fn feq(a: f32, b: f32) -> bool { return order_key(a) == order_key(b) && !is_nan(a) && !is_nan(b); }
//@ fgt
fn fgt(a: f32, b: f32) -> bool { return order_key(a) > order_key(b) && !is_nan(a) && !is_nan(b); }
//@ nan_max
fn nan_max(a: f32, b: f32) -> f32 {
  if (is_nan(a) || is_nan(b)) { return fnan(); }
  return select(a, b, order_key(b) > order_key(a));
}
//@ nan_min
fn nan_min(a: f32, b: f32) -> f32 {
  if (is_nan(a) || is_nan(b)) { return fnan(); }
  return select(a, b, order_key(b) < order_key(a));
}
//@ relu
fn relu(x: f32) -> f32 { return select(x, 0.0, order_key(x) < 0 && !is_nan(x)); }
//@ f16_bits
// To binary16, nearest even; overflow gives infinity. `pack2x16float` may truncate.
fn f16_bits(x: f32) -> u32 {
  let u = bitcast<u32>(x);
  let sign = (u >> 16u) & 0x8000u;
  let a = u & 0x7fffffffu;
  if (a > 0x7f800000u) { return sign | 0x7e00u; }
  if (a >= 0x477ff000u) { return sign | 0x7c00u; }
  if (a < 0x38800000u) { return sign | u32(round(bitcast<f32>(a) * 16777216.0)); }
  return sign | ((a + 0xfffu + ((a >> 13u) & 1u) - 0x38000000u) >> 13u);
}
//@ f16_value
fn f16_value(h: u32) -> f32 {
  let magnitude = h & 0x7fffu;
  let sign = (h & 0x8000u) << 16u;
  if (magnitude < 0x400u) { return bitcast<f32>(sign | bitcast<u32>(f32(magnitude) * 5.9604644775390625e-8)); }
  if (magnitude >= 0x7c00u) { return from_bits(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13u)); }
  return bitcast<f32>(sign | ((magnitude << 13u) + 0x38000000u));
}
//@ round_f16
fn round_f16(x: f32) -> f32 { return f16_value(f16_bits(x)); }
//@ bf16_bits
fn bf16_bits(x: f32) -> u32 {
  let u = bitcast<u32>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) { return (u >> 16u) | 0x40u; }
  return (u + 0x7fffu + ((u >> 16u) & 1u)) >> 16u;
}
//@ round_bf16
fn round_bf16(x: f32) -> f32 { return from_bits(bf16_bits(x) << 16u); }
//@ round_small
// To a float type of at most 8 bits: nearest even with `mantissa` fraction bits and least normal
// exponent `least`; magnitudes above `most` become `beyond` with x's sign, and NaN becomes `nan`.
fn round_small(x: f32, mantissa: i32, least: i32, most: f32, beyond: u32, nan: u32) -> f32 {
  let u = bitcast<u32>(x);
  if (is_nan(x)) { return from_bits(nan); }
  if (order_key(x) == 0) { return x; }
  if ((u & 0x7fffffffu) > bitcast<u32>(most)) { return from_bits(beyond | (u & 0x80000000u)); }
  let fraction = max(i32((u >> 23u) & 0xffu) - 127, least) - mantissa;
  return round(x * bitcast<f32>((127 - fraction) << 23u)) * bitcast<f32>((127 + fraction) << 23u);
}
//@ round_power
// To the nearest power of two, ties to the larger. Negative numbers and those below 2^-126 give 2^-127;
// zero and what is not finite give NaN.
fn round_power(x: f32) -> f32 {
  let u = bitcast<u32>(x);
  let magnitude = u & 0x7fffffffu;
  if (magnitude == 0u || magnitude >= 0x7f800000u) { return fnan(); }
  if (u < 0x800000u || u > 0x80000000u) { return from_bits(0x400000u); }
  return bitcast<f32>(min((u + 0x400000u) & 0x7f800000u, 0x7f000000u));
}
//@ f2i
// Truncates and saturates; NaN gives 0.
fn f2i(x: f32) -> i32 {
  if (is_nan(x)) { return 0; }
  if (order_key(x) >= 0x4f000000) { return 2147483647; }
  if (order_key(x) <= -0x4f000000) { return -2147483647 - 1; }
  return i32(x);
}
//@ f2u
fn f2u(x: f32) -> u32 {
  if (is_nan(x) || order_key(x) <= 0) { return 0u; }
  if (order_key(x) >= 0x4f800000) { return 0xffffffffu; }
  return u32(x);
}
//@ ftruth
fn ftruth(x: f32) -> u32 { return u32((bitcast<u32>(x) & 0x7fffffffu) != 0u); }
//@ fsqrt
fn fsqrt(x: f32) -> f32 {
  let key = order_key(x);
  if (is_nan(x) || key == 0 || key == 0x7f800000) { return x; }
  if (key < 0) { return fnan(); }
  let s = sqrt(x);
  return s - 0.5 * (s - x / s);
}
//@ frsqrt
fn frsqrt(x: f32) -> f32 {
  let key = order_key(x);
  if (is_nan(x)) { return x; }
  if (key == 0) { return bitcast<f32>(special_bits | (bitcast<u32>(x) & 0x80000000u)); }
  if (key < 0) { return fnan(); }
  if (key == 0x7f800000) { return 0.0; }
  return 1.0 / sqrt(x);
}
//@ fmod
// Exact remainder with the sign of a, by long division of the mantissas (at most 277 steps).
fn fmod(a: f32, b: f32) -> f32 {
  if (is_nan(a) || is_nan(b) || is_inf(a) || order_key(b) == 0) { return fnan(); }
  let sign = bitcast<u32>(a) & 0x80000000u;
  var x = bitcast<u32>(a) & 0x7fffffffu;
  let y = bitcast<u32>(b) & 0x7fffffffu;
  if (x < y) { return a; }
  var ex = i32(x >> 23u);
  var ey = i32(y >> 23u);
  var mx = x & 0x7fffffu;
  var my = y & 0x7fffffu;
  if (ex == 0) { let s = countLeadingZeros(mx) - 8u; mx = mx << s; ex = 1 - i32(s); } else { mx = mx | 0x800000u; }
  if (ey == 0) { let s = countLeadingZeros(my) - 8u; my = my << s; ey = 1 - i32(s); } else { my = my | 0x800000u; }
  for (; ex > ey; ex -= 1) {
    if (mx >= my) { mx -= my; }
    mx = mx << 1u;
  }
  if (mx >= my) { mx -= my; }
  if (mx == 0u) { return bitcast<f32>(sign); }
  let s = countLeadingZeros(mx) - 8u;
  mx = mx << s;
  ex -= i32(s);
  if (ex > 0) { x = (mx - 0x800000u) | (u32(ex) << 23u); } else { x = mx >> u32(1 - ex); }
  return bitcast<f32>(sign | x);
}
//@ floor_div
// Infinite numerators give NaN, as the CPU runtime does. Division may be off by 2 ulp on a GPU.
fn floor_div(a: f32, b: f32) -> f32 {
  if (is_inf(a) && !is_inf(b) && b != 0.0) { return fnan(); }
  let q = a / b;
  let near = round(q);
  if (near * b == a) { return near; }
  return floor(q);
}
//@ whole_div
// Quotient that is a whole number where the exact one is: division may be off by 2 ulp on a GPU.
fn whole_div(a: f32, b: f32) -> f32 {
  let q = a / b;
  let near = round(q);
  return select(q, near, near * b == a);
}
