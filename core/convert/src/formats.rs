//! How tensors of checkpoints are stored, and reading their rows.

mod block;
mod bytes;
mod iq4;
mod mxfp4;
mod plain;
mod q2_k;
mod q3_k;
mod q4;
mod q4_k;
mod q5;
mod q5_k;
mod q6_k;
mod q8;
mod stored;

pub use block::BlockFormat;
pub(crate) use bytes::bytes_of;
pub use stored::{Storage, StoredRows};
