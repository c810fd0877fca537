//! Attributes and types that are kept by index only: their entries are taken from the table of
//! the original and every index in them is replaced (§3, §4).

use super::bytes::{svi, vi};
use super::encoder::{Encoder, unwritable};
use crate::error::AssetError;
use crate::file::{Cursor, Entry};
use crate::ir::ConstantRef;
use crate::types::{AttrId, Type, TypeId};

/// Nesting of debug information: call stacks of inlined operations. Also ends cycles.
const MAX_DEPTH: usize = 128;

/// A part of a payload.
#[derive(Clone, Copy, PartialEq)]
enum Field {
    /// Index of a string.
    Str,
    /// Index of an attribute.
    Attr,
    /// Index of a type.
    Type,
    /// A number, or one of an enumeration.
    Num,
    /// A signed number.
    Signed,
    /// A count and so many strings.
    Strs,
    /// A count and so many attributes.
    Attrs,
    /// A count and so many signed numbers.
    Signeds,
    /// Numbers without an index among them, to the end of the entry.
    Rest,
    /// The end of a subprogram: a count and so many attributes. All that were seen have a zero, so
    /// a number without anything after it is kept as it is.
    Tail,
}

/// The payload of an attribute code; `None` where it is not known. Constants are not here.
fn attribute_fields(code: u64) -> Option<&'static [Field]> {
    use Field::*;
    Some(match code {
        1 => &[Str],
        2 | 3 | 21 | 23 => &[Rest],
        4 => &[Type],
        5 | 42 | 45 => &[Attrs],
        9 => &[Str, Attrs],
        10 => &[Str, Type],
        11 => &[Str, Type, Attr],
        12 => &[Signeds, Signeds, Num],
        13 => &[Signeds, Signeds, Num, Attr],
        14 => &[Strs],
        15 => &[Attr, Type, Attrs],
        16 => &[Attr, Type],
        17..=20 | 25 | 27 | 28 | 43 | 44 => &[Num],
        26 => &[Num, Signeds],
        29 => &[Attr, Attr, Attr],
        30 => &[Str, Str, Str],
        31 => &[Attr, Num, Num, Num, Num],
        32 => &[Str, Attr, Str, Num, Str, Attrs],
        33 | 39 | 47 => &[Attr],
        35 => &[Str, Attr],
        36 => &[Type, Attr, Attr, Str, Str, Tail],
        38 => &[Signed, Signed, Signed, Signed],
        40 => &[Attr, Attr, Attrs, Attrs],
        41 => &[Attr, Attr, Attr, Attrs, Attrs],
        46 => &[],
        _ => return None,
    })
}

/// The payload of a type that is kept by code only; `None` where it is not known.
fn type_fields(code: u64) -> Option<&'static [Field]> {
    match code {
        33 | 34 => Some(&[]),
        _ => None,
    }
}

impl Encoder<'_, '_> {
    /// An attribute of the original table in the new one.
    pub fn raw_attribute(&mut self, part: usize, id: AttrId) -> Result<u32, AssetError> {
        self.raw_attribute_at(part, id, MAX_DEPTH)
    }

    fn raw_attribute_at(&mut self, part: usize, id: AttrId, depth: usize) -> Result<u32, AssetError> {
        if let Some(known) = self.seen(part)?.attrs.get(&id.0) {
            return Ok(*known);
        }
        let Some(depth) = depth.checked_sub(1) else {
            return Err(unwritable("attribute", format!("nested deeper than {MAX_DEPTH}, or a cycle")));
        };
        let tables = &self.asset(part)?.tables;
        let Some(entry) = tables.attrs.get(id.0 as usize) else {
            let reason = format!("attribute {} does not exist, the asset has {}", id.0, tables.attrs.len());
            return Err(unwritable("attribute", reason));
        };
        let mut out = Vec::new();
        let (code, mut cursor) = open(tables.entry(*entry, "attribute")?, entry)?;
        match (code, attribute_fields(code)) {
            (6, _) => {
                let splat = cursor.u8()? != 0;
                let length = cursor.vi()?;
                let start = cursor.offset();
                cursor.take(length)?;
                let range = start..cursor.offset();
                self.constant(part, &ConstantRef { splat, range, resource: None }, &mut out)?;
            }
            (_, Some(fields)) => {
                vi(&mut out, code);
                self.fields(part, fields, &mut cursor, depth, &mut out)?;
            }
            (_, None) => {
                let reason =
                    format!("the payload of attribute code {code} is not known; strip the locations");
                return Err(unwritable("debug information", reason));
            }
        }
        cursor.finish()?;
        let number = self.attrs.intern(&out);
        self.seen(part)?.attrs.insert(id.0, number);
        Ok(number)
    }

