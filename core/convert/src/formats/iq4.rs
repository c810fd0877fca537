//! IQ4_NL and IQ4_XS: 4-bit indices into a table of 16 values; 32 values share a scale.

use super::block::{Block, Parts, half, nibbles};
use crate::rows::CodeType;

/// Denser near zero, where weights are.
const TABLE: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// IQ4_NL: `TABLE[code] · d`. The scale, then the codes.
pub(super) struct Iq4Nl;

impl Block<18, 32, 1> for Iq4Nl {
    const CODES: CodeType = CodeType::UI4;
    const PALETTE: Option<&'static [i8]> = Some(&TABLE);

    fn split(block: &[u8; 18]) -> Parts<32, 1> {
        let [d0, d1, codes @ ..] = block;
        Parts { codes: nibbles(codes), scales: [half(*d0, *d1)], minimums: [0.0] }
    }
}

/// IQ4_XS: `TABLE[code] · (d · (s − 32))`. `d`, a word with the high two bits of the 8 scales, 4 bytes with
/// their low four, 128 bytes of codes.
pub(super) struct Iq4Xs;

impl Block<136, 256, 8> for Iq4Xs {
    const CODES: CodeType = CodeType::UI4;
    const PALETTE: Option<&'static [i8]> = Some(&TABLE);

    fn split(block: &[u8; 136]) -> Parts<256, 8> {
        let [d0, d1, h0, h1, rest @ ..] = block;
        let d = half(*d0, *d1);
        let high = u16::from_le_bytes([*h0, *h1]);
        let mut parts = Parts { codes: [0; 256], scales: [0.0; 8], minimums: [0.0; 8] };
        for i in 0..8 {
            let low = rest[i / 2] >> (4 * (i % 2)) & 15;
            let high = (high >> (2 * i) & 3) as u8;
            parts.scales[i] = d * f32::from((low | high << 4).cast_signed() - 32);
        }
        for (i, code) in parts.codes.iter_mut().enumerate() {
            *code = rest[4 + i / 32 * 16 + i % 16] >> (4 * (i / 16 % 2)) & 15;
        }
        parts
    }
}
