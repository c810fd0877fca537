//! Bundles: folders of a model's asset, its tokenizer and `metadata.json`.

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};

use coreai_asset::{Asset, HashStatus, StagedFolder};
use serde_json::Value;

/// Bytes of a bundle's `metadata.json`.
const MAX_BUNDLE_BYTES: u64 = 16 << 20;
/// Folders in folders of a bundle; real ones have one.
const MAX_DEPTH: usize = 8;

/// A folder whose `metadata.json` names a main asset.
pub struct Bundle {
    folder: PathBuf,
    metadata: Value,
    /// Path of the main asset inside the folder.
    main: PathBuf,
}

impl Bundle {
    /// `None` for what is no bundle: an asset, or a file.
    pub fn open(path: &Path) -> Result<Option<Self>, Named> {
        let file = path.join("metadata.json");
        if !path.is_dir() || path.join("main.mlirb").exists() || !file.is_file() {
            return Ok(None);
        }
        let size = fs::metadata(&file).map_or(0, |file| file.len());
        if size > MAX_BUNDLE_BYTES {
            return Err(Named::new(&file, format!("{size} bytes are too many")));
        }
        let text = fs::read(&file).map_err(|error| Named::new(&file, error))?;
        let metadata: Value = serde_json::from_slice(&text).map_err(|error| Named::new(&file, error))?;
        let main = match metadata["assets"]["main"].as_str() {
            Some(main) if !main.is_empty() && inside(Path::new(main)) => PathBuf::from(main),
            Some(main) => {
                let reason = format!("assets.main is {main:?}; expected a path inside the bundle");
                return Err(Named::new(&file, reason));
            }
            None => {
                let reason = "no main.mlirb here, and metadata.json names no main asset (assets.main)";
                return Err(Named::new(path, reason));
            }
        };
        Ok(Some(Self { folder: path.to_owned(), metadata, main }))
    }

    /// The main asset.
    pub fn asset(&self) -> PathBuf {
        self.folder.join(&self.main)
    }

    /// Writes a bundle with another main asset, which `save` puts at the path it is given. All of it appears at
    /// the destination in the end, or nothing does. `metadata.json` gets the keys of `changes`. Gives what `save` gives.
    pub fn write<T>(
        &self,
        destination: &Path,
        replace: bool,
        changes: &[(&str, Value)],
        save: impl FnOnce(&Path) -> Result<T, Box<dyn Error>>,
    ) -> Result<T, Box<dyn Error>> {
        if fs::symlink_metadata(destination).is_ok() && replace && Self::open(destination)?.is_none() {
            return Err(Named::new(destination, "is not a bundle, so it is not replaced").into());
        }
        let within = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if within(destination.parent().unwrap_or(destination)).starts_with(within(&self.folder)) {
            return Err(Named::new(destination, "lies inside the bundle that it is made of").into());
        }
        let staged = StagedFolder::create(destination, replace.then_some("metadata.json"))?;
        copy(&self.folder, staged.path(), Path::new(""), &self.main, MAX_DEPTH)?;
        let asset = staged.path().join(&self.main);
        if let Some(parent) = asset.parent() {
            fs::create_dir_all(parent).map_err(|error| Named::new(parent, error))?;
        }
        let saved = save(&asset)?;
        let mut metadata = self.metadata.clone();
        if let Value::Object(map) = &mut metadata {
            map.extend(changes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        }
        staged.write_file("metadata.json", format!("{metadata:#}\n").as_bytes())?;
        staged.commit()?;
        Ok(saved)
    }
}

/// Copies the files of a folder but the main asset; `within` is the path inside the bundle.
fn copy(from: &Path, to: &Path, within: &Path, main: &Path, depth: usize) -> Result<(), Named> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Named::new(from, format!("more than {MAX_DEPTH} folders in folders")));
    };
    for entry in fs::read_dir(from).map_err(|error| Named::new(from, error))? {
        let entry = entry.map_err(|error| Named::new(from, error))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let within = within.join(entry.file_name());
        if within == *main || within == Path::new("metadata.json") {
            continue;
        }
        let failed = |error| Named::new(&source, error);
        let kind = fs::symlink_metadata(&source).map_err(failed)?;
        if kind.is_symlink() {
            return Err(Named::new(&source, "is a link; a bundle holds all its files itself"));
        }
        if kind.is_dir() {
            fs::create_dir(&target).map_err(failed)?;
            copy(&source, &target, &within, main, depth)?;
        } else {
            if !kind.is_file() {
                return Err(Named::new(&source, "is neither a file nor a folder"));
            }
            fs::copy(&source, &target).map_err(failed)?;
            let lasting = fs::OpenOptions::new().append(true).open(&target);
            lasting.and_then(|file| file.sync_all()).map_err(|error| Named::new(&target, error))?;
        }
    }
    Ok(())
}

/// Opens an asset that is to be changed: what is damaged would get a valid hash.
pub fn open_intact(path: &Path) -> Result<Asset, Named> {
    let asset = Asset::open(path).map_err(|error| Named::new(path, error))?;
    match asset.verify_hash().map_err(|error| Named::new(path, error))? {
        HashStatus::Mismatch => Err(Named::new(
            path,
            "is damaged: the file is not what main.hash says (coreai-build inspect --verify-hash)",
        )),
        _ => Ok(asset),
    }
}

/// The asset at a path: a bundle names its main one in `metadata.json`.
pub fn asset_path(path: &Path) -> Result<PathBuf, Named> {
    Ok(Bundle::open(path)?.map_or_else(|| path.to_owned(), |bundle| bundle.asset()))
}

fn inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// An error with the path it is about.
#[derive(Debug)]
pub struct Named(String);

impl Named {
    /// The text begins with the path; errors of opening have it already.
    pub fn new(path: &Path, error: impl fmt::Display) -> Self {
        let (path, text) = (path.display().to_string(), error.to_string());
        Self(if text.starts_with(&path) { text } else { format!("{path}: {text}") })
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Named {}
