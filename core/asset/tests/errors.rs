//! What is told about files that are no assets.

mod corpus;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coreai_asset::{Asset, AssetError, MemorySource};

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coreai-asset-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> &Self {
        std::fs::write(self.0.join(name), bytes).unwrap();
        self
    }

    fn error(&self) -> AssetError {
        Asset::open(&self.0).unwrap_err()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn program() -> Vec<u8> {
    std::fs::read(corpus::samples()[0].join("model.aimodel/main.mlirb")).unwrap()
}

fn read(bytes: &[u8]) -> AssetError {
    Asset::read_blocking(Arc::new(MemorySource(bytes.to_vec())), None, None).unwrap_err()
}

fn is(error: AssetError, code: &str, words: &str) {
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn paths() {
    let missing = Asset::open(Path::new("/nowhere/model.aimodel")).unwrap_err();
    is(missing, "asset.not_found", "/nowhere/model.aimodel");
    is(Folder::new("empty").error(), "asset.not_an_asset", "has no main.mlirb");
    let bundle = Folder::new("bundle");
    std::fs::create_dir_all(bundle.0.join("x.aimodel")).unwrap();
    is(bundle.error(), "asset.not_an_asset", "x.aimodel");
}

#[test]
fn other_files() {
    is(read(b""), "asset.bad_magic", "empty");
    is(read(b"module {\n"), "asset.bad_magic", "text file that starts with \"module {\\n\"");
    is(read(b"version https://git-lfs.github.com/spec/v1"), "asset.bad_magic", "LFS");
    is(read(&[1, 2, 3, 4, 5]), "asset.bad_magic", "01 02 03 04");
    is(read(b"ML\xefR\x0fMLIR\0"), "asset.bytecode_version", "version 7");
    is(read(b"ML\xefR\x0dMLIR\0"), "asset.missing_section", "string");
}

#[test]
fn truncation() {
    let bytes = program();
    is(read(&bytes[..bytes.len() - 1]), "asset.truncated", "are left");
    is(read(&bytes[..4]), "asset.truncated", "byte 4");
}

#[test]
fn companions() {
    let folder = Folder::new("companions");
    folder.write("main.mlirb", &program());
    assert!(Asset::open(&folder.0).unwrap().metadata.asset_version.is_none());
    folder.write("metadata.json", br#"{"assetVersion":"9.0"}"#);
    is(folder.error(), "asset.asset_version", "\"9.0\" is not supported");
    folder.write("metadata.json", b"{}");
    is(folder.error(), "asset.metadata", "assetVersion");
    folder.write("metadata.json", b"\xff");
    is(folder.error(), "asset.metadata", "metadata.json");
    folder.write("metadata.json", br#"{"assetVersion":"2.0"}"#).write("main.hash", b"short");
    let asset = Asset::open(&folder.0).unwrap();
    assert_eq!(asset.verify_hash().unwrap(), coreai_asset::HashStatus::Malformed);
    assert_eq!(asset.warnings.len(), 1);
    folder.write("main.mlirb", b"");
    is(folder.error(), "asset.bad_magic", "empty");
}

#[test]
fn a_program_file_finds_its_companions() {
    let folder = corpus::samples()[0].join("model.aimodel");
    let asset = Asset::open(&folder.join("main.mlirb")).unwrap();
    assert_eq!(asset.metadata.asset_version.as_deref(), Some("2.0"));
}
