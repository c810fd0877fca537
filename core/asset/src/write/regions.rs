//! Blocks, regions and operations (§2.3): the counterpart of `decode::region`.

use super::bytes::{flagged, section, vi};
use super::encoder::{Encoder, unwritable};
use crate::decode::property_schema;
use crate::error::AssetError;
use crate::ir::{Attribute, Op, Region, Scope, ValueId};
use crate::limits::MAX_REGION_DEPTH;
use crate::types::AttrId;

/// Section id of a program.
pub(super) const IR: u8 = 4;

mod mask {
    pub const RESULTS: u8 = 0x02;
    pub const OPERANDS: u8 = 0x04;
    pub const REGIONS: u8 = 0x10;
    pub const PROPERTIES: u8 = 0x40;
}

/// The numbering of one isolated scope: values have unique ids, the file reuses slots after a
/// region ends.
struct Numbering<'s> {
    scope: &'s Scope,
    /// Slot of each value that is visible.
    slots: Vec<Option<u32>>,
    /// Slots reserved by the regions that are open.
    reserved: u32,
}

impl<'s> Numbering<'s> {
    fn new(scope: &'s Scope) -> Self {
        Self { scope, slots: vec![None; scope.types.len()], reserved: 0 }
    }

    fn set(&mut self, value: ValueId, slot: Option<u32>) -> Result<(), AssetError> {
        let missing = || unwritable("program", format!("value {} is not in its scope", value.0));
        *self.slots.get_mut(value.0 as usize).ok_or_else(missing)? = slot;
        Ok(())
    }

    fn define(&mut self, value: ValueId, next: &mut u32) -> Result<(), AssetError> {
        self.set(value, Some(*next))?;
        *next += 1;
        Ok(())
    }
}

/// What of an operation comes before its regions.
pub(super) struct Head<'o> {
    pub name: &'o str,
    pub location: AttrId,
    pub attrs: &'o [(&'static str, Attribute)],
    pub results: &'o [ValueId],
    pub operands: &'o [ValueId],
    pub regions: bool,
}

impl<'o> Head<'o> {
    pub fn of(op: &'o Op) -> Self {
        Self {
            name: &op.name,
            location: op.location,
            attrs: &op.attrs,
            results: &op.results,
            operands: &op.operands,
            regions: !op.regions.is_empty(),
        }
    }
}

impl Encoder<'_, '_> {
    /// An isolated region in a section of its own.
    pub fn isolated(
        &mut self,
        part: usize,
        region: &Region,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), AssetError> {
        let Some(scope) = &region.scope else {
            return Err(unwritable("program", "a region without a scope among isolated ones"));
        };
        let mut data = Vec::new();
        self.region(part, region, &mut Numbering::new(scope), depth, &mut data)?;
        section(out, IR, &data);
        Ok(())
    }

