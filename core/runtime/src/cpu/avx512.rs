//! 16 lanes. Part of `simd.rs`, which checks lengths and features.

use std::arch::x86_64::*;

use coreai_asset::ElementType;

use super::Scales;

type V = __m512;
const LANES: usize = 16;
/// Rows of a tile: 24 accumulators, two columns of b and one broadcast fit 32 registers.
const TILE: usize = 12;

/// Defines a primitive of one or two intrinsics.
macro_rules! primitive {
    ($name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)? $body:block) => {
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
        unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
            // SAFETY: pointers are valid for a whole vector, as `super::kernels` sees to.
            #[allow(unused_unsafe)]
            unsafe { $body }
        }
    };
}

primitive!(zero() -> V { _mm512_setzero_ps() });
primitive!(splat(x: f32) -> V { _mm512_set1_ps(x) });
primitive!(load(p: *const f32) -> V { _mm512_loadu_ps(p) });
primitive!(save(p: *mut f32, v: V) { _mm512_storeu_ps(p, v) });
primitive!(fma(a: V, b: V, c: V) -> V { _mm512_fmadd_ps(a, b, c) });
primitive!(add(a: V, b: V) -> V { _mm512_add_ps(a, b) });
primitive!(total(v: V) -> f32 { _mm512_reduce_add_ps(v) });
primitive!(load_f16(p: *const u8) -> V { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) });
primitive!(save_f16(p: *mut u8, v: V) {
    _mm256_storeu_si256(p.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v))
});
primitive!(load_bf16(p: *const u8) -> V {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()))))
});
primitive!(load_i8(p: *const u8) -> V { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()))) });
primitive!(load_u8(p: *const u8) -> V { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()))) });

kernels!("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c");

// Sum of 128 products: eight codes per word, looked up in a table of 16 values.
primitive!(group(x: *const f32, words: __m512i, table: V) -> V {
    let mut even = _mm512_mul_ps(_mm512_permutexvar_ps(words, table), load(x));
    let mut odd = _mm512_mul_ps(_mm512_permutexvar_ps(_mm512_srli_epi32::<4>(words), table), load(x.add(16)));
    even = fma(_mm512_permutexvar_ps(_mm512_srli_epi32::<8>(words), table), load(x.add(32)), even);
    odd = fma(_mm512_permutexvar_ps(_mm512_srli_epi32::<12>(words), table), load(x.add(48)), odd);
    even = fma(_mm512_permutexvar_ps(_mm512_srli_epi32::<16>(words), table), load(x.add(64)), even);
    odd = fma(_mm512_permutexvar_ps(_mm512_srli_epi32::<20>(words), table), load(x.add(80)), odd);
    even = fma(_mm512_permutexvar_ps(_mm512_srli_epi32::<24>(words), table), load(x.add(96)), even);
    odd = fma(_mm512_permutexvar_ps(_mm512_srli_epi32::<28>(words), table), load(x.add(112)), odd);
    add(even, odd)
});

/// Activations in groups of 128: lane `l` of vector `j` is element `8 l + j`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
pub unsafe fn dot4(x: &[f32], codes: &[u8], signed: bool, scales: &Scales) -> f32 {
    let high = if signed { -16.0 } else { 0.0 };
    let table = _mm512_add_ps(
        _mm512_setr_ps(0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.),
        _mm512_mask_blend_ps(0xff00, _mm512_setzero_ps(), _mm512_set1_ps(high)),
    );
    // A word holds 8 codes, so four lanes share the scale of 32 elements.
    let quarters = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    let k = codes.len() * 2;
    let whole = k / 128;
    let direct = scales.block == 32 && scales.element == ElementType::F16;
    // SAFETY: `super::dot4` asserted that x covers all groups, and codes and scales the row.
    unsafe {
        let mut acc = zero();
        for g in 0..whole {
            let words = _mm512_loadu_si512(codes.as_ptr().add(g * 64).cast());
            let part = group(x.as_ptr().add(g * 128), words, table);
            let four = four_scales(scales, direct, g * 128, 4);
            acc = fma(part, _mm512_permutexvar_ps(quarters, _mm512_castps128_ps512(four)), acc);
        }
        let rest = k % 128;
        if rest > 0 {
            let mask = (1u32 << (rest / 8)) - 1;
            let words = _mm512_maskz_loadu_epi32(mask as u16, codes.as_ptr().add(whole * 64).cast());
            let part = group(x.as_ptr().add(whole * 128), words, table);
            let four = four_scales(scales, direct, whole * 128, rest / 32);
            acc = fma(part, _mm512_permutexvar_ps(quarters, _mm512_castps128_ps512(four)), acc);
        }
        total(acc)
    }
}

/// Scales of `count` ≤ 4 runs of 32 elements from `at`; the others are 0. `direct`: they are `count`
/// consecutive halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
unsafe fn four_scales(scales: &Scales, direct: bool, at: usize, count: usize) -> __m128 {
    if direct {
        let mask = (1u8 << count) - 1;
        // SAFETY: `super::dot4` asserted a scale for every 32 elements; the mask hides the others.
        return unsafe {
            _mm_cvtph_ps(_mm_maskz_loadu_epi16(mask, scales.bytes.as_ptr().add(at / 32 * 2).cast()))
        };
    }
    let mut four = [0.0f32; 4];
    for (i, scale) in four.iter_mut().enumerate().take(count) {
        *scale = scales.at(at + i * 32);
    }
    _mm_setr_ps(four[0], four[1], four[2], four[3])
}
