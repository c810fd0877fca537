//! Attributes from their decoded form (§4): the counterpart of `decode::attributes`.

use super::bytes::{svi, vi};
use super::encoder::{Encoder, unwritable};
use crate::error::AssetError;
use crate::ir::Attribute;
use crate::limits::MAX_ATTRIBUTE_DEPTH;

impl Encoder<'_, '_> {
    /// The number of an attribute in the new table; what it refers to comes before it.
    pub fn attribute(&mut self, part: usize, attribute: &Attribute) -> Result<u32, AssetError> {
        self.attribute_at(part, attribute, MAX_ATTRIBUTE_DEPTH)
    }

    /// `depth` is what the reader would still descend.
    fn attribute_at(&mut self, part: usize, attribute: &Attribute, depth: usize) -> Result<u32, AssetError> {
        let Some(depth) = depth.checked_sub(1) else {
            let reason = format!("nested deeper than {MAX_ATTRIBUTE_DEPTH}");
            return Err(unwritable("attribute", reason));
        };
        if let Attribute::Debug { code, id } = attribute {
            return self.debug(part, *code, *id);
        }
        let mut out = Vec::new();
        self.encode(part, attribute, depth, &mut out)?;
        Ok(self.attrs.intern(&out))
    }

    fn encode(
        &mut self,
        part: usize,
        attribute: &Attribute,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), AssetError> {
        match attribute {
            Attribute::String(text) => {
                vi(out, 1);
                vi(out, self.string(text));
            }
            Attribute::Integer { width, unsigned, value } => integer(out, *width, *unsigned, *value)?,
            Attribute::Float { width, value } => float(out, *width, *value)?,
            Attribute::Type(ty) => {
                vi(out, 4);
                vi(out, self.ty(part, *ty)?);
            }
            Attribute::Array(items) => {
                vi(out, 5);
                self.list(part, items, depth, out)?;
            }
            Attribute::Constant(constant) => self.constant(part, constant, out)?,
            Attribute::Opaque { name, params } => {
                vi(out, 9);
                vi(out, self.string(name));
                self.list(part, params, depth, out)?;
            }
            Attribute::Dictionary(entries) => {
                vi(out, 45);
                self.list(part, entries, depth, out)?;
            }
            Attribute::Symbol(path) => {
                vi(out, 14);
                vi(out, path.len() as u64);
                for text in path {
                    vi(out, self.string(text));
                }
            }
            Attribute::Enum { code, value, .. } => {
                vi(out, u64::from(*code));
                vi(out, *value);
            }
            Attribute::HwConstraints { alignments, interleave, backing, base } => {
                vi(out, if base.is_some() { 13 } else { 12 });
                numbers(out, alignments);
                numbers(out, interleave);
                vi(out, *backing);
                if let Some(base) = base {
                    self.child(part, base, depth, out)?;
                }
            }
            Attribute::ImageConstraints { backing, row_alignments } => {
                vi(out, 26);
                vi(out, *backing);
                numbers(out, row_alignments);
            }
            Attribute::Sparse { scheme, pos_width, crd_width, nnz, blocks } => {
                vi(out, if blocks.is_empty() { 21 } else { 23 });
                vi(out, *scheme);
                vi(out, *pos_width);
                vi(out, *crd_width);
                out.push(u8::from(nnz.is_some()));
                if let Some(nnz) = nnz {
                    vi(out, *nnz);
                }
                if !blocks.is_empty() {
                    vi(out, blocks.len() as u64);
                    blocks.iter().for_each(|size| vi(out, *size));
                }
            }
            Attribute::ParamDecl { name, ty, default } => {
                vi(out, if default.is_some() { 11 } else { 10 });
                vi(out, self.string(name));
                vi(out, self.ty(part, *ty)?);
                if let Some(default) = default {
                    self.child(part, default, depth, out)?;
                }
            }
            Attribute::ParamBind { reference, ty, params } => {
                vi(out, 15);
                self.child(part, reference, depth, out)?;
                vi(out, self.ty(part, *ty)?);
                self.list(part, params, depth, out)?;
            }
            Attribute::ParamConstant { value, ty } => {
                vi(out, 16);
                self.child(part, value, depth, out)?;
                vi(out, self.ty(part, *ty)?);
            }
            Attribute::TargetSpec { triple, soc, options } => {
                vi(out, 29);
                for child in [triple, soc, options] {
                    self.child(part, child, depth, out)?;
                }
            }
            Attribute::Unit => vi(out, 46),
            Attribute::Debug { .. } => return Err(unwritable("attribute", "debug information by value")),
        }
        Ok(())
    }

    fn child(
        &mut self,
        part: usize,
        attribute: &Attribute,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), AssetError> {
        vi(out, u64::from(self.attribute_at(part, attribute, depth)?));
        Ok(())
    }

