//! The files of a tokenizer, as transformers writes them.

mod gguf;
mod model;
mod pretokenizers;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

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

/// Whether a file is a tokenizer at all; what it holds is for those who run it. Read without holding it.
fn outline(path: &Path) -> Result<(), ConvertError> {
    #[derive(Deserialize)]
    struct Outline {
        #[serde(rename = "model")]
        _model: IgnoredAny,
    }
    let file = || path.display().to_string();
    let opened = fs::File::open(path)
        .map_err(|error| ConvertError::File { path: file(), reason: error.to_string() })?;
    match serde_json::from_reader::<_, Outline>(BufReader::new(opened)) {
        Ok(_) => Ok(()),
        Err(error) => {
            let reason = format!("{error}; expected what transformers' AutoTokenizer saves");
            Err(ConvertError::Malformed { file: file(), what: "tokenizer".into(), reason })
        }
    }
}

impl TokenizerFiles {
    /// The files of a checkpoint's folder. A [`ConvertError::File`] if it has no `tokenizer.json`, a
    /// [`ConvertError::Malformed`] if that is none, a [`ConvertError::Limit`] for files that are too long.
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
        for (_, contents) in &files {
            let Contents::File(path) = contents else { continue };
            let file = || path.display().to_string();
            let length = fs::metadata(path).map_or(0, |file| file.len());
            if length > MAX_FILE_BYTES {
                let what = "bytes of the file".into();
                return Err(ConvertError::Limit { file: file(), what, value: length, limit: MAX_FILE_BYTES });
            }
        }
        outline(&folder.join(NAMES[0]))?;
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
            // what is renamed into place afterwards has to be on the disk
            let lasting = written.and_then(|()| fs::OpenOptions::new().append(true).open(&path)?.sync_all());
            lasting.map_err(|error| ConvertError::File {
                path: path.display().to_string(),
                reason: error.to_string(),
            })?;
        }
        Ok(())
    }

    /// There is a file of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.files.iter().any(|(own, _)| *own == name)
    }
}
