//! The `aicode` dialect: types, attributes, operations (`AIMODEL_FORMAT` §2.3–§5).

mod attributes;
mod constants;
mod properties;
mod region;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub(crate) use properties::schema as property_schema;
pub(crate) use types::decode_types;

use crate::error::AssetError;
use crate::file::{Blob, Tables};
use crate::ir::Region;
use crate::limits::attribute_budget;

/// Decodes against the tables of one file.
pub(crate) struct Decoder<'a> {
    pub tables: &'a Tables,
    /// Bytes that decoded attributes may still take.
    budget: u64,
    /// Values that regions may still declare; each takes a byte of the program at least.
    values: u64,
    /// Resources found by the type of a constant: index and byte range.
    located: BTreeMap<u32, Range<u64>>,
    /// Resources whose header has to be read to find their data.
    unclear: BTreeSet<u32>,
}

/// The decoded program.
pub(crate) struct Program {
    /// The root region with one `serialization.asset` operation.
    pub root: Region,
    pub located: BTreeMap<u32, Range<u64>>,
    /// If not empty, read these headers and decode again.
    pub unclear: BTreeSet<u32>,
}

impl<'a> Decoder<'a> {
    pub fn new(tables: &'a Tables) -> Self {
        let bytes = tables.container.table_bytes();
        Self {
            tables,
            budget: attribute_budget(bytes),
            values: bytes,
            located: BTreeMap::new(),
            unclear: BTreeSet::new(),
        }
    }

    /// Decodes the whole program.
    pub fn program(mut self) -> Result<Program, AssetError> {
        let root = self.root()?;
        Ok(Program { root, located: self.located, unclear: self.unclear })
    }

    fn charge(&mut self, bytes: u64, offset: u64) -> Result<(), AssetError> {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(AssetError::LimitExceeded {
                what: "bytes of unfolded attributes",
                offset,
                value: attribute_budget(self.tables.container.table_bytes()).saturating_add(1),
                limit: attribute_budget(self.tables.container.table_bytes()),
            }),
        }
    }

    /// Where a resource's data lies; the whole entry while unknown.
    fn resource(&self, handle: u32, offset: u64) -> Result<Range<u64>, AssetError> {
        match self.tables.resources.get(handle as usize).map(|r| (&r.blob, &r.entry)) {
            Some((Blob::Bytes(Some(range)), _)) => Ok(range.clone()),
            Some((Blob::Bytes(None), entry)) => Ok(entry.clone()),
            Some((Blob::Other, _)) | None => {
                Err(AssetError::malformed("constant", offset, "the resource is not a blob"))
            }
        }
    }
}
