//! The only file of the CPU unit with unsafe code: instruction-set dispatch and intrinsics.
//!
//! Every function here is safe to call: lengths are asserted before pointers are formed, and a
//! function compiled for an instruction set is called only after [`level`] has found the set.
#![allow(unsafe_code)]

use coreai_asset::ElementType;

use super::vector;
use crate::step::Meaning;

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

impl Scales<'_> {
    /// Elements that surely share a scale, at most [`UNIT`]: the largest power of two that divides a block.
    pub fn unit(&self) -> usize {
        UNIT.min(self.block & self.block.wrapping_neg())
    }

    /// The scales of units from element `start` on.
    #[cfg(target_arch = "x86_64")]
    fn of_units(&self, start: usize, unit: usize, out: &mut [f32]) {
        if self.element == ElementType::F16 && self.block == unit {
            let first = start / unit * 2;
            return f16_to_f32(&self.bytes[first..first + out.len() * 2], out);
        }
        for (i, out) in out.iter_mut().enumerate() {
            *out = self.at(start + i * unit);
        }
    }
}

/// Bytes of a cache line, as far as it matters.
#[cfg(target_arch = "x86_64")]
const CACHE_LINE: usize = 64;

/// How many bytes before they are multiplied codes are fetched. Rows follow each other, so that they are
/// nearly always those of rows to come.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 4096;

/// Most elements that [`dot_codes`] multiplies by one scale.
pub(super) const UNIT: usize = 64;

/// How codes become numbers: a code of `bits` bits stands for `(code ^ flip) − bias`, or where
/// `table_only` is set only for its entry of `table`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub bits: usize,
    signed: bool,
    /// Turns a signed code into one that counts from 0.
    pub flip: u32,
    pub bias: f32,
    /// What all codes are less, of `bias`.
    pub less: f32,
    /// What every code of at most 4 bits stands for.
    table: [f32; 16],
    /// The codes do not just count.
    pub table_only: bool,
}

impl Form {
    /// `None` for a table of more than 16 entries that do not just count.
    pub fn new(bits: usize, signed: bool, meaning: &Meaning) -> Option<Form> {
        let table_only = matches!(meaning, Meaning::Table(_));
        let flip = if signed { 1u32 << (bits - 1) } else { 0 };
        let less = if let Meaning::Less(zero) = meaning { f32::from(*zero) } else { 0.0 };
        let mut table = [0.0; 16];
        if bits <= 4 {
            for (code, entry) in table.iter_mut().enumerate().take(1 << bits) {
                *entry = meaning.value((code as u32 ^ flip) as i32 - flip as i32);
            }
        }
        let form = Form { bits, signed, flip, bias: less + flip as f32, less, table, table_only };
        (bits <= 4 || !table_only).then_some(form)
    }

    /// Whether [`dot_codes`] reads these codes as vectors and not one by one.
    pub fn is_fast(&self) -> bool {
        !self.table_only || looks_up()
    }

    /// The numbers of dense codes that begin at a whole byte.
    pub fn read(&self, codes: &[u8], out: &mut [f32]) {
        for (i, out) in out.iter_mut().enumerate() {
            let at = i * self.bits;
            let high = codes.get(at / 8 + 1).copied().unwrap_or(0);
            let code = u32::from(u16::from_le_bytes([codes[at / 8], high])) >> (at % 8);
            let code = code & ((1 << self.bits) - 1);
            *out = if self.table_only {
                self.table[code as usize & 15]
            } else {
                (code ^ self.flip) as f32 - self.bias
            };
        }
    }
}

/// Whether vectors of 16 floats can be looked up in a table of 16.
fn looks_up() -> bool {
    match level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => true,
        _ => false,
    }
}

/// Minimums of rows of blocks of 32 elements in binary16, and the sums of the activations' blocks.
#[derive(Clone, Copy)]
pub(super) struct Minimums<'a> {
    pub bytes: &'a [u8],
    pub sums: &'a [f32],
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
    /// x = scale * (x − zero) + min
    fn scale_all(scale: f32, zero: f32, min: f32, x: &mut [f32]);
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

/// Whether [`dot_codes`] takes rows of `k` codes in blocks of `block`.
pub(super) fn dot_codes_takes(k: usize, block: usize) -> bool {
    k > 0 && block > 0 && k.is_multiple_of(block) && block.is_multiple_of(16)
}

