//! Attributes (§4).

use super::Decoder;
use super::types::foreign;
use crate::error::AssetError;
use crate::file::Cursor;
use crate::ir::{Attribute, ConstantRef};
use crate::limits::MAX_ATTRIBUTE_DEPTH;
use crate::literal::half_to_f64;
use crate::types::{AttrId, TypeId};

impl Decoder<'_> {
    /// Decodes an attribute and everything it refers to.
    pub fn attribute(&mut self, id: AttrId) -> Result<Attribute, AssetError> {
        self.attribute_at(id, MAX_ATTRIBUTE_DEPTH)
    }

    /// `depth` is what may still be nested; it ends cycles.
    fn attribute_at(&mut self, id: AttrId, depth: usize) -> Result<Attribute, AssetError> {
        let attrs = &self.tables.attrs;
        let Some(entry) = attrs.get(id.0 as usize) else {
            let len = attrs.len() as u64;
            let index = u64::from(id.0);
            return Err(AssetError::IndexOutOfRange { what: "attribute", offset: 0, index, len });
        };
        if !entry.known {
            return Err(foreign(entry.start));
        }
        let Some(depth) = depth.checked_sub(1) else {
            return Err(AssetError::LimitExceeded {
                what: "nesting of attributes (or a cycle)",
                offset: entry.start,
                value: MAX_ATTRIBUTE_DEPTH as u64 + 1,
                limit: MAX_ATTRIBUTE_DEPTH as u64,
            });
        };
        self.charge(size_of::<Attribute>() as u64, entry.start)?;
        let mut cursor = self.tables.entry(*entry, "attribute")?;
        let attribute = self.decode(&mut cursor, id, depth)?;
        cursor.finish()?;
        Ok(attribute)
    }

    fn decode(&mut self, c: &mut Cursor<'_>, id: AttrId, depth: usize) -> Result<Attribute, AssetError> {
        let at = c.offset();
        let code = c.vi()?;
        Ok(match code {
            1 => Attribute::String(self.string(c)?),
            2 => integer(c)?,
            3 => float(c)?,
            4 => Attribute::Type(self.type_id(c)?),
            5 => Attribute::Array(self.attributes(c, depth)?),
            6 => {
                let splat = c.u8()? != 0;
                let length = c.vi()?;
                let start = c.offset();
                c.take(length)?;
                let range = start..c.offset();
                Attribute::Constant(ConstantRef { splat, range, resource: None })
            }
            7 => {
                let handle = c.index("resource", self.tables.resources.len())?;
                let range = self.resource(handle, at)?;
                Attribute::Constant(ConstantRef { splat: false, range, resource: Some(handle) })
            }
            9 => Attribute::Opaque { name: self.string(c)?, params: self.attributes(c, depth)? },
            10 | 11 => Attribute::ParamDecl {
                name: self.string(c)?,
                ty: self.type_id(c)?,
                default: if code == 11 { Some(self.boxed(c, depth)?) } else { None },
            },
            12 | 13 => Attribute::HwConstraints {
                alignments: self.integers(c)?,
                interleave: self.integers(c)?,
                backing: c.vi()?,
                base: if code == 13 { Some(self.boxed(c, depth)?) } else { None },
            },
            14 => {
                let count = c.count("symbols", 1)?;
                let mut path = Vec::new();
                for _ in 0..count {
                    path.push(self.string(c)?);
                }
                Attribute::Symbol(path)
            }
            15 => Attribute::ParamBind {
                reference: self.boxed(c, depth)?,
                ty: self.type_id(c)?,
                params: self.attributes(c, depth)?,
            },
            16 => Attribute::ParamConstant { value: self.boxed(c, depth)?, ty: self.type_id(c)? },
            17 | 18 | 19 | 20 | 25 | 27 | 28 | 43 | 44 => {
                let value = c.vi()?;
                let name = enum_name(code, value);
                self.charge(name.len() as u64, at)?;
                Attribute::Enum { code: code as u8, name, value }
            }
            21 | 23 => {
                let (scheme, pos_width, crd_width) = (c.vi()?, c.vi()?, c.vi()?);
                let nnz = if c.u8()? != 0 { Some(c.vi()?) } else { None };
                let mut blocks = Vec::new();
                if code == 23 {
                    for _ in 0..c.count("block sizes", 1)? {
                        self.charge(8, at)?;
                        blocks.push(c.vi()?);
                    }
                }
                Attribute::Sparse { scheme, pos_width, crd_width, nnz, blocks }
            }
            26 => Attribute::ImageConstraints { backing: c.vi()?, row_alignments: self.integers(c)? },
            29 => Attribute::TargetSpec {
                triple: self.boxed(c, depth)?,
                soc: self.boxed(c, depth)?,
                options: self.boxed(c, depth)?,
            },
            45 => Attribute::Dictionary(self.attributes(c, depth)?),
            46 => Attribute::Unit,
            30..=33 | 35..=42 | 47 => {
                c.take(c.remaining() as u64)?;
                Attribute::Debug { code: code as u8, id }
            }
            _ => {
                return Err(AssetError::UnknownCode { what: "attribute", offset: at, code });
            }
        })
    }

    /// Resolves a string index; the copy is charged, one long string may be named often.
    pub(super) fn string(&mut self, c: &mut Cursor<'_>) -> Result<String, AssetError> {
        let offset = c.offset();
        let index = c.index("string", self.tables.strings.len())?;
        let text = self.tables.strings.get(index as usize).map_or("", |text| text);
        self.charge(text.len() as u64 + size_of::<String>() as u64, offset)?;
        Ok(text.to_owned())
    }

    fn type_id(&self, c: &mut Cursor<'_>) -> Result<TypeId, AssetError> {
        Ok(TypeId(c.index("type", self.tables.types.len())?))
    }

    pub(super) fn attr_id(&self, c: &mut Cursor<'_>) -> Result<AttrId, AssetError> {
        Ok(AttrId(c.index("attribute", self.tables.attrs.len())?))
    }

    fn boxed(&mut self, c: &mut Cursor<'_>, depth: usize) -> Result<Box<Attribute>, AssetError> {
        let id = self.attr_id(c)?;
        Ok(Box::new(self.attribute_at(id, depth)?))
    }

    fn attributes(&mut self, c: &mut Cursor<'_>, depth: usize) -> Result<Vec<Attribute>, AssetError> {
        let count = c.count("attributes", 1)?;
        let mut list = Vec::new();
        for _ in 0..count {
            let id = self.attr_id(c)?;
            list.push(self.attribute_at(id, depth)?);
        }
        list.shrink_to_fit();
        Ok(list)
    }

    fn integers(&mut self, c: &mut Cursor<'_>) -> Result<Vec<i64>, AssetError> {
        let count = c.count("integers", 1)?;
        self.charge(8 * count as u64, c.offset())?;
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(c.svi()?);
        }
        Ok(list)
    }
}

