//! MXFP4: 4-bit floats (E2M1), a power of two (E8M0) for 32 values, as the OCP microscaling formats
//! define them.

use super::block::{Block, Parts, nibbles};
use crate::rows::{CodeType, ScaleType};

/// Twice the values of the codes. ggml has no −0.
const DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// `float(code) · 2^(e − 127)`. The exponent byte `e`, then the codes. Of exponents, 255 is not a number
/// in the standard and 2¹²⁸ in ggml; as a scale it is an infinity here, which is not packed.
pub(super) struct Mxfp4;

impl Block<17, 32, 1> for Mxfp4 {
    const CODES: CodeType = CodeType::F4E2M1;
    const SCALE: ScaleType = ScaleType::Exponent;

    fn split(block: &[u8; 17]) -> Parts<32, 1> {
        let [exponent, codes @ ..] = block;
        Parts { codes: nibbles(codes), scales: [power(i32::from(*exponent) - 127)], minimums: [0.0] }
    }

    fn dequantize(block: &[u8; 17], out: &mut [f32; 32]) {
        let [exponent, codes @ ..] = block;
        let half_scale = power(i32::from(*exponent) - 128);
        for (out, code) in out.iter_mut().zip(nibbles(codes)) {
            *out = f32::from(DOUBLED[usize::from(code & 15)]) * half_scale;
        }
    }
}

/// 2^exponent for exponents from −149 on; infinite from 128 on.
#[inline]
fn power(exponent: i32) -> f32 {
    match exponent {
        ..-149 => 0.0,
        -149..-126 => f32::from_bits(1 << (exponent + 149)),
        -126..128 => f32::from_bits(((exponent + 127) as u32) << 23),
        128.. => f32::INFINITY,
    }
}
