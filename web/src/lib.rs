//! The runtime as WebAssembly: what the TypeScript of the npm package `coreai-web` calls.
//!
//! No logic lives here: each class wraps one type of the runtime, structured values cross as JSON
//! and tensors as bytes. On other targets the crate is empty.
#![cfg(target_arch = "wasm32")]
// Everything is on one thread.
#![allow(clippy::arc_with_non_send_sync)]

mod asset;
mod error;
mod hash;
#[cfg(feature = "language")]
mod language;
mod model;
mod options;
mod session;
mod source;
