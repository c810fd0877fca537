//! Writes assets: `main.mlirb`, `metadata.json` and `main.hash` (`AIMODEL_FORMAT` §1, §2).
//!
//! Everything but the weights is encoded first, so that every length is known; then the file is
//! one pass, the weights going from their source to the sink in chunks. Nothing is written twice:
//! equal strings, types, attributes and property blobs become one entry of their table.
//!
//! What the reader does not keep is not written: use lists, discardable attributes, the locations
//! of block arguments (they become unknown), resources without a constant, and the names of
//! resources, which have no meaning.

mod attributes;
mod bytes;
mod encoder;
#[cfg(not(target_arch = "wasm32"))]
mod folder;
mod layout;
mod locations;
mod merge;
mod metadata;
mod pool;
mod program;
mod regions;
#[cfg(not(target_arch = "wasm32"))]
mod staged;
mod transcode;
mod types;

#[cfg(test)]
#[path = "../tests/corpus/heap.rs"]
mod heap;
#[cfg(test)]
mod tests;

use std::io::Write;

#[cfg(not(target_arch = "wasm32"))]
pub use staged::{StagedFolder, discard_staged};

use crate::asset::Asset;
use crate::error::AssetError;
pub use merge::{Merged, merge};
use program::Program;

/// What becomes of debug locations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locations {
    /// They stay as they are.
    #[default]
    Keep,
    /// Files, lines, scopes and whatever else they hold are replaced by the unknown location of
    /// Apple's own writer (`-`, line 0). The stable id of an operation stays: it is a number,
    /// and profilers and debuggers name operations by it.
    Strip,
}

/// How an asset is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Debug locations.
    pub locations: Locations,
    /// When writing a folder: an asset that exists there is replaced.
    pub replace: bool,
}

/// Where the bytes of a resource are compared and written: this many at a time.
const CHUNK: u64 = 1 << 20;

/// Called with the bytes written and those of the whole file.
pub type Progress<'a> = dyn FnMut(u64, u64) + 'a;

impl Asset {
    /// Writes `main.mlirb` and returns its SHA-256, the content of `main.hash`. Weights are read
    /// from the source in chunks of 1 MiB; the source must answer at once, as native
    /// ones do.
    pub fn write_to(
        &self,
        sink: &mut dyn Write,
        options: &WriteOptions,
        progress: &mut Progress<'_>,
    ) -> Result<[u8; 32], AssetError> {
        Program::of(self).layout(options)?.write(sink, progress)
    }
}
