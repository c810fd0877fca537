//! Small random checkpoints of every architecture, drawn from `tests/assets/architectures`, and the logits
//! that the reference implementation computes for them. `tests/oracle/architectures.py` defines how a tensor
//! is drawn and recorded the logits.
//!
//! ```no_run
//! # use coreai_tests::checkpoints::{Checkpoint, Layout, Storage};
//! # fn import(_: &std::path::Path, _: &[i32], _: &[i32]) -> Vec<f32> { vec![] }
//! # let (folder, file) = (std::path::Path::new("folder"), std::path::Path::new("model.gguf"));
//! for checkpoint in Checkpoint::all() {
//!     checkpoint.write_folder(folder, &Layout::default()).unwrap();
//!     checkpoint.check(&import(folder, checkpoint.prompt(), checkpoint.steps()), 60.0);
//!     if checkpoint.gguf_gap().is_none() {
//!         checkpoint.write_gguf(file, Storage::F32).unwrap();
//!         checkpoint.check(&import(file, checkpoint.prompt(), checkpoint.steps()), 60.0);
//!     }
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