    /// `depth` is what the reader would still descend.
    fn region(
        &mut self,
        part: usize,
        region: &Region,
        numbering: &mut Numbering<'_>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), AssetError> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(unwritable("program", format!("regions nested deeper than {MAX_REGION_DEPTH}")));
        };
        if region.scope.is_none() && region.args.is_empty() && region.ops.is_empty() {
            vi(out, 0); // a region without a block, as the missing branch of an `if`
            return Ok(());
        }
        let values = || region.args.iter().chain(region.ops.iter().flat_map(|op| &op.results));
        let base = numbering.reserved;
        let mut next = base;
        let end = u32::try_from(values().count()).ok().and_then(|count| base.checked_add(count));
        numbering.reserved = end.ok_or_else(|| unwritable("program", "more than 2^32 values"))?;
        vi(out, 1);
        vi(out, u64::from(numbering.reserved - base));
        flagged(out, region.ops.len() as u64, !region.args.is_empty());
        if !region.args.is_empty() {
            vi(out, region.args.len() as u64);
            for arg in &region.args {
                let ty = self.value_type(part, *arg, numbering)?;
                flagged(out, ty, true);
                vi(out, u64::from(self.unknown_location(part, None)?));
                numbering.define(*arg, &mut next)?;
            }
            out.push(0); // no use lists
        }
        for op in &region.ops {
            self.op(part, op, numbering, &mut next, depth, out)?;
        }
        // what is defined in here is not visible outside
        for value in values() {
            numbering.set(*value, None)?;
        }
        numbering.reserved = base;
        Ok(())
    }

    fn value_type(
        &mut self,
        part: usize,
        value: ValueId,
        numbering: &Numbering<'_>,
    ) -> Result<u64, AssetError> {
        let ty = numbering.scope.ty(value);
        let ty = ty.ok_or_else(|| unwritable("program", format!("value {} has no type", value.0)))?;
        self.ty(part, ty)
    }

    fn op(
        &mut self,
        part: usize,
        op: &Op,
        numbering: &mut Numbering<'_>,
        next: &mut u32,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), AssetError> {
        self.head(part, &Head::of(op), out)?;
        if !op.results.is_empty() {
            vi(out, op.results.len() as u64);
            for result in &op.results {
                vi(out, self.value_type(part, *result, numbering)?);
            }
        }
        if !op.operands.is_empty() {
            vi(out, op.operands.len() as u64);
            for operand in &op.operands {
                let slot = numbering.slots.get(operand.0 as usize).copied().flatten();
                let Some(slot) = slot else {
                    let reason = format!("{} uses value {}, which is not defined there", op.name, operand.0);
                    return Err(unwritable("program", reason));
                };
                vi(out, u64::from(slot));
            }
        }
        // only now: an operation does not use its own results
        for result in &op.results {
            numbering.define(*result, next)?;
        }
        if let Some(first) = op.regions.first() {
            let isolated = first.scope.is_some();
            flagged(out, op.regions.len() as u64, isolated);
            for region in &op.regions {
                match (isolated, &region.scope) {
                    (true, _) => self.isolated(part, region, depth, out)?,
                    (false, None) => self.region(part, region, numbering, depth, out)?,
                    (false, Some(_)) => {
                        return Err(unwritable("program", format!("{} mixes kinds of regions", op.name)));
                    }
                }
            }
        }
        Ok(())
    }

    /// Name, mask, location and properties.
    pub fn head(&mut self, part: usize, head: &Head<'_>, out: &mut Vec<u8>) -> Result<(), AssetError> {
        let mut name = Vec::new();
        vi(&mut name, self.string(head.name));
        vi(out, u64::from(self.op_names.intern(&name)));
        let properties = self.properties(part, head)?;
        let fields = [
            (mask::RESULTS, !head.results.is_empty()),
            (mask::OPERANDS, !head.operands.is_empty()),
            (mask::REGIONS, head.regions),
            (mask::PROPERTIES, properties.is_some()),
        ];
        out.push(fields.iter().filter(|field| field.1).fold(0, |mask, field| mask | field.0));
        vi(out, u64::from(self.location(part, head.location)?));
        if let Some(index) = properties {
            vi(out, u64::from(index));
        }
        Ok(())
    }

    /// The property blob: attributes in the order of the schema (§2.4).
    fn properties(&mut self, part: usize, head: &Head<'_>) -> Result<Option<u32>, AssetError> {
        let wrong = |reason: String| unwritable("attributes", format!("{}: {reason}", head.name));
        let schema = match property_schema(head.name) {
            Some(schema) => schema,
            None if head.attrs.is_empty() => return Ok(None),
            None => return Err(wrong("the operation takes none".into())),
        };
        if head.attrs.is_empty() && schema.iter().any(|(_, optional)| !optional) {
            return Ok(None); // as it was read
        }
        if let Some((name, _)) = head.attrs.iter().find(|(name, _)| schema.iter().all(|row| row.0 != *name)) {
            return Err(wrong(format!("{name} is none of its attributes")));
        }
        let mut blob = Vec::new();
        for (name, optional) in schema {
            let value = head.attrs.iter().find(|(key, _)| key == name).map(|(_, value)| value);
            match (value, optional) {
                (Some(value), optional) => {
                    let renamed = self.parts.get(part).and_then(|part| part.renamed(name, value));
                    let index = u64::from(self.attribute(part, renamed.as_ref().unwrap_or(value))?);
                    match optional {
                        true => flagged(&mut blob, index, true),
                        false => vi(&mut blob, index),
                    }
                }
                (None, true) => vi(&mut blob, 0),
                (None, false) => return Err(wrong(format!("{name} is missing"))),
            }
        }
        Ok(Some(self.properties.intern(&blob)))
    }
}