/// Dot products of consecutive rows of `k` codes.
pub(super) fn dot_codes(x: &[f32], codes: &[u8], form: &Form, scales: &Scales, k: usize, out: &mut [f32]) {
    let rows = out.len();
    assert!(dot_codes_takes(k, scales.block) && x.len() >= k);
    assert!(codes.len() >= rows * k * form.bits / 8);
    assert!(scales.bytes.len() >= rows * (k / scales.block) * super::quantized::scale_bytes(scales.element));
    let portable = |out: &mut [f32]| vector::dot_codes::<NATIVE_FMA>(x, codes, form, scales, k, out);
    if !form.is_fast() {
        return portable(out);
    }
    match (form.bits, form.signed) {
        (8, true) if form.less == 0.0 => {
            pick!(dot_codes::<9>(x, codes, form, scales, k, out), portable(out))
        }
        (8, true) => pick!(dot_codes::<10>(x, codes, form, scales, k, out), portable(out)),
        (8, false) => pick!(dot_codes::<8>(x, codes, form, scales, k, out), portable(out)),
        (6, _) => pick!(dot_codes::<6>(x, codes, form, scales, k, out), portable(out)),
        (4, _) => pick!(dot_codes::<4>(x, codes, form, scales, k, out), portable(out)),
        (3, _) => pick!(dot_codes::<3>(x, codes, form, scales, k, out), portable(out)),
        (2, _) => pick!(dot_codes::<2>(x, codes, form, scales, k, out), portable(out)),
        (1, _) => pick!(dot_codes::<1>(x, codes, form, scales, k, out), portable(out)),
        _ => portable(out),
    }
}

/// `out = scale * (number − zero) + min` over dense codes that begin and end at a whole byte.
pub(super) fn dequantize(bytes: &[u8], form: &Form, scale: f32, zero: f32, min: f32, out: &mut [f32]) {
    assert!(bytes.len() >= (out.len() * form.bits).div_ceil(8));
    let mut done = 0;
    if form.is_fast() && form.bits <= 6 {
        done = match form.bits {
            6 => numbers::<6>(bytes, form, out),
            4 => numbers::<4>(bytes, form, out),
            3 => numbers::<3>(bytes, form, out),
            2 => numbers::<2>(bytes, form, out),
            1 => numbers::<1>(bytes, form, out),
            _ => 0,
        };
    }
    form.read(&bytes[done * form.bits / 8..], &mut out[done..]);
    scale_all(scale, zero, min, out);
}

