//! Small random checkpoints of every architecture, drawn from `tests/assets/architectures`, and the logits
//! that the reference implementation computes for them. `tests/oracle/architectures.py` defines how a tensor
//! is drawn and recorded the logits.
//!
//! ```no_run
//! # use coreai_tests::checkpoints::{Checkpoint, Layout};
//! # fn import(_: &std::path::Path, _: &[i32], _: &[i32]) -> Vec<f32> { vec![] }
//! for checkpoint in Checkpoint::all() {
//!     checkpoint.write_folder("/tmp/checkpoint".as_ref(), &Layout::default()).unwrap();
//!     let logits = import("/tmp/checkpoint".as_ref(), checkpoint.prompt(), checkpoint.steps());
//!     checkpoint.check(&logits, 60.0);
//! }
//! ```

mod case;
mod folder;
mod gguf;
mod gguf_keys;
mod gguf_tensors;
mod tokenizer;

pub use case::{Checkpoint, Elements, Tensor};
pub use folder::{Keys, Layout, Storage};
