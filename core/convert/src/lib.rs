//! Makes Core AI assets from what people have: checkpoints of Hugging Face and GGUF files. Weights are
//! never held whole: they are read by rows ([`Rows`]) when the asset is written.
#![forbid(unsafe_code)]

mod error;
// modules of the importer, in alphabetical order
mod difference;
mod rows;

pub use difference::{
    Change, ConstantDifference, Difference, FunctionDifference, Numbers, OperationChange,
    OperationDifference, OperationPlace, difference,
};
pub use error::ConvertError;
pub use rows::{CodeType, PackedRows, Packing, Rows, ScaleType, SharedRows};
