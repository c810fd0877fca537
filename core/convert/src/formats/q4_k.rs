//! Q4_K: 4 bits; 32 values share a scale and a minimum of 6 bits each.

use super::block::{Block, Parts, half};
use crate::rows::CodeType;

/// `code · (d · s) − dm · m`. `d`, `dm`, 12 bytes of scales and minimums, 128 of codes.
pub(super) struct Q4K;

impl Block<144, 256, 8> for Q4K {
    const CODES: CodeType = CodeType::UI4;
    const MINIMUM: bool = true;

    fn split(block: &[u8; 144]) -> Parts<256, 8> {
        let [d0, d1, m0, m1, rest @ ..] = block;
        let (scales, minimums) = scales(half(*d0, *d1), half(*m0, *m1), |at| rest[at]);
        let mut codes = [0; 256];
        for (i, code) in codes.iter_mut().enumerate() {
            *code = nibble(i, |at| rest[12 + at]);
        }
        Parts { codes, scales, minimums }
    }
}

/// Scales and minimums of Q4_K and Q5_K, from 12 bytes: the low 6 bits of bytes 0–3 are scales 0–3, those
/// of bytes 4–7 minimums 0–3. The halves of bytes 8–11 are the low bits of scales and minimums 4–7, whose
/// high two bits are those of bytes 0–3 and 4–7.
#[inline(always)]
pub(super) fn scales(d: f32, dm: f32, byte: impl Fn(usize) -> u8) -> ([f32; 8], [f32; 8]) {
    let (mut scales, mut minimums) = ([0.0; 8], [0.0; 8]);
    for i in 0..4 {
        let (s, m, both) = (byte(i), byte(4 + i), byte(8 + i));
        scales[i] = d * f32::from(s & 63);
        minimums[i] = -(dm * f32::from(m & 63));
        scales[4 + i] = d * f32::from(both & 15 | s >> 6 << 4);
        minimums[4 + i] = -(dm * f32::from(both >> 4 | m >> 6 << 4));
    }
    (scales, minimums)
}

/// The low four bits of value `i` of 256, in Q4_K and Q5_K: 32 bytes for each 64 values, the low halves
/// first.
#[inline(always)]
pub(super) fn nibble(i: usize, byte: impl Fn(usize) -> u8) -> u8 {
    let (quarter, high, at) = (i / 64, i / 32 % 2, i % 32);
    byte(quarter * 32 + at) >> (4 * high) & 15
}
