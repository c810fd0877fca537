//! Q5_K: 5 bits; 32 values share a scale and a minimum of 6 bits each.

use super::block::{Block, Parts, half};
use super::q4_k::{nibble, scales};
use crate::rows::CodeType;

/// `code · (d · s) − dm · m`. `d`, `dm`, 12 bytes of scales and minimums, 32 of fifth bits, 128 of the
/// others.
pub(super) struct Q5K;

impl Block<176, 256, 8> for Q5K {
    const CODES: CodeType = CodeType::UI6;
    const MINIMUM: bool = true;

    fn split(block: &[u8; 176]) -> Parts<256, 8> {
        let [d0, d1, m0, m1, rest @ ..] = block;
        let (scales, minimums) = scales(half(*d0, *d1), half(*m0, *m1), |at| rest[at]);
        let mut codes = [0; 256];
        for (i, code) in codes.iter_mut().enumerate() {
            let high = rest[12 + i % 32] >> (i / 32) & 1;
            *code = nibble(i, |at| rest[44 + at]) | high << 4;
        }
        Parts { codes, scales, minimums }
    }
}
