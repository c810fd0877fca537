//! Functions of several assets in one file.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::ops::Range;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::encoder::unwritable;
use super::layout::chunks;
use super::program::{Part, Program};
use super::{Progress, WriteOptions};
use crate::asset::Asset;
use crate::error::AssetError;
use crate::function::visit;
use crate::ir::{Attribute, Function};
use crate::metadata::Metadata;

/// Several assets that can be written as one.
pub struct Merged<'a> {
    program: Program<'a>,
    /// What `metadata.json` will say: that of the first asset, and as `mergedAssets` under
    /// `creatorDefinedMetadata` where the functions come from.
    pub metadata: Metadata,
    /// Bytes of weights that are stored once instead of several times.
    pub shared_bytes: u64,
}

/// Puts the functions of several assets together. Each comes with new names for some of its
/// functions: the present one (dotted inside namespaces), and the new last component.
///
/// Entry points must have different names in the end; private functions get a new one where theirs
/// is taken. Resources with equal bytes become one; to find them, those of equal length are read.
/// Hints about the target are those of the first asset.
pub fn merge<'a>(inputs: &[(&'a Asset, Vec<(String, String)>)]) -> Result<Merged<'a>, AssetError> {
    let Some((first, _)) = inputs.first() else {
        return Err(unwritable("program", "no assets to merge"));
    };
    let mut parts: Vec<Part<'a>> = inputs.iter().map(|(asset, _)| Part::new(asset)).collect();
    name_functions(inputs, &mut parts)?;
    let shared_bytes = share_resources(&mut parts)?;
    let feature_version = inputs.iter().map(|(asset, _)| asset.feature_version).max();
    let mut metadata = first.metadata.clone();
    let about: Vec<Value> = parts.iter().map(describe).collect();
    metadata.creator_defined.insert("mergedAssets".into(), about.into());
    Ok(Merged { program: Program { parts, feature_version }, metadata, shared_bytes })
}

impl Merged<'_> {
    /// As [`Asset::write_to`].
    pub fn write_to(
        &self,
        sink: &mut dyn Write,
        options: &WriteOptions,
        progress: &mut Progress<'_>,
    ) -> Result<[u8; 32], AssetError> {
        self.program.layout(options)?.write(sink, progress)
    }

    /// As [`Asset::save`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(
        &self,
        folder: &std::path::Path,
        options: &WriteOptions,
        progress: &mut Progress<'_>,
    ) -> Result<[u8; 32], AssetError> {
        let layout = self.program.layout(options)?;
        super::folder::save(layout, &self.metadata, folder, options, progress)
    }
}

/// Where functions come from: their new names by their old ones.
fn describe(part: &Part<'_>) -> Value {
    let entry = |function: &Function| {
        let new = renamed(&function.name, part.names.get(&function.name));
        (function.name.clone(), Value::from(new))
    };
    let functions: serde_json::Map<_, _> = part.asset.entry_points().map(entry).collect();
    let metadata = &part.asset.metadata;
    let mut about = json!({ "functions": functions });
    if let Value::Object(map) = &mut about {
        for (key, text) in [("producer", &metadata.producer), ("creationDate", &metadata.creation_date)] {
            if let Some(text) = text {
                map.insert(key.into(), text.clone().into());
            }
        }
    }
    about
}

/// A dotted name with another last component.
fn renamed(name: &str, last: Option<&String>) -> String {
    match (name.rsplit_once('.'), last) {
        (_, None) => name.to_owned(),
        (Some((path, _)), Some(last)) => format!("{path}.{last}"),
        (None, Some(last)) => last.clone(),
    }
}

