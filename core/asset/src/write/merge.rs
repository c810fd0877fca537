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
use crate::ir::{Attribute, Function, Region};
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
/// functions: the present one (dotted inside namespaces), and the new one without namespaces.
///
/// Entry points must have different names in the end; private functions and namespaces of them get new ones
/// where theirs are taken. Resources with equal bytes become one; to find them, those of equal length are read.
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
        let new = part.paths.get(&function.name).map(|path| path.join("."));
        (function.name.clone(), Value::from(new.unwrap_or_else(|| function.name.clone())))
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

/// Names that are used: the asset of each, by dotted paths of functions and namespaces.
struct Names {
    /// In the new file.
    taken: HashMap<String, usize>,
    /// In any of the assets; no new name is one of these.
    all: BTreeSet<String>,
}

impl Names {
    /// The name with the least number that is free.
    fn fresh(&self, path: &[String], component: usize) -> Option<Vec<String>> {
        let old = path.get(component)?;
        // as many candidates as there are names, and one more
        (1..=self.taken.len() + self.all.len() + 1).find_map(|number| {
            let mut path = path.to_vec();
            *path.get_mut(component)? = format!("{old}_{number}");
            let name = path.get(..=component)?.join(".");
            (!self.taken.contains_key(&name) && !self.all.contains(&name)).then_some(path)
        })
    }
}

/// Paths of the functions of an asset, in their order, and the names of its outermost namespaces.
fn paths(asset: &Asset) -> (Vec<Vec<String>>, BTreeSet<String>) {
    fn walk(regions: &[Region], prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>, asset: &Asset) {
        for op in regions.iter().flat_map(|region| &region.ops) {
            let name = |attrs: &[(&str, Attribute)]| {
                let name = attrs.iter().find(|(key, _)| *key == "name").and_then(|(_, name)| name.as_str());
                name.unwrap_or_default().to_owned()
            };
            match &*op.name {
                "dataflow.namespace_v1" => {
                    prefix.push(name(&op.attrs));
                    walk(&op.regions, prefix, paths, asset);
                    prefix.pop();
                }
                "dataflow.graph_v1" => {
                    let function = asset.functions.get(paths.len());
                    let own = function.map_or_else(String::new, |function| name(&function.declaration));
                    paths.push(prefix.iter().cloned().chain([own]).collect());
                }
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(&asset.frame.regions, &mut Vec::new(), &mut found, asset);
    let outermost = found.iter().filter(|path| path.len() > 1).filter_map(|path| path.first().cloned());
    let outermost = outermost.collect();
    (found, outermost)
}

/// Decides on the names of all functions.
fn name_functions(
    inputs: &[(&Asset, Vec<(String, String)>)],
    parts: &mut [Part<'_>],
) -> Result<(), AssetError> {
    let mut names = Names { taken: HashMap::new(), all: BTreeSet::new() };
    for (asset, _) in inputs {
        names.all.extend(asset.functions.iter().map(|function| function.name.clone()));
        names.all.extend(paths(asset).1);
    }
    for (index, ((asset, renames), part)) in inputs.iter().zip(parts.iter_mut()).enumerate() {
        let mut wanted: HashMap<&str, &str> = HashMap::new();
        for (old, new) in renames {
            let reason = if asset.function(old).is_none() {
                "cannot be renamed: the asset has no such function"
            } else if new.is_empty() {
                "cannot have an empty name"
            } else if wanted.insert(old, new).is_some() {
                "has two new names"
            } else {
                continue;
            };
            let reason = format!("{reason} (asset {})", index + 1);
            return Err(AssetError::InvalidFunction { function: old.clone(), reason });
        }
        let (old_paths, namespaces) = paths(asset);
        for namespace in namespaces {
            name_namespace(index, part, namespace, &old_paths, &mut names)?;
        }
        for (function, old) in asset.functions.iter().zip(old_paths) {
            let mut path = old.clone();
            if let [first, _, ..] = path.as_mut_slice()
                && let Some(new) = part.namespaces.get(first)
            {
                new.clone_into(first);
            }
            let new = wanted.get(function.name.as_str());
            if let (Some(new), Some(last)) = (new, path.last_mut()) {
                (*new).clone_into(last);
            }
            if let Some(other) = names.taken.get(&path.join(".")) {
                let last = path.len().saturating_sub(1);
                path = match names.fresh(&path, last).filter(|_| function.private && new.is_none()) {
                    Some(path) => path,
                    None => {
                        let reason = format!(
                            "is the name of a function of asset {} and of asset {}; rename one of them",
                            other + 1,
                            index + 1
                        );
                        return Err(AssetError::InvalidFunction { function: path.join("."), reason });
                    }
                };
            }
            names.taken.insert(path.join("."), index);
            if path != old {
                part.paths.insert(function.name.clone(), path);
            }
        }
    }
    Ok(())
}

/// Gives an outermost namespace a new name if its own is taken.
fn name_namespace(
    index: usize,
    part: &mut Part<'_>,
    namespace: String,
    paths: &[Vec<String>],
    names: &mut Names,
) -> Result<(), AssetError> {
    let mut new = namespace.clone();
    if let Some(other) = names.taken.get(&namespace) {
        let inside = |path: &Vec<String>| path.len() > 1 && path.first() == Some(&namespace);
        let mut functions = part.asset.functions.iter().zip(paths);
        if let Some((public, _)) = functions.find(|(function, path)| !function.private && inside(path)) {
            let reason = format!(
                "is in namespace {namespace:?}, which asset {} has too; such entry points cannot be merged",
                other + 1
            );
            return Err(AssetError::InvalidFunction { function: public.name.clone(), reason });
        }
        let fresh = names.fresh(std::slice::from_ref(&namespace), 0).unwrap_or_default();
        new = fresh.into_iter().next().ok_or_else(|| unwritable("namespace", "no name is left"))?;
        part.namespaces.insert(namespace, new.clone());
    }
    names.taken.insert(new, index);
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
