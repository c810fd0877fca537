//! 16 lanes. Part of `simd.rs`, which checks lengths and features.

use std::arch::x86_64::*;

use coreai_asset::ElementType;

use super::super::quantized::scale_bytes;
use super::{AHEAD, CACHE_LINE, Form, Minimums, Scales};

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
primitive!(prefetch(p: *const u8) { _mm_prefetch::<_MM_HINT_T0>(p.cast()) });
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

/// Sum of 128 products per lane group: eight codes per word, looked up in a table of 16 values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
fn group(x: &[V; 8], words: __m512i, table: V) -> V {
    let mut even = _mm512_mul_ps(_mm512_permutexvar_ps(words, table), x[0]);
    let mut odd = _mm512_mul_ps(_mm512_permutexvar_ps(_mm512_srli_epi32::<4>(words), table), x[1]);
    even = _mm512_fmadd_ps(_mm512_permutexvar_ps(_mm512_srli_epi32::<8>(words), table), x[2], even);
    odd = _mm512_fmadd_ps(_mm512_permutexvar_ps(_mm512_srli_epi32::<12>(words), table), x[3], odd);
    even = _mm512_fmadd_ps(_mm512_permutexvar_ps(_mm512_srli_epi32::<16>(words), table), x[4], even);
    odd = _mm512_fmadd_ps(_mm512_permutexvar_ps(_mm512_srli_epi32::<20>(words), table), x[5], odd);
    even = _mm512_fmadd_ps(_mm512_permutexvar_ps(_mm512_srli_epi32::<24>(words), table), x[6], even);
    odd = _mm512_fmadd_ps(_mm512_permutexvar_ps(_mm512_srli_epi32::<28>(words), table), x[7], odd);
    _mm512_add_ps(even, odd)
}

/// What [`code_numbers`] keeps in registers.
struct Reader {
    bytes: __m512i,
    shifts: __m512i,
    mask: __m512i,
    bias: V,
    table: V,
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
fn reader<const B: u8>(form: &Form) -> Reader {
    let (bytes, shifts) = const { places(B as usize) };
    // Bytes that are extended with their sign need not be made to count from 0.
    let bias = if B > 8 { form.less } else { form.bias };
    // SAFETY: the arrays are as long as a vector.
    unsafe {
        Reader {
            bytes: _mm512_loadu_si512(bytes.as_ptr().cast()),
            shifts: _mm512_loadu_si512(shifts.as_ptr().cast()),
            mask: _mm512_set1_epi32((1 << form.bits) - 1),
            bias: splat(bias),
            table: load(form.table.as_ptr()),
        }
    }
}

/// The numbers of 16 codes; reads no byte beyond them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
unsafe fn code_numbers<const B: u8>(p: *const u8, reader: &Reader) -> V {
    // SAFETY: 16 codes from `p` on exist.
    unsafe {
        match B {
            8 => return _mm512_sub_ps(load_u8(p), reader.bias),
            9 => return load_i8(p),
            10 => return _mm512_sub_ps(load_i8(p), reader.bias),
            _ => {}
        }
        // 16 codes are two bytes for each bit of one.
        let bytes = _mm_maskz_loadu_epi8(((1u32 << (2 * B)) - 1) as u16, p.cast());
        let spread = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(bytes), reader.bytes);
        let mut codes = _mm512_srlv_epi32(spread, reader.shifts);
        if B != 4 {
            codes = _mm512_and_si512(codes, reader.mask);
        }
        if B > 4 {
            return _mm512_sub_ps(_mm512_cvtepi32_ps(codes), reader.bias);
        }
        // Four bits of every index count.
        _mm512_permutexvar_ps(codes, reader.table)
    }
}

/// Activations in groups of 128: lane `l` of vector `j` is element `8 l + j`. Rows of `k` codes and
/// of `k / block` scales follow each other. With `MIN`, minimums are added.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
pub unsafe fn dot4<const MIN: bool>(
    x: &[f32],
    codes: &[u8],
    form: &Form,
    scales: &Scales,
    minimums: Minimums,
    k: usize,
    out: &mut [f32],
) {
    let per_row = k / scales.block * scale_bytes(scales.element);
    let mut row = 0;
    while row < out.len() {
        let codes = &codes[row * k / 2..];
        let scales = Scales { bytes: &scales.bytes[row * per_row..], ..*scales };
        let minimums = match MIN {
            true => Minimums { bytes: &minimums.bytes[row * per_row..], ..minimums },
            false => minimums,
        };
        // SAFETY: `super::dot4` asserted that x covers all groups, and codes, scales and minimums all rows.
        unsafe {
            if out.len() - row >= 4 {
                rows::<4, MIN>(x, codes, form, &scales, &minimums, k, &mut out[row..row + 4]);
                row += 4;
            } else {
                rows::<1, MIN>(x, codes, form, &scales, &minimums, k, &mut out[row..row + 1]);
                row += 1;
            }
        }
    }
}

