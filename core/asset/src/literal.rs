//! Single elements of constants, for printing. Not meant for bulk decoding.

use std::fmt;

use crate::types::ElementType;

/// One element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Literal {
    Bool(bool),
    Integer(i128),
    Float(f64),
    Complex(f64, f64),
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // f32 gives the shortest text that reads back; it holds all smaller types
        let short = |value: f64| match value as f32 {
            single if f64::from(single) == value => format!("{single}"),
            _ => format!("{value}"),
        };
        match *self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => f.write_str(&short(value)),
            Self::Complex(re, im) => write!(f, "({}, {})", short(re), short(im)),
        }
    }
}

/// Element `index` of a packed array, or of one with a byte per sub-byte element.
pub(crate) fn element(bytes: &[u8], ty: ElementType, index: usize, per_byte: bool) -> Option<Literal> {
    if let Some(part) = ty.complex_part() {
        let re = real(bytes, part, index.checked_mul(2)?)?;
        let im = real(bytes, part, index.checked_mul(2)?.checked_add(1)?)?;
        return Some(Literal::Complex(re, im));
    }
    let width = ty.bits();
    let raw = raw_bits(bytes, width, index, per_byte)?;
    Some(if ty == ElementType::Bool {
        Literal::Bool(raw != 0)
    } else if ty.is_unsigned_integer() {
        Literal::Integer(i128::from(raw))
    } else if ty.is_signed_integer() {
        let spare = 64 - width;
        Literal::Integer(i128::from(((raw << spare) as i64) >> spare))
    } else {
        Literal::Float(float(raw, ty)?)
    })
}

fn real(bytes: &[u8], ty: ElementType, index: usize) -> Option<f64> {
    float(raw_bits(bytes, ty.bits(), index, false)?, ty)
}

/// Bits of an element: a little-endian bit stream, bit 0 is the lowest of byte 0.
fn raw_bits(bytes: &[u8], width: u32, index: usize, per_byte: bool) -> Option<u64> {
    if per_byte {
        return Some(u64::from(*bytes.get(index)?) & ((1 << width.min(8)) - 1));
    }
    let start = index.checked_mul(width as usize)?;
    let end = start.checked_add(width as usize)?;
    let touched = bytes.get(start / 8..end.div_ceil(8))?;
    let word = touched.iter().rev().fold(0u128, |word, byte| word << 8 | u128::from(*byte));
    let mask = u128::MAX.checked_shr(128 - width)?;
    u64::try_from((word >> (start % 8)) & mask).ok()
}

fn float(raw: u64, ty: ElementType) -> Option<f64> {
    Some(match ty {
        ElementType::F64 => f64::from_bits(raw),
        ElementType::F32 | ElementType::TF32 => f64::from(f32::from_bits(raw as u32)),
        ElementType::F16 => half_to_f64(raw as u16),
        ElementType::BF16 => f64::from(f32::from_bits((raw as u32) << 16)),
        ElementType::F8E5M2 => half_to_f64((raw as u16) << 8),
        ElementType::F8E4M3FN if raw & 0x7f == 0x7f => f64::NAN,
        ElementType::F8E4M3FN => small_float(raw, 4, 3),
        ElementType::F4E2M1FN => small_float(raw, 2, 1),
        ElementType::F8E8M0FN if raw == 255 => f64::NAN,
        ElementType::F8E8M0FN => 2f64.powi(raw as i32 - 127),
        _ => return None,
    })
}

/// Sign, exponent and mantissa without infinities.
fn small_float(raw: u64, exponent_bits: u32, mantissa_bits: u32) -> f64 {
    let bias = (1 << (exponent_bits - 1)) - 1;
    let exponent = (raw >> mantissa_bits) & ((1 << exponent_bits) - 1);
    let mantissa = (raw & ((1 << mantissa_bits) - 1)) as f64 / f64::from(1u32 << mantissa_bits);
    let magnitude = match exponent as i32 {
        0 => mantissa * 2f64.powi(1 - bias),
        exponent => (1.0 + mantissa) * 2f64.powi(exponent - bias),
    };
    if raw >> (exponent_bits + mantissa_bits) & 1 == 1 { -magnitude } else { magnitude }
}

/// IEEE half precision.
pub(crate) fn half_to_f64(raw: u16) -> f64 {
    let magnitude = match raw & 0x7fff {
        0x7c00 => f64::INFINITY,
        bits if bits > 0x7c00 => f64::NAN,
        bits => small_float(u64::from(bits), 5, 10),
    };
    if raw >> 15 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ElementType::*;

    fn text(bytes: &[u8], ty: ElementType, index: usize) -> String {
        element(bytes, ty, index, false).unwrap().to_string()
    }

    #[test]
    fn every_kind_of_element() {
        assert_eq!(text(&[0xef, 0x7f], SI4, 0), "-1");
        assert_eq!(text(&[0xef, 0x7f], SI4, 1), "-2");
        assert_eq!(text(&[0xef, 0x7f], SI4, 3), "7");
        assert_eq!(text(&[0b1101_0001, 0b0000_0010], UI3, 2), "3"); // straddles the bytes
        assert_eq!(text(&[0, 1], Bool, 1), "true");
        assert_eq!(text(&[0x00, 0x3c, 0x00, 0xc0], F16, 1), "-2");
        assert_eq!(text(&[0x80, 0x3f], BF16, 0), "1");
        assert_eq!(text(&0.1f32.to_le_bytes(), F32, 0), "0.1");
        assert_eq!(text(&0.1f64.to_le_bytes(), F64, 0), "0.1");
        assert_eq!(text(&[0x7e], F8E4M3FN, 0), "448");
        assert_eq!(text(&[0x7b], F8E5M2, 0), "57344");
        assert_eq!(text(&[0xf7], F4E2M1FN, 0), "6");
        assert_eq!(text(&[0xf7], F4E2M1FN, 1), "-6");
        assert_eq!(text(&[128], F8E8M0FN, 0), "2");
        assert_eq!(text(&u64::MAX.to_le_bytes(), UI64, 0), "18446744073709551615");
        assert_eq!(text(&i64::MIN.to_le_bytes(), SI64, 0), "-9223372036854775808");
        assert_eq!(text(&[0, 0, 128, 63, 0, 0, 0, 192], ComplexF32, 0), "(1, -2)");
        assert_eq!(element(&[0x0f], SI4, 0, true), Some(Literal::Integer(-1)));
        assert_eq!(element(&[0x0f], SI4, 2, false), None);
    }

    #[test]
    fn halves() {
        assert_eq!(half_to_f64(0x3555), 0.333_251_953_125);
        assert_eq!(half_to_f64(0x0001), 2f64.powi(-24));
        assert_eq!(half_to_f64(0xfc00), f64::NEG_INFINITY);
        assert!(half_to_f64(0x7e00).is_nan());
        assert_eq!(half_to_f64(0x8000).to_bits(), (-0.0f64).to_bits());
    }
}
