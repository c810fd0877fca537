//! Where test assets are, what they say, and an allocator that counts.
#![allow(dead_code)] // each test uses a part

pub mod dump;
pub mod heap;

use std::path::{Path, PathBuf};

/// The samples in the repository: one folder each, with `model.aimodel` and `case.json`.
pub fn samples() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/assets");
    let cases = folders(&root);
    assert!(!cases.is_empty(), "no sample assets in {}", root.display());
    cases
}

/// `$COREAI_SHARED`, or the folder `shared` next to the repository.
pub fn shared(part: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("COREAI_SHARED") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let path = root.join(part);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} does not exist (set COREAI_SHARED)", path.display());
    None
}

/// The folders in a folder that hold a case, sorted.
pub fn folders(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut cases: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| path.join("case.json").exists()).collect();
    cases.sort();
    cases
}
