//! IQ4_NL: indices into a table of 16 values, one scale for 32 values.

use super::block::{Block, Parts, half, nibbles};
use crate::rows::CodeType;

/// Denser near zero, where weights are.
const TABLE: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// `TABLE[code] · d`. The scale, then the codes.
pub(super) struct Iq4Nl;

impl Block<18, 32, 1> for Iq4Nl {
    const CODES: CodeType = CodeType::UI4;
    const PALETTE: Option<&'static [i8]> = Some(&TABLE);

    fn split(block: &[u8; 18]) -> Parts<32, 1> {
        let [d0, d1, codes @ ..] = block;
        Parts { codes: nibbles(codes), scales: [half(*d0, *d1)], minimums: [0.0] }
    }
}
