// Polynomials from Cephes (single precision), 1–2 ulp.
//@ fexp
fn fexp(x: f32) -> f32 {
  let key = order_key(x);
  if (is_nan(x)) { return x; }
  if (key > 0x42b17217) { return finf(); }
  if (key < -0x42cff1b5) { return 0.0; }
  let n = round(x * 1.44269504088896341);
  let r = (x - n * 0.693359375) + n * 2.12194440e-4;
  var z = ((((1.9875691500e-4 * r + 1.3981999507e-3) * r + 8.3334519073e-3) * r + 4.1665795894e-2) * r
    + 1.6666665459e-1) * r + 5.0000001201e-1;
  z = z * r * r + r + 1.0;
  let low = i32(n) / 2;
  let high = i32(n) - low;
  return z * bitcast<f32>((low + 127) << 23u) * bitcast<f32>((high + 127) << 23u);
}
//@ flog
fn flog(v: f32) -> f32 {
  var x = v;
  let key = order_key(x);
  if (is_nan(x) || key == 0x7f800000) { return x; }
  if (key == 0) { return -finf(); }
  if (key < 0) { return fnan(); }
  var e = 0.0;
  if (key < 0x800000) { x = f32(key); e = -149.0; }
  let u = bitcast<u32>(x);
  // x = 2^e m with m in [sqrt(1/2), sqrt(2)).
  e += f32(i32(u >> 23u) - 126);
  var m = bitcast<f32>((u & 0x7fffffu) | 0x3f000000u);
  if (m < 0.707106781186547524) { e -= 1.0; m = m + m; }
  m -= 1.0;
  let z = m * m;
  var y = ((((((((7.0376836292e-2 * m - 1.1514610310e-1) * m + 1.1676998740e-1) * m - 1.2420140846e-1) * m
    + 1.4249322787e-1) * m - 1.6668057665e-1) * m + 2.0000714765e-1) * m - 2.4999993993e-1) * m
    + 3.3333331174e-1) * m * z;
  y += -2.12194440e-4 * e - 0.5 * z;
  return (m + y) + 0.693359375 * e;
}
//@ sigmoid
fn sigmoid(x: f32) -> f32 {
  // Where 1 + e^-x would overflow, e^x; it is 0 at −inf.
  if (order_key(x) < -0x42b00000 && !is_nan(x)) { return fexp(x); }
  return 1.0 / (1.0 + fexp(-x));
}
//@ ftanh
fn ftanh(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  let a = abs(x);
  if (order_key(a) > 0x41200000) { return select(1.0, -1.0, x < 0.0); }
  if (a < 0.625) {
    let z = x * x;
    return ((((-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2) * z + 1.33314422036e-1) * z
      - 3.33332819422e-1) * z * x + x;
  }
  let t = 1.0 - 2.0 / (fexp(2.0 * a) + 1.0);
  return select(t, -t, x < 0.0);
}
//@ fsinh
fn fsinh(x: f32) -> f32 {
  if (is_nan(x) || is_inf(x)) { return x; }
  let a = abs(x);
  if (a < 1.0) {
    let z = x * x;
    return ((2.03721912945e-4 * z + 8.33028376239e-3) * z + 1.66667160211e-1) * z * x + x;
  }
  let h = fexp(0.5 * a);
  let s = 0.5 * h * h - 0.5 / h / h;
  return select(s, -s, x < 0.0);
}
//@ fcosh
fn fcosh(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  let h = fexp(0.5 * abs(x));
  return 0.5 * h * h + 0.5 / h / h;
}
//@ fasinh
fn fasinh(x: f32) -> f32 {
  if (is_nan(x) || is_inf(x)) { return x; }
  let a = abs(x);
  if (a < 0.5) {
    let z = x * x;
    return (((2.0122003309e-2 * z - 4.2699340972e-2) * z + 7.4847586088e-2) * z - 1.6666288134e-1) * z * x + x;
  }
  var y: f32;
  if (a > 1500.0) { y = flog(a) + 0.69314718056; } else { y = flog(a + sqrt(a * a + 1.0)); }
  return select(y, -y, x < 0.0);
}
//@ facosh
fn facosh(x: f32) -> f32 {
  if (is_nan(x) || order_key(x) == 0x7f800000) { return x; }
  if (x < 1.0) { return fnan(); }
  if (x > 1500.0) { return flog(x) + 0.69314718056; }
  let z = x - 1.0;
  if (z < 0.5) {
    return ((((1.7596881071e-3 * z - 7.5272886713e-3) * z + 2.6454905019e-2) * z - 1.1784741703e-1) * z
      + 1.4142135263) * sqrt(z);
  }
  return flog(x + sqrt(z * (x + 1.0)));
}
//@ fatanh
fn fatanh(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  let a = abs(x);
  if (a > 1.0) { return fnan(); }
  if (a == 1.0) { return select(finf(), -finf(), x < 0.0); }
  if (a < 0.5) {
    let z = x * x;
    return ((((1.81740078349e-1 * z + 8.24370301058e-2) * z + 1.46691431730e-1) * z + 1.99782164500e-1) * z
      + 3.33337300303e-1) * z * x + x;
  }
  return 0.5 * flog((1.0 + x) / (1.0 - x));
}
//@ ferf
fn ferf(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  let t = abs(x);
  let s = x * x;
  if (order_key(t) > 0x40800000) { return select(1.0, -1.0, order_key(x) < 0); }
  if (t > 0.927734375) {
    var r = -1.72853470e-5 * t + 3.83197126e-4;
    let u = -3.88396438e-3 * t + 2.42546219e-2;
    r = r * s + u;
    r = r * t - 1.06777877e-1;
    r = r * t - 6.34846687e-1;
    r = r * t - 1.28717512e-1;
    r = 1.0 - fexp(r * t - t);
    return select(r, -r, x < 0.0);
  }
  var r = -5.96761703e-4 * s + 4.99119423e-3;
  r = r * s - 2.67681349e-2;
  r = r * s + 1.12819925e-1;
  r = r * s - 3.76125336e-1;
  r = r * s + 1.28379166e-1;
  return r * x + x;
}
//@ gelu_erf
fn gelu_erf(x: f32) -> f32 { return 0.5 * x * (1.0 + ferf(x * 0.70710678118654752)); }
//@ gelu_tanh
fn gelu_tanh(x: f32) -> f32 { return 0.5 * x * (1.0 + ftanh(0.7978845608 * (x + 0.044715 * x * x * x))); }
