//! The files of a tokenizer, as transformers writes them.

mod gguf;
mod model;
mod pretokenizers;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use crate::checkpoint::bytes;
use crate::error::ConvertError;
pub(crate) use gguf::{ends, of_gguf};

/// Bytes of a tokenizer's file; the largest vocabularies take 40 MB.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Names of the files that belong to a tokenizer, the first of which there must be.
const NAMES: [&str; 6] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "special_tokens_map.json",
    "generation_config.json",
];

/// Where the contents of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Contents {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// Files of a tokenizer: `tokenizer.json` and what stands next to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenizerFiles {
    files: Vec<(&'static str, Contents)>,
}

impl TokenizerFiles {
    /// The files of a checkpoint's folder. A [`ConvertError::File`] if it has no `tokenizer.json`.
    pub(crate) fn of_folder(folder: &Path) -> Result<Self, ConvertError> {
        let found = |name: &&'static str| {
            let path = folder.join(name);
            path.is_file().then_some((*name, Contents::File(path)))
        };
        let files: Vec<_> = NAMES.iter().filter_map(found).collect();
        if files.first().is_none_or(|(name, _)| *name != NAMES[0]) {
            return Err(ConvertError::File {
                path: folder.display().to_string(),
                reason:
                    "has no tokenizer.json (load the tokenizer with transformers' AutoTokenizer and save \
                         it: that writes one)"
                        .into(),
            });
        }
        Ok(Self { files })
    }

    /// Names of the files, `tokenizer.json` first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.files.iter().map(|(name, _)| *name)
    }

    /// The contents of a file; `None` if there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ConvertError> {
        match self.files.iter().find(|(own, _)| *own == name) {
            None => Ok(None),
            Some((_, Contents::Bytes(bytes))) => Ok(Some(bytes.clone())),
            Some((_, Contents::File(path))) => bytes(path, MAX_FILE_BYTES),
        }
    }

    /// Writes all files into a folder that exists.
    pub fn write_to(&self, folder: &Path) -> Result<(), ConvertError> {
        for (name, contents) in &self.files {
            let path = folder.join(name);
            let written = match contents {
                Contents::Bytes(bytes) => fs::write(&path, bytes),
                Contents::File(from) => fs::copy(from, &path).map(|_| ()),
            };
            written.map_err(|error| ConvertError::File {
                path: path.display().to_string(),
                reason: error.to_string(),
            })?;
        }
        Ok(())
    }
}
