//! Bytes of the asset's constants.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use coreai_asset::{Asset, ConstantRef};

use crate::error::Error;
use crate::plan::Plan;
use crate::step::Role;

/// Bounds that let an executor run on worker threads; none on wasm.
#[cfg(not(target_arch = "wasm32"))]
pub(super) trait Shared: Send + Sync {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Send + Sync> Shared for T {}
/// Bounds that let an executor run on worker threads; none on wasm.
#[cfg(target_arch = "wasm32")]
pub(super) trait Shared {}
#[cfg(target_arch = "wasm32")]
impl<T> Shared for T {}

/// Access to constant bytes by file range.
pub(super) trait Constants: Shared {
    /// The bytes, when the range exists.
    fn bytes(&self, range: &Range<u64>) -> Option<&[u8]>;
}

/// Constants of an asset: in place where its source is mapped or in memory, else read once.
pub(super) struct AssetConstants {
    asset: Arc<Asset>,
    read: HashMap<(u64, u64), Vec<u8>>,
}

impl AssetConstants {
    pub async fn new(plan: &Plan, asset: Arc<Asset>) -> Result<AssetConstants, Error> {
        let mut read = HashMap::new();
        let source = asset.source();
        let in_memory = source.slice(0..0).is_some();
        let used = plan.buffers.iter().zip(plan.used()).filter(|(_, used)| *used);
        let constants = used.flat_map(|(buffer, _)| constants(&buffer.role)).flatten();
        let ranges: Vec<Range<u64>> = constants.map(|constant| constant.range.clone()).collect();
        for range in ranges {
            if !in_memory && !read.contains_key(&(range.start, range.end)) {
                let bytes = source.read(range.clone()).await?;
                read.insert((range.start, range.end), bytes.into_owned());
            }
        }
        Ok(AssetConstants { asset, read })
    }
}

impl Constants for AssetConstants {
    fn bytes(&self, range: &Range<u64>) -> Option<&[u8]> {
        match self.read.get(&(range.start, range.end)) {
            Some(bytes) => Some(bytes),
            None => self.asset.source().slice(range.clone()),
        }
    }
}

/// The constants that a buffer's role names.
fn constants(role: &Role) -> [Option<&ConstantRef>; 4] {
    match role {
        Role::Constant(constant) => [Some(constant), None, None, None],
        Role::Quant(source) => [
            Some(&source.codes),
            Some(&source.scale),
            source.zero.as_ref().map(|zero| &zero.0),
            source.min.as_ref(),
        ],
        _ => [None; 4],
    }
}
