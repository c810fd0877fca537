//! Folders that appear whole or not at all.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::layout::write_error;
use crate::error::AssetError;

/// Tells temporary folders of one process apart.
static SERIAL: AtomicU32 = AtomicU32::new(0);

/// Temporary folders of this process that are being written.
static STAGED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn staged() -> MutexGuard<'static, Vec<PathBuf>> {
    STAGED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes every folder that this process is writing. For handlers of signals that end the process.
pub fn discard_staged() {
    for path in staged().drain(..) {
        let _ = fs::remove_dir_all(&path); // nothing is left to tell it to
    }
}

/// A folder that is written under a temporary name next to its destination and renamed when it is complete. Until
/// then, or if anything fails, what was at the destination stays, and dropping this removes what was written.
pub struct StagedFolder {
    destination: PathBuf,
    path: PathBuf,
    replaces: bool,
}

impl StagedFolder {
    /// Begins a folder. With `mark`, a folder at the destination is replaced in the end if it holds a file of
    /// that name or nothing at all; anything else there is an [`AssetError::Exists`].
    pub fn create(destination: &Path, mark: Option<&str>) -> Result<Self, AssetError> {
        let replaces = check_destination(destination, mark)?;
        sweep(destination);
        let path = sibling(destination, "partial")?;
        fs::create_dir(&path).map_err(|error| failed(destination, &error))?;
        staged().push(path.clone());
        Ok(Self { destination: destination.to_owned(), path, replaces })
    }

    /// Where it is being written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts a file in it.
    pub(super) fn create_file(&self, name: &str) -> Result<(PathBuf, File), AssetError> {
        let path = self.path.join(name);
        let file = File::create_new(&path).map_err(|error| failed(&path, &error))?;
        Ok((path, file))
    }

    /// Writes a whole file into it.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), AssetError> {
        let (path, mut file) = self.create_file(name)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| failed(&path, &error))
    }

    /// Makes it last and puts it at the destination. A folder there is replaced by two renames: whoever opens
    /// it between them finds none, but never a mixture of two.
    pub fn commit(self) -> Result<(), AssetError> {
        sync_folder(&self.path)?;
        match self.replaces {
            false => fs::rename(&self.path, &self.destination).map_err(|error| match error.kind() {
                ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => AssetError::Exists {
                    path: self.destination.display().to_string(),
                    reason: "another program wrote it meanwhile".into(),
                },
                _ => failed(&self.destination, &error),
            })?,
            true => exchange(&self.path, &self.destination)?,
        }
        sync_folder(parent(&self.destination))
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path); // it is gone after the rename
        staged().retain(|path| *path != self.path);
    }
}

/// Removes what processes that are gone have left of this destination. Where it cannot be told whether a process
/// lives, nothing.
fn sweep(destination: &Path) {
    let name = destination.file_name().map(|name| format!(".{}.", name.to_string_lossy()));
    let (Some(name), true) = (name, Path::new("/proc/self").exists()) else { return };
    for entry in fs::read_dir(parent(destination)).into_iter().flatten().flatten() {
        let found = entry.file_name().to_string_lossy().into_owned();
        let process = found.strip_prefix(&name).and_then(|rest| rest.strip_suffix(".partial"));
        let process =
            process.and_then(|rest| rest.split_once('-')).and_then(|(id, _)| id.parse::<u32>().ok());
        if process.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            let _ = fs::remove_dir_all(entry.path()); // it harms nobody
        }
    }
}

/// Whether a folder is there that may be replaced: one that has the file `mark`, or an empty one.
fn check_destination(folder: &Path, mark: Option<&str>) -> Result<bool, AssetError> {
    let refuse = |reason: &str| {
        let path = folder.display().to_string();
        Err(AssetError::Exists { path, reason: reason.to_owned() })
    };
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(folder, &error)),
        Ok(kind) => {
            let Some(mark) = mark else {
                return refuse("ask for it to be replaced, or choose another name");
            };
            if !kind.is_dir() {
                return refuse("it is not a folder, so it is not replaced");
            }
            let mut entries = fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
            match folder.join(mark).is_file() || entries.next().is_none() {
                true => Ok(true),
                false => refuse(&format!("it has no {mark}, so it is not replaced")),
            }
        }
    }
}

/// Puts the new folder in the place of the old one, which is moved aside first.
fn exchange(new: &Path, folder: &Path) -> Result<(), AssetError> {
    let aside = sibling(folder, "old")?;
    fs::rename(folder, &aside).map_err(|error| failed(folder, &error))?;
    if let Err(error) = fs::rename(new, folder) {
        // back to how it was; if that fails too, the old folder is at `aside`
        let back = fs::rename(&aside, folder);
        let mut failure = failed(folder, &error);
        if let (AssetError::Write { reason, .. }, Err(_)) = (&mut failure, back) {
            reason.push_str(&format!("; the old one is now at {}", aside.display()));
        }
        return Err(failure);
    }
    fs::remove_dir_all(&aside).map_err(|error| failed(&aside, &error))
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
