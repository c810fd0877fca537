//! Language bundles: an asset, a tokenizer and what engines must know of them (`metadata_version` 0.2).

use std::path::Path;
use std::time::SystemTime;

use coreai_asset::{Asset, Progress, StagedFolder, WriteOptions};
use serde_json::json;

use crate::error::ConvertError;
use crate::tokenizer::TokenizerFiles;

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
        tokenizer: &TokenizerFiles,
        folder: &Path,
        replace: bool,
        progress: &mut Progress<'_>,
    ) -> Result<(), ConvertError> {
        let staged = StagedFolder::create(folder, replace.then_some("metadata.json"))?;
        let asset_name = format!("{}.aimodel", self.name);
        asset.save(&staged.path().join(&asset_name), &WriteOptions::default(), progress)?;
        let tokens = staged.path().join("tokenizer");
        std::fs::create_dir(&tokens).map_err(|error| ConvertError::File {
            path: tokens.display().to_string(),
            reason: error.to_string(),
        })?;
        tokenizer.write_to(&tokens)?;
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
