//! Differences of assets.

use std::path::Path;
use std::sync::Arc;

use coreai_asset::ElementType::{F32, SI8, UI4};
use coreai_asset::{Asset, AssetBuilder, Graph, Locations, MemorySource, Metadata, Value, WriteOptions};
use coreai_convert::compress::compress;
use coreai_convert::difference::{Difference, OperationChange, difference};
use coreai_convert::quantize::Selection;

fn path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/assets").join(name).join("model.aimodel")
}

fn sample(name: &str) -> Asset {
    Asset::open(&path(name)).expect("a sample")
}

fn again(asset: &Asset) -> Asset {
    let mut bytes = Vec::new();
    asset.write_to(&mut bytes, &WriteOptions::default(), &mut |_, _| {}).expect("is written");
    Asset::read_blocking(Arc::new(MemorySource(bytes)), None, None).expect("is read")
}

/// A function with one weight, which a matrix product uses.
fn product(weight: impl FnOnce(&mut Graph<'_>) -> Value) -> Asset {
    let mut asset = AssetBuilder::new();
    let mut g = asset.function("main");
    let x = g.input("x", F32, &[None, Some(64)]).expect("is built");
    let weight = weight(&mut g);
    let y = g.matmul(x, weight).expect("is built");
    g.output("y", y).expect("is built");
    g.finish().expect("is built");
    again(&asset.finish(Metadata::default()).expect("is built"))
}

/// `[64, 64]`, the same numbers each time, not symmetric.
fn numbers() -> Vec<f32> {
    (0..64 * 64u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5).collect()
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
        // a code, or the scale of a block of 32
        assert!((1..=32).contains(&numbers.different), "{constant:?}");
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

#[test]
fn a_compressed_weight_is_compared_after_unpacking() {
    // as the product has it, and transposed before it
    for transposed in [false, true] {
        let original = product(|g| {
            let w = g.constant(&[64, 64], &numbers()).expect("is built");
            if transposed { g.transpose(w, &[1, 0]).expect("is built") } else { w }
        });
        for (selection, low, high) in [(Selection::W8, 40.0, 60.0), (Selection::W4, 17.0, 35.0)] {
            let small = again(&compress(again(&original), &selection).expect("can be compressed").asset);
            let found = compare(&original, &small);
            let [function] = found.changed.as_slice() else { panic!("{found:?}") };
            let [weight] = function.constants.as_slice() else { panic!("{:?}", function.constants) };
            let psnr = weight.numbers.as_ref().and_then(|numbers| numbers.psnr).expect("of one shape");
            assert!(low < psnr && psnr < high, "{psnr} dB: {weight:?}");
            assert!(weight.compression_differs && weight.after_type.contains("unpacked from"), "{weight:?}");
            assert!(
                weight.used_by.as_ref().is_some_and(|op| op.contains(if transposed {
                    "transpose"
                } else {
                    "matmul"
                })),
                "{weight:?}"
            );
            // nothing but the transposition that the order of the codes asks for
            let changes: Vec<_> = function.operations.iter().map(|operation| operation.change).collect();
            assert_eq!(
                changes,
                if transposed { vec![] } else { vec![OperationChange::Added; 2] },
                "{function:?}"
            );
            assert!(function.op_counts.contains_key("primitive.blockwise_shift_scale_v2"));
            // the other way round the same is found
            let back = compare(&small, &original);
            assert_eq!(back.changed[0].constants[0].numbers.as_ref().map(|n| n.different > 4000), Some(true));
            assert!(compare(&small, &again(&small)).same_program);
        }
    }
}

#[test]
fn a_table_and_its_values_are_the_same_numbers() {
    let palette: Vec<i8> = (0..16).map(|n: i8| n.wrapping_mul(37) | 1).collect();
    let codes: Vec<u8> = (0..64 * 32u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let code = |at: usize| codes[at / 2] >> (4 * (at % 2)) & 15;
    let scale = |at: usize| 0.5 + (at / 64 * 2 + at % 64 / 32) as f32 / 64.0;
    let dense: Vec<f32> =
        (0..64 * 64).map(|at| f32::from(palette[usize::from(code(at))]) * scale(at)).collect();
    let scales: Vec<f32> = (0..128).map(|at| scale(at * 32)).collect();
    let packed = product(|g| {
        let data = g.weight(UI4, &[64, 64], Arc::new(MemorySource(codes.clone()))).expect("is built");
        let palette = g.constant(&[1, 1, 16, 1], &palette).expect("is built");
        let data = g.lut_to_dense(data, palette).expect("is built");
        let scale = g.constant(&[64, 2], &scales).expect("is built");
        let zero = g.filled(SI8, &[64, 2], 0.0).expect("is built");
        let minimum = g.filled(F32, &[64, 2], 0.0).expect("is built");
        g.blockwise_shift_scale(data, scale, zero, minimum).expect("is built")
    });
    let mut changed = dense.clone();
    changed[4095] += 2.0;
    for (values, different) in [(dense, 0), (changed, 1)] {
        let found = compare(&packed, &product(|g| g.constant(&[64, 64], &values).expect("is built")));
        let [function] = found.changed.as_slice() else { panic!("{found:?}") };
        assert_eq!(function.operations_total, 0, "{function:?}");
        let [weight] = function.constants.as_slice() else { panic!("{:?}", function.constants) };
        let numbers = weight.numbers.as_ref().expect("of one shape");
        assert_eq!((numbers.different, numbers.max_abs > 1.9), (different, different == 1), "{weight:?}");
        assert!(weight.compression_differs);
    }
}

#[test]
fn shapes_of_one_repeated_number_end_soon() {
    let filled = |value: f64| {
        let mut asset = AssetBuilder::new();
        let mut g = asset.function("main");
        let y = g.filled(F32, &[1 << 20, 1 << 20], value).expect("is built");
        g.output("y", y).expect("is built");
        g.finish().expect("is built");
        again(&asset.finish(Metadata::default()).expect("is built"))
    };
    assert!(compare(&filled(0.5), &filled(0.5)).same_program);
    let found = compare(&filled(0.5), &filled(0.25));
    let numbers = found.changed[0].constants[0].numbers.as_ref().expect("of one shape");
    assert_eq!((numbers.different, numbers.max_abs), (1 << 40, 0.25));
    assert!(numbers.psnr.is_some_and(|psnr| (psnr - 6.02).abs() < 0.01), "{numbers:?}");
}
