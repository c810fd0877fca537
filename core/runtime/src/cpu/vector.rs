//! Loops that the compiler vectorizes. They are compiled several times by `simd.rs`, for each
//! instruction set; `FMA` tells whether `mul_add` is one instruction there.

use super::quantized::scale_at;
use super::simd::{Binary, COLUMNS, Form, Scales, UNIT};

/// Lanes of the partial sums; a multiple of every vector width.
const LANES: usize = 16;

#[inline(always)]
pub(super) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// e^x within 2 units in the last place; overflows to infinity, underflows to 0, keeps NaN.
#[inline(always)]
pub(super) fn exp<const FMA: bool>(x: f32) -> f32 {
    // 1.5 · 2^23: adding it rounds to an integer, which then stands in the low mantissa bits.
    const MAGIC: f32 = 12_582_912.0;
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let bits = (shifted.to_bits() as i32).wrapping_sub(0x4b40_0000);
    // ln 2 in two parts, the first with trailing zeros so that n times it is exact.
    let r = fma::<FMA>(n, -0.693_359_4, x);
    let r = fma::<FMA>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = fma::<FMA>(p, r, c);
    }
    let p = fma::<FMA>(p, r * r, r) + 1.0;
    // 2^n in two factors, each of which is a normal number.
    let half = bits >> 1;
    let first = f32::from_bits((half.wrapping_add(127) as u32) << 23);
    let second = f32::from_bits((bits.wrapping_sub(half).wrapping_add(127) as u32) << 23);
    p * first * second
}

#[inline(always)]
pub(super) fn exp_all<const FMA: bool>(x: &[f32], out: &mut [f32]) {
    for (o, &x) in out.iter_mut().zip(x) {
        *o = exp::<FMA>(x);
    }
}

#[inline(always)]
pub(super) fn sigmoid_all<const FMA: bool>(x: &[f32], out: &mut [f32]) {
    for (o, &x) in out.iter_mut().zip(x) {
        *o = 1.0 / (1.0 + exp::<FMA>(-x));
    }
}

#[inline(always)]
pub(super) fn silu_all<const FMA: bool>(x: &[f32], out: &mut [f32]) {
    for (o, &x) in out.iter_mut().zip(x) {
        *o = x * (1.0 / (1.0 + exp::<FMA>(-x)));
    }
}

/// x/2·(1 + tanh u) written as x·σ(2u), which does not cancel.
#[inline(always)]
pub(super) fn gelu_tanh_all<const FMA: bool>(x: &[f32], out: &mut [f32]) {
    for (o, &x) in out.iter_mut().zip(x) {
        let u = 0.797_884_6 * (x + 0.044_715 * x * x * x);
        *o = x * (1.0 / (1.0 + exp::<FMA>(-2.0 * u)));
    }
}

/// Error function within 1.5e-7. Below 1 a polynomial in x² times x; above, 1 − e^−q with a polynomial
/// in x − 2 for q. Both were fitted by least squares at Chebyshev points.
#[inline(always)]
fn erf<const FMA: bool>(x: f32) -> f32 {
    let square = x * x;
    let mut p = 7.882_497e-5;
    for c in [-8.018_855_5e-4, 5.189_312e-3, -2.685_432_8e-2, 0.112_835_97, -0.376_126_26] {
        p = fma::<FMA>(p, square, c);
    }
    let near = x * fma::<FMA>(p, square, std::f32::consts::FRAC_2_SQRT_PI);
    // From 4 on the result is 1.
    let far = if x.abs() > 4.0 { 4.0 } else { x.abs() } - 2.0;
    let mut q = -1.865_517_1e-4;
    for c in [7.103_254_3e-4, -3.545_350_2e-3, 1.648_736_4e-2, 0.923_753_5, 4.418_159_5, 5.364_941] {
        q = fma::<FMA>(q, far, c);
    }
    let far = (1.0 - exp::<FMA>(-q)).copysign(x);
    if square < 1.0 { near } else { far }
}

