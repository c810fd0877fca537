//! The only file of the CPU unit with unsafe code: instruction-set dispatch and intrinsics.
//!
//! Every function here is safe to call: lengths are asserted before pointers are formed, and a
//! function compiled for an instruction set is called only after [`level`] has found the set.
#![allow(unsafe_code)]

use coreai_asset::ElementType;

use super::vector;

/// Columns of a panel of B.
pub(super) const COLUMNS: usize = 32;

/// Most rows that [`panel`] takes.
pub(super) const ROWS: usize = 12;

/// Whether `mul_add` is one instruction without any detection.
const NATIVE_FMA: bool = cfg!(target_arch = "aarch64");

/// Scales of rows of codes, one per `block` elements; a row is a multiple of it.
#[derive(Clone, Copy)]
pub(super) struct Scales<'a> {
    pub bytes: &'a [u8],
    pub element: ElementType,
    /// Elements per scale.
    pub block: usize,
}

/// Functions of two floats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    /// NaN propagates; ties give the first.
    Max,
    /// NaN propagates; ties give the first.
    Min,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

/// The best set that this machine has; detected once.
#[inline]
fn level() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        static FOUND: std::sync::OnceLock<Level> = std::sync::OnceLock::new();
        *FOUND.get_or_init(|| {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq");
            match (avx2, avx512) {
                (true, true) => Level::Avx512,
                (true, false) => Level::Avx2,
                _ => Level::Portable,
            }
        })
    }
    #[cfg(not(target_arch = "x86_64"))]
    Level::Portable
}

/// Compiles a portable loop for each instruction set and picks one at run time.
macro_rules! compiled {
    ($( $(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)?; )*) => { $(
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        pub(super) fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
                fn wide($($arg: $ty),*) $(-> $ret)? { vector::$name::<true>($($arg),*) }
                #[target_feature(enable = "avx2,fma,f16c")]
                fn narrow($($arg: $ty),*) $(-> $ret)? { vector::$name::<true>($($arg),*) }
                match level() {
                    // SAFETY: `level` found the features.
                    Level::Avx512 => return unsafe { wide($($arg),*) },
                    // SAFETY: `level` found the features.
                    Level::Avx2 => return unsafe { narrow($($arg),*) },
                    Level::Portable => {}
                }
            }
            vector::$name::<NATIVE_FMA>($($arg),*)
        }
    )* };
}

compiled! {
    /// out = e^x
    fn exp_all(x: &[f32], out: &mut [f32]);
    /// out = σ(x)
    fn sigmoid_all(x: &[f32], out: &mut [f32]);
    /// out = x·σ(x)
    fn silu_all(x: &[f32], out: &mut [f32]);
    /// Gaussian error linear unit by tanh.
    fn gelu_tanh_all(x: &[f32], out: &mut [f32]);
    /// Error function.
    fn erf_all(x: &[f32], out: &mut [f32]);
    /// Gaussian error linear unit.
    fn gelu_all(x: &[f32], out: &mut [f32]);
    /// out = max(x, 0); NaN propagates, −0 stays
    fn relu_all(x: &[f32], out: &mut [f32]);
    /// out = f(a, b)
    fn binary(f: Binary, a: &[f32], b: &[f32], out: &mut [f32]);
    /// out = f(a, b)
    fn binary_scalar(f: Binary, a: &[f32], b: f32, out: &mut [f32]);
    /// out = min(max(a + b, low), high); NaN stays
    fn add_clamp(a: &[f32], b: f32, low: f32, high: f32, out: &mut [f32]);
    /// x = min(max(x, low), high); NaN stays
    fn clamp(x: &mut [f32], low: f32, high: f32);
    /// x = (x − mean)·inverse·gain + shift
    fn normal_all(x: &mut [f32], mean: f32, inverse: f32, gain: &[f32], shift: &[f32]);
    /// Replaces x by e^(x − max); their sum.
    fn exp_sum(x: &mut [f32], max: f32) -> f32;
    /// Sum.
    fn sum(x: &[f32]) -> f32;
    /// Sum of (x − mean)².
    fn deviation(x: &[f32], mean: f32) -> f32;
    /// Largest element, NaN if there is one.
    fn max(x: &[f32]) -> f32;
    /// y = the larger of x and y, NaN if one is
    fn max_into(x: &[f32], y: &mut [f32]);
    /// out[i] = x[2 i]
    fn evens(x: &[u32], out: &mut [u32]);
    /// y += x
    fn add_into(x: &[f32], y: &mut [f32]);
    /// Two codes per byte, the first in the low half.
    fn dequantize4(bytes: &[u8], signed: bool, scale: f32, zero: f32, min: f32, out: &mut [f32]);
    /// One code per byte.
    fn dequantize8(bytes: &[u8], signed: bool, scale: f32, zero: f32, min: f32, out: &mut [f32]);
}

