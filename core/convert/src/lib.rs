//! Makes Core AI assets from what people have: checkpoints of Hugging Face and GGUF files. Weights are
//! never held whole: they are read by rows ([`Rows`]) when the asset is written.
#![forbid(unsafe_code)]

pub mod compress;
mod config;
mod error;
// modules of the importer, in alphabetical order
mod formats;
pub mod quantize;
mod rows;
mod weights;

pub use config::{Activation, Architecture, ClampedSwiglu, Config, Experts, Rope, RopeScaling};
pub use error::ConvertError;
pub use formats::{BlockFormat, Storage, StoredRows};
pub use rows::{CodeType, PackedRows, Packing, Rows, ScaleType, SharedRows};
pub use weights::{StoredAs, WeightReport, Weights};
