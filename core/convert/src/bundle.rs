//! Language bundles: an asset, a tokenizer and what engines must know of them (`metadata_version` 0.2).

use std::path::Path;
use std::time::SystemTime;

use coreai_asset::{Asset, AssetError, Progress, StagedFolder, WriteOptions};
use serde_json::{Value, json};

use crate::config::Config;
use crate::error::ConvertError;
use crate::tokenizer::TokenizerFiles;

/// The file that names the tokens that end a text.
const GENERATION: &str = "generation_config.json";

/// Whether a bundle can be written there: nothing is, or with `replace` a language bundle or an empty folder.
pub fn check_destination(folder: &Path, replace: bool) -> Result<(), ConvertError> {
    let refuse = |reason: &str| {
        let path = folder.display().to_string();
        Err(ConvertError::Asset(AssetError::Exists { path, reason: reason.into() }))
    };
    match std::fs::symlink_metadata(folder) {
        Err(_) => Ok(()),
        Ok(_) if !replace => refuse("ask for it to be replaced (--force), or choose another name"),
        Ok(_) => {
            let text = std::fs::read(folder.join("metadata.json")).unwrap_or_default();
            let metadata: Value = serde_json::from_slice(&text).unwrap_or_default();
            let empty = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
            match empty || metadata["kind"] == "llm" && metadata["assets"]["main"].is_string() {
                true => Ok(()),
                false => refuse("it is not a language bundle, so it is not replaced"),
            }
        }
    }
}

/// What `metadata.json` of a bundle says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleInfo {
    /// Name of the bundle and of the asset in it: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Tokens of the vocabulary.
    pub vocabulary: u64,
    /// Longest sequence, in tokens.
    pub max_context: u64,
    /// Where the model comes from: `ORG/NAME`, or the name of a file.
    pub source: String,
    /// `none`, `8bit`, `4bit`, or the format the checkpoint had it in.
    pub compression: String,
}

/// The time of writing, `2026-01-31T12:00:00Z`.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

impl BundleInfo {
    /// Writes the bundle folder, all of it or nothing. With `replace`, a bundle that is there is replaced.
    pub(crate) fn write(
        &self,
        asset: &Asset,
        (tokenizer, config): (&TokenizerFiles, &Config),
        folder: &Path,
        replace: bool,
        progress: &mut Progress<'_>,
    ) -> Result<(), ConvertError> {
        check_destination(folder, replace)?;
        let staged = StagedFolder::create(folder, replace.then_some("metadata.json"))?;
        let asset_name = format!("{}.aimodel", self.name);
        asset.save(&staged.path().join(&asset_name), &WriteOptions::default(), progress)?;
        let tokens = staged.path().join("tokenizer");
        std::fs::create_dir(&tokens).map_err(|error| ConvertError::File {
            path: tokens.display().to_string(),
            reason: error.to_string(),
        })?;
        tokenizer.write_to(&tokens)?;
        if !tokenizer.has(GENERATION) {
            // engines end a turn at these tokens
            let generation = json!({ "bos_token_id": config.bos, "eos_token_id": config.eos });
            staged.write_file(&format!("tokenizer/{GENERATION}"), format!("{generation:#}\n").as_bytes())?;
        }
        let metadata = json!({
            "metadata_version": "0.2",
            "kind": "llm",
            "name": self.name,
            "assets": { "main": asset_name },
            "language": {
                "tokenizer": self.source,
                "vocab_size": self.vocabulary,
                "max_context_length": self.max_context,
                "embedded_tokenizer": true,
                "function_map": { "main": ["main"] },
            },
            "source": { "model_definition": "coreai-build", "hf_model_id": self.source },
            "compression": self.compression,
            "compilation": { "date": now(), "targets": [] },
        });
        staged.write_file("metadata.json", format!("{metadata:#}\n").as_bytes())?;
        staged.commit()?;
        Ok(())
    }
}
