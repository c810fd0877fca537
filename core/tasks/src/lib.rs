//! What models are for: tasks on top of the runtime, through its public API only.
// In a browser everything is on one thread.
#![cfg_attr(target_arch = "wasm32", allow(clippy::arc_with_non_send_sync))]

pub mod language;
#[cfg(not(target_arch = "wasm32"))]
pub mod tensors;
#[cfg(not(target_arch = "wasm32"))]
pub mod verify;
