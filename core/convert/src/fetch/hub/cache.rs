//! The hub's cache: `models--ORG--NAME/{blobs,refs,snapshots}`, shared with its other clients.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use hf_hub::{Cache, Repo, RepoType};

use super::files::{CONFIG, INDEX, MAX_INDEX, WEIGHTS, is_commit, shards};
use super::name::HubName;
use crate::error::ConvertError;
use crate::fetch::disk::{file_error, length, make_folder, remove, settle, unique};

/// The folder of one repository.
pub(super) struct Folder {
    cache: Cache,
    root: PathBuf,
}

impl Folder {
    pub fn new(cache: &Path, name: &HubName) -> Self {
        let root = cache.join(repo(name).folder_name());
        Self { cache: Cache::new(cache.to_path_buf()), root }
    }

    /// The folder whose files are named as in the repository.
    pub fn snapshot(&self, name: &HubName, commit: &str) -> PathBuf {
        self.cache.repo(repo(name)).pointer_path(commit)
    }

    /// A content, named by its entity tag.
    pub fn blob(&self, tag: &str) -> PathBuf {
        self.root.join("blobs").join(tag)
    }

    /// The commit that a branch or tag meant when it was last fetched completely.
    pub fn commit(&self, name: &HubName) -> Option<String> {
        if is_commit(name.revision()) {
            return Some(name.revision().to_string());
        }
        let mut text = String::new();
        let file = fs::File::open(self.reference(name)).ok()?;
        file.take(65).read_to_string(&mut text).ok()?;
        let commit = text.trim();
        is_commit(commit).then(|| commit.to_string())
    }

    /// Remembers the commit of a branch or tag.
    pub fn remember(&self, name: &HubName, commit: &str) -> Result<(), ConvertError> {
        if name.revision() == commit {
            return Ok(());
        }
        let path = self.reference(name);
        if let Some(parent) = path.parent() {
            make_folder(parent)?;
        }
        let temporary = unique(&self.root);
        fs::write(&temporary, commit).map_err(|error| file_error(&temporary, &error))?;
        settle(&temporary, &path)
    }

    /// Shows a blob under its name in a snapshot: as a link, or where the file system has none, as a copy.
    pub fn link(&self, tag: &str, shown: &Path) -> Result<(), ConvertError> {
        let blob = self.blob(tag);
        if length(shown).is_some_and(|bytes| length(&blob) == Some(bytes)) {
            return Ok(());
        }
        let temporary = unique(&self.root);
        remove(&temporary)?;
        if symbolic(&Path::new("../../blobs").join(tag), &temporary).is_err()
            && fs::hard_link(&blob, &temporary).is_err()
        {
            fs::copy(&blob, &temporary).map_err(|error| file_error(&temporary, &error))?;
        }
        settle(&temporary, shown)
    }

    fn reference(&self, name: &HubName) -> PathBuf {
        self.root.join("refs").join(name.revision())
    }

    /// What an import needs, without the network: the folder, or the GGUF file where one was chosen. Else
    /// what is missing.
    pub fn complete(&self, name: &HubName) -> Result<PathBuf, String> {
        let commit = self.commit(name).ok_or("that revision was never fetched completely")?;
        let folder = self.snapshot(name, &commit);
        let has = |file: &str| length(&folder.join(file)).is_some();
        if let Some(file) = name.file() {
            return if has(file) { Ok(folder.join(file)) } else { Err(format!("{file} is missing")) };
        }
        let mut needed = vec![CONFIG.to_string()];
        if has(WEIGHTS) || !has(INDEX) {
            needed.push(WEIGHTS.into());
        } else {
            needed.extend(read_index(&folder.join(INDEX)).map_err(|error| error.to_string())?);
        }
        needed.retain(|file| !has(file));
        match needed.is_empty() {
            true => Ok(folder),
            false => Err(format!("missing: {}", needed.join(", "))),
        }
    }
}

/// The shards that an index on the disk names.
fn read_index(path: &Path) -> Result<Vec<String>, ConvertError> {
    shards(&read_capped(path, MAX_INDEX)?)
}

/// A file of at most `limit` bytes.
pub(super) fn read_capped(path: &Path, limit: u64) -> Result<Vec<u8>, ConvertError> {
    let file = fs::File::open(path).map_err(|error| file_error(path, &error))?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| file_error(path, &error))?;
    if bytes.len() as u64 > limit {
        let (file, what) = (path.display().to_string(), "bytes".to_string());
        return Err(ConvertError::Limit { file, what, value: bytes.len() as u64, limit });
    }
    Ok(bytes)
}

#[cfg(unix)]
fn symbolic(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Symbolic links need a privilege on Windows; hard links do not.
#[cfg(not(unix))]
fn symbolic(_target: &Path, _link: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn repo(name: &HubName) -> Repo {
    Repo::with_revision(name.repository().into(), RepoType::Model, name.revision().into())
}
