//! The tables that grow while a program is encoded.

use std::collections::HashMap;
use std::ops::Range;

use super::pool::Pool;
use super::program::Part;
use super::{Locations, WriteOptions};
use crate::asset::Asset;
use crate::error::AssetError;
use crate::ir::ConstantRef;
use crate::source::{read_exact, ready};
use crate::types::TypeId;

/// Longer contents without a resource of their own get one, so that they are not held in memory.
/// Apple's writer keeps fewer than 256 elements inline.
const MAX_INLINE: u64 = 64 << 10;

/// Weights of the new file: a byte range of the source of one part.
pub(super) struct Weights {
    pub part: usize,
    pub range: Range<u64>,
}

/// What of one part already has a place in the new tables.
#[derive(Default)]
pub(super) struct Seen {
    /// By attribute id of the part.
    pub attrs: HashMap<u32, u32>,
    /// By type id of the part.
    pub types: HashMap<u32, u32>,
    /// By attribute id of a location of the part.
    pub locations: HashMap<u32, u32>,
    /// By resource id of the part.
    resources: HashMap<u32, u32>,
    /// Resources made of long inline contents, by their range.
    promoted: HashMap<Range<u64>, u32>,
}

/// The new tables. `part` is the index of the asset that an id belongs to.
pub(super) struct Encoder<'a, 'p> {
    pub parts: &'p [Part<'a>],
    pub seen: Vec<Seen>,
    pub strings: Pool,
    pub op_names: Pool,
    pub attrs: Pool,
    pub types: Pool,
    pub properties: Pool,
    pub weights: Vec<Weights>,
    pub locations: Locations,
}

impl<'a, 'p> Encoder<'a, 'p> {
    pub fn new(parts: &'p [Part<'a>], options: &WriteOptions) -> Self {
        Self {
            parts,
            seen: parts.iter().map(|_| Seen::default()).collect(),
            strings: Pool::default(),
            op_names: Pool::default(),
            attrs: Pool::default(),
            types: Pool::default(),
            properties: Pool::default(),
            weights: Vec::new(),
            locations: options.locations,
        }
    }

    pub fn asset(&self, part: usize) -> Result<&'a Asset, AssetError> {
        self.parts.get(part).map(|part| part.asset).ok_or_else(|| unwritable("program", "no such part"))
    }

    pub fn seen(&mut self, part: usize) -> Result<&mut Seen, AssetError> {
        self.seen.get_mut(part).ok_or_else(|| unwritable("program", "no such part"))
    }

    pub fn string(&mut self, text: &str) -> u64 {
        u64::from(self.strings.intern(text.as_bytes()))
    }

    /// The type a part means by an id.
    pub fn type_of(&self, part: usize, id: TypeId) -> Result<&'a crate::types::Type, AssetError> {
        let types = self.asset(part)?.types();
        types.get(id.0 as usize).ok_or_else(|| {
            unwritable("type", format!("type {} does not exist, the asset has {}", id.0, types.len()))
        })
    }

    /// The payload of a constant attribute: its code and what follows.
    pub fn constant(
        &mut self,
        part: usize,
        constant: &ConstantRef,
        out: &mut Vec<u8>,
    ) -> Result<(), AssetError> {
        let length = constant.range.end.checked_sub(constant.range.start);
        let source = self.asset(part)?.source();
        let Some(length) = length.filter(|_| constant.range.end <= source.len()) else {
            let Range { start, end } = constant.range;
            let reason = format!("bytes {start}..{end} are beyond the {} of the source", source.len());
            return Err(unwritable("constant", reason));
        };
        let handle = match constant.resource {
            Some(id) => Some(self.resource(part, id, &constant.range)?),
            None if length > MAX_INLINE && !constant.splat => Some(self.promoted(part, &constant.range)?),
            None => None,
        };
        match handle {
            Some(_) if constant.splat => {
                Err(unwritable("constant", "a splat cannot be a resource; its element is inline"))
            }
            Some(handle) => {
                super::bytes::vi(out, 7);
                super::bytes::vi(out, u64::from(handle));
                Ok(())
            }
            None if length > MAX_INLINE => Err(unwritable("constant", format!("a splat of {length} bytes"))),
            None => {
                super::bytes::vi(out, 6);
                out.push(u8::from(constant.splat));
                super::bytes::vi(out, length);
                out.extend_from_slice(&ready(read_exact(&**source, constant.range.clone()))?);
                Ok(())
            }
        }
    }

    /// The handle of a resource, which may be that of an equal one in another part.
    fn resource(&mut self, part: usize, id: u32, range: &Range<u64>) -> Result<u32, AssetError> {
        let alias = self.parts.get(part).and_then(|part| part.aliases.get(&id));
        let (owner, key) = alias.copied().unwrap_or((part, id));
        if let Some(handle) = self.seen(owner)?.resources.get(&key).copied() {
            let differs = |weights: &Weights| weights.part == part && weights.range != *range;
            if self.weights.get(handle as usize).is_some_and(differs) {
                return Err(unwritable("constant", format!("resource {id} has two byte ranges")));
            }
            return Ok(handle);
        }
        let handle = self.weights.len() as u32;
        self.weights.push(Weights { part, range: range.clone() });
        self.seen(owner)?.resources.insert(key, handle);
        Ok(handle)
    }

    fn promoted(&mut self, part: usize, range: &Range<u64>) -> Result<u32, AssetError> {
        let handle = self.weights.len() as u32;
        let known = *self.seen(part)?.promoted.entry(range.clone()).or_insert(handle);
        if known == handle {
            self.weights.push(Weights { part, range: range.clone() });
        }
        Ok(known)
    }
}

pub(super) fn unwritable(what: &'static str, reason: impl Into<String>) -> AssetError {
    AssetError::Unwritable { what, reason: reason.into() }
}
