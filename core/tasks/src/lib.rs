//! What models are for: tasks on top of the runtime, through its public API only.

pub mod language;
#[cfg(not(target_arch = "wasm32"))]
pub mod tensors;
#[cfg(not(target_arch = "wasm32"))]
pub mod verify;