/// The numbers of as many codes as fill whole vectors; their count, a multiple of 8.
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
fn numbers<const B: u8>(bytes: &[u8], form: &Form, out: &mut [f32]) -> usize {
    pick!(numbers::<B>(bytes, form, out), 0)
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

/// Whether [`dot4`] adds minimums while it multiplies.
pub(super) fn dot4_adds(scales: &Scales) -> bool {
    looks_up() && scales.block == 32 && scales.element == ElementType::F16
}

/// Dot products of consecutive rows of `k` 4-bit codes with reordered activations. Minimums only where
/// [`dot4_adds`] them; a form of a table only where it [is fast](Form::is_fast).
pub(super) fn dot4(
    x: &[f32],
    codes: &[u8],
    form: &Form,
    scales: &Scales,
    minimums: Option<Minimums>,
    k: usize,
    out: &mut [f32],
) {
    let rows = out.len();
    assert!(dot4_takes(k, scales.block) && x.len() >= k.next_multiple_of(dot4_order().0));
    assert!(form.bits == 4 && form.is_fast() && codes.len() >= rows * k / 2);
    assert!(scales.bytes.len() >= rows * (k / scales.block) * super::quantized::scale_bytes(scales.element));
    if let Some(minimums) = &minimums {
        assert!(dot4_adds(scales) && minimums.bytes.len() >= rows * (k / 32) * 2);
        assert!(minimums.sums.len() >= k / 32);
    }
    #[cfg(target_arch = "x86_64")]
    if let (Level::Avx512, Some(minimums)) = (level(), minimums) {
        // SAFETY: `level` found the features; lengths were asserted.
        return unsafe { avx512::dot4::<true>(x, codes, form, scales, minimums, k, out) };
    }
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx512 {
        let none = Minimums { bytes: &[], sums: &[] };
        // SAFETY: as above.
        return unsafe { avx512::dot4::<false>(x, codes, form, scales, none, k, out) };
    }
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx2 {
        // SAFETY: as above.
        return unsafe { avx2::dot4(x, codes, form, scales, k, out) };
    }
    vector::dot4::<NATIVE_FMA>(x, codes, form, scales, k, out);
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
        /// Weights: 0 f32, 1 f16, 2 bf16.
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
                    let size = [4, 2, 2][W as usize];
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
                    _ => load_bf16(w.add(at * 2)),
                }
            }
        }

        /// Rows of codes of `B` bits; 9 is for signed bytes, 10 for signed bytes less a number.
        #[target_feature(enable = $features)]
        pub unsafe fn dot_codes<const B: u8>(
            x: &[f32],
            codes: &[u8],
            form: &Form,
            scales: &Scales,
            k: usize,
            out: &mut [f32],
        ) {
            let reader = reader::<B>(form);
            // SAFETY: `super::dot_codes` asserted that codes and scales cover all rows.
            unsafe {
                match scales.unit() {
                    16 => code_rows::<B, 16>(x, codes, &reader, scales, k, out),
                    32 => code_rows::<B, 32>(x, codes, &reader, scales, k, out),
                    _ => code_rows::<B, { super::UNIT }>(x, codes, &reader, scales, k, out),
                }
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn code_rows<const B: u8, const U: usize>(
            x: &[f32],
            codes: &[u8],
            reader: &Reader,
            scales: &Scales,
            k: usize,
            out: &mut [f32],
        ) {
            let mut row = 0;
            while row < out.len() {
                // SAFETY: as for `dot_codes`.
                unsafe {
                    if out.len() - row >= 4 {
                        some_rows::<B, U, 4>(x, codes, reader, scales, k, row, &mut out[row..row + 4]);
                        row += 4;
                    } else {
                        some_rows::<B, U, 1>(x, codes, reader, scales, k, row, &mut out[row..row + 1]);
                        row += 1;
                    }
                }
            }
        }

        /// `R` rows from `row` on at once, so that activations are loaded once; units of `U` elements.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn some_rows<const B: u8, const U: usize, const R: usize>(
            x: &[f32],
            codes: &[u8],
            reader: &Reader,
            scales: &Scales,
            k: usize,
            row: usize,
            out: &mut [f32],
        ) {
            // Elements whose scales are widened at once: a multiple of every unit.
            const DEPTH: usize = 1024;
            let bits = if B > 8 { 8 } else { usize::from(B) };
            // Every multiple of 8 codes ends at a byte, and so does a row.
            let bytes = |codes: usize| codes / 8 * bits;
            // Units that fill a cache line, less what is left over.
            let line = (CACHE_LINE / bytes(U)).max(1);
            let start = codes.as_ptr().wrapping_add(row * bytes(k));
            let mut factors = [[0f32; DEPTH / 16]; R];
            // SAFETY: indices stay below k, and codes have as many bits in every row.
            unsafe {
                let mut acc = [zero(); R];
                for from in (0..k).step_by(DEPTH) {
                    let units = DEPTH.min(k - from) / U;
                    // Scales of short rows are widened together.
                    let whole = units * U == k;
                    let pitch = if whole { units } else { DEPTH / 16 };
                    let factors = factors.as_flattened_mut();
                    if whole {
                        scales.of_units(row * k, U, &mut factors[..R * units]);
                    } else {
                        for (r, factors) in factors.chunks_exact_mut(pitch).enumerate() {
                            scales.of_units((row + r) * k + from, U, &mut factors[..units]);
                        }
                    }
                    let factors = &factors[..(R - 1) * pitch + units];
                    for u in 0..units {
                        let at = from + u * U;
                        if u.is_multiple_of(line) {
                            for r in 0..R {
                                prefetch(start.wrapping_add(r * bytes(k) + bytes(at) + AHEAD));
                            }
                        }
                        let mut part = [zero(); R];
                        for v in 0..U / LANES {
                            let x = load(x.as_ptr().add(at + v * LANES));
                            for (r, part) in part.iter_mut().enumerate() {
                                let p = start.add(r * bytes(k) + bytes(at) + bytes(v * LANES));
                                *part = fma(code_numbers::<B>(p, reader), x, *part);
                            }
                        }
                        for (r, acc) in acc.iter_mut().enumerate() {
                            *acc = fma(part[r], splat(*factors.get_unchecked(r * pitch + u)), *acc);
                        }
                    }
                }
                for (out, acc) in out.iter_mut().zip(acc) {
                    *out = total(acc);
                }
            }
        }

        /// The numbers of the codes that fill whole vectors; how many.
        #[target_feature(enable = $features)]
        pub unsafe fn numbers<const B: u8>(bytes: &[u8], form: &Form, out: &mut [f32]) -> usize {
            let whole = out.len() / LANES * LANES;
            let reader = reader::<B>(form);
            for i in (0..whole).step_by(LANES) {
                // SAFETY: bytes hold as many codes as out has elements.
                unsafe {
                    let numbers = code_numbers::<B>(bytes.as_ptr().add(i * form.bits / 8), &reader);
                    save(out.as_mut_ptr().add(i), numbers);
                }
            }
            whole
        }

        /// Where codes of `bits` bits lie: for each lane its two bytes, as a shuffle of bytes takes them, and
        /// the bit in them.
        const fn places(bits: usize) -> ([i8; LANES * 4], [i32; LANES]) {
            let (mut bytes, mut shifts) = ([-1; LANES * 4], [0; LANES]);
            let mut lane = 0;
            while lane < LANES {
                let byte = (lane * bits / 8) as i8;
                (bytes[lane * 4], bytes[lane * 4 + 1]) = (byte, byte + 1);
                shifts[lane] = (lane * bits % 8) as i32;
                lane += 1;
            }
            (bytes, shifts)
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
