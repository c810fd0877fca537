//! Read, write, read: the same asset; write, write: the same bytes.

mod corpus;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coreai_asset::{Asset, AssetError, HashStatus, Locations, MemorySource, WriteOptions};
use corpus::dump::dump;

fn write(asset: &Asset, options: &WriteOptions) -> Result<(Vec<u8>, [u8; 32]), AssetError> {
    let mut bytes = Vec::new();
    let mut last = (0, 0);
    let hash = asset.write_to(&mut bytes, options, &mut |done, total| last = (done, total))?;
    assert_eq!(last, (bytes.len() as u64, bytes.len() as u64), "progress ends at the end");
    Ok((bytes, hash))
}

fn read(bytes: &[u8], metadata: &str, hash: [u8; 32]) -> Result<Asset, AssetError> {
    let source = Arc::new(MemorySource(bytes.to_vec()));
    let asset = Asset::read_blocking(source, Some(metadata.as_bytes()), Some(hash))?;
    assert_eq!(asset.verify_hash()?, HashStatus::Match);
    Ok(asset)
}

fn differ(what: &str, expected: &str, found: &str) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let pair = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
    Err(format!("{what} differs: {pair:?}"))
}

fn check(path: &Path) -> Result<(), String> {
    let text = |error: AssetError| error.to_string();
    let original = Asset::open(path).map_err(text)?;
    for locations in [Locations::Keep, Locations::Strip] {
        let options = WriteOptions { locations, ..WriteOptions::default() };
        let kept = locations == Locations::Keep;
        let (bytes, hash) = write(&original, &options).map_err(text)?;
        let again = read(&bytes, &original.metadata.to_json(), hash).map_err(text)?;
        differ("what is read", &dump(&original, kept), &dump(&again, kept))?;
        let (fixed, _) = write(&again, &WriteOptions::default()).map_err(text)?;
        if fixed != bytes {
            return Err(format!("written twice, the bytes differ, {locations:?}"));
        }
    }
    Ok(())
}

fn check_all(paths: &[PathBuf]) {
    let results = paths.iter().filter_map(|path| Some((path, check(path).err()?)));
    let failures: Vec<_> = results.map(|(path, error)| format!("{}: {error}", path.display())).collect();
    println!("{} assets", paths.len());
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), paths.len(), failures.join("\n"));
}

#[test]
fn samples_are_the_same() {
    let models: Vec<_> = corpus::samples().iter().map(|case| case.join("model.aimodel")).collect();
    check_all(&models);
}

#[test]
fn corpus_is_the_same() {
    if let Some(root) = corpus::shared("conformance/cases") {
        let models: Vec<_> = corpus::folders(&root).iter().map(|case| case.join("model.aimodel")).collect();
        check_all(&models);
    }
}

#[test]
fn models_are_the_same() {
    if let Some(root) = corpus::shared("models") {
        let models = [
            "smollm2-135m-int4/smollm2_135m_instruct_int4.aimodel",
            "minilm/all-MiniLM-L6-v2_int8.aimodel",
            "efficientnet-lite0/efficientnet_lite0_int8.aimodel",
            "selfie-segmentation/selfie_segmentation_float16.aimodel",
        ];
        check_all(&models.map(|model| root.join(model)));
    }
}
