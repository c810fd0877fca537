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
fn debug_locations_are_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/located");
    check_all(&["model.aimodel", "converted.aimodel"].map(|model| root.join(model)));
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

/// What was damaged, but can be read, is written so that it can be read again, or refused.
#[test]
fn damaged_assets_do_no_harm() {
    let located = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/located/converted.aimodel");
    let mut files: Vec<_> = corpus::samples().iter().map(|case| case.join("model.aimodel")).collect();
    files.push(located);
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut written, mut refused) = (0, 0);
    for file in files {
        let original = std::fs::read(file.join("main.mlirb")).unwrap();
        if original.len() > 100_000 {
            continue;
        }
        for _ in 0..200 {
            let mut bytes = original.clone();
            for _ in 0..1 + random(3) {
                let at = random(bytes.len());
                bytes[at] = bytes[at].wrapping_add(1 + random(255) as u8);
            }
            let Ok(asset) = Asset::read_blocking(Arc::new(MemorySource(bytes)), None, None) else { continue };
            for locations in [Locations::Keep, Locations::Strip] {
                match write(&asset, &WriteOptions { locations, ..WriteOptions::default() }) {
                    Ok((bytes, hash)) => {
                        read(&bytes, "{\"assetVersion\":\"2.0\"}", hash).unwrap();
                        written += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        }
    }
    println!("{written} written, {refused} refused");
    assert!(written > 100 && refused > 0, "{written} written, {refused} refused");
}
