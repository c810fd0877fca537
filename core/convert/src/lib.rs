//! Makes Core AI assets from what people have: checkpoints of Hugging Face and GGUF files. Weights are
//! never held whole: they are read by rows ([`Rows`]) when the asset is written.
#![forbid(unsafe_code)]

mod error;
// modules of the importer, in alphabetical order
#[cfg(feature = "fetch")]
pub mod fetch;
mod rows;

pub use error::ConvertError;
pub use rows::{CodeType, PackedRows, Packing, Rows, ScaleType, SharedRows};
