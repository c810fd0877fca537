//! What models are for: tasks on top of the runtime, through its public API only.

pub mod language;
