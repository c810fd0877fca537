//! The `.aimodel` folder: all of it or nothing.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::layout::{Layout, write_error};
use super::program::Program;
use super::{Progress, WriteOptions};
use crate::asset::Asset;
use crate::error::AssetError;
use crate::metadata::Metadata;

/// Tells temporary folders of one process apart.
static SERIAL: AtomicU32 = AtomicU32::new(0);

impl Asset {
    /// Writes an `.aimodel` folder and returns the hash. The files are written under a temporary
    /// name next to it, synced, and renamed; on any error the temporary folder is removed and
    /// what was there stays.
    ///
    /// An existing asset is replaced where the options say so, by two renames: whoever opens it
    /// between them finds no folder, but never a mixture of two assets.
    pub fn save(
        &self,
        folder: &Path,
        options: &WriteOptions,
        progress: &mut Progress<'_>,
    ) -> Result<[u8; 32], AssetError> {
        let layout = Program::of(self).layout(options)?;
        save(layout, &self.metadata, folder, options, progress)
    }
}

pub(super) fn save(
    layout: Layout,
    metadata: &Metadata,
    folder: &Path,
    options: &WriteOptions,
    progress: &mut Progress<'_>,
) -> Result<[u8; 32], AssetError> {
    let exists = check_destination(folder, options.replace)?;
    let temporary = Temporary::create(folder)?;
    let hash = {
        let path = temporary.path.join("main.mlirb");
        let mut file = create(&path)?;
        let hash = layout.write(&mut file, progress).map_err(|error| at_path(error, &path))?;
        file.sync_all().map_err(|error| failed(&path, &error))?;
        hash
    };
    write_file(&temporary.path.join("metadata.json"), metadata.to_json().as_bytes())?;
    write_file(&temporary.path.join("main.hash"), &hash)?;
    sync_folder(&temporary.path)?;
    match exists {
        false => fs::rename(&temporary.path, folder).map_err(|error| failed(folder, &error))?,
        true => exchange(&temporary.path, folder)?,
    }
    sync_folder(parent(folder))?;
    Ok(hash)
}

/// Whether an asset is there that may be replaced.
fn check_destination(folder: &Path, replace: bool) -> Result<bool, AssetError> {
    let refuse = |reason: &str| {
        let path = folder.display().to_string();
        Err(AssetError::Exists { path, reason: reason.to_owned() })
    };
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(folder, &error)),
        Ok(_) if !replace => refuse("ask for it to be replaced, or choose another name"),
        Ok(kind) if !kind.is_dir() => refuse("it is not a folder, so it is not replaced"),
        Ok(_) => {
            let mut entries = fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
            match folder.join("main.mlirb").is_file() || entries.next().is_none() {
                true => Ok(true),
                false => refuse("the folder is not an asset, so it is not replaced"),
            }
        }
    }
}

/// Puts the new folder in the place of the old one, which is moved aside first.
fn exchange(new: &Path, folder: &Path) -> Result<(), AssetError> {
    let aside = sibling(folder, "old")?;
    fs::rename(folder, &aside).map_err(|error| failed(folder, &error))?;
    if let Err(error) = fs::rename(new, folder) {
        // back to how it was; if that fails too, the old asset is at `aside`
        let back = fs::rename(&aside, folder);
        let mut failure = failed(folder, &error);
        if let (AssetError::Write { reason, .. }, Err(_)) = (&mut failure, back) {
            reason.push_str(&format!("; the old asset is now at {}", aside.display()));
        }
        return Err(failure);
    }
    fs::remove_dir_all(&aside).map_err(|error| failed(&aside, &error))
}

/// A folder that is removed when it is dropped, unless it was renamed.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn create(folder: &Path) -> Result<Self, AssetError> {
        let path = sibling(folder, "partial")?;
        fs::create_dir(&path).map_err(|error| failed(&path, &error))?;
        Ok(Self { path })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path); // it is gone after the rename
    }
}

/// A name of its own next to the destination: hidden, and on the same file system.
fn sibling(folder: &Path, what: &str) -> Result<PathBuf, AssetError> {
    let Some(name) = folder.file_name() else {
        let path = folder.display().to_string();
        return Err(AssetError::Write { path, reason: "the path has no name for the folder".into() });
    };
    let name = name.to_string_lossy();
    let serial = SERIAL.fetch_add(1, Relaxed);
    Ok(parent(folder).join(format!(".{name}.{}-{serial}.{what}", std::process::id())))
}

fn parent(folder: &Path) -> &Path {
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn create(path: &Path) -> Result<File, AssetError> {
    File::create_new(path).map_err(|error| failed(path, &error))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), AssetError> {
    let mut file = create(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| failed(path, &error))
}

/// Makes the names in a folder last. Only Unix can open a folder.
fn sync_folder(folder: &Path) -> Result<(), AssetError> {
    match cfg!(unix) {
        true => File::open(folder).and_then(|file| file.sync_all()).map_err(|error| failed(folder, &error)),
        false => Ok(()),
    }
}

fn failed(path: &Path, error: &std::io::Error) -> AssetError {
    write_error(&path.display().to_string(), error)
}

/// The error of a sink with the whole path of the file.
fn at_path(error: AssetError, file: &Path) -> AssetError {
    let path = file.display().to_string();
    match error {
        AssetError::DiskFull { .. } => AssetError::DiskFull { path },
        AssetError::Write { reason, .. } => AssetError::Write { path, reason },
        other => other,
    }
}
