//! Q4_0 and Q4_1: 4 bits, one scale for 32 values.

use super::block::{Block, Parts, half, nibbles};
use crate::rows::CodeType;

/// Q4_0: `(code − 8) · d`. The scale, then the codes.
pub(super) struct Q4Scaled;

impl Block<18, 32, 1> for Q4Scaled {
    const CODES: CodeType = CodeType::UI4;
    const ZERO: i32 = 8;

    fn split(block: &[u8; 18]) -> Parts<32, 1> {
        let [d0, d1, codes @ ..] = block;
        Parts { codes: nibbles(codes), scales: [half(*d0, *d1)], minimums: [0.0] }
    }
}

/// Q4_1: `code · d + m`. The scale, the minimum, then the codes.
pub(super) struct Q4Shifted;

impl Block<20, 32, 1> for Q4Shifted {
    const CODES: CodeType = CodeType::UI4;
    const MINIMUM: bool = true;

    fn split(block: &[u8; 20]) -> Parts<32, 1> {
        let [d0, d1, m0, m1, codes @ ..] = block;
        Parts { codes: nibbles(codes), scales: [half(*d0, *d1)], minimums: [half(*m0, *m1)] }
    }
}
