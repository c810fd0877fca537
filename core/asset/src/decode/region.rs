//! Blocks, regions and operations (§2.3).

use super::Decoder;
use super::properties::schema;
use crate::error::AssetError;
use crate::file::{Cursor, Section};
use crate::ir::{Attribute, Op, Region, Scope, ValueId};
use crate::limits::MAX_REGION_DEPTH;
use crate::types::{AttrId, TypeId};

/// A slot that has no value yet.
const UNDEFINED: u32 = u32::MAX;
/// Capacity reserved on the word of the file alone; lists grow beyond as items are read.
const RESERVE: usize = 512;

/// Fields of an operation, by the bits of its mask.
mod mask {
    pub const DISCARDABLE: u8 = 0x01;
    pub const RESULTS: u8 = 0x02;
    pub const OPERANDS: u8 = 0x04;
    pub const SUCCESSORS: u8 = 0x08;
    pub const REGIONS: u8 = 0x10;
    pub const USE_LISTS: u8 = 0x20;
    pub const PROPERTIES: u8 = 0x40;
}

/// The numbering of one isolated scope. The file reuses slots after a region ends; values get
/// unique ids.
#[derive(Default)]
struct Numbering {
    /// Value of each slot.
    slots: Vec<u32>,
    scope: Scope,
}

impl Numbering {
    fn define(&mut self, slot: &mut usize, ty: TypeId, c: &Cursor<'_>) -> Result<ValueId, AssetError> {
        let id = self.scope.types.len();
        let (Some(place), Ok(value)) = (self.slots.get_mut(*slot), u32::try_from(id)) else {
            return Err(c.malformed("more values than the region declares"));
        };
        *place = value;
        *slot += 1;
        self.scope.types.push(ty);
        Ok(ValueId(value))
    }

    fn operand(&self, c: &mut Cursor<'_>) -> Result<ValueId, AssetError> {
        let offset = c.offset();
        let slot = c.index("value", self.slots.len())?;
        match self.slots.get(slot as usize).copied() {
            Some(value) if value != UNDEFINED => Ok(ValueId(value)),
            _ => {
                let reason = format!("value {slot} is used before it is defined");
                Err(AssetError::malformed("program", offset, reason))
            }
        }
    }
}

