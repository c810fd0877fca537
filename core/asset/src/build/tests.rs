use super::*;
use crate::ir::ParamKind;
use crate::types::ElementType::{Bool, F16, F32, SI8, SI32};

fn text(error: BuildError) -> String {
    error.to_string()
}

#[test]
fn shapes_of_results() {
    let mut asset = AssetBuilder::new();
    let mut g = asset.function("main");
    let x = g.input("x", F16, &[Some(1), None, Some(6)]).expect("an input");
    let q = g.size(x, 1).expect("an extent");
    let heads = g.reshape(x, &[Size::Fixed(1), Size::Of(q), Size::Fixed(2), Size::Fixed(3)]).expect("fits");
    assert_eq!(g.shape(heads).expect("a tensor"), [Some(1), None, Some(2), Some(3)]);
    let heads = g.transpose(heads, &[0, 2, 1, 3]).expect("a permutation");
    assert_eq!(g.shape(heads).expect("a tensor"), [Some(1), Some(2), None, Some(3)]);
    let first = g.narrow(heads, 1, Bound::At(0), Bound::At(1)).expect("a part");
    assert_eq!(g.shape(first).expect("a tensor"), [Some(1), Some(1), None, Some(3)]);
    let scores = g.transpose(heads, &[0, 1, 3, 2]).and_then(|t| g.matmul(heads, t)).expect("a product");
    assert_eq!(g.shape(scores).expect("a tensor"), [Some(1), Some(2), None, None]);
    let mean = g.reduce_mean(heads, &[-1]).expect("a mean");
    assert_eq!(g.shape(mean).expect("a tensor"), [Some(1), Some(2), None, Some(1)]);
    let larger = g.greater(heads, mean).expect("agree");
    assert_eq!((g.element(larger).expect("a tensor"), g.shape(larger).expect("a tensor").len()), (Bool, 4));
    g.output("y", scores).expect("a tensor");
    g.finish().expect("a function");
    let asset = asset.finish(Metadata::default()).expect("an asset");
    assert_eq!(asset.feature_version, 20_260_317);
    assert!(asset.text(crate::PrintOptions::default()).contains("broadcasting_batch_matmul_v1"));
}

#[test]
fn wrong_operands_are_named() {
    let mut asset = AssetBuilder::new();
    let mut other = AssetBuilder::new();
    let foreign = other.function("main").input("x", F32, &[Some(2)]).expect("an input");
    let mut g = asset.function("main");
    let x = g.input("x", F32, &[Some(2), Some(3)]).expect("an input");
    let y = g.input("y", F32, &[Some(2)]).expect("an input");
    let n = g.input("n", SI32, &[Some(3)]).expect("an input");
    let told = text(g.add(x, y).expect_err("3 and 2"));
    assert!(
        told.contains("broadcasting_add_v1") && told.contains("[2]") && told.contains("[2, 3]"),
        "{told}"
    );
    assert!(text(g.add(x, n).expect_err("types")).contains("sint32"));
    assert!(text(g.matmul(x, x).expect_err("3 and 2")).contains("[2, 3]"));
    assert!(text(g.transpose(x, &[0, 0]).expect_err("twice")).contains("each axis"));
    assert!(text(g.reshape(x, &[Size::Fixed(4)]).expect_err("6 and 4")).contains("6 elements"));
    assert!(text(g.softmax(x, 2).expect_err("two axes")).contains("axis"));
    let short = Arc::new(crate::MemorySource(vec![0; 7]));
    assert!(text(g.weight(F32, &[2], short).expect_err("7 bytes")).contains("8 bytes"));
    assert!(matches!(g.add(foreign, y), Err(BuildError::Foreign { .. })));
    g.output("y", y).expect("a tensor");
    g.output("y", x).expect("a tensor");
    assert!(text(g.finish().expect_err("twice")).contains("used twice"));
}

#[test]
fn states_and_composites() {
    let mut asset = AssetBuilder::new();
    let mut g = asset.function("main");
    let x = g.input("x", F32, &[None]).expect("an input");
    let total = g.state("total", F32, &[None]).expect("a state");
    let declaration = Declaration {
        name: "twice",
        inputs: vec!["input"],
        attrs: vec![("zeal", DeclaredValue::Float(0.5)), ("axis", DeclaredValue::Integer(-1))],
    };
    let twice = g.composite("twice_0", declaration, &[x], |g, x| g.add(x[0], x[0])).expect("a graph");
    let old = g.read(total).expect("a tensor");
    let y = g.invoke(&twice, &[x]).and_then(|doubled| g.add(old, doubled)).expect("a sum");
    g.write(total, y).expect("its type");
    g.output("y", y).expect("a tensor");
    g.finish().expect("a function");
    let asset = asset.finish(Metadata::default()).expect("an asset");
    let main = asset.function("main").expect("is there");
    let kinds: Vec<ParamKind> = main.inputs.iter().chain(&main.outputs).map(|param| param.kind).collect();
    assert_eq!(kinds, [ParamKind::Input, ParamKind::State, ParamKind::Token, ParamKind::Output]);
    let composite = asset.function("twice_0").and_then(|f| f.composite.clone()).expect("a declaration");
    assert_eq!((composite.name.as_str(), composite.i64("axis")), ("twice", Some(-1)));
    assert_eq!(composite.f64("zeal"), Some(0.5));
}

#[test]
fn equal_constants_are_one() {
    let mut asset = AssetBuilder::new();
    let mut g = asset.function("main");
    let a = g.constant(&[2], &[1i32, 2]).expect("two");
    assert_eq!(g.constant(&[2], &[1i32, 2]).expect("two"), a);
    assert_ne!(g.constant(&[2], &[1u32, 2]).expect("two"), a);
    let zero = g.constant(&[], &[0.0f32]).expect("one");
    assert_ne!(g.constant(&[], &[-0.0f32]).expect("one"), zero, "bytes decide");
    assert!(g.constant(&[3], &[1i32]).is_err());
}

#[test]
fn parameters_of_blocks_have_the_same_extents() {
    let mut asset = AssetBuilder::new();
    let mut g = asset.function("main");
    let codes = g.constant(&[2, 4], &[1i8, 2, 3, 4, 5, 6, 7, 8]).expect("eight");
    let scale = g.filled(F32, &[2, 2], 0.5).expect("floats");
    let zeros = |g: &mut Graph<'_>, shape: &[u64]| {
        (g.filled(SI8, shape, 0.0).expect("zero"), g.filled(F32, shape, 0.0).expect("zero"))
    };
    let (zero, minimum) = zeros(&mut g, &[2, 2]);
    let (one, single) = zeros(&mut g, &[1, 1]);
    assert!(g.blockwise_shift_scale(codes, scale, zero, minimum).is_ok());
    assert!(text(g.blockwise_shift_scale(codes, scale, one, minimum).expect_err("[1, 1]")).contains("zero"));
    assert!(
        text(g.blockwise_shift_scale(codes, scale, zero, single).expect_err("[1, 1]")).contains("minimum")
    );
    let thirds = g.filled(F32, &[2, 3], 0.5).expect("floats");
    assert!(
        text(g.blockwise_shift_scale(codes, thirds, zero, minimum).expect_err("4 by 3")).contains("scale")
    );
}
