//! Differences of assets.

use std::path::Path;
use std::sync::Arc;

use coreai_asset::{Asset, Locations, MemorySource, WriteOptions};
use coreai_convert::difference::{Difference, difference};

fn path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/assets").join(name).join("model.aimodel")
}

fn sample(name: &str) -> Asset {
    Asset::open(&path(name)).expect("a sample")
}

fn compare(before: &Asset, after: &Asset) -> Difference {
    let mut last = (0, 0);
    let found = difference(before, after, &mut |done, total| last = (done, total)).expect("can be compared");
    assert!(last.0 <= last.1, "{last:?}");
    found
}

const DECODER: &str = "model-decoder-qwen3-int4-block32-c9b115eb85e0d0";

#[test]
fn an_asset_does_not_differ_from_what_is_written_of_it() {
    for name in [DECODER, "bf16-decoder", "conv1d-sparse-int8-f16", "staged-if-in-while", "fn-two-mul-u8"] {
        let asset = sample(name);
        let mut bytes = Vec::new();
        let options = WriteOptions { locations: Locations::Strip, ..WriteOptions::default() };
        asset.write_to(&mut bytes, &options, &mut |_, _| {}).expect("is written");
        let again = Asset::read_blocking(Arc::new(MemorySource(bytes)), None, None).expect("is read");
        let found = compare(&asset, &again);
        assert!(found.same_program, "{name}: {found:?}");
        assert_eq!(found.same.len(), asset.functions.len());
    }
}

#[test]
fn one_weight_that_changes_is_found() {
    let asset = sample(DECODER);
    let main = asset.function("main").expect("has it");
    let resource = main.body.ops.iter().filter_map(|op| op.constant()).find(|c| c.resource.is_some());
    let range = resource.expect("has a resource").range.clone();
    let mut bytes = std::fs::read(path(DECODER).join("main.mlirb")).expect("a file");
    bytes[range.start as usize] ^= 0x01;
    let changed = Asset::read_blocking(Arc::new(MemorySource(bytes)), None, None).expect("is read");
    let found = compare(&asset, &changed);
    assert!(!found.same_program);
    let [function] = found.changed.as_slice() else { panic!("{found:?}") };
    assert_eq!(function.operations_total, 0);
    assert!(function.op_counts.is_empty() && function.signature.is_none());
    // equal weights share a resource, so several constants may change
    for constant in &function.constants {
        let numbers = constant.numbers.as_ref().expect("same shape");
        assert_eq!(numbers.different, 1, "{constant:?}");
        assert!(numbers.max_abs > 0.0 && numbers.psnr.is_some_and(|psnr| psnr > 0.0), "{constant:?}");
        assert!(!constant.compression_differs);
    }
    assert!(!function.constants.is_empty() && function.constants_equal > 0);
}

#[test]
fn programs_that_differ() {
    let found = compare(&sample("staged-if-in-while"), &sample("staged-if-with-state"));
    assert!(!found.same_program && found.added.is_empty() && found.removed.is_empty());
    let [function] = found.changed.as_slice() else { panic!("{found:?}") };
    assert!(function.signature.is_some() && function.operations_total > 0 && !function.op_counts.is_empty());
    assert!(!found.metadata.contains_key("assetVersion"));
    let json = serde_json::to_value(&found).expect("is data");
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["same_program"], false);
}

#[test]
fn functions_that_come_and_go() {
    let (one, two) = (sample(DECODER), sample("fn-two-mul-u8"));
    let found = compare(&one, &two);
    assert!(!found.removed.is_empty());
    let back = compare(&two, &one);
    assert_eq!((found.added, found.removed), (back.removed, back.added));
}