#[inline(always)]
pub(super) fn erf_all<const FMA: bool>(x: &[f32], out: &mut [f32]) {
    for (o, &x) in out.iter_mut().zip(x) {
        *o = erf::<FMA>(x);
    }
}

#[inline(always)]
pub(super) fn gelu_all<const FMA: bool>(x: &[f32], out: &mut [f32]) {
    for (o, &x) in out.iter_mut().zip(x) {
        *o = 0.5 * x * (1.0 + erf::<FMA>(x * std::f32::consts::FRAC_1_SQRT_2));
    }
}

#[inline(always)]
pub(super) fn relu_all<const FMA: bool>(x: &[f32], out: &mut [f32]) {
    for (o, &x) in out.iter_mut().zip(x) {
        *o = if x < 0.0 { 0.0 } else { x };
    }
}

#[inline(always)]
fn each(f: Binary, out: &mut [f32], operands: impl Iterator<Item = (f32, f32)>) {
    let pairs = out.iter_mut().zip(operands);
    match f {
        Binary::Add => pairs.for_each(|(o, (a, b))| *o = a + b),
        Binary::Sub => pairs.for_each(|(o, (a, b))| *o = a - b),
        Binary::Mul => pairs.for_each(|(o, (a, b))| *o = a * b),
        Binary::Div => pairs.for_each(|(o, (a, b))| *o = a / b),
        Binary::Max => pairs.for_each(|(o, (a, b))| {
            let larger = if b > a { b } else { a };
            *o = if a.is_nan() | b.is_nan() { f32::NAN } else { larger };
        }),
        Binary::Min => pairs.for_each(|(o, (a, b))| {
            let smaller = if b < a { b } else { a };
            *o = if a.is_nan() | b.is_nan() { f32::NAN } else { smaller };
        }),
    }
}

#[inline(always)]
pub(super) fn binary<const FMA: bool>(f: Binary, a: &[f32], b: &[f32], out: &mut [f32]) {
    each(f, out, a.iter().copied().zip(b.iter().copied()));
}

#[inline(always)]
pub(super) fn binary_scalar<const FMA: bool>(f: Binary, a: &[f32], b: f32, out: &mut [f32]) {
    let pairs = out.iter_mut().zip(a);
    match f {
        // One instruction each: a NaN of `a` compares as false and stays.
        Binary::Max if !b.is_nan() => pairs.for_each(|(o, &a)| *o = if b > a { b } else { a }),
        Binary::Min if !b.is_nan() => pairs.for_each(|(o, &a)| *o = if b < a { b } else { a }),
        _ => each(f, out, a.iter().map(|&a| (a, b))),
    }
}

#[inline(always)]
fn limit(x: f32, low: f32, high: f32) -> f32 {
    let x = if low > x { low } else { x };
    if high < x { high } else { x }
}

#[inline(always)]
pub(super) fn add_clamp<const FMA: bool>(a: &[f32], b: f32, low: f32, high: f32, out: &mut [f32]) {
    for (o, &a) in out.iter_mut().zip(a) {
        *o = limit(a + b, low, high);
    }
}

#[inline(always)]
pub(super) fn clamp<const FMA: bool>(x: &mut [f32], low: f32, high: f32) {
    for x in x {
        *x = limit(*x, low, high);
    }
}

#[inline(always)]
pub(super) fn normal_all<const FMA: bool>(
    x: &mut [f32],
    mean: f32,
    inverse: f32,
    gain: &[f32],
    shift: &[f32],
) {
    for ((x, &gain), &shift) in x.iter_mut().zip(gain).zip(shift) {
        *x = fma::<FMA>((*x - mean) * inverse, gain, shift);
    }
}

/// Replaces x by e^(x − max) and returns the sum.
#[inline(always)]
pub(super) fn exp_sum<const FMA: bool>(x: &mut [f32], max: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let mut pieces = x.chunks_exact_mut(LANES);
    for piece in &mut pieces {
        for (x, lane) in piece.iter_mut().zip(&mut lanes) {
            *x = exp::<FMA>(*x - max);
            *lane += *x;
        }
    }
    let mut sum: f32 = lanes.iter().sum();
    for x in pieces.into_remainder() {
        *x = exp::<FMA>(*x - max);
        sum += *x;
    }
    sum
}