/// Dispatches to the intrinsics of the detected set, or to `$portable`.
macro_rules! pick {
    ($name:ident $(::<$($generic:tt),*>)? ($($arg:expr),*), $portable:expr) => {{
        #[cfg(target_arch = "x86_64")]
        match level() {
            // SAFETY: `level` found the features; lengths were asserted by the caller of `pick`.
            Level::Avx512 => return unsafe { avx512::$name $(::<$($generic),*>)? ($($arg),*) },
            // SAFETY: as above.
            Level::Avx2 => return unsafe { avx2::$name $(::<$($generic),*>)? ($($arg),*) },
            Level::Portable => {}
        }
        $portable
    }};
}

/// Widens little-endian binary16.
pub(super) fn f16_to_f32(bytes: &[u8], out: &mut [f32]) {
    assert_eq!(bytes.len(), out.len() * 2);
    pick!(f16_to_f32(bytes, out), {
        for (o, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
            *o = half::f16::from_le_bytes([pair[0], pair[1]]).to_f32();
        }
    })
}

/// Rounds to little-endian binary16, ties to even, overflow to infinity.
pub(super) fn f32_to_f16(x: &[f32], bytes: &mut [u8]) {
    assert_eq!(bytes.len(), x.len() * 2);
    pick!(f32_to_f16(x, bytes), {
        for (pair, &x) in bytes.chunks_exact_mut(2).zip(x) {
            pair.copy_from_slice(&half::f16::from_f32(x).to_le_bytes());
        }
    })
}

/// Rounds each float to binary16 and back.
pub(super) fn round_f16(x: &mut [f32]) {
    let mut bytes = [0u8; 256];
    for piece in x.chunks_mut(128) {
        let bytes = &mut bytes[..piece.len() * 2];
        f32_to_f16(piece, bytes);
        f16_to_f32(bytes, piece);
    }
}

/// Dot product with plain weights: F32, F16 or BF16, little-endian.
pub(super) fn dot(x: &[f32], weights: &[u8], element: ElementType) -> f32 {
    let half = |i: usize| u16::from_le_bytes([weights[i * 2], weights[i * 2 + 1]]);
    match element {
        ElementType::F16 => {
            assert!(weights.len() >= x.len() * 2);
            pick!(dot::<1>(x, weights), {
                vector::dot::<NATIVE_FMA>(x, |i| half::f16::from_bits(half(i)).to_f32())
            })
        }
        ElementType::BF16 => {
            assert!(weights.len() >= x.len() * 2);
            pick!(dot::<2>(x, weights), {
                vector::dot::<NATIVE_FMA>(x, |i| f32::from_bits(u32::from(half(i)) << 16))
            })
        }
        _ => {
            assert!(weights.len() >= x.len() * 4);
            pick!(dot::<0>(x, weights), {
                vector::dot::<NATIVE_FMA>(x, |i| {
                    let w = &weights[i * 4..i * 4 + 4];
                    f32::from_le_bytes([w[0], w[1], w[2], w[3]])
                })
            })
        }
    }
}