/// Bits of a word of `width` ≤ 64 bits: a byte, or the zig-zag form of the zero-extended bits.
fn word(c: &mut Cursor<'_>, width: u64) -> Result<u64, AssetError> {
    Ok(if width <= 8 { u64::from(c.u8()?) } else { c.svi()? as u64 })
}

fn integer(c: &mut Cursor<'_>) -> Result<Attribute, AssetError> {
    let at = c.offset();
    let width = c.vi()?;
    let unsigned = c.u8()? != 0;
    let bits = match width {
        1..=64 => u128::from(word(c, width)?),
        65..=128 => {
            let mut bits = 0u128;
            let words = c.count("words", 1)?;
            if words > 2 {
                return Err(c.malformed(format!("{words} words for {width} bits")));
            }
            for index in 0..words {
                bits |= u128::from(c.svi()? as u64) << (64 * index);
            }
            bits
        }
        _ => {
            let what = "integer width";
            return Err(AssetError::LimitExceeded { what, offset: at, value: width, limit: 128 });
        }
    };
    let spare = 128 - width as u32; // 0..=127
    let value = match unsigned {
        true => i128::try_from((bits << spare) >> spare)
            .map_err(|_| c.malformed("an unsigned value of more than 127 bits"))?,
        false => ((bits << spare) as i128) >> spare,
    };
    Ok(Attribute::Integer { width: width as u32, unsigned, value })
}

fn float(c: &mut Cursor<'_>) -> Result<Attribute, AssetError> {
    let width = c.vi()?;
    let value = match width {
        16 => half_to_f64(word(c, width)? as u16),
        32 => f64::from(f32::from_bits(word(c, width)? as u32)),
        64 => f64::from_bits(word(c, width)?),
        _ => return Err(c.malformed(format!("a float of {width} bits"))),
    };
    Ok(Attribute::Float { width: width as u32, value })
}

/// Names of enumeration values; the number where it has none.
fn enum_name(code: u64, value: u64) -> String {
    const FOURCC: [(u64, &str); 4] =
        [(24, "k24RGB"), (32, "k32ARGB"), (0x4247_5241, "k32BGRA"), (0x7934_3230, "k420YpCbCr8Planar")];
    let names: &[&str] = match code {
        17 => &["circular", "constant", "reflect", "replicate", "symmetric"],
        19 => &["none", "tanh", "sigmoid"],
        20 => &["update", "add", "sub", "mul", "div", "max", "min"],
        25 => &["sum", "product", "min", "max"],
        28 => &["full", "partial", "finalized"],
        43 => &["linear", "nearest_neighbor"],
        44 => &["out", "inout", "return", "in", "param", "metadata"],
        _ => &[],
    };
    if code == 18 {
        // a set of phases
        let phases = [(1, "init"), (2, "reshape"), (4, "prepare"), (8, "encode")];
        let set: Vec<_> = phases.iter().filter(|p| value & p.0 != 0).map(|p| p.1).collect();
        return if set.is_empty() { "stateless".into() } else { set.join("_") };
    }
    let named = usize::try_from(value).ok().and_then(|index| names.get(index)).copied();
    let fourcc = FOURCC.iter().find(|row| code == 27 && row.0 == value).map(|row| row.1);
    named.or(fourcc).map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8]) -> Attribute {
        integer(&mut Cursor::new(bytes, 0, "test")).unwrap()
    }

    #[test]
    fn integers() {
        let parts = |a: Attribute| match a {
            Attribute::Integer { width, unsigned, value } => (width, unsigned, value),
            other => panic!("{other:?}"),
        };
        assert_eq!(parts(number(&[0x03, 1, 1])), (1, true, 1));
        assert_eq!(parts(number(&[0x03, 0, 1])), (1, false, -1));
        assert_eq!(parts(number(&[0x11, 0, 0xff])), (8, false, -1));
        assert_eq!(parts(number(&[0x41, 1, 0xa8, 0x0b, 0xa0, 0x26])), (32, true, 20_250_717));
    }

    #[test]
    fn float_of_the_format_text() {
        let bytes = [0x41, 0x10, 0x00, 0x00, 0xe0, 0x0f];
        let one = float(&mut Cursor::new(&bytes, 0, "test")).unwrap();
        assert_eq!(one, Attribute::Float { width: 32, value: 1.0 });
    }

    #[test]
    fn names_of_enumerations() {
        assert_eq!(enum_name(17, 1), "constant");
        assert_eq!(enum_name(17, 9), "9");
        assert_eq!(enum_name(18, 5), "init_prepare");
        assert_eq!(enum_name(27, 0x4247_5241), "k32BGRA");
    }
}
