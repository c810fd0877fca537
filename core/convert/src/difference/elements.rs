//! Elements of constants as numbers, a chunk at a time (`AIMODEL_FORMAT` §5).

use std::borrow::Cow;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use coreai_asset::{Asset, AssetError, ConstantRef, ElementType};
use half::{bf16, f16};

/// Elements decoded at a time; a multiple of 8, so that each chunk begins at a byte.
pub(super) const CHUNK: u64 = 1 << 16;

/// Bytes of a source that answers at once.
pub(super) fn read(asset: &Asset, start: u64, end: u64) -> Result<Cow<'_, [u8]>, AssetError> {
    let source = asset.source();
    let bytes = match source.slice(start..end) {
        Some(bytes) => Cow::Borrowed(bytes),
        None => match pin!(source.read(start..end)).as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer?,
            Poll::Pending => {
                let reason = "the source is asynchronous".into();
                return Err(AssetError::Source { start, end, reason });
            }
        },
    };
    match bytes.len() as u64 == end.saturating_sub(start) {
        true => Ok(bytes),
        false => {
            let reason = format!("the source returned {} bytes", bytes.len());
            Err(AssetError::Source { start, end, reason })
        }
    }
}

/// Decodes elements `from..to` of a constant of `count` elements; a complex element gives two
/// numbers. `from` is a multiple of [`CHUNK`].
pub(super) fn decode(
    asset: &Asset,
    constant: &ConstantRef,
    element: ElementType,
    count: u64,
    from: u64,
    to: u64,
    out: &mut Vec<f64>,
) -> Result<(), AssetError> {
    out.clear();
    let part = element.complex_part().unwrap_or(element);
    let parts = if element.is_complex() { 2 } else { 1 };
    let (range, bits) = (&constant.range, u64::from(part.bits()));
    let length = range.end.saturating_sub(range.start);
    // sub-byte elements may be stored in a byte each; a splat stores one element
    let per_byte = bits < 8 && length == count && element.packed_bytes(count) != Some(length);
    let stored = if per_byte { 8 } else { bits };
    let (first, last) = if constant.splat { (0, 1) } else { (from, to) };
    let offset = |element: u64| element.saturating_mul(parts).saturating_mul(stored);
    let start = range.start.saturating_add(offset(first) / 8);
    let end = range.start.saturating_add(offset(last).div_ceil(8)).min(range.end);
    let bytes = read(asset, start.min(end), end)?;
    let mask = u64::MAX >> (64 - bits.clamp(1, 64));
    for index in 0..(last - first) * parts {
        let at = index * stored;
        let word = word(&bytes, at / 8) >> (at % 8);
        out.push(number(word & mask, part));
    }
    if constant.splat {
        let one = out.clone();
        let copies = usize::try_from(to - from).unwrap_or(0);
        *out = one.iter().copied().cycle().take(one.len() * copies).collect();
    }
    Ok(())
}

/// Up to eight bytes from a place on, zero beyond the end. No element straddles more.
fn word(bytes: &[u8], at: u64) -> u64 {
    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or(&[]);
    rest.iter().take(8).rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn number(raw: u64, element: ElementType) -> f64 {
    use ElementType::*;
    match element {
        F64 => f64::from_bits(raw),
        F32 | TF32 => f64::from(f32::from_bits(raw as u32)),
        F16 => f16::from_bits(raw as u16).to_f64(),
        BF16 => bf16::from_bits(raw as u16).to_f64(),
        F8E5M2 => f16::from_bits((raw as u16) << 8).to_f64(),
        F8E4M3FN if raw & 0x7f == 0x7f => f64::NAN,
        F8E4M3FN => small(raw, 4, 3),
        F4E2M1FN => small(raw, 2, 1),
        F8E8M0FN if raw == 255 => f64::NAN,
        F8E8M0FN => 2f64.powi(raw as i32 - 127),
        signed if signed.is_signed_integer() => {
            let spare = 64 - signed.bits();
            (((raw << spare) as i64) >> spare) as f64
        }
        _ => raw as f64, // unsigned integers and bool
    }
}

/// Sign, exponent and mantissa without infinities.
fn small(raw: u64, exponent_bits: u32, mantissa_bits: u32) -> f64 {
    let bias = (1 << (exponent_bits - 1)) - 1;
    let exponent = ((raw >> mantissa_bits) & ((1 << exponent_bits) - 1)) as i32;
    let mantissa = (raw & ((1 << mantissa_bits) - 1)) as f64 / f64::from(1u32 << mantissa_bits);
    let magnitude = match exponent {
        0 => mantissa * 2f64.powi(1 - bias),
        _ => (1.0 + mantissa) * 2f64.powi(exponent - bias),
    };
    if raw >> (exponent_bits + mantissa_bits) & 1 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ElementType::*;

    #[test]
    fn numbers_of_every_kind() {
        for (raw, element, expected) in [
            (0xf, SI4, -1.0),
            (0x2, SI2, -2.0),
            (0x3f, UI6, 63.0),
            (0x3c00, F16, 1.0),
            (0xc000, BF16, -2.0),
            (0x7e, F8E4M3FN, 448.0),
            (0x7b, F8E5M2, 57344.0),
            (0xf, F4E2M1FN, -6.0),
            (128, F8E8M0FN, 2.0),
            (1, Bool, 1.0),
            (u64::MAX, SI64, -1.0),
            (255, UI8, 255.0),
        ] {
            assert_eq!(number(raw, element), expected, "{element}");
        }
        assert!(number(255, F8E8M0FN).is_nan() && number(0xff, F8E4M3FN).is_nan());
    }

    #[test]
    fn words_end_with_the_bytes() {
        assert_eq!(word(&[1, 2], 0), 0x201);
        assert_eq!(word(&[1, 2], 1), 2);
        assert_eq!(word(&[1, 2], 2), 0);
        assert_eq!(word(&[0xff; 16], 3), u64::MAX);
    }
}