/// Dot product of a row of bytes with its scales; `block` is a multiple of 16 or the whole row.
pub(super) fn dot8(x: &[f32], codes: &[u8], signed: bool, scales: &Scales) -> f32 {
    let mut sum = 0.0;
    for (i, (x, codes)) in x.chunks(scales.block).zip(codes.chunks(scales.block)).enumerate() {
        sum += scales.at(i * scales.block) * dot_bytes(x, codes, signed);
    }
    sum
}

fn dot_bytes(x: &[f32], codes: &[u8], signed: bool) -> f32 {
    assert!(codes.len() >= x.len());
    if signed {
        pick!(dot::<3>(x, codes), vector::dot::<NATIVE_FMA>(x, |i| f32::from(codes[i] as i8)))
    } else {
        pick!(dot::<4>(x, codes), vector::dot::<NATIVE_FMA>(x, |i| f32::from(codes[i])))
    }
}

/// Whether [`dot4`] takes rows of `k` codes in blocks of `block`.
pub(super) fn dot4_takes(k: usize, block: usize) -> bool {
    let fits = block == 32 || block == 64 || block.is_multiple_of(128) || block == k;
    k.is_multiple_of(32) && block != 0 && fits
}

/// How [`dot4`] wants its activations: `(group, per)`: inside a group of `group` elements, element
/// `i` moves to `i % per * (group / per) + i / per`. The last group is padded with zeros.
pub(super) fn dot4_order() -> (usize, usize) {
    match level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => (128, 8),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => (64, 8),
        Level::Portable => (32, 2),
    }
}

/// Dot products of consecutive rows of `k` 4-bit codes with reordered activations.
pub(super) fn dot4(x: &[f32], codes: &[u8], signed: bool, scales: &Scales, k: usize, out: &mut [f32]) {
    let rows = out.len();
    assert!(dot4_takes(k, scales.block) && x.len() >= k.next_multiple_of(dot4_order().0));
    assert!(codes.len() >= rows * k / 2);
    assert!(scales.bytes.len() >= rows * (k / scales.block) * super::quantized::scale_bytes(scales.element));
    pick!(dot4(x, codes, signed, scales, k, out), {
        vector::dot4::<NATIVE_FMA>(x, codes, signed, scales, k, out)
    })
}

/// `c[m][..32] (+)= a[k][m]ᵀ · b[k][..32]` with rows of b `ldb` and of c `ldc` apart; m ≤ [`ROWS`].
#[allow(clippy::too_many_arguments)]
pub(super) fn panel(
    m: usize,
    k: usize,
    a: &[f32],
    b: &[f32],
    ldb: usize,
    c: &mut [f32],
    ldc: usize,
    add: bool,
) {
    if m == 0 {
        return;
    }
    assert!(m <= ROWS && a.len() >= k * m && c.len() >= (m - 1) * ldc + COLUMNS);
    assert!(k == 0 || b.len() >= (k - 1) * ldb + COLUMNS);
    pick!(panel(m, k, a, b, ldb, c, ldc, add), vector::panel::<NATIVE_FMA>(m, k, a, b, ldb, c, ldc, add))
}

/// `out[i] = sum(weights[t] · x[taps[t] + i])`
pub(super) fn window_sums(x: &[f32], taps: &[usize], weights: &[f32], out: &mut [f32]) {
    let reach = taps.iter().max().copied().unwrap_or(0);
    assert!(taps.len() == weights.len() && reach <= x.len() && x.len() - reach >= out.len());
    pick!(window_sums(x, taps, weights, out), vector::window_sums::<NATIVE_FMA>(x, taps, weights, out))
}

