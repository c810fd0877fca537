//! Makes Core AI assets from what people have: checkpoints of Hugging Face and GGUF files. Weights are
//! never held whole: they are read by rows ([`Rows`]) when the asset is written.
#![forbid(unsafe_code)]

mod config;
mod error;
// modules of the importer, in alphabetical order
mod formats;
mod gguf;
mod rows;

pub use config::{Activation, Architecture, ClampedSwiglu, Config, Experts, Rope, RopeScaling};
pub use error::ConvertError;
pub use formats::{BlockFormat, Storage, StoredRows};
pub use gguf::{Gguf, Metadata, Numbers, Strings, Value};
pub use rows::{CodeType, PackedRows, Packing, Rows, ScaleType, SharedRows};
