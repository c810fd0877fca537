//! Q3_K: 3 bits; 16 values share a signed scale of 6 bits.

use super::block::{Block, Parts, half};
use super::q2_k::pair;
use crate::rows::CodeType;

/// `(code − 4) · (d · (s − 32))`. 32 bytes of third bits, 64 of low bits, 12 of scales, then `d`.
pub(super) struct Q3K;

impl Block<110, 256, 16> for Q3K {
    const CODES: CodeType = CodeType::UI3;
    const ZERO: i32 = 4;

    fn split(block: &[u8; 110]) -> Parts<256, 16> {
        let d = half(block[108], block[109]);
        let mut parts = Parts { codes: [0; 256], scales: [0.0; 16], minimums: [0.0; 16] };
        for i in 0..16 {
            // 8 bytes with the low halves of scales 0–7 and 8–15; 4 bytes whose bit pairs, from the
            // lowest, are the high bits of scales 0–3, 4–7, 8–11 and 12–15
            let low = block[96 + i % 8] >> (4 * (i / 8)) & 15;
            let high = block[104 + i % 4] >> (2 * (i / 4)) & 3;
            parts.scales[i] = d * f32::from((low | high << 4).cast_signed() - 32);
        }
        for i in 0..256 {
            let high = block[i % 32] >> (i / 32) & 1;
            parts.codes[i] = pair(i, |at| block[32 + at]) | high << 2;
        }
        parts
    }
}
