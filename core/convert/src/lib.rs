//! Makes Core AI assets from what people have: checkpoints of Hugging Face and GGUF files. Weights are
//! never held whole: they are read by rows ([`Rows`]) when the asset is written.
#![forbid(unsafe_code)]

mod bundle;
mod checkpoint;
pub mod compress;
mod config;
mod decoder;
pub mod difference;
mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
mod formats;
pub mod gguf;
mod import;
pub mod quantize;
mod rows;
mod tokenizer;
mod weights;

pub use bundle::{BundleInfo, check_destination};
pub use checkpoint::{Checkpoint, Origin, Stored, read_safetensors};
pub use config::{Activation, Architecture, ClampedSwiglu, Config, Experts, Rope, RopeScaling};
pub use error::ConvertError;
pub use formats::{BlockFormat, Storage, StoredRows};
pub use gguf::Gguf;
pub use import::{ImportOptions, ImportReport, OPTIONS, PRODUCER, Phase, bundle_name, import};
pub use rows::{CodeType, PackedRows, Packing, Rows, ScaleType, SharedRows};
pub use tokenizer::TokenizerFiles;
pub use weights::{StoredAs, WeightReport, Weights};
