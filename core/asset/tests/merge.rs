//! Several assets in one file, and assets without debug locations.

mod corpus;

use std::path::Path;
use std::sync::Arc;

use coreai_asset::{Asset, Locations, MemorySource, WriteOptions, merge};

/// Assets that Apple's tools wrote with locations: one from text, one from PyTorch.
fn located(name: &str) -> Asset {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/located").join(name);
    Asset::open(&path).expect("a test asset")
}

fn sample(name: &str) -> Asset {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/assets").join(name);
    Asset::open(&path.join("model.aimodel")).expect("a sample")
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_stripped_asset_holds_no_path() {
    let text = ["/Users/me/a.py", "/Users/me/b.py", "/Users/me/c.py", "/Users/me/meta", "Users", ".py"];
    stripped("model.aimodel", &text);
    stripped("converted.aimodel", &["/Users/me/model.py", "model.py", "Users", "Scaled$1", ".py"]);
}

fn stripped(name: &str, texts: &[&str]) {
    let asset = located(name);
    let ops = &asset.functions[0].body.ops;
    let files: Vec<_> = ops.iter().filter_map(|op| asset.location(op.location)).map(|at| at.file).collect();
    assert!(files.iter().any(|file| file.starts_with("/Users/me")), "{files:?}");
    for (locations, found) in [(Locations::Keep, true), (Locations::Strip, false)] {
        let options = WriteOptions { locations, ..WriteOptions::default() };
        let mut bytes = Vec::new();
        asset.write_to(&mut bytes, &options, &mut |_, _| {}).expect("is written");
        for text in texts {
            assert_eq!(contains(&bytes, text), found, "{text} {locations:?}");
        }
        let again = Asset::read_blocking(Arc::new(MemorySource(bytes)), None, None).expect("is read");
        let ids = |asset: &Asset| -> Vec<Option<u64>> {
            let ops = &asset.functions[0].body.ops;
            ops.iter().map(|op| asset.location(op.location).and_then(|at| at.op_id)).collect()
        };
        assert_eq!(ids(&again), ids(&asset), "ids of operations stay");
        assert!(ids(&again).iter().all(Option::is_some));
    }
}

fn merged(inputs: &[(&Asset, Vec<(String, String)>)]) -> Asset {
    let merged = merge(inputs).expect("can be merged");
    let mut bytes = Vec::new();
    merged.write_to(&mut bytes, &WriteOptions::default(), &mut |_, _| {}).expect("is written");
    let metadata = merged.metadata.to_json();
    Asset::read_blocking(Arc::new(MemorySource(bytes)), Some(metadata.as_bytes()), None).expect("is read")
}

fn pair(old: &str, new: &str) -> (String, String) {
    (old.into(), new.into())
}

#[test]
fn equal_weights_are_stored_once() {
    let one = sample("bf16-decoder");
    let length = |asset: &Asset| asset.source().len();
    let two = [(&one, vec![]), (&one, vec![pair("main", "second")])];
    let both = merged(&two);
    let names: Vec<_> = both.entry_points().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["main", "second"]);
    assert!(length(&both) * 4 < length(&one) * 7, "{} of {}", length(&both), length(&one));
    let resources = |asset: &Asset| -> Vec<u32> {
        let mut list: Vec<_> = asset
            .functions
            .iter()
            .flat_map(|f| &f.body.ops)
            .filter_map(|op| op.constant().and_then(|constant| constant.resource))
            .collect();
        list.sort_unstable();
        list.dedup();
        list
    };
    assert!(!resources(&one).is_empty());
    assert!(resources(&both).len() <= resources(&one).len());
    assert!(merge(&two).expect("can be merged").shared_bytes > 0);
    // every call finds its own callee, and the callees have names of their own
    assert!(both.warnings.is_empty(), "{:?}", both.warnings);
    assert_eq!(both.functions.len(), 2 * one.functions.len());
    let about = &both.metadata.creator_defined["mergedAssets"];
    assert_eq!(about[1]["functions"]["main"], "second");
}

#[test]
fn functions_of_different_assets() {
    let (one, two) = (sample("fn-two-mul-u8"), sample("state-shift-f16"));
    let both = merged(&[(&one, vec![]), (&two, vec![pair("main", "shift")])]);
    let count = one.functions.len() + two.functions.len();
    assert_eq!(both.functions.len(), count);
    assert_eq!(both.feature_version, one.feature_version.max(two.feature_version));
    let shift = both.function("shift").expect("was renamed");
    assert_eq!(shift.body.ops.len(), two.function("main").expect("has it").body.ops.len());
}

#[test]
fn namespaces_of_callees_get_new_names() {
    let one = sample("model-decoder-qwen3-int4-block32-c9b115eb85e0d0");
    let both = merged(&[(&one, vec![]), (&one, vec![pair("main", "second")])]);
    assert!(one.functions.iter().any(|function| function.private), "has callees");
    assert!(both.warnings.is_empty(), "{:?}", both.warnings);
    assert_eq!(both.functions.len(), 2 * one.functions.len());
}

#[test]
fn names_that_collide() {
    let one = sample("state-shift-f16");
    let code = |inputs: &[(&Asset, Vec<(String, String)>)], reason: &str| {
        let error = merge(inputs).err().expect(reason);
        assert_eq!(error.code(), "asset.invalid_function", "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    };
    code(&[(&one, vec![]), (&one, vec![])], "of asset 1 and of asset 2");
    code(&[(&one, vec![pair("nope", "x")])], "no such function");
    code(&[(&one, vec![pair("main", "")])], "empty name");
    code(&[(&one, vec![pair("main", "a"), pair("main", "b")])], "two new names");
    assert_eq!(merge(&[]).err().expect("nothing").code(), "asset.unwritable");
}