/// Decides on the names of all functions.
fn name_functions(
    inputs: &[(&Asset, Vec<(String, String)>)],
    parts: &mut [Part<'_>],
) -> Result<(), AssetError> {
    let all: BTreeSet<&str> =
        inputs.iter().flat_map(|(asset, _)| asset.functions.iter().map(|f| f.name.as_str())).collect();
    // the asset of each symbol: functions by their new dotted names, and outermost namespaces
    let mut taken: HashMap<String, usize> = HashMap::new();
    for (index, ((asset, renames), part)) in inputs.iter().zip(parts.iter_mut()).enumerate() {
        for (old, new) in renames {
            let bad = |reason: &str| {
                let reason = format!("{reason} (asset {})", index + 1);
                Err(AssetError::InvalidFunction { function: old.clone(), reason })
            };
            if asset.function(old).is_none() {
                return bad("cannot be renamed: the asset has no such function");
            }
            if new.is_empty() || new.contains('.') {
                return bad(&format!("cannot be named {new:?}: a name is one word without dots"));
            }
            if part.names.insert(old.clone(), new.clone()).is_some() {
                return bad("has two new names");
            }
        }
        let mut namespaces = BTreeSet::new();
        for function in &asset.functions {
            if let Some((outermost, _)) = function.name.split_once('.') {
                namespaces.insert(outermost);
            }
            let mut name = renamed(&function.name, part.names.get(&function.name));
            if let Some(other) = taken.get(&name) {
                if !function.private || part.names.contains_key(&function.name) {
                    let reason = format!(
                        "is the name of a function of asset {} and of asset {}; rename one of them",
                        other + 1,
                        index + 1
                    );
                    return Err(AssetError::InvalidFunction { function: name, reason });
                }
                let last = function.name.rsplit_once('.').map_or(function.name.as_str(), |(_, last)| last);
                // as many candidates as there are names, and one more
                let candidates = (1..=taken.len() + all.len() + 1).map(|n| format!("{last}_{n}"));
                let free = |last: &String| {
                    let name = renamed(&function.name, Some(last));
                    !taken.contains_key(&name) && !all.contains(name.as_str())
                };
                let Some(new) = candidates.into_iter().find(free) else {
                    return Err(unwritable("function", format!("no name is left for {name:?}")));
                };
                name = renamed(&function.name, Some(&new));
                part.names.insert(function.name.clone(), new);
            }
            taken.insert(name, index);
        }
        for namespace in namespaces {
            if let Some(other) = taken.insert(namespace.to_owned(), index) {
                let reason =
                    format!("is a namespace of asset {} and a name of asset {}", index + 1, other + 1);
                return Err(AssetError::InvalidFunction { function: namespace.to_owned(), reason });
            }
        }
    }
    Ok(())
}

/// Finds resources with equal bytes; returns the bytes that are saved.
fn share_resources(parts: &mut [Part<'_>]) -> Result<u64, AssetError> {
    let mut by_length: HashMap<u64, Vec<(usize, u32, Range<u64>)>> = HashMap::new();
    for (index, part) in parts.iter().enumerate() {
        let mut seen = BTreeSet::new();
        for function in &part.asset.functions {
            visit(&function.body, &mut |op| {
                for (_, attribute) in &op.attrs {
                    if let Attribute::Constant(constant) = attribute
                        && let Some(id) = constant.resource
                        && seen.insert(id)
                    {
                        let length = constant.range.end.saturating_sub(constant.range.start);
                        by_length.entry(length).or_default().push((index, id, constant.range.clone()));
                    }
                }
                Ok(())
            })?;
        }
    }
    let mut saved = 0;
    for (length, group) in by_length.into_iter().filter(|(_, group)| group.len() > 1) {
        let mut owners: HashMap<[u8; 32], (usize, u32)> = HashMap::new();
        for (index, id, range) in group {
            let Some(part) = parts.get_mut(index) else { continue };
            let mut hash = Sha256::new();
            chunks(&**part.asset.source(), range, &mut |bytes| {
                hash.update(bytes);
                Ok(())
            })?;
            let owner = *owners.entry(hash.finalize().into()).or_insert((index, id));
            if owner != (index, id) {
                part.aliases.insert(id, owner);
                saved += length;
            }
        }
    }
    Ok(saved)
}