impl Decoder<'_> {
    /// The root block of the file.
    pub(super) fn root(&mut self) -> Result<Region, AssetError> {
        let mut cursor = self.tables.container.section(Section::Ir)?;
        let mut numbering = Numbering::default();
        let (args, ops) = self.block(&mut cursor, &mut numbering, &mut 0, MAX_REGION_DEPTH)?;
        cursor.finish()?;
        Ok(Region { scope: Some(numbering.scope), args, ops })
    }

    /// `depth` is what may still be nested.
    fn region(
        &mut self,
        c: &mut Cursor<'_>,
        numbering: &mut Numbering,
        depth: usize,
    ) -> Result<Region, AssetError> {
        let offset = c.offset();
        let Some(depth) = depth.checked_sub(1) else {
            return Err(AssetError::LimitExceeded {
                what: "nesting of regions",
                offset,
                value: MAX_REGION_DEPTH as u64 + 1,
                limit: MAX_REGION_DEPTH as u64,
            });
        };
        match c.vi()? {
            0 => {
                return Ok(Region { scope: None, args: Vec::new(), ops: Vec::new() });
            }
            1 => {}
            n => {
                let reason = format!("a region of {n} blocks; only one is supported");
                return Err(AssetError::malformed("program", offset, reason));
            }
        }
        let at = c.offset();
        let declared = c.count("values", 1)?;
        self.values = self.values.checked_sub(declared as u64).ok_or_else(|| {
            AssetError::malformed("program", at, "regions declare more values than the file holds")
        })?;
        let base = numbering.slots.len();
        let mut next = base;
        numbering.slots.resize(base + declared, UNDEFINED);
        let (args, ops) = self.block(c, numbering, &mut next, depth)?;
        if next != numbering.slots.len() {
            let reason = format!("a region declares {declared} values, but has {}", next - base);
            return Err(AssetError::malformed("program", at, reason));
        }
        numbering.slots.truncate(base);
        Ok(Region { scope: None, args, ops })
    }

    fn block(
        &mut self,
        c: &mut Cursor<'_>,
        numbering: &mut Numbering,
        next: &mut usize,
        depth: usize,
    ) -> Result<(Vec<ValueId>, Vec<Op>), AssetError> {
        let offset = c.offset();
        let (ops, has_args) = c.flagged()?;
        let mut args = Vec::new();
        if has_args {
            let count = c.count("block arguments", 1)?;
            args.reserve_exact(count.min(RESERVE));
            for _ in 0..count {
                let (ty, has_location) = c.flagged()?;
                if has_location {
                    self.attr_id(c)?;
                }
                let ty = self.check_type(ty, c.offset())?;
                args.push(numbering.define(next, ty, c)?);
            }
            if c.u8()? != 0 {
                skip_use_lists(c, count)?;
            }
        }
        // an operation takes three bytes at least: name, mask, location
        let count = c.check_count(ops, "operations", 3, offset)?;
        let mut list = Vec::with_capacity(count.min(RESERVE));
        for _ in 0..count {
            list.push(self.op(c, numbering, next, depth)?);
        }
        Ok((args, list))
    }

    fn op(
        &mut self,
        c: &mut Cursor<'_>,
        numbering: &mut Numbering,
        next: &mut usize,
        depth: usize,
    ) -> Result<Op, AssetError> {
        let offset = c.offset();
        let name = c.index("operation name", self.tables.op_names.len())?;
        let (name, ours) = match self.tables.op_names.get(name as usize) {
            Some((name, ours)) => (name.clone(), *ours),
            None => {
                return Err(AssetError::malformed("program", offset, "no such operation"));
            }
        };
        if !ours {
            let dialect = format!("of operation {name}");
            return Err(AssetError::ForeignDialect { dialect, offset });
        }
        let fields = c.u8()?;
        if fields & 0x80 != 0 {
            return Err(c.malformed(format!("unknown field bits {fields:#04x}")));
        }
        let location = self.attr_id(c)?;
        let mut op = Op {
            name,
            operands: Vec::new(),
            results: Vec::new(),
            attrs: Vec::new(),
            regions: Vec::new(),
            location,
        };
        if fields & mask::DISCARDABLE != 0 {
            self.attr_id(c)?; // never written in assets, and by its name without meaning
        }
        if fields & mask::PROPERTIES != 0 {
            self.properties(c, &mut op)?;
        }
        if fields & mask::RESULTS != 0 {
            let count = c.count("results", 1)?;
            op.results.reserve_exact(count.min(RESERVE));
            for _ in 0..count {
                let at = c.offset();
                let ty = c.vi()?;
                let ty = self.check_type(ty, at)?;
                op.results.push(numbering.define(next, ty, c)?);
            }
        }
        if fields & mask::OPERANDS != 0 {
            let count = c.count("operands", 1)?;
            op.operands.reserve_exact(count.min(RESERVE));
            for _ in 0..count {
                let value = numbering.operand(c)?;
                // ids grow: nothing newer than the own first result exists
                if op.results.first().is_some_and(|first| value >= *first) {
                    return Err(c.malformed(format!("{} uses its own result", op.name)));
                }
                op.operands.push(value);
            }
        }
        if fields & mask::SUCCESSORS != 0 && c.vi()? != 0 {
            return Err(c.malformed(format!("{} branches to another block", op.name)));
        }
        if fields & mask::USE_LISTS != 0 {
            skip_use_lists(c, op.results.len())?;
        }
        if fields & mask::REGIONS != 0 {
            let (count, isolated) = c.flagged()?;
            let count = c.check_count(count, "regions", 1, offset)?;
            op.regions.reserve_exact(count.min(2));
            for _ in 0..count {
                let region = match isolated {
                    true => self.isolated(c, depth)?,
                    false => self.region(c, numbering, depth)?,
                };
                op.regions.push(region);
            }
        }
        self.check_op(&mut op, &numbering.scope, offset)?;
        Ok(op)
    }

    /// A region in a section of its own, with a numbering of its own.
    fn isolated(&mut self, c: &mut Cursor<'_>, depth: usize) -> Result<Region, AssetError> {
        let head = c.u8()?;
        let size = c.vi()?;
        if head & 0x80 != 0 {
            let alignment = c.vi()?;
            c.padding(alignment)?;
        }
        if head & 0x7f != Section::Ir as u8 {
            return Err(c.malformed(format!("expected section 4, found {}", head & 0x7f)));
        }
        let mut inner = c.sub(size, "program")?;
        let mut numbering = Numbering::default();
        let mut region = self.region(&mut inner, &mut numbering, depth)?;
        inner.finish()?;
        numbering.scope.types.shrink_to_fit();
        region.scope = Some(numbering.scope);
        Ok(region)
    }

    fn check_type(&self, index: u64, offset: u64) -> Result<TypeId, AssetError> {
        match u32::try_from(index) {
            Ok(small) if (small as usize) < self.tables.types.len() => Ok(TypeId(small)),
            _ => Err(AssetError::IndexOutOfRange {
                what: "type",
                offset,
                index,
                len: self.tables.types.len() as u64,
            }),
        }
    }

    fn properties(&mut self, c: &mut Cursor<'_>, op: &mut Op) -> Result<(), AssetError> {
        let offset = c.offset();
        let mut blob = self.tables.property(c.vi()?, offset)?;
        let Some(schema) = schema(&op.name) else {
            return Err(AssetError::UnknownProperties { op: op.name.to_string(), offset });
        };
        op.attrs.reserve_exact(schema.len());
        for (name, optional) in schema {
            let at = blob.offset();
            let word = blob.vi()?;
            let index = match (*optional, word) {
                (false, index) => index,
                (true, 0) => continue,
                (true, word) if word & 1 == 1 => word >> 1,
                (true, _) => return Err(blob.malformed(format!("bad optional {name}"))),
            };
            let len = self.tables.attrs.len();
            let Some(id) = u32::try_from(index).ok().filter(|id| (*id as usize) < len) else {
                let len = len as u64;
                let what = "attribute";
                return Err(AssetError::IndexOutOfRange { what, offset: at, index, len });
            };
            op.attrs.push((*name, self.attribute(AttrId(id))?));
        }
        blob.finish()
    }

    /// What every operation of its kind must have, so that later stages can rely on it.
    fn check_op(&mut self, op: &mut Op, scope: &Scope, offset: u64) -> Result<(), AssetError> {
        if &*op.name != "primitive.constant_v1" {
            return Ok(());
        }
        let wrong = |reason: &str| {
            let reason = reason.to_owned();
            Err(AssetError::InvalidOp { op: "primitive.constant_v1".into(), offset, reason })
        };
        let ([result], []) = (op.results.as_slice(), op.operands.as_slice()) else {
            return wrong("a constant has no operands and one result");
        };
        let Some(ty) = scope.ty(*result) else {
            return wrong("no result type");
        };
        match op.attrs.as_mut_slice() {
            [("value", Attribute::Constant(constant))] => self.check_constant(constant, ty, offset),
            _ => wrong("the value is not an array of bytes"),
        }
    }
}

/// Use lists order the uses of values; nothing depends on them.
fn skip_use_lists(c: &mut Cursor<'_>, values: usize) -> Result<(), AssetError> {
    let entries = if values > 1 { c.count("use lists", 1)? } else { 1 };
    for _ in 0..entries {
        if values > 1 {
            c.vi()?;
        }
        let (count, _pairs) = c.flagged()?;
        for _ in 0..c.check_count(count, "uses", 1, c.offset())? {
            c.vi()?;
        }
    }
    Ok(())
}
