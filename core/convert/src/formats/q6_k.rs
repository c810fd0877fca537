//! Q6_K: 6 bits; 16 values share a scale of a signed byte.

use super::block::{Block, Parts, half};
use super::q2_k::pair;
use crate::rows::CodeType;

/// `(code − 32) · (d · s)`. 128 bytes of low bits, 64 of high bits, 16 scales, then `d`.
pub(super) struct Q6K;

impl Block<210, 256, 16> for Q6K {
    const CODES: CodeType = CodeType::UI6;
    const ZERO: i32 = 32;

    fn split(block: &[u8; 210]) -> Parts<256, 16> {
        let d = half(block[208], block[209]);
        let mut parts = Parts { codes: [0; 256], scales: [0.0; 16], minimums: [0.0; 16] };
        for i in 0..16 {
            parts.scales[i] = d * f32::from(block[192 + i].cast_signed());
        }
        for i in 0..256 {
            // each half of the values has 64 bytes, whose low halves are its first 64 values
            let low = block[i / 128 * 64 + i % 64] >> (4 * (i / 64 % 2)) & 15;
            parts.codes[i] = low | pair(i, |at| block[128 + at]) << 4;
        }
        parts
    }
}