    /// A type of the original table in the new one.
    pub fn raw_type(&mut self, part: usize, id: TypeId) -> Result<u32, AssetError> {
        let tables = &self.asset(part)?.tables;
        // a built or edited asset has types that no file had; theirs have no payload
        if let (None, Type::Parametric(code)) =
            (tables.type_entries.get(id.0 as usize), self.type_of(part, id)?)
            && type_fields(u64::from(*code)) == Some(&[])
        {
            let mut out = Vec::new();
            vi(&mut out, u64::from(*code));
            return Ok(self.types.intern(&out));
        }
        let Some(entry) = tables.type_entries.get(id.0 as usize) else {
            return Err(unwritable("type", format!("type {} has no entry in the original table", id.0)));
        };
        let (code, mut cursor) = open(tables.entry(*entry, "type")?, entry)?;
        let Some(fields) = type_fields(code) else {
            return Err(unwritable("type", format!("the payload of type code {code} is not known")));
        };
        let mut out = Vec::new();
        vi(&mut out, code);
        self.fields(part, fields, &mut cursor, MAX_DEPTH, &mut out)?;
        cursor.finish()?;
        Ok(self.types.intern(&out))
    }

    fn fields(
        &mut self,
        part: usize,
        fields: &[Field],
        c: &mut Cursor<'_>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), AssetError> {
        for field in fields {
            let (single, count) = match field {
                Field::Strs => (Field::Str, c.count("strings", 1)?),
                Field::Attrs => (Field::Attr, c.count("attributes", 1)?),
                Field::Signeds => (Field::Signed, c.count("integers", 1)?),
                single => (*single, 1),
            };
            if single != *field {
                vi(out, count as u64);
            }
            for _ in 0..count {
                self.field(part, single, c, depth, out)?;
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        part: usize,
        field: Field,
        c: &mut Cursor<'_>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), AssetError> {
        let tables = &self.asset(part)?.tables;
        match field {
            Field::Str => {
                let index = c.index("string", tables.strings.len())?;
                let text = tables.strings.get(index as usize).map_or("", |text| text);
                vi(out, self.string(text));
            }
            Field::Attr => {
                let id = AttrId(c.index("attribute", tables.attrs.len())?);
                vi(out, u64::from(self.raw_attribute_at(part, id, depth)?));
            }
            Field::Type => {
                let id = TypeId(c.index("type", tables.types.len())?);
                vi(out, self.ty(part, id)?);
            }
            Field::Num => vi(out, c.vi()?),
            Field::Tail => {
                let count = c.vi()?;
                vi(out, count);
                while !c.is_done() {
                    self.field(part, Field::Attr, c, depth, out)?;
                }
            }
            Field::Signed => svi(out, c.svi()?),
            _ => out.extend_from_slice(c.take(c.remaining() as u64)?),
        }
        Ok(())
    }
}

/// The code of an entry, and a cursor after it.
fn open<'c>(mut cursor: Cursor<'c>, entry: &Entry) -> Result<(u64, Cursor<'c>), AssetError> {
    if !entry.known {
        return Err(unwritable("attribute", "an entry in text or of another dialect"));
    }
    Ok((cursor.vi()?, cursor))
}
