use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::build::{AssetBuilder, Graph, Value};
use crate::ir::{ConstantRef, Op, ValueId};
use crate::metadata::Metadata;
use crate::print::PrintOptions;
use crate::source::{MemorySource, ready};
use crate::types::ElementType::{F16, F32, SI8};
use crate::types::TensorType;
use crate::write::WriteOptions;

fn sample(name: &str) -> Asset {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/assets").join(name);
    Asset::open(&path.join("model.aimodel")).expect("a sample of the repository")
}

fn constants(asset: &Asset, function: usize) -> Vec<(ValueId, ConstantRef, TensorType)> {
    let function = &asset.functions[function];
    let found = |op: &Op| {
        let ty = asset.tensor_type(function.scope().ty(*op.results.first()?)?)?;
        Some((op.results[0], op.constant()?.clone(), ty.clone()))
    };
    function.body.ops.iter().filter_map(found).collect()
}

/// `0.5 · code` of a constant of zeros.
fn halves(g: &mut Graph<'_>, ty: &TensorType) -> Result<Value, BuildError> {
    let shape: Vec<u64> = ty.shape.iter().map(|extent| extent.expect("constants are static")).collect();
    let ones = vec![1; shape.len()];
    let count = shape.iter().product::<u64>();
    let codes = g.weight(SI8, &shape, Arc::new(MemorySource(vec![0; count as usize])))?;
    let scale = g.filled(ty.element, &ones, 0.5)?;
    let (zero, minimum) = (g.filled(SI8, &ones, 0.0)?, g.filled(ty.element, &ones, 0.0)?);
    g.blockwise_shift_scale(codes, scale, zero, minimum)
}

/// Written and read again.
fn again(asset: &Asset) -> Asset {
    let mut bytes = Vec::new();
    asset.write_to(&mut bytes, &WriteOptions::default(), &mut |_, _| {}).expect("can be written");
    Asset::read_blocking(Arc::new(MemorySource(bytes)), None, None).expect("can be read")
}

#[test]
fn large_constants_of_samples_are_replaced() {
    for name in ["hf-convnext-v2-f16", "bf16-decoder", "conv1d-int4-block-f16", "staged-if-in-while", "loops"]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/assets").join(name);
        if !path.join("model.aimodel").exists() {
            continue;
        }
        let original = sample(name);
        let mut editor = Editor::new(sample(name)).expect("few resources");
        let mut count = 0;
        for function in 0..original.functions.len() {
            let mut patch = editor.open(function).expect("is there");
            for (value, constant, ty) in constants(&original, function) {
                let float = matches!(ty.element, F16 | F32);
                if float && !constant.splat && ty.elements() > Some(1) {
                    patch.replace(value, |g| halves(g, &ty)).expect("of the same type");
                    count += 1;
                }
            }
            patch.finish().expect("defined before used");
        }
        let edited = editor.finish().expect("an asset");
        let new = again(&edited);
        assert_eq!(new.functions.len(), original.functions.len(), "{name}");
        for (old, new) in original.functions.iter().zip(&new.functions) {
            assert_eq!((&old.name, &old.composite), (&new.name, &new.composite));
        }
        let ops = |asset: &Asset| asset.op_counts(true).values().sum::<usize>();
        assert!(ops(&new) >= ops(&original) + count, "{name}: {count}");
        let options = PrintOptions::default();
        let text = |asset: &Asset| asset.text(options).lines().skip(1).collect::<Vec<_>>().join("\n");
        assert_eq!(text(&edited), text(&new), "{name}: in memory as in the file");
    }
}

fn product() -> (Asset, ValueId) {
    let mut asset = AssetBuilder::new();
    let mut g = asset.function("main");
    let x = g.input("x", F32, &[None, Some(2)]).expect("an input");
    let w = g.constant(&[2, 2], &[1.0f32, 2.0, 3.0, 4.0]).expect("four");
    let b = g.constant(&[2], &[5.0f32, 6.0]).expect("two");
    let y = g.matmul(x, w).and_then(|y| g.add(y, b)).and_then(|y| g.matmul(y, w)).expect("a product");
    g.output("y", y).expect("a tensor");
    g.finish().expect("a function");
    let asset = asset.finish(Metadata::default()).expect("an asset");
    let id = constants(&asset, 0)[0].0;
    (asset, id)
}

#[test]
fn a_constant_is_replaced_everywhere() {
    let (asset, id) = product();
    let ty = constants(&asset, 0)[0].2.clone();
    let mut editor = Editor::new(asset).expect("few");
    let mut patch = editor.open(0).expect("is there");
    patch.replace(id, |g| halves(g, &ty)).expect("of its type");
    patch.finish().expect("is valid");
    let edited = editor.finish().expect("an asset");
    let text = edited.text(PrintOptions::default());
    assert!(!text.contains("[1, 2, 3, 4]"), "the old one is gone: {text}");
    assert!(text.contains("[5, 6]"), "the other one stays: {text}");
    let ops = &edited.functions[0].body.ops;
    let at = |name: &str| ops.iter().position(|op| op.name.contains(name)).expect("is there");
    assert_eq!(at("blockwise_shift_scale") + 1, at("batch_matmul"), "right before the first use");
    let made = ops[at("blockwise_shift_scale")].results[0];
    let uses = ops.iter().filter(|op| op.operands.contains(&made)).count();
    assert_eq!(uses, 2);
    // the old bytes stay where they were
    let (_, bias, _) = constants(&edited, 0).into_iter().find(|c| c.2.shape == [Some(2)]).expect("the bias");
    let bytes = ready(edited.source().read(bias.range)).expect("in range").into_owned();
    assert_eq!(bytes, [5.0f32.to_le_bytes(), 6.0f32.to_le_bytes()].concat());
    again(&edited);
}

#[test]
fn wrong_edits_are_refused() {
    let (asset, id) = product();
    let ty = constants(&asset, 0)[0].2.clone();
    let before = asset.text(PrintOptions::default());
    let mut editor = Editor::new(asset).expect("few");
    assert!(editor.open(1).is_err());
    let mut patch = editor.open(0).expect("is there");
    assert!(patch.replace(ValueId(0), |g| halves(g, &ty)).is_err(), "an argument");
    let other = TensorType { shape: vec![Some(4)], ..ty.clone() };
    assert!(patch.replace(id, |g| halves(g, &other)).is_err(), "another shape");
    assert!(patch.replace(id, |g| halves(g, &ty)).is_err(), "after a failure");
    drop(patch);
    assert_eq!(editor.finish().expect("an asset").text(PrintOptions::default()), before, "nothing was done");
}
