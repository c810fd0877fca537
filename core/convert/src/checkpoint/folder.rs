//! Folders as transformers writes them: `config.json`, safetensors files and a tokenizer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Component, Path};
use std::sync::Arc;

use coreai_asset::MappedFile;
use serde::Deserialize;
use serde_json::Value;

use super::safetensors::{self, Pairs, Stored};
use super::{Checkpoint, Origin, experts};
use crate::config::{Architecture, Config, Fields};
use crate::error::ConvertError;
use crate::rows::SharedRows;
use crate::tokenizer::TokenizerFiles;

/// Bytes of `config.json` and `generation_config.json`; real ones have some kB.
const MAX_CONFIG_BYTES: u64 = 4 << 20;
/// Bytes of `model.safetensors.index.json`; real ones have some MB.
const MAX_INDEX_BYTES: u64 = 64 << 20;
/// Safetensors files of a folder; the largest models have some hundred.
const MAX_SHARDS: usize = 4096;

pub(super) fn open(folder: &Path) -> Result<Checkpoint, ConvertError> {
    let mut notes = Vec::new();
    let path = folder.join("config.json");
    let json = json(&path)?.ok_or_else(|| ConvertError::File {
        path: folder.display().to_string(),
        reason: "has no config.json; expected a model as transformers writes it".into(),
    })?;
    let mut config = Config::from_file(&path.display().to_string(), &json)?;
    let text = json.get("text_config").unwrap_or(&json);
    if config.architecture == Architecture::Gemma3
        && text.get("attn_logit_softcapping").is_some_and(|cap| !cap.is_null())
    {
        notes.push(
            "attn_logit_softcapping is ignored, as the reference implementation of Gemma 3 ignores it".into(),
        );
    }
    // what generation stops at is there, if there is such a file
    let path = folder.join("generation_config.json");
    if let Some(json) = self::json(&path)?
        && let Some(eos) = Fields::new(&path.display().to_string(), &json)?.tokens("eos_token_id")?
    {
        config.eos = eos;
    }
    let mut tensors = BTreeMap::new();
    let mut unseen = Skipped::new("are of parts that see, left out");
    let mut weightless = Skipped::new("hold no weights, left out");
    for shard in shards(folder, &mut notes)? {
        for (name, stored) in shard.tensors(folder, &mut notes)? {
            match (text_name(config.architecture, &name), stored) {
                (None, _) => unseen.add(name),
                (Some(_), Stored::Other(reason)) => weightless.add(format!("{name} {reason}")),
                (Some(name), Stored::Weight(rows)) => {
                    let rows: SharedRows = rows;
                    if tensors.insert(name.clone(), rows).is_some() {
                        let reason = "is there twice, in two files or under two prefixes".into();
                        return Err(ConvertError::Tensor { name, reason });
                    }
                }
            }
        }
    }
    notes.extend(unseen.note());
    notes.extend(weightless.note());
    experts::assemble(&config, &mut tensors)?;
    let tokenizer = TokenizerFiles::of_folder(folder)?;
    let origin = Origin::Folder(folder.to_path_buf());
    Checkpoint { config, tensors, tokenizer, origin, notes }.checked()
}

/// The name of a tensor in a text model: without the prefixes that models which also see put before it.
/// `None` for the tensors of their other parts.
fn text_name(architecture: Architecture, name: &str) -> Option<String> {
    // a model that was saved without its head has no prefix
    if ["embed_tokens.", "layers.", "norm."].iter().any(|part| name.starts_with(part)) {
        return text_name(architecture, &format!("model.{name}"));
    }
    match architecture {
        Architecture::Gemma3 => {
            let part = name.strip_prefix("model.").unwrap_or(name);
            if part.starts_with("vision_tower.") || part.starts_with("multi_modal_projector.") {
                return None;
            }
            if let Some(text) = name.strip_prefix("language_model.") {
                return Some(text.into());
            }
            let text = name.strip_prefix("model.language_model.");
            Some(text.map_or_else(|| name.into(), |text| format!("model.{text}")))
        }
        Architecture::Mixtral => Some(name.replacen(".block_sparse_moe.", ".mlp.", 1)),
        _ => Some(name.into()),
    }
}

/// Tensors that are left out for one reason; a note names the first few.
pub(super) struct Skipped {
    reason: &'static str,
    first: Vec<String>,
    count: u64,
}

impl Skipped {
    pub fn new(reason: &'static str) -> Self {
        Self { reason, first: Vec::new(), count: 0 }
    }

    pub fn add(&mut self, name: String) {
        self.count += 1;
        if self.first.len() < 4 {
            self.first.push(name);
        }
    }

    pub fn note(&self) -> Option<String> {
        let more = if self.count > self.first.len() as u64 { ", …" } else { "" };
        let names = self.first.join(", ");
        (self.count != 0).then(|| format!("{} tensors {}: {names}{more}", self.count, self.reason))
    }
}

/// A safetensors file and the tensors that are taken of it.
struct Shard {
    file: String,
    /// All if `None`.
    wanted: Option<BTreeSet<String>>,
}

