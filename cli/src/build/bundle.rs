//! Bundles: folders of a model's asset, its tokenizer and `metadata.json`.

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};

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
        let old = match fs::symlink_metadata(destination) {
            Err(_) => false,
            Ok(_) if !replace => {
                return Err(Named::new(destination, "already exists; --force replaces it").into());
            }
            Ok(_) if Self::open(destination)?.is_some() => true,
            Ok(_) => return Err(Named::new(destination, "is not a bundle, so it is not replaced").into()),
        };
        let partial = Partial::create(destination)?;
        copy(&self.folder, &partial.0, Path::new(""), &self.main, MAX_DEPTH)?;
        let asset = partial.0.join(&self.main);
        if let Some(parent) = asset.parent() {
            fs::create_dir_all(parent).map_err(|error| Named::new(parent, error))?;
        }
        let saved = save(&asset)?;
        let mut metadata = self.metadata.clone();
        if let Value::Object(map) = &mut metadata {
            map.extend(changes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        }
        let file = partial.0.join("metadata.json");
        fs::write(&file, format!("{metadata:#}\n")).map_err(|error| Named::new(&file, error))?;
        let aside = sibling(destination, "old")?;
        if old {
            fs::rename(destination, &aside).map_err(|error| Named::new(destination, error))?;
        }
        if let Err(error) = fs::rename(&partial.0, destination) {
            if old {
                let _ = fs::rename(&aside, destination); // the error below is the one to tell
            }
            return Err(Named::new(destination, error).into());
        }
        if old {
            fs::remove_dir_all(&aside).map_err(|error| Named::new(&aside, error))?;
        }
        Ok(saved)
    }
}

/// A folder that is removed when it is dropped, unless it was renamed.
struct Partial(PathBuf);

impl Partial {
    fn create(destination: &Path) -> Result<Self, Named> {
        let path = sibling(destination, "partial")?;
        fs::create_dir(&path).map_err(|error| Named::new(&path, error))?;
        Ok(Self(path))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // it is gone after the rename
    }
}

/// A hidden name next to the destination, on the same file system.
fn sibling(destination: &Path, what: &str) -> Result<PathBuf, Named> {
    let Some(name) = destination.file_name() else {
        return Err(Named::new(destination, "the path has no name for the folder"));
    };
    let name = format!(".{}.{}.{what}", name.to_string_lossy(), std::process::id());
    Ok(destination.with_file_name(name))
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
        if fs::metadata(&source).map_err(failed)?.is_dir() {
            fs::create_dir(&target).map_err(failed)?;
            copy(&source, &target, &within, main, depth)?;
        } else {
            fs::copy(&source, &target).map_err(failed)?;
        }
    }
    Ok(())
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
