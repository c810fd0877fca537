//! Builds assets: graphs are authored in Rust, weights are sources that are read when the asset is written.
//!
//! ```
//! use coreai_asset::{AssetBuilder, ElementType::F32, Metadata};
//!
//! let mut asset = AssetBuilder::new();
//! let mut g = asset.function("main");
//! let x = g.input("x", F32, &[None, Some(2)])?; // [rows, 2]
//! let w = g.constant(&[2, 2], &[1.0f32, 2.0, 3.0, 4.0])?;
//! let y = g.matmul(x, w)?;
//! let y = g.softmax(y, -1)?;
//! g.output("y", y)?;
//! g.finish()?;
//! let asset = asset.finish(Metadata::default())?;
//! assert_eq!(asset.function("main").unwrap().outputs[0].name, "y");
//! # Ok::<(), coreai_asset::BuildError>(())
//! ```
//!
//! Operations that have a decomposition get it: what a converter would write is written here too. Extents are
//! `None` where only a run knows them. Results have the extents that can be told from the operands.

mod body;
mod composite;
mod elementwise;
mod error;
mod extent;
mod function;
mod graph;
mod matmul;
mod module;
mod reduce;
mod select;
mod shape;
mod states;
mod weight;

use std::sync::Arc;

pub use composite::{Callee, Declaration, DeclaredValue};
pub use error::BuildError;
pub use extent::{Bound, Extent, Size};
pub use graph::{Element, Graph, Value};
pub use module::Content;
pub(crate) use module::Module;
pub use states::State;

use crate::asset::Asset;
use crate::metadata::Metadata;
use crate::source::ByteSource;

/// An asset that is being made.
pub struct AssetBuilder {
    module: Module,
}

impl Default for AssetBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl AssetBuilder {
    /// An asset without functions.
    pub fn new() -> Self {
        Self { module: Module::default() }
    }

    /// Starts an entry point; [`Graph::finish`] ends it.
    pub fn function(&mut self, name: &str) -> Graph<'_> {
        Graph::function(&mut self.module, name)
    }

    /// Registers bytes that constants of one or several functions hold. They are read when they are needed.
    pub fn content(&mut self, source: Arc<dyn ByteSource>) -> Result<Content, BuildError> {
        self.module.content(source)
    }

    /// Checks the whole and makes it an asset. It can be run, or written.
    pub fn finish(self, metadata: Metadata) -> Result<Asset, BuildError> {
        self.module.finish(metadata)
    }
}

#[cfg(test)]
mod tests;
