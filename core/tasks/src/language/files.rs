//! The files of a `tokenizer/` folder, as bytes: from disk natively, fetched in the browser.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::LanguageError;

/// Largest `tokenizer.json` that is read, in bytes. Gemma's is 33 MB.
const TOKENIZER_CAP: u64 = 256 << 20;
/// Largest of the small JSON and template files that is read, in bytes.
const SMALL_CAP: u64 = 4 << 20;

/// The path of a file, and its bytes where there is such a file.
pub type Found = (PathBuf, Option<Vec<u8>>);

/// The only file that must be there.
const TOKENIZER: &str = "tokenizer.json";

/// What a tokenizer folder declares. Only `tokenizer` is required.
#[derive(Clone, Debug, Default)]
pub struct TokenizerFiles {
    /// `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<Value>,
    /// `special_tokens_map.json`.
    pub special_tokens_map: Option<Value>,
    /// `generation_config.json`.
    pub generation_config: Option<Value>,
    /// `config.json`.
    pub config: Option<Value>,
    /// `chat_template.jinja`.
    pub chat_template: Option<String>,
}

impl TokenizerFiles {
    /// Reads the folder that holds `tokenizer.json`.
    pub fn read(folder: &Path) -> Result<TokenizerFiles, LanguageError> {
        Self::from_bytes(&mut |name| {
            let cap = if name == TOKENIZER { TOKENIZER_CAP } else { SMALL_CAP };
            Ok((folder.join(name), read_capped(&folder.join(name), cap)?))
        })
    }

    /// From the bytes of the files that `find` gives by name. Errors name the path.
    pub fn from_bytes(
        find: &mut dyn FnMut(&str) -> Result<Found, LanguageError>,
    ) -> Result<TokenizerFiles, LanguageError> {
        let tokenizer = match find(TOKENIZER)? {
            (_, Some(bytes)) => bytes,
            (path, None) => return Err(LanguageError::NotFound(path)),
        };
        let mut json = |name: &str| match find(name)? {
            (path, Some(bytes)) => parse_json(&path, &bytes).map(Some),
            (_, None) => Ok(None),
        };
        Ok(TokenizerFiles {
            tokenizer,
            tokenizer_config: json("tokenizer_config.json")?,
            special_tokens_map: json("special_tokens_map.json")?,
            generation_config: json("generation_config.json")?,
            config: json("config.json")?,
            chat_template: match find("chat_template.jinja")? {
                (path, Some(bytes)) => Some(text(&path, bytes)?),
                (_, None) => None,
            },
        })
    }

    /// `model_max_length` of the tokenizer, where it is a real bound and not "very large".
    pub fn max_context(&self) -> Option<usize> {
        let length = self.tokenizer_config.as_ref()?.get("model_max_length")?.as_u64()?;
        usize::try_from(length).ok().filter(|n| (1..=1 << 24).contains(n))
    }
}

/// The file's bytes; `None` when it does not exist.
pub(super) fn read_capped(path: &Path, cap: u64) -> Result<Option<Vec<u8>>, LanguageError> {
    let unreadable = |reason: String| LanguageError::Unreadable { path: path.to_path_buf(), reason };
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    if size > cap {
        return Err(unreadable(format!("{size} bytes; at most {cap} are read")));
    }
    std::fs::read(path).map(Some).map_err(|error| unreadable(error.to_string()))
}

/// The file as JSON; `None` when it does not exist.
pub(super) fn read_json(path: &Path) -> Result<Option<Value>, LanguageError> {
    let Some(bytes) = read_capped(path, SMALL_CAP)? else {
        return Ok(None);
    };
    parse_json(path, &bytes).map(Some)
}

fn parse_json(path: &Path, bytes: &[u8]) -> Result<Value, LanguageError> {
    serde_json::from_slice(bytes).map_err(|error| LanguageError::Unreadable {
        path: path.to_path_buf(),
        reason: format!("not valid JSON: {error}"),
    })
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String, LanguageError> {
    String::from_utf8(bytes).map_err(|error| LanguageError::Unreadable {
        path: path.to_path_buf(),
        reason: format!("not UTF-8: {error}"),
    })
}
