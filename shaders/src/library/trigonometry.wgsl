//@ reduce_angle
// x − n π/2 and n mod 4. The parts of π/2 have few bits, so that n times each is exact; good to
// 1e-7 for |x| up to 1e5.
fn reduce_angle(x: f32) -> vec2<f32> {
  let n = round(x * 0.63661977236758134);
  var r = x - n * 1.5703125;
  r -= n * 4.825592041015625e-4;
  r -= n * 1.2665987014770508e-6;
  r -= n * 9.9209361e-10;
  return vec2<f32>(r, n - 4.0 * floor(n * 0.25));
}
//@ wide_product
// High and low word of a · b.
fn wide_product(a: u32, b: u32) -> vec2<u32> {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let mid1 = (a >> 16u) * (b & 0xffffu);
  let mid2 = (a & 0xffffu) * (b >> 16u);
  let mid = (low >> 16u) + (mid1 & 0xffffu) + (mid2 & 0xffffu);
  return vec2<u32>((a >> 16u) * (b >> 16u) + (mid1 >> 16u) + (mid2 >> 16u) + (mid >> 16u), (mid << 16u) | (low & 0xffffu));
}
//@ two_over_pi
// Word i of 2/π with the binary point after word 1.
fn two_over_pi(i: u32) -> u32 {
  switch (i) {
    case 2u: { return 0xa2f9836eu; }
    case 3u: { return 0x4e441529u; }
    case 4u: { return 0xfc2757d1u; }
    case 5u: { return 0xf534ddc0u; }
    case 6u: { return 0xdb629599u; }
    case 7u: { return 0x3c439041u; }
    default: { return 0u; }
  }
}
//@ reduce_large
// The same for any finite x (Payne and Hanek): mantissa times the 96 bits of 2/π that matter.
fn reduce_large(x: f32) -> vec2<f32> {
  let u = bitcast<u32>(x) & 0x7fffffffu;
  let mantissa = (u & 0x7fffffu) | 0x800000u;
  // |x| = mantissa 2^(e−32), e ≥ 24 here. From bit e on, the binary point of |x| 2/π lies after the
  // first word; earlier bits contribute multiples of 2^32.
  let e = u32(i32(u >> 23u) - 118);
  let word = e >> 5u;
  let bit = e & 31u;
  var w = array<u32, 3>(0u, 0u, 0u);
  for (var i = 0u; i < 3u; i++) {
    let a = two_over_pi(word + i);
    let b = two_over_pi(word + i + 1u);
    w[i] = select((a << bit) | (b >> (32u - bit)), a, bit == 0u);
  }
  let p2 = wide_product(mantissa, w[2]);
  let p1 = wide_product(mantissa, w[1]);
  var fraction = p1.y + p2.x;
  let carry = u32(fraction < p2.x);
  let whole = mantissa * w[0] + p1.x + carry;
  let rest = p2.y;
  // Round to the nearest quarter turn.
  var n = whole;
  var negate = false;
  var low = rest;
  if (fraction >= 0x80000000u) {
    n += 1u;
    negate = true;
    low = 0u - rest;
    fraction = ~fraction + u32(rest == 0u);
  }
  var r = (f32(fraction) + f32(low) * 2.3283064365386963e-10) * 2.3283064365386963e-10 * 1.57079632679489662;
  r = select(r, -r, negate != (x < 0.0));
  n = select(n, 0u - n, x < 0.0) & 3u;
  return vec2<f32>(r, f32(n));
}
//@ sin_cos
// (sin x, cos x)
fn sin_cos(x: f32) -> vec2<f32> {
  if (is_nan(x) || is_inf(x)) { return vec2<f32>(fnan(), fnan()); }
  var a: vec2<f32>;
  if (abs(x) < 50000.0) { a = reduce_angle(x); } else { a = reduce_large(x); }
  let z = a.x * a.x;
  let s = ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * a.x + a.x;
  let c = ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1.0;
  let n = u32(a.y);
  let swapped = select(vec2<f32>(s, c), vec2<f32>(c, s), (n & 1u) == 1u);
  return vec2<f32>(select(swapped.x, -swapped.x, n >= 2u), select(swapped.y, -swapped.y, n == 1u || n == 2u));
}
//@ fsin
fn fsin(x: f32) -> f32 { return sin_cos(x).x; }
//@ fcos
fn fcos(x: f32) -> f32 { return sin_cos(x).y; }
//@ ftan
fn ftan(x: f32) -> f32 { let v = sin_cos(x); return v.x / v.y; }
//@ fatan
fn fatan(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  let a = abs(x);
  var base = 0.0;
  var t = a;
  if (order_key(a) > 0x401a827a) {
    base = 1.57079632679489662;
    t = select(-1.0 / a, 0.0, is_inf(a));
  } else if (a > 0.4142135623730950) {
    base = 0.78539816339744831;
    t = (a - 1.0) / (a + 1.0);
  }
  let z = t * t;
  let y = base + ((((8.05374449538e-2 * z - 1.38776856032e-1) * z + 1.99777106478e-1) * z - 3.33329491539e-1) * z * t + t);
  return select(y, -y, x < 0.0);
}
//@ asin_core
// asin of a in [0, 0.5]
fn asin_core(a: f32) -> f32 {
  let z = a * a;
  return ((((4.2163199048e-2 * z + 2.4181311049e-2) * z + 4.5470025998e-2) * z + 7.4953002686e-2) * z
    + 1.6666752422e-1) * z * a + a;
}
//@ fasin
fn fasin(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  let a = abs(x);
  if (a > 1.0) { return fnan(); }
  var y: f32;
  if (a > 0.5) { y = 1.57079632679489662 - 2.0 * asin_core(sqrt(0.5 * (1.0 - a))); } else { y = asin_core(a); }
  return select(y, -y, x < 0.0);
}
//@ facos
fn facos(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  if (abs(x) > 1.0) { return fnan(); }
  if (x > 0.5) { return 2.0 * asin_core(sqrt(0.5 * (1.0 - x))); }
  if (x < -0.5) { return 3.14159265358979324 - 2.0 * asin_core(sqrt(0.5 * (1.0 + x))); }
  return 1.57079632679489662 - select(asin_core(abs(x)), -asin_core(abs(x)), x < 0.0);
}
