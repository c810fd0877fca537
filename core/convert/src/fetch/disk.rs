//! Folders, locks and final names of fetched files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::Progress;
use crate::error::ConvertError;

/// The error of a file operation.
pub(super) fn file_error(path: &Path, error: &io::Error) -> ConvertError {
    let path = path.display().to_string();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ConvertError::Download {
            what: path,
            reason: "the disk is full".into(),
            advice: "free some space and run it again: the download continues where it stopped".into(),
        },
        _ => ConvertError::File { path, reason: error.to_string() },
    }
}

/// Makes a folder and its parents.
pub(super) fn make_folder(path: &Path) -> Result<(), ConvertError> {
    fs::create_dir_all(path).map_err(|error| file_error(path, &error))
}

/// Held until dropped. Ends with the process, however it ends.
pub(super) struct Lock {
    _file: File,
}

/// Waits until no other process holds the lock, and says so. The file stays: to remove it would let two
/// processes hold locks of two files of that name.
pub(super) fn lock(path: &Path, what: &str, progress: &mut dyn Progress) -> Result<Lock, ConvertError> {
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = open.map_err(|error| file_error(path, &error))?;
    let locked = match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            progress.wait(what);
            file.lock()
        }
        Err(TryLockError::Error(error)) => Err(error),
    };
    match locked {
        // a file system without locks: what two processes mix up, the hash finds
        Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(file_error(path, &error)),
        _ => Ok(Lock { _file: file }),
    }
}

/// Gives a finished file its name, and makes that last.
pub(super) fn settle(from: &Path, to: &Path) -> Result<(), ConvertError> {
    fs::rename(from, to).map_err(|error| file_error(to, &error))?;
    // a folder cannot be opened everywhere, and a lost rename only repeats the download
    if let Some(Ok(folder)) = to.parent().map(File::open) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// A name in a folder that no other writer has.
pub(super) fn unique(folder: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    folder.join(format!("{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// Removes a file if it is there.
pub(super) fn remove(path: &Path) -> Result<(), ConvertError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(path, &error)),
        _ => Ok(()),
    }
}

/// Length of a regular file, following links; none if there is no such file.
pub(super) fn length(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(|data| data.is_file()).map(|data| data.len())
}

/// Letters, digits, `.`, `_` and `-`, not beginning with `.` or `-`: safe in a path and in an address.
pub(super) fn is_plain_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=255).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['.', '-'])
}