/// `R` rows at once, so that activations are loaded once and the final sums overlap.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
unsafe fn rows<const R: usize, const MIN: bool>(
    x: &[f32],
    codes: &[u8],
    form: &Form,
    scales: &Scales,
    minimums: &Minimums,
    k: usize,
    out: &mut [f32],
) {
    // A word holds 8 codes, so four lanes share the scale of 32 elements.
    let quarters = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    let whole = k / 128;
    let direct = scales.block == 32 && scales.element == ElementType::F16;
    // SAFETY: as for `dot4`.
    unsafe {
        let table = load(form.table.as_ptr());
        let mut acc = [zero(); R];
        let mut least = [_mm_setzero_ps(); R];
        for g in 0..whole {
            let x = activations(x, g);
            let sums = if MIN { _mm_loadu_ps(minimums.sums.as_ptr().add(g * 4)) } else { _mm_setzero_ps() };
            for (r, acc) in acc.iter_mut().enumerate() {
                let p = codes.as_ptr().wrapping_add(r * k / 2 + g * 64);
                prefetch(p.wrapping_add(AHEAD));
                let words = _mm512_loadu_si512(p.cast());
                let at = (r * k + g * 128) / 32 * 2;
                let four = if direct {
                    _mm_cvtph_ps(_mm_loadl_epi64(scales.bytes.as_ptr().add(at).cast()))
                } else {
                    some_scales(scales, r * k + g * 128, 4)
                };
                if MIN {
                    let four = _mm_cvtph_ps(_mm_loadl_epi64(minimums.bytes.as_ptr().add(at).cast()));
                    least[r] = _mm_fmadd_ps(four, sums, least[r]);
                }
                let scale = _mm512_permutexvar_ps(quarters, _mm512_castps128_ps512(four));
                *acc = fma(group(&x, words, table), scale, *acc);
            }
        }
        let rest = k % 128;
        if rest > 0 {
            let mask = (1u32 << (rest / 8)) - 1;
            let some: __mmask8 = (1 << (rest / 32)) - 1;
            let x = activations(x, whole);
            let sums = match MIN {
                true => _mm_maskz_loadu_ps(some, minimums.sums.as_ptr().add(whole * 4)),
                false => _mm_setzero_ps(),
            };
            for (r, acc) in acc.iter_mut().enumerate() {
                let p = codes.as_ptr().add(r * k / 2 + whole * 64);
                let words = _mm512_maskz_loadu_epi32(mask as u16, p.cast());
                let at = (r * k + whole * 128) / 32 * 2;
                let four = if direct {
                    _mm_cvtph_ps(_mm_maskz_loadu_epi16(some, scales.bytes.as_ptr().add(at).cast()))
                } else {
                    some_scales(scales, r * k + whole * 128, rest / 32)
                };
                if MIN {
                    let p = minimums.bytes.as_ptr().add(at).cast();
                    let four = _mm_cvtph_ps(_mm_maskz_loadu_epi16(some, p));
                    least[r] = _mm_fmadd_ps(four, sums, least[r]);
                }
                let scale = _mm512_permutexvar_ps(quarters, _mm512_castps128_ps512(four));
                *acc = fma(group(&x, words, table), scale, *acc);
            }
        }
        for (r, out) in out.iter_mut().enumerate() {
            let acc = if MIN { add(acc[r], _mm512_zextps128_ps512(least[r])) } else { acc[r] };
            *out = total(acc);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
unsafe fn activations(x: &[f32], group: usize) -> [V; 8] {
    // SAFETY: x covers all groups.
    std::array::from_fn(|j| unsafe { load(x.as_ptr().add(group * 128 + j * LANES)) })
}

/// Scales of `count` ≤ 4 runs of 32 elements from `at`; the others are 0.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
fn some_scales(scales: &Scales, at: usize, count: usize) -> __m128 {
    let mut four = [0.0f32; 4];
    for (i, scale) in four.iter_mut().enumerate().take(count) {
        *scale = scales.at(at + i * 32);
    }
    _mm_setr_ps(four[0], four[1], four[2], four[3])
}
