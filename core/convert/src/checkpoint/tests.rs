//! Small checkpoints of every family, written here, and damaged ones.

mod folders;
mod ggufs;
mod headers;
pub(crate) mod write;