/// Sum by lanes: error grows with n / 16.
#[inline(always)]
pub(super) fn sum<const FMA: bool>(x: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let pieces = x.chunks_exact(LANES);
    let rest = pieces.remainder();
    for piece in pieces {
        for (lane, &x) in lanes.iter_mut().zip(piece) {
            *lane += x;
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// Sum of (x − mean)².
#[inline(always)]
pub(super) fn deviation<const FMA: bool>(x: &[f32], mean: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let pieces = x.chunks_exact(LANES);
    let rest = pieces.remainder();
    for piece in pieces {
        for (lane, &x) in lanes.iter_mut().zip(piece) {
            *lane = fma::<FMA>(x - mean, x - mean, *lane);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>()
}

/// Largest element; NaN if there is one.
#[inline(always)]
pub(super) fn max<const FMA: bool>(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut nan = [0u32; LANES];
    let pieces = x.chunks_exact(LANES);
    let rest = pieces.remainder();
    for piece in pieces {
        for ((lane, nan), &x) in lanes.iter_mut().zip(&mut nan).zip(piece) {
            *lane = if x > *lane { x } else { *lane };
            *nan |= u32::from(x.is_nan());
        }
    }
    let best = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
    let nan = nan.iter().any(|&n| n != 0) || rest.iter().any(|x| x.is_nan());
    if nan { f32::NAN } else { best }
}

/// y = the larger of x and y; NaN if one is.
#[inline(always)]
pub(super) fn max_into<const FMA: bool>(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = if x > *y || x.is_nan() { x } else { *y };
    }
}

/// Every second element, from the first on; `out` has as many as there are.
#[inline(always)]
pub(super) fn evens<const FMA: bool>(x: &[u32], out: &mut [u32]) {
    let pairs = x.chunks_exact(2);
    if let ([last], Some(o)) = (pairs.remainder(), out.last_mut()) {
        *o = *last;
    }
    for (o, pair) in out.iter_mut().zip(pairs) {
        *o = pair[0];
    }
}

/// y += x
#[inline(always)]
pub(super) fn add_into<const FMA: bool>(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

#[inline(always)]
pub(super) fn dequantize4<const FMA: bool>(
    bytes: &[u8],
    signed: bool,
    scale: f32,
    zero: f32,
    min: f32,
    out: &mut [f32],
) {
    let flip = if signed { 8u32 } else { 0 };
    // (code ^ 8) − 8 sign-extends four bits; the subtraction is exact in the zero point.
    let zero = zero + flip as f32;
    for (pair, &byte) in out.chunks_exact_mut(2).zip(bytes) {
        let (low, high) = (u32::from(byte) & 15, u32::from(byte) >> 4);
        pair[0] = scale * ((low ^ flip) as i32 as f32 - zero) + min;
        pair[1] = scale * ((high ^ flip) as i32 as f32 - zero) + min;
    }
}

#[inline(always)]
pub(super) fn scale_all<const FMA: bool>(scale: f32, zero: f32, min: f32, x: &mut [f32]) {
    for x in x {
        *x = scale * (*x - zero) + min;
    }
}

#[inline(always)]
pub(super) fn dequantize8<const FMA: bool>(
    bytes: &[u8],
    signed: bool,
    scale: f32,
    zero: f32,
    min: f32,
    out: &mut [f32],
) {
    if signed {
        for (o, &byte) in out.iter_mut().zip(bytes) {
            *o = scale * (f32::from(byte as i8) - zero) + min;
        }
    } else {
        for (o, &byte) in out.iter_mut().zip(bytes) {
            *o = scale * (f32::from(byte) - zero) + min;
        }
    }
}

/// `sum(x · w)` over as many elements as `x` has, with `weight(i)` the i-th weight.
#[inline(always)]
pub(super) fn dot<const FMA: bool>(x: &[f32], weight: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let whole = x.len() / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        for (lane, acc) in lanes.iter_mut().enumerate() {
            *acc = fma::<FMA>(x[at + lane], weight(at + lane), *acc);
        }
    }
    let rest: f32 = (whole..x.len()).map(|i| x[i] * weight(i)).sum();
    lanes.iter().sum::<f32>() + rest
}

/// Dot products with rows of 4-bit codes. `x` is in groups of 32, even elements before odd ones.
#[inline(always)]
pub(super) fn dot4<const FMA: bool>(
    x: &[f32],
    codes: &[u8],
    form: &Form,
    scales: &Scales,
    k: usize,
    out: &mut [f32],
) {
    let (flip, bias) = (form.flip as u8, form.bias);
    for (row, (out, codes)) in out.iter_mut().zip(codes.chunks_exact(k / 2)).enumerate() {
        let mut lanes = [0.0f32; LANES];
        for (group, (bytes, x)) in codes.chunks_exact(16).zip(x.chunks_exact(32)).enumerate() {
            let scale = scales.at(row * k + group * 32);
            for lane in 0..LANES {
                let (low, high) = ((bytes[lane] & 15) ^ flip, (bytes[lane] >> 4) ^ flip);
                let (low, high) = (f32::from(low) - bias, f32::from(high) - bias);
                let part = fma::<FMA>(high, x[16 + lane], low * x[lane]);
                lanes[lane] = fma::<FMA>(part, scale, lanes[lane]);
            }
        }
        *out = lanes.iter().sum();
    }
}

/// Dot products with rows of codes, a unit at a time.
#[inline(always)]
pub(super) fn dot_codes<const FMA: bool>(
    x: &[f32],
    codes: &[u8],
    form: &Form,
    scales: &Scales,
    k: usize,
    out: &mut [f32],
) {
    let unit = scales.unit();
    let bytes = unit * form.bits / 8;
    let mut numbers = [0.0f32; UNIT];
    for (row, (out, codes)) in out.iter_mut().zip(codes.chunks_exact(k * form.bits / 8)).enumerate() {
        *out = 0.0;
        for (i, (codes, x)) in codes.chunks_exact(bytes).zip(x.chunks_exact(unit)).enumerate() {
            let numbers = &mut numbers[..unit];
            form.read(codes, numbers);
            *out = fma::<FMA>(dot::<FMA>(x, |i| numbers[i]), scales.at(row * k + i * unit), *out);
        }
    }
}

/// `out[i] = sum(weights[t] · x[taps[t] + i])`
#[inline(always)]
pub(super) fn window_sums<const FMA: bool>(x: &[f32], taps: &[usize], weights: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for (&tap, &weight) in taps.iter().zip(weights) {
        for (o, &x) in out.iter_mut().zip(&x[tap..]) {
            *o = fma::<FMA>(weight, x, *o);
        }
    }
}

/// `c[m][..32] (+)= a[k][m]ᵀ · b[k][..32]`
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) fn panel<const FMA: bool>(
    m: usize,
    k: usize,
    a: &[f32],
    b: &[f32],
    ldb: usize,
    c: &mut [f32],
    ldc: usize,
    add: bool,
) {
    for row in 0..m {
        let mut acc = [0.0f32; COLUMNS];
        let c = &mut c[row * ldc..row * ldc + COLUMNS];
        if add {
            acc.copy_from_slice(c);
        }
        for p in 0..k {
            let x = a[p * m + row];
            for (acc, &b) in acc.iter_mut().zip(&b[p * ldb..p * ldb + COLUMNS]) {
                *acc = fma::<FMA>(x, b, *acc);
            }
        }
        c.copy_from_slice(&acc);
    }
}

impl Scales<'_> {
    /// Scale of the block that holds element `at`, counted from the first row.
    #[inline(always)]
    pub fn at(&self, at: usize) -> f32 {
        scale_at(self.bytes, self.element, at / self.block)
    }
}
