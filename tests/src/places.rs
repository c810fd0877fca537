//! Where assets and recorded data lie.

use std::path::PathBuf;

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A path under `../shared` beside the repository, when it is there. Prints what is skipped otherwise.
pub fn shared(relative: &str) -> Option<PathBuf> {
    let path = root().join("../shared").join(relative);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not here", path.display());
    None
}

/// The small cases that the repository itself holds.
pub fn own_cases() -> Vec<PathBuf> {
    cases_in(&root().join("tests/assets"))
}

/// Cases of single ops, made by `tests/oracle/op_cases.py`.
pub fn op_cases() -> Vec<PathBuf> {
    cases_in(&root().join("tests/assets/ops"))
}

/// Cases of the conformance set whose name starts with one of `prefixes`.
pub fn shared_cases(prefixes: &[&str]) -> Vec<PathBuf> {
    let Some(folder) = shared("conformance/cases") else { return vec![] };
    let named = |p: &PathBuf| {
        let name = p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    cases_in(&folder).into_iter().filter(named).collect()
}

fn cases_in(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut cases: Vec<PathBuf> =
        entries.map(|e| e.path()).filter(|p| p.join("case.json").exists()).collect();
    cases.sort();
    cases
}
