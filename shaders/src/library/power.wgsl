// x^y after FreeBSD's e_powf.c: log2(x) and the product with y in two floats.
//@ high_bits
fn high_bits(x: f32, mask: u32) -> f32 { return bitcast<f32>(bitcast<u32>(x) & mask); }
//@ fpow
fn fpow(x: f32, y: f32) -> f32 {
  let ux = bitcast<u32>(x);
  let uy = bitcast<u32>(y);
  let ax = ux & 0x7fffffffu;
  let ay = uy & 0x7fffffffu;
  let negative = (ux >> 31u) == 1u;
  if (ay == 0u || ux == 0x3f800000u) { return 1.0; }
  if (ax > 0x7f800000u || ay > 0x7f800000u) { return fnan(); }
  // 0: not an integer, 1: odd, 2: even.
  var integer = 0u;
  if (ay >= 0x4b800000u) {
    integer = 2u;
  } else if (ay >= 0x3f800000u) {
    let shift = 23u - ((ay >> 23u) - 127u);
    let j = ay >> shift;
    if ((j << shift) == ay) { integer = 2u - (j & 1u); }
  }
  if (ay == 0x7f800000u) {
    if (ax == 0x3f800000u) { return 1.0; }
    return select(0.0, finf(), (ax > 0x3f800000u) == (uy == ay));
  }
  if (uy == 0x3f800000u) { return x; }
  if (uy == 0x40000000u) { return x * x; }
  let sign = select(0u, 0x80000000u, negative && integer == 1u);
  if (ax == 0u || ax == 0x7f800000u) {
    let grows = (ax != 0u) == (uy == ay);
    return bitcast<f32>(sign | select(0u, special_bits, grows));
  }
  if (negative && integer == 0u) { return fnan(); }
  if (ax == 0x3f800000u) { return bitcast<f32>(sign | 0x3f800000u); }
  if (uy == 0x3f000000u) { return fsqrt(x); }
  var n = 0.0;
  var bits = ax;
  if (bits < 0x800000u) { bits = bitcast<u32>(f32(bits)); n = -149.0; }
  n += f32(i32(bits >> 23u) - 127);
  let j = bits & 0x7fffffu;
  bits = j | 0x3f800000u;
  var k = 0u;
  if (j > 0x1cc471u) {
    if (j < 0x5db3d7u) { k = 1u; } else { n += 1.0; bits -= 0x800000u; }
  }
  let m = bitcast<f32>(bits);
  let bp = select(1.0, 1.5, k == 1u);
  let dp_h = select(0.0, 5.84960938e-01, k == 1u);
  let dp_l = select(0.0, 1.56322085e-06, k == 1u);
  var u = m - bp;
  var v = 1.0 / (m + bp);
  let s = u * v;
  let s_h = high_bits(s, 0xfffff000u);
  var t_h = bitcast<f32>((((bits >> 1u) & 0xfffff000u) | 0x20000000u) + 0x400000u + (k << 21u));
  var t_l = m - (t_h - bp);
  let s_l = v * ((u - s_h * t_h) - s_h * t_l);
  var s2 = s * s;
  var r = s2 * s2 * (0.60000002384 + s2 * (0.42857143283 + s2 * (0.33333334327 + s2 * (0.27272811532
    + s2 * (0.23066075146 + s2 * 0.20697501302)))));
  r += s_l * (s_h + s);
  s2 = s_h * s_h;
  t_h = high_bits(3.0 + s2 + r, 0xfffff000u);
  t_l = r - ((t_h - 3.0) - s2);
  u = s_h * t_h;
  v = s_l * t_h + t_l * s;
  var p_h = high_bits(u + v, 0xfffff000u);
  var p_l = v - (p_h - u);
  let z_h = 9.6191406250e-01 * p_h;
  let z_l = -1.1736857402e-04 * p_h + p_l * 9.6179670095e-01 + dp_l;
  var t1 = high_bits(((z_h + z_l) + dp_h) + n, 0xfffff000u);
  let t2 = z_l - (((t1 - n) - dp_h) - z_h);
  let y1 = high_bits(y, 0xfffff000u);
  p_l = (y - y1) * t1 + y * t2;
  p_h = y1 * t1;
  let z = p_l + p_h;
  if (z >= 128.0) { return bitcast<f32>(sign | special_bits); }
  if (z < -150.0) { return bitcast<f32>(sign); }
  n = round(z);
  p_h -= n;
  let t = high_bits(p_l + p_h, 0xffff8000u);
  u = t * 6.93145752e-01;
  v = (p_l - (t - p_h)) * 6.9314718246e-01 + t * 1.42860654e-06;
  let q = u + v;
  let w = v - (q - u);
  let q2 = q * q;
  t1 = q - q2 * (1.6666667163e-01 + q2 * (-2.7777778450e-03 + q2 * (6.6137559770e-05 + q2 * (-1.6533901999e-06
    + q2 * 4.1381369442e-08))));
  r = (q * t1) / (t1 - 2.0) - (w + q * w);
  let low = i32(n) / 2;
  let high = i32(n) - low;
  let value = (1.0 - (r - q)) * bitcast<f32>((low + 127) << 23u) * bitcast<f32>((high + 127) << 23u);
  return bitcast<f32>(bitcast<u32>(value) | sign);
}
