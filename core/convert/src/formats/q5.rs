//! Q5_0 and Q5_1: 5 bits, one scale for 32 values. The fifth bits of all codes come first, as a word.

use super::block::{Block, Parts, half, nibbles};
use crate::rows::CodeType;

/// Q5_0: `(code − 16) · d`. The scale, the fifth bits, then the others.
pub(super) struct Q5Scaled;

impl Block<22, 32, 1> for Q5Scaled {
    const CODES: CodeType = CodeType::UI6;
    const ZERO: i32 = 16;

    fn split(block: &[u8; 22]) -> Parts<32, 1> {
        let [d0, d1, h0, h1, h2, h3, low @ ..] = block;
        Parts { codes: codes(low, [*h0, *h1, *h2, *h3]), scales: [half(*d0, *d1)], minimums: [0.0] }
    }
}

/// Q5_1: `code · d + m`. The scale, the minimum, the fifth bits, then the others.
pub(super) struct Q5Shifted;

impl Block<24, 32, 1> for Q5Shifted {
    const CODES: CodeType = CodeType::UI6;
    const MINIMUM: bool = true;

    fn split(block: &[u8; 24]) -> Parts<32, 1> {
        let [d0, d1, m0, m1, h0, h1, h2, h3, low @ ..] = block;
        Parts {
            codes: codes(low, [*h0, *h1, *h2, *h3]),
            scales: [half(*d0, *d1)],
            minimums: [half(*m0, *m1)],
        }
    }
}

#[inline]
fn codes(low: &[u8; 16], high: [u8; 4]) -> [u8; 32] {
    let high = u32::from_le_bytes(high);
    let mut codes = nibbles(low);
    for (i, code) in codes.iter_mut().enumerate() {
        *code |= ((high >> i & 1) << 4) as u8;
    }
    codes
}
