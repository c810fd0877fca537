//! Debug locations: kept, stripped, or unknown.

use super::Locations;
use super::bytes::vi;
use super::encoder::{Encoder, unwritable};
use crate::error::AssetError;
use crate::ir::Attribute;
use crate::location;
use crate::types::AttrId;

/// The word of Apple's writer for no file.
const NO_FILE: &str = "-";

impl Encoder<'_, '_> {
    /// The location of an operation.
    pub fn location(&mut self, part: usize, id: AttrId) -> Result<u32, AssetError> {
        if id == AttrId::UNKNOWN {
            return self.unknown_location(part, None);
        }
        if let Some(known) = self.seen(part)?.locations.get(&id.0) {
            return Ok(*known);
        }
        let number = match self.locations {
            Locations::Keep => self.raw_attribute(part, id)?,
            Locations::Strip => {
                let op_id = location::decode(&self.asset(part)?.tables, id).and_then(|at| at.op_id);
                self.unknown_location(part, op_id)?
            }
        };
        self.seen(part)?.locations.insert(id.0, number);
        Ok(number)
    }

    /// Debug information that is an attribute of an operation.
    pub fn debug(&mut self, part: usize, code: u8, id: AttrId) -> Result<u32, AssetError> {
        match (self.locations, code) {
            (Locations::Keep, _) => self.raw_attribute(part, id),
            (Locations::Strip, 40..=42 | 47) => self.location(part, id),
            (Locations::Strip, _) => {
                let reason =
                    format!("an operation has an attribute of code {code}, which has no form without");
                Err(unwritable("debug information", reason))
            }
        }
    }

    /// Line 0 of `-` in no scope, as Apple's writer states an unknown location, with the id of the
    /// operation as its only metadata.
    pub fn unknown_location(&mut self, part: usize, op_id: Option<u64>) -> Result<u32, AssetError> {
        let (name, empty) = (self.string(NO_FILE), self.string(""));
        let file = self.entry(30, &[name, empty, empty]);
        let range = self.entry(31, &[file, 0, 0, 0, 0]);
        let scope = self.entry(46, &[]);
        let location = match op_id {
            None => self.entry(40, &[range, scope, 0, 0]),
            Some(id) => {
                // in the order in which a location that is read is transcoded, see `transcode`
                let named = self.string("op_id");
                let entry = |name: &str, value| Attribute::Opaque { name: name.into(), params: vec![value] };
                let content = Attribute::Dictionary(vec![
                    entry("type", Attribute::String("coreai".into())),
                    entry("value", Attribute::Integer { width: 64, unsigned: true, value: id.into() }),
                ]);
                let content = u64::from(self.attribute(part, &content)?);
                let value = self.entry(33, &[content]);
                let named = self.entry(35, &[named, value]);
                self.entry(40, &[range, scope, 0, 1, named])
            }
        };
        Ok(location as u32) // a number of the attribute table
    }

    /// An attribute of numbers and indices.
    fn entry(&mut self, code: u64, payload: &[u64]) -> u64 {
        let mut out = Vec::new();
        vi(&mut out, code);
        payload.iter().for_each(|number| vi(&mut out, *number));
        u64::from(self.attrs.intern(&out))
    }
}
