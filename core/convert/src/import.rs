//! Checkpoints become language bundles.

use std::path::Path;

use coreai_asset::{ElementType, Metadata};
use serde::Serialize;

use crate::bundle::{BundleInfo, now};
use crate::checkpoint::{Checkpoint, Origin};
use crate::config::Architecture;
use crate::decoder;
use crate::error::ConvertError;
use crate::quantize::Selection;
use crate::weights::{StoredAs, WeightReport, Weights};

/// What made an asset, in its metadata.
pub const PRODUCER: &str = concat!("coreai-build ", env!("CARGO_PKG_VERSION"));

/// How a checkpoint is imported.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Type of the weights, the caches and the logits: float16, bfloat16 or float32. (Logits of bfloat16 models
    /// are float16.) Where `None`, bfloat16 for Gemma, whose activations leave the range of float16, and float16
    /// for all others.
    pub element: Option<ElementType>,
    /// What is compressed; weights that the checkpoint has packed stay as they are where nothing is selected.
    pub selection: Option<Selection>,
    /// `4bit` or `8bit` for the metadata, where a selection is given.
    pub compression: Option<String>,
    /// Longest sequence; the checkpoint's own where `None`.
    pub max_context: Option<u64>,
    /// Where the checkpoint comes from, for the metadata; the name of its file where `None`.
    pub source: Option<String>,
    /// A bundle that is there is replaced.
    pub replace: bool,
}

/// Key of [`ImportOptions::described`] in the creator's metadata of an asset.
pub const OPTIONS: &str = "importOptions";

impl ImportOptions {
    /// The options that decide what is written, as one line: equal lines, equal bundles.
    pub fn described(&self) -> String {
        let element = self.element.map_or("default", ElementType::name);
        let compression = self.selection.as_ref().map_or_else(|| "as it is".into(), |s| format!("{s:?}"));
        let source = self.source.as_deref().unwrap_or("a file");
        format!("{source}; {element}; {compression}; context {:?}", self.max_context)
    }
}

/// What an import did.
#[derive(Clone, Debug, Serialize)]
pub struct ImportReport {
    /// Version of this structure.
    pub schema_version: u32,
    /// Name of the bundle.
    pub name: String,
    /// `model_type` of the architecture.
    pub architecture: &'static str,
    /// Type that the graph computes in.
    pub element: &'static str,
    /// Longest sequence, in tokens.
    pub max_context: u64,
    /// Values of all large weights.
    pub parameters: u64,
    /// Bits of a value of the large weights, on average.
    pub bits_per_weight: f64,
    /// Bytes of `main.mlirb`.
    pub bytes: u64,
    /// Largest difference of a stored value from the checkpoint's, over weights that are packed.
    pub max_abs_difference: Option<f32>,
    /// All large weights.
    pub weights: Vec<WeightReport>,
    /// What was left out or decided.
    pub notes: Vec<String>,
}

/// What an import is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Bytes written of all.
    Writing {
        /// So far.
        done: u64,
        /// Of the asset.
        total: u64,
    },
}

/// Writes a checkpoint as a language bundle. Nothing is there if it fails.
pub fn import(
    checkpoint: &Checkpoint,
    folder: &Path,
    options: &ImportOptions,
    progress: &mut dyn FnMut(Phase),
) -> Result<ImportReport, ConvertError> {
    let config = &checkpoint.config;
    let element = options.element.unwrap_or(match config.architecture {
        Architecture::Gemma3 => ElementType::BF16,
        _ => ElementType::F16,
    });
    let max_context = context(options.max_context, config.max_positions)?;
    let name = bundle_name(folder)?;
    let source = options.source.clone().unwrap_or_else(|| file_name(checkpoint));
    let mut creator_defined = serde_json::Map::new();
    creator_defined.insert(OPTIONS.into(), options.described().into());
    let metadata = Metadata {
        creator_defined,
        asset_version: Some("2.0".into()),
        producer: Some(PRODUCER.into()),
        creation_date: Some(now().replace(['-', ':'], "")),
        description: Some(format!("{} from {source}", config.architecture.model_type())),
        ..Metadata::default()
    };
    let mut weights = Weights::new(element, options.selection.clone());
    let asset = decoder::build(config, &checkpoint.tensors, &mut weights, max_context, metadata)?;
    let compression = options.compression.clone().unwrap_or_else(|| kept(&weights.reports()));
    let bundle =
        BundleInfo { name: name.clone(), vocabulary: config.vocabulary, max_context, source, compression };
    let mut bytes = 0;
    bundle.write(&asset, (&checkpoint.tokenizer, config), folder, options.replace, &mut |done, total| {
        bytes = total;
        progress(Phase::Writing { done, total });
    })?;

    let mut notes = checkpoint.notes.clone();
    if config.architecture == Architecture::Gemma3 && element == ElementType::F16 {
        notes.push("activations of Gemma leave the range of float16: run it with --precision exact, or import as bf16".into());
    }
    let weights = weights.reports();
    let parameters = weights.iter().map(WeightReport::elements).sum::<u64>();
    let bits: f64 = weights.iter().map(|w| w.elements() as f64 * w.stored.bits_per_weight()).sum();
    let differences = weights.iter().filter_map(|weight| weight.difference.map(|d| d.max_abs));
    Ok(ImportReport {
        schema_version: 1,
        name,
        architecture: config.architecture.model_type(),
        element: element.name(),
        max_context,
        parameters,
        bits_per_weight: bits / (parameters.max(1) as f64),
        bytes,
        max_abs_difference: differences.reduce(f32::max),
        weights,
        notes,
    })
}

/// The wanted context, within what the model was trained for.
fn context(wanted: Option<u64>, trained: u64) -> Result<u64, ConvertError> {
    match wanted {
        Some(wanted) if wanted == 0 || wanted > trained => Err(ConvertError::Config {
            file: "options".into(),
            key: "max-context".into(),
            found: wanted.to_string(),
            expected: format!("1 to {trained}, which the model was trained for"),
        }),
        Some(wanted) => Ok(wanted),
        None => Ok(trained),
    }
}

/// The folder's name, if it can name an asset.
pub fn bundle_name(folder: &Path) -> Result<String, ConvertError> {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(ConvertError::File {
            path: folder.display().to_string(),
            reason: "the name of a bundle is made of letters, digits, '.', '_' and '-'".into(),
        });
    }
    Ok(name)
}

fn file_name(checkpoint: &Checkpoint) -> String {
    let (Origin::Folder(path) | Origin::Gguf(path)) = &checkpoint.origin;
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// What the checkpoint's own packing amounts to, for the metadata.
fn kept(weights: &[WeightReport]) -> String {
    let bits = weights.iter().filter_map(|weight| match &weight.stored {
        StoredAs::Packed { codes, .. } => Some(codes.bits()),
        StoredAs::Float { .. } => None,
    });
    bits.min().map_or_else(|| "none".into(), |bits| format!("{bits}bit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_bundles() {
        assert_eq!(bundle_name(Path::new("a/smollm2_135m-Q4.1")).expect("plain"), "smollm2_135m-Q4.1");
        for bad in ["", "/", "a b", ".hidden", "x/.."] {
            assert!(bundle_name(Path::new(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn contexts() {
        assert_eq!(context(None, 8192).expect("its own"), 8192);
        assert_eq!(context(Some(512), 8192).expect("less"), 512);
        assert!(context(Some(0), 8192).is_err() && context(Some(8193), 8192).is_err());
    }
}
