//! Tensors of plain numbers, little-endian.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Float16 to float32 is converted this many at a time, from aligned copies: processors have
/// instructions for several.
const RUN: usize = 256;

/// Converts as many numbers as `out` holds.
pub(super) fn convert<const N: usize>(bytes: &[u8], out: &mut [f32], number: impl Fn([u8; N]) -> f32) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
        *out = number(*bytes);
    }
}

pub(super) fn float16(bytes: &[u8], out: &mut [f32]) {
    for (out, bytes) in out.chunks_mut(RUN).zip(bytes.chunks(2 * RUN)) {
        let mut run = [f16::ZERO; RUN];
        for (number, bytes) in run.iter_mut().zip(bytes.as_chunks().0) {
            *number = f16::from_le_bytes(*bytes);
        }
        if let Some(run) = run.get(..out.len()) {
            run.convert_to_f32_slice(out);
        }
    }
}

pub(super) fn bfloat16(bytes: &[u8], out: &mut [f32]) {
    convert(bytes, out, |bytes| bf16::from_le_bytes(bytes).to_f32());
}
