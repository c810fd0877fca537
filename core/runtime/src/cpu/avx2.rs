//! 8 lanes. Part of `simd.rs`, which checks lengths and features.

use std::arch::x86_64::*;

use super::{AHEAD, CACHE_LINE, Form, Scales};

type V = __m256;
const LANES: usize = 8;
/// Rows of a tile: 12 accumulators, two columns of b and one broadcast fit 16 registers.
const TILE: usize = 6;

/// Defines a primitive of a few intrinsics.
macro_rules! primitive {
    ($name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)? $body:block) => {
        #[inline]
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
            // SAFETY: pointers are valid for a whole vector, as `super::kernels` sees to.
            #[allow(unused_unsafe)]
            unsafe { $body }
        }
    };
}

primitive!(zero() -> V { _mm256_setzero_ps() });
primitive!(splat(x: f32) -> V { _mm256_set1_ps(x) });
primitive!(load(p: *const f32) -> V { _mm256_loadu_ps(p) });
primitive!(save(p: *mut f32, v: V) { _mm256_storeu_ps(p, v) });
primitive!(fma(a: V, b: V, c: V) -> V { _mm256_fmadd_ps(a, b, c) });
primitive!(add(a: V, b: V) -> V { _mm256_add_ps(a, b) });
primitive!(total(v: V) -> f32 {
    let half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
});
primitive!(prefetch(p: *const u8) { _mm_prefetch::<_MM_HINT_T0>(p.cast()) });
primitive!(load_f16(p: *const u8) -> V { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) });
primitive!(save_f16(p: *mut u8, v: V) {
    _mm_storeu_si128(p.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v))
});
primitive!(load_bf16(p: *const u8) -> V {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()))))
});
primitive!(load_i8(p: *const u8) -> V { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast()))) });
primitive!(load_u8(p: *const u8) -> V { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast()))) });

kernels!("avx2,fma,f16c");

/// What [`code_numbers`] keeps in registers.
struct Reader {
    bytes: __m256i,
    shifts: __m256i,
    mask: __m256i,
    flip: __m256i,
    bias: V,
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn reader<const B: u8>(form: &Form) -> Reader {
    let (bytes, shifts) = const { places(B as usize) };
    // Bytes that are extended with their sign need not be made to count from 0.
    let bias = if B > 8 { form.less } else { form.bias };
    // SAFETY: the arrays are as long as a vector.
    unsafe {
        Reader {
            bytes: _mm256_loadu_si256(bytes.as_ptr().cast()),
            shifts: _mm256_loadu_si256(shifts.as_ptr().cast()),
            mask: _mm256_set1_epi32((1 << form.bits) - 1),
            flip: _mm256_set1_epi32(form.flip as i32),
            bias: splat(bias),
        }
    }
}

/// The numbers of 8 codes; reads no byte beyond them.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn code_numbers<const B: u8>(p: *const u8, reader: &Reader) -> V {
    // SAFETY: 8 codes from `p` on, a byte for each bit of one, exist.
    unsafe {
        let half = |at: usize| u64::from(p.add(at).cast::<u16>().read_unaligned());
        let bytes = match B {
            8 => return _mm256_sub_ps(load_u8(p), reader.bias),
            9 => return load_i8(p),
            10 => return _mm256_sub_ps(load_i8(p), reader.bias),
            1 => u64::from(p.read()),
            2 => half(0),
            3 => half(0) | u64::from(p.add(2).read()) << 16,
            4 => half(0) | half(2) << 16,
            _ => half(0) | half(2) << 16 | half(4) << 32,
        };
        let spread = _mm256_shuffle_epi8(_mm256_set1_epi64x(bytes as i64), reader.bytes);
        let codes = _mm256_and_si256(_mm256_srlv_epi32(spread, reader.shifts), reader.mask);
        _mm256_sub_ps(_mm256_cvtepi32_ps(_mm256_xor_si256(codes, reader.flip)), reader.bias)
    }
}

/// Activations in groups of 64: lane `l` of vector `j` is element `8 l + j`. Rows of `k` codes and
/// of `k / block` scales follow each other.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn dot4(x: &[f32], codes: &[u8], form: &Form, scales: &Scales, k: usize, out: &mut [f32]) {
    for (row, out) in out.iter_mut().enumerate() {
        // SAFETY: `super::dot4` asserted that x covers all groups, and codes and scales all rows.
        *out = unsafe { row4(x, &codes[row * k / 2..(row + 1) * k / 2], form, scales, row * k) };
    }
}

/// One row, which begins at element `start`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn row4(x: &[f32], codes: &[u8], form: &Form, scales: &Scales, start: usize) -> f32 {
    let flip = _mm256_set1_epi32((form.flip * 0x1111_1111) as i32);
    // An integer of few bits.
    let bias = _mm256_set1_epi32(form.bias as i32);
    let nibble = _mm256_set1_epi32(15);
    let k = codes.len() * 2;
    // SAFETY: as for `dot4`.
    unsafe {
        let mut acc = zero();
        for at in (0..k).step_by(64) {
            let half = k - at < 64;
            let p = codes.as_ptr().add(at / 2);
            let words = if half {
                _mm256_zextsi128_si256(_mm_loadu_si128(p.cast()))
            } else {
                _mm256_loadu_si256(p.cast())
            };
            let mut words = _mm256_xor_si256(words, flip);
            let x = x.as_ptr().add(at);
            let mut parts = [zero(); 2];
            for j in 0..8 {
                let code = _mm256_sub_epi32(_mm256_and_si256(words, nibble), bias);
                parts[j % 2] = fma(_mm256_cvtepi32_ps(code), load(x.add(j * LANES)), parts[j % 2]);
                words = _mm256_srli_epi32::<4>(words);
            }
            // A word holds 8 codes, so four lanes share the scale of 32 elements.
            let low = scales.at(start + at);
            let high = if half { 0.0 } else { scales.at(start + at + 32) };
            acc = fma(add(parts[0], parts[1]), _mm256_set_m128(_mm_set1_ps(high), _mm_set1_ps(low)), acc);
        }
        total(acc)
    }
}