/// The algorithms that both x86 sets share, over the module's `V`, `LANES` and primitives.
#[cfg(target_arch = "x86_64")]
macro_rules! kernels {
    ($features:literal) => {
        /// Weights: 0 f32, 1 f16, 2 bf16, 3 i8, 4 u8.
        #[target_feature(enable = $features)]
        pub unsafe fn dot<const W: u8>(x: &[f32], weights: &[u8]) -> f32 {
            let n = x.len();
            let (x, w) = (x.as_ptr(), weights.as_ptr());
            // SAFETY: indices stay below n; the caller asserted n weights.
            unsafe {
                let mut acc = [zero(); 4];
                let mut i = 0;
                while i + 4 * LANES <= n {
                    for j in 0..4 {
                        let at = i + j * LANES;
                        acc[j] = fma(load(x.add(at)), weights_at::<W>(w, at), acc[j]);
                    }
                    i += 4 * LANES;
                }
                while i + LANES <= n {
                    acc[0] = fma(load(x.add(i)), weights_at::<W>(w, i), acc[0]);
                    i += LANES;
                }
                let mut sum = total(add(add(acc[0], acc[1]), add(acc[2], acc[3])));
                if i < n {
                    // The rest through a padded copy, so that no load passes the end.
                    let size = [4, 2, 2, 1, 1][W as usize];
                    let (mut px, mut pw) = ([0f32; LANES], [0u8; LANES * 4]);
                    std::ptr::copy_nonoverlapping(x.add(i), px.as_mut_ptr(), n - i);
                    std::ptr::copy_nonoverlapping(w.add(i * size), pw.as_mut_ptr(), (n - i) * size);
                    sum += total(fma(load(px.as_ptr()), weights_at::<W>(pw.as_ptr(), 0), zero()));
                }
                sum
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn weights_at<const W: u8>(w: *const u8, at: usize) -> V {
            // SAFETY: LANES weights from `at` exist.
            unsafe {
                match W {
                    0 => load(w.add(at * 4).cast()),
                    1 => load_f16(w.add(at * 2)),
                    2 => load_bf16(w.add(at * 2)),
                    3 => load_i8(w.add(at)),
                    _ => load_u8(w.add(at)),
                }
            }
        }

        #[target_feature(enable = $features)]
        pub unsafe fn f16_to_f32(bytes: &[u8], out: &mut [f32]) {
            let whole = out.len() / LANES * LANES;
            // SAFETY: bytes is twice as long as out.
            unsafe {
                for i in (0..whole).step_by(LANES) {
                    save(out.as_mut_ptr().add(i), load_f16(bytes.as_ptr().add(i * 2)));
                }
            }
            for i in whole..out.len() {
                out[i] = half::f16::from_le_bytes([bytes[i * 2], bytes[i * 2 + 1]]).to_f32();
            }
        }

        #[target_feature(enable = $features)]
        pub unsafe fn f32_to_f16(x: &[f32], bytes: &mut [u8]) {
            let whole = x.len() / LANES * LANES;
            // SAFETY: bytes is twice as long as x.
            unsafe {
                for i in (0..whole).step_by(LANES) {
                    save_f16(bytes.as_mut_ptr().add(i * 2), load(x.as_ptr().add(i)));
                }
            }
            for i in whole..x.len() {
                bytes[i * 2..i * 2 + 2].copy_from_slice(&half::f16::from_f32(x[i]).to_le_bytes());
            }
        }

        #[target_feature(enable = $features)]
        pub unsafe fn window_sums(x: &[f32], taps: &[usize], weights: &[f32], out: &mut [f32]) {
            let n = out.len();
            if n < LANES {
                return super::super::vector::window_sums::<true>(x, taps, weights, out);
            }
            // SAFETY: every tap was asserted to have n elements of x from it on.
            unsafe {
                let mut i = 0;
                while i + 4 * LANES <= n {
                    sums::<4>(x.as_ptr().add(i), taps, weights, out.as_mut_ptr().add(i));
                    i += 4 * LANES;
                }
                while i < n {
                    // The last vector may overlap the one before.
                    i = i.min(n - LANES);
                    sums::<1>(x.as_ptr().add(i), taps, weights, out.as_mut_ptr().add(i));
                    i += LANES;
                }
            }
        }

        /// `N` vectors of window sums.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn sums<const N: usize>(x: *const f32, taps: &[usize], weights: &[f32], out: *mut f32) {
            // SAFETY: N vectors of x from every tap on and of out exist.
            unsafe {
                let mut acc = [zero(); N];
                for (&tap, &weight) in taps.iter().zip(weights) {
                    let weight = splat(weight);
                    for (j, acc) in acc.iter_mut().enumerate() {
                        *acc = fma(load(x.add(tap + j * LANES)), weight, *acc);
                    }
                }
                for (j, acc) in acc.into_iter().enumerate() {
                    save(out.add(j * LANES), acc);
                }
            }
        }

        /// `M` rows of c by two vectors of columns; `step` is the number of rows packed in a.
        #[target_feature(enable = $features)]
        #[allow(clippy::too_many_arguments)]
        unsafe fn tile<const M: usize>(
            k: usize,
            a: *const f32,
            step: usize,
            b: *const f32,
            ldb: usize,
            c: *mut f32,
            ldc: usize,
            more: bool,
        ) {
            // SAFETY: `panel`'s lengths were asserted; tiles lie inside the panel.
            unsafe {
                let mut acc = [[zero(); 2]; M];
                if more {
                    for i in 0..M {
                        acc[i] = [load(c.add(i * ldc)), load(c.add(i * ldc + LANES))];
                    }
                }
                for p in 0..k {
                    let (b0, b1) = (load(b.add(p * ldb)), load(b.add(p * ldb + LANES)));
                    for i in 0..M {
                        let x = splat(*a.add(p * step + i));
                        acc[i] = [fma(x, b0, acc[i][0]), fma(x, b1, acc[i][1])];
                    }
                }
                for i in 0..M {
                    save(c.add(i * ldc), acc[i][0]);
                    save(c.add(i * ldc + LANES), acc[i][1]);
                }
            }
        }

        #[target_feature(enable = $features)]
        #[allow(clippy::too_many_arguments)]
        pub unsafe fn panel(
            m: usize,
            k: usize,
            a: &[f32],
            b: &[f32],
            ldb: usize,
            c: &mut [f32],
            ldc: usize,
            more: bool,
        ) {
            let mut row = 0;
            while row < m {
                let rows = (m - row).min(TILE);
                let mut column = 0;
                while column < super::COLUMNS {
                    // SAFETY: lengths were asserted by `super::panel`.
                    unsafe {
                        let (a, b) = (a.as_ptr().add(row.min(a.len())), b.as_ptr().add(column.min(b.len())));
                        let c = c.as_mut_ptr().add(row * ldc + column);
                        match rows {
                            1 => tile::<1>(k, a, m, b, ldb, c, ldc, more),
                            2 => tile::<2>(k, a, m, b, ldb, c, ldc, more),
                            3 => tile::<3>(k, a, m, b, ldb, c, ldc, more),
                            4 => tile::<4>(k, a, m, b, ldb, c, ldc, more),
                            5 => tile::<5>(k, a, m, b, ldb, c, ldc, more),
                            6 => tile::<6>(k, a, m, b, ldb, c, ldc, more),
                            7 => tile::<7>(k, a, m, b, ldb, c, ldc, more),
                            8 => tile::<8>(k, a, m, b, ldb, c, ldc, more),
                            9 => tile::<9>(k, a, m, b, ldb, c, ldc, more),
                            10 => tile::<10>(k, a, m, b, ldb, c, ldc, more),
                            11 => tile::<11>(k, a, m, b, ldb, c, ldc, more),
                            _ => tile::<12>(k, a, m, b, ldb, c, ldc, more),
                        }
                    }
                    column += 2 * LANES;
                }
                row += rows;
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
#[path = "avx2.rs"]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[path = "avx512.rs"]
mod avx512;

#[cfg(all(test, target_arch = "x86_64"))]
#[path = "tests/simd.rs"]
mod tests;
