//! A model as it was trained: configuration, weights and tokenizer, from a folder or a GGUF file.

mod experts;
mod folder;
mod gguf;
mod layout;
mod microscaled;
mod names;
mod safetensors;
#[cfg(test)]
pub(crate) mod tests;
mod views;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::error::ConvertError;
use crate::rows::SharedRows;
use crate::tokenizer::TokenizerFiles;
use folder::Skipped;
pub(crate) use folder::bytes;
pub use safetensors::{Stored, read as read_safetensors};

/// Where a checkpoint comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A folder with `config.json` and safetensors files.
    Folder(PathBuf),
    /// A GGUF file.
    Gguf(PathBuf),
}

/// A model as it was trained. Weights are read when they are asked for.
pub struct Checkpoint {
    /// What the model is.
    pub config: Config,
    /// Weights by their names in transformers' models (`model.layers.0.self_attn.q_proj.weight`). All that the
    /// configuration asks for are there and have its shapes, and there are no others. Two kinds are brought
    /// into one form, whatever the checkpoint has:
    /// experts are `mlp.experts.{gate,up,down}_proj.{weight,bias}` with the experts as outermost axis and
    /// projections as `[out, in]`; of models that also see, the text part is named as if there were no other.
    pub tensors: BTreeMap<String, SharedRows>,
    /// The tokenizer.
    pub tokenizer: TokenizerFiles,
    /// Where it was read from.
    pub origin: Origin,
    /// What the reader left out or decided, for people.
    pub notes: Vec<String>,
}

impl Checkpoint {
    /// Opens a folder as transformers writes it (`config.json`, one or more `.safetensors` files with or
    /// without an index) or a `.gguf` file. No weights are read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ConvertError> {
        let path = path.as_ref();
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => folder::open(path),
            Ok(metadata)
                if metadata.is_file()
                    && path.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("gguf")) =>
            {
                gguf::open(path)
            }
            Ok(_) => Err(ConvertError::File {
                path: path.display().to_string(),
                reason: "is neither a folder nor a .gguf file".into(),
            }),
            Err(_) => Err(ConvertError::NotFound { path: path.display().to_string() }),
        }
    }

    /// Compares the tensors with the configuration: each is there with its shape. Others leave with a note, unless
    /// the model's numbers would be others with them: a bias that the configuration forgets, scales of a packing
    /// that is not known.
    fn checked(mut self) -> Result<Self, ConvertError> {
        self.untie()?;
        let mut tensors = BTreeMap::new();
        layout::tensors(&self.config, |name, shape| {
            let failed = |reason: String| ConvertError::Tensor { name: name.into(), reason };
            match self.tensors.remove(name) {
                Some(rows) if rows.shape() == shape => {
                    tensors.insert(name.into(), rows);
                    Ok(())
                }
                Some(rows) => {
                    Err(failed(format!("has shape {:?}; the configuration expects {shape:?}", rows.shape())))
                }
                None => Err(failed(format!("is missing; the configuration expects it with shape {shape:?}"))),
            }
        })?;
        let mut others = Skipped::new("are not used by this architecture, left out");
        for name in std::mem::take(&mut self.tensors).into_keys() {
            if self.config.would_use(&name) {
                let reason = format!(
                    "is in the checkpoint, but models of type {} with this configuration do not use it; expected \
                     a configuration that says so, or a checkpoint without it",
                    self.config.architecture.model_type()
                );
                return Err(ConvertError::Tensor { name, reason });
            }
            others.add(name);
        }
        self.notes.extend(others.note());
        self.tensors = tensors;
        Ok(self)
    }

    /// A head that is in the checkpoint and is not the embedding is used, whatever the configuration says: so does
    /// the reference.
    fn untie(&mut self) -> Result<(), ConvertError> {
        let (Some(head), Some(table)) = (self.tensors.get(HEAD), self.tensors.get(TABLE)) else {
            return Ok(());
        };
        if !self.config.tied || head.shape() != table.shape() {
            return Ok(());
        }
        let columns = head.columns();
        let step = (COMPARED / columns.max(1)).max(1);
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for first in (0..head.rows()).step_by(step as usize) {
            let count = step.min(head.rows() - first);
            for (rows, values) in [(head, &mut left), (table, &mut right)] {
                values.resize((count * columns) as usize, 0f32);
                rows.read(first, values)?;
            }
            if left != right {
                self.config.tied = false;
                self.notes.push(format!(
                    "the configuration ties the head to the embedding, but {HEAD} differs from it and is used"
                ));
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The output head, where it is a tensor of its own.
const HEAD: &str = "lm_head.weight";
/// The table of token vectors.
const TABLE: &str = "model.embed_tokens.weight";
/// Values that are compared at a time.
const COMPARED: u64 = 1 << 18;
