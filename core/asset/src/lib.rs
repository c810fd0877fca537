//! Reads, builds and writes Core AI `.aimodel` assets: bytes in, checked [`Asset`] out, and back.
//! [`AssetBuilder`] makes new ones.
//!
//! No byte of input is trusted. Every count is compared with the bytes that could hold it before
//! anything is allocated, arithmetic on sizes is checked, nesting and expansion are bounded
//! ([`limits`]), and every way a file can be wrong is a variant of [`AssetError`].
//!
//! Only the tables and the program are read; weights stay where they are, as byte ranges
//! ([`ConstantRef`]) of the [`ByteSource`].
// In a browser everything is on one thread.
#![cfg_attr(target_arch = "wasm32", allow(clippy::arc_with_non_send_sync))]

mod asset;
mod build;
mod decode;
mod edit;
mod error;
mod file;
mod function;
mod hash;
mod ir;
pub mod limits;
mod literal;
mod location;
mod metadata;
mod print;
mod source;
mod summary;
mod types;
mod write;

pub use asset::Asset;
pub use build::{
    AssetBuilder, Bound, BuildError, Callee, Content, Declaration, DeclaredValue, Element, Extent, Graph,
    Size, State, Value,
};
pub use edit::{Editor, Patch};
pub use error::AssetError;
pub use hash::HashStatus;
pub use ir::{Attribute, Composite, ConstantRef, Function, Op, Param, ParamKind, Region, Scope, ValueId};
pub use location::SourceLocation;
pub use metadata::Metadata;
pub use print::{PrintOptions, TypeText};
#[cfg(not(target_arch = "wasm32"))]
pub use source::MappedFile;
pub use source::{ByteSource, KeptSource, MaybeSendSync, MemorySource, ReadFuture};
pub use summary::{
    CompositeUse, Compression, FunctionSummary, ParamSummary, SUMMARY_SCHEMA_VERSION, Summary, WeightClass,
};
pub use types::{AttrId, ElementType, TensorType, Type, TypeId};
pub use write::{Locations, Merged, Progress, WriteOptions, merge};
#[cfg(not(target_arch = "wasm32"))]
pub use write::{StagedFolder, discard_staged};