    fn list(
        &mut self,
        part: usize,
        items: &[Attribute],
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), AssetError> {
        vi(out, items.len() as u64);
        items.iter().try_for_each(|item| self.child(part, item, depth, out))
    }
}

fn numbers(out: &mut Vec<u8>, list: &[i64]) {
    vi(out, list.len() as u64);
    list.iter().for_each(|number| svi(out, *number));
}

/// Bits of a word of `width` ≤ 64 bits: a byte, or the zig-zag form of the zero-extended bits.
fn word(out: &mut Vec<u8>, width: u32, bits: u64) {
    match width {
        ..=8 => out.push(bits as u8),
        _ => svi(out, bits as i64),
    }
}

fn integer(out: &mut Vec<u8>, width: u32, unsigned: bool, value: i128) -> Result<(), AssetError> {
    let fits = match (unsigned, width) {
        (_, 0 | 129..) => false,
        (true, 127..) => value >= 0,
        (true, _) => value >= 0 && value >> width == 0,
        (false, _) => value >> (width - 1) == 0 || value >> (width - 1) == -1,
    };
    if !fits {
        let sign = if unsigned { "unsigned" } else { "signed" };
        return Err(unwritable("integer", format!("{value} is no {sign} number of {width} bits")));
    }
    vi(out, 2);
    vi(out, u64::from(width));
    out.push(u8::from(unsigned));
    // 1 ≤ width ≤ 128
    let bits = value as u128 & (u128::MAX >> (128 - width));
    if width <= 64 {
        word(out, width, bits as u64);
    } else {
        let high = (bits >> 64) as u64;
        vi(out, if high == 0 { 1 } else { 2 });
        svi(out, bits as u64 as i64);
        if high != 0 {
            svi(out, high as i64);
        }
    }
    Ok(())
}

fn float(out: &mut Vec<u8>, width: u32, value: f64) -> Result<(), AssetError> {
    let bits = match width {
        16 => half_bits(value),
        32 => Some(u64::from((value as f32).to_bits())),
        64 => Some(value.to_bits()),
        _ => None,
    };
    let Some(bits) = bits else {
        return Err(unwritable("float", format!("{value} is no number of {width} bits")));
    };
    vi(out, 3);
    vi(out, u64::from(width));
    word(out, width, bits);
    Ok(())
}

/// A value as IEEE half precision; `None` where it is none exactly.
fn half_bits(value: f64) -> Option<u64> {
    let sign = u64::from(value.is_sign_negative()) << 15;
    let magnitude = value.abs();
    Some(match magnitude {
        _ if magnitude.is_nan() => 0x7e00,
        _ if magnitude.is_infinite() => sign | 0x7c00,
        0.0 => sign,
        _ => {
            // the exponent of a normal f64; anything smaller is far below the least half
            let exponent = ((magnitude.to_bits() >> 52) as i32 - 1023).max(-14);
            let scaled = magnitude * 2f64.powi(10 - exponent);
            if exponent > 15 || scaled.fract() != 0.0 || scaled >= 2048.0 {
                return None;
            }
            let mantissa = scaled as u64;
            // a mantissa below 1024 is subnormal, with exponent -14
            sign | (mantissa + (((exponent + 14) as u64) << 10))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::literal::half_to_f64;

    #[test]
    fn halves_come_back() {
        for bits in 0..=u16::MAX {
            let value = half_to_f64(bits);
            match value.is_nan() {
                true => assert_eq!(half_bits(value), Some(0x7e00)),
                false => assert_eq!(half_bits(value), Some(u64::from(bits)), "{value}"),
            }
        }
        assert_eq!(half_bits(0.1), None);
        assert_eq!(half_bits(65536.0), None);
        assert_eq!(half_bits(1e-300), None);
    }

    #[test]
    fn examples_of_the_format_text() {
        let mut one = Vec::new();
        float(&mut one, 32, 1.0).expect("is a number");
        assert_eq!(one, [0x07, 0x41, 0x10, 0x00, 0x00, 0xe0, 0x0f]);
        let mut version = Vec::new();
        integer(&mut version, 32, true, 20_250_717).expect("is a number");
        assert_eq!(version, [0x05, 0x41, 0x01, 0xa8, 0x0b, 0xa0, 0x26]);
    }

    #[test]
    fn numbers_that_do_not_fit() {
        for (width, unsigned, value) in [
            (8, true, 256),
            (8, true, -1),
            (8, false, 128),
            (1, false, 1),
            (64, true, 1 << 64),
            (0, true, 0),
            (129, true, 0),
        ] {
            assert!(integer(&mut Vec::new(), width, unsigned, value).is_err(), "{value}");
        }
        for (width, unsigned, value) in [
            (8, true, 255),
            (8, false, -128),
            (1, false, -1),
            (128, false, i128::MIN),
            (128, true, i128::MAX),
        ] {
            integer(&mut Vec::new(), width, unsigned, value).expect("fits");
        }
    }
}