impl Shard {
    fn tensors(self, folder: &Path, notes: &mut Vec<String>) -> Result<Vec<(String, Stored)>, ConvertError> {
        let path = folder.join(&self.file);
        let file = path.display().to_string();
        // follows links: the files of the hub's cache are links to its blobs
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(ConvertError::File { path: file, reason: "is not a file".into() }),
            Err(_) => return Err(ConvertError::NotFound { path: file }),
        }
        let mut tensors = safetensors::read(&file, Arc::new(MappedFile::open(&path)?))?;
        let Some(mut wanted) = self.wanted else { return Ok(tensors) };
        let mut others = Skipped::new("are not in the index, left out");
        tensors.retain(|(name, _)| {
            let keep = wanted.remove(name);
            if !keep {
                others.add(name.clone());
            }
            keep
        });
        notes.extend(others.note().map(|note| format!("{}: {note}", self.file)));
        match wanted.pop_first() {
            None => Ok(tensors),
            Some(name) => {
                let reason = format!("is not in {}, where the index says", self.file);
                Err(ConvertError::Tensor { name, reason })
            }
        }
    }
}

fn shards(folder: &Path, notes: &mut Vec<String>) -> Result<Vec<Shard>, ConvertError> {
    const WHOLE: &str = "model.safetensors";
    if folder.join(WHOLE).exists() {
        return Ok(vec![Shard { file: WHOLE.into(), wanted: None }]);
    }
    let path = folder.join("model.safetensors.index.json");
    if let Some(bytes) = bytes(&path, MAX_INDEX_BYTES)? {
        return indexed(&path.display().to_string(), &bytes);
    }
    let failed = |reason: String| ConvertError::File { path: folder.display().to_string(), reason };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| failed(error.to_string()))? {
        let name = entry.map_err(|error| failed(error.to_string()))?.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(".safetensors") && !name.starts_with('.') {
            files.push(name.to_owned());
        }
        if files.len() > MAX_SHARDS {
            let (file, what) = (folder.display().to_string(), "safetensors files".into());
            return Err(ConvertError::Limit {
                file,
                what,
                value: files.len() as u64,
                limit: MAX_SHARDS as u64,
            });
        }
    }
    if files.is_empty() {
        return Err(failed("has no safetensors files (save the model with `safe_serialization`)".into()));
    }
    files.sort();
    if files.len() > 1 {
        notes.push(format!("no index: all {} safetensors files are read", files.len()));
    }
    Ok(files.into_iter().map(|file| Shard { file, wanted: None }).collect())
}

/// The files of an index.
fn indexed(file: &str, bytes: &[u8]) -> Result<Vec<Shard>, ConvertError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: Pairs<String>,
    }
    let malformed =
        |reason: String| ConvertError::Malformed { file: file.into(), what: "index".into(), reason };
    let index: Index = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    let mut shards = BTreeMap::<String, BTreeSet<String>>::new();
    let mut seen = BTreeSet::new();
    for (tensor, shard) in index.weight_map.0 {
        if !plain_name(&shard) {
            let reason = format!(
                "tensor {tensor:?} is in {shard:?}; expected the name of a .safetensors file of the folder"
            );
            return Err(malformed(reason));
        }
        if !seen.insert(tensor.clone()) {
            return Err(malformed(format!("tensor {tensor:?} is there twice")));
        }
        shards.entry(shard).or_default().insert(tensor);
    }
    if shards.len() > MAX_SHARDS {
        let what = "safetensors files".into();
        return Err(ConvertError::Limit {
            file: file.into(),
            what,
            value: shards.len() as u64,
            limit: MAX_SHARDS as u64,
        });
    }
    Ok(shards.into_iter().map(|(file, wanted)| Shard { file, wanted: Some(wanted) }).collect())
}

/// The name of a file, without any path, on every system.
fn plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name);
    plain && name.ends_with(".safetensors") && !name.contains(['/', '\\', ':', '\0'])
}

/// The contents of a file; `None` if there is none.
pub(crate) fn bytes(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, ConvertError> {
    let failed = |error: std::io::Error| ConvertError::File {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    // also of links; reading a pipe would wait for ever
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => {
            let reason = "is not a file".into();
            return Err(ConvertError::File { path: path.display().to_string(), reason });
        }
        Err(_) => return Ok(None),
    }
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(failed)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 {
        length if length > limit => {
            let (file, what) = (path.display().to_string(), "bytes of the file".into());
            Err(ConvertError::Limit { file, what, value: length, limit })
        }
        _ => Ok(Some(bytes)),
    }
}

fn json(path: &Path) -> Result<Option<Value>, ConvertError> {
    let Some(bytes) = bytes(path, MAX_CONFIG_BYTES)? else { return Ok(None) };
    match serde_json::from_slice(&bytes) {
        Ok(json) => Ok(Some(json)),
        Err(error) => Err(ConvertError::Malformed {
            file: path.display().to_string(),
            what: "JSON".into(),
            reason: error.to_string(),
        }),
    }
}
