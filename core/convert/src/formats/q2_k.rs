//! Q2_K: 2 bits; 16 values share a scale and a minimum of 4 bits each.

use super::block::{Block, Parts, half};
use crate::rows::CodeType;

/// `code · (d · s) − dm · m`. 16 bytes `s | m << 4`, 64 bytes of codes, then `d` and `dm`.
pub(super) struct Q2K;

impl Block<84, 256, 16> for Q2K {
    const CODES: CodeType = CodeType::UI2;
    const MINIMUM: bool = true;

    fn split(block: &[u8; 84]) -> Parts<256, 16> {
        let (d, dm) = (half(block[80], block[81]), half(block[82], block[83]));
        let mut parts = Parts { codes: [0; 256], scales: [0.0; 16], minimums: [0.0; 16] };
        let shared = parts.scales.iter_mut().zip(&mut parts.minimums);
        for ((scale, minimum), byte) in shared.zip(block) {
            *scale = d * f32::from(byte & 15);
            *minimum = -(dm * f32::from(byte >> 4));
        }
        for i in 0..256 {
            parts.codes[i] = pair(i, |at| block[16 + at]);
        }
        parts
    }
}

/// The two bits of value `i` of 256: each half of the values has 32 bytes, whose bit pairs, from the
/// lowest, are its runs of 32 values.
#[inline(always)]
pub(super) fn pair(i: usize, byte: impl Fn(usize) -> u8) -> u8 {
    let (halves, run, at) = (i / 128, i / 32 % 4, i % 32);
    byte(halves * 32 + at) >> (2 * run) & 3
}
