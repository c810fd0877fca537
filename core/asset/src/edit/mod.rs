//! Changes assets that were read: constants are replaced by what operations make of others.
//!
//! ```
//! use std::sync::Arc;
//! use coreai_asset::{AssetBuilder, Editor, ElementType::{F32, SI8}, MemorySource, Metadata};
//!
//! let mut asset = AssetBuilder::new();
//! let mut g = asset.function("main");
//! let x = g.input("x", F32, &[None, Some(2)])?;
//! let w = g.constant(&[2, 2], &[1.0f32, 2.0, 3.0, 4.0])?;
//! let y = g.matmul(x, w)?;
//! g.output("y", y)?;
//! g.finish()?;
//! let asset = asset.finish(Metadata::default())?;
//!
//! let constant = asset.functions[0].body.ops.iter().find(|op| op.constant().is_some()).unwrap();
//! let old = constant.results[0];
//! let mut editor = Editor::new(asset)?;
//! let mut patch = editor.open(0)?;
//! patch.replace(old, |g| {
//!     let codes = g.weight(SI8, &[2, 2], Arc::new(MemorySource(vec![1, 2, 3, 4])))?;
//!     let scale = g.filled(F32, &[1, 1], 0.5)?;
//!     let (zero, minimum) = (g.filled(SI8, &[1, 1], 0.0)?, g.filled(F32, &[1, 1], 0.0)?);
//!     g.blockwise_shift_scale(codes, scale, zero, minimum)
//! })?;
//! patch.finish()?;
//! let asset = editor.finish()?;
//! assert!(asset.op_counts(false).contains_key("primitive.blockwise_shift_scale_v2"));
//! # Ok::<(), coreai_asset::BuildError>(())
//! ```

mod order;
mod patch;

use std::sync::Arc;

pub use patch::Patch;

use crate::asset::Asset;
use crate::build::{BuildError, Content, Module};
use crate::function::check_calls;
use crate::ir::{Attribute, Function};
use crate::source::ByteSource;

/// An asset that is changed. Its functions keep their order, declarations and locations; byte ranges and
/// types of it stay what they are.
pub struct Editor {
    asset: Asset,
    module: Module,
}

impl Editor {
    /// Begins with an asset.
    pub fn new(asset: Asset) -> Result<Self, BuildError> {
        let module = Module::resume(&asset).ok_or_else(|| {
            let reason = "has more than 2³² resources, or sources of more than 2⁶⁴ bytes".into();
            BuildError::Function { function: String::new(), reason }
        })?;
        Ok(Self { asset, module })
    }

    /// The functions as they are now.
    pub fn functions(&self) -> &[Function] {
        &self.asset.functions
    }

    /// Registers bytes that constants of one or several functions hold. They are read when they are needed.
    pub fn content(&mut self, source: Arc<dyn ByteSource>) -> Result<Content, BuildError> {
        self.module.content(source)
    }

    /// Opens a function, by its index. [`Patch::finish`] makes the changes; without it there are none.
    pub fn open(&mut self, function: usize) -> Result<Patch<'_>, BuildError> {
        let count = self.asset.functions.len();
        let Some(found) = self.asset.functions.get_mut(function) else {
            let (found, expected) = (function.to_string(), format!("less than {count}"));
            return Err(BuildError::operand("open", "the index of the function", found, expected));
        };
        Ok(Patch::new(found, &mut self.module))
    }

    /// The changed asset. It can be run, or written.
    pub fn finish(self) -> Result<Asset, BuildError> {
        let Self { mut asset, module } = self;
        let added = module.into_additions();
        asset.functions.extend(added.functions);
        check_calls(&asset.functions)?;
        if let [region] = asset.frame.regions.as_mut_slice() {
            region.ops.extend(added.graphs);
        }
        if added.feature_version > asset.feature_version {
            asset.feature_version = added.feature_version;
            let value = i128::from(added.feature_version);
            asset.frame.attrs.retain(|(name, _)| *name != "version");
            asset.frame.attrs.push(("version", Attribute::Integer { width: 32, unsigned: true, value }));
        }
        asset.tables.types = added.types;
        asset.tables.container.source = Arc::new(added.source);
        // the hash is that of the file as it was
        asset.hash = None;
        asset.hash_malformed = false;
        Ok(asset)
    }
}

#[cfg(test)]
mod tests;
