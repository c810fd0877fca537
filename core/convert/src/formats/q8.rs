//! Q8_0: signed bytes, one scale for 32 values.

use super::block::{Block, Parts, half};
use crate::rows::CodeType;

/// `code · d`. The scale, then the codes.
pub(super) struct Q8;

impl Block<34, 32, 1> for Q8 {
    const CODES: CodeType = CodeType::SI8;

    fn split(block: &[u8; 34]) -> Parts<32, 1> {
        let [d0, d1, codes @ ..] = block;
        Parts { codes: *codes, scales: [half(*d0, *d1)], minimums: [0.0] }
    }
}
