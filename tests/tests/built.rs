//! A function authored in Rust runs from memory and from its file, on both units, with the values that its
//! operations say. `tests/oracle/run_asset.py target/tmp/built.aimodel OUT --size x=3,4` records the same on Apple's
//! runtime.

use std::path::PathBuf;
use std::sync::Arc;

use coreai::gpu::GpuDevice;
use coreai::{AIModel, AIModelAsset, ComputeUnitKind, InputData, OutputWant};
use coreai_asset::ElementType::F32;
use coreai_asset::{
    Asset, AssetBuilder, Bound, BuildError, Declaration, DeclaredValue, Metadata, Size, WriteOptions,
};
use coreai_tests::runner;

/// One output for each of these; x is `[rows, 4]`.
fn build() -> Result<Asset, BuildError> {
    let mut asset = AssetBuilder::new();
    let mut g = asset.function("main");
    let x = g.input("x", F32, &[None, Some(4)])?;
    let total = g.state("total", F32, &[None, Some(4)])?;
    let half = g.scalar(0.5f32)?;
    let row = g.constant(&[4], &[1.0f32, -2.0, 0.0, 0.25])?;

    // elementwise, stretched
    let a = g.sub(x, row)?;
    let a = g.divide(a, half)?;
    let positive = g.greater(a, row)?;
    let other = g.maximum(x, row)?;
    let elementwise = g.select(positive, a, other)?;
    g.output("elementwise", elementwise)?;

    // activations
    let s = g.silu(x)?;
    let t = g.gelu(x, true)?;
    let u = g.sigmoid(x)?;
    let s = g.add(s, t)?;
    let activations = g.mul(s, u)?;
    g.output("activations", activations)?;

    // reductions
    let mean = g.reduce_mean(x, &[0, -1])?; // [1, 1]
    let largest = g.reduce_max(x, &[1])?; // [rows, 1]
    let sum = g.reduce_sum(x, &[1])?;
    let reductions = g.concat(&[largest, sum], 1)?;
    let reductions = g.add(reductions, mean)?;
    g.output("reductions", reductions)?;

    // order, parts, shapes
    let (sorted, order) = g.sort(x, -1, true)?;
    let best = g.narrow(sorted, -1, Bound::At(0), Bound::At(2))?;
    g.output("best", best)?;
    let order = g.cast(order, F32)?;
    g.output("order", order)?;
    let rows = g.size(x, 0)?;
    let pairs = g.reshape(x, &[Size::Of(rows), Size::Fixed(2), Size::Fixed(2)])?;
    let pairs = g.transpose(pairs, &[2, 0, 1])?;
    g.output("pairs", pairs)?;

    // products
    let w = g.constant(&[4, 3], &(0..12).map(|i| i as f32 / 4.0 - 1.0).collect::<Vec<_>>())?;
    let scores = g.matmul(x, w)?;
    let scores = g.softmax(scores, -1)?;
    g.output("scores", scores)?;

    // positions of the rows, computed at run time
    let (zero, end) = (g.scalar(0i32)?, g.to_scalar(rows)?);
    let positions = g.range(zero, end)?;
    let column = g.expand_dims(positions, 1)?;
    let same = g.gather_nd(x, column)?;
    let counted = g.cast(column, F32)?;
    let counted = g.add(same, counted)?;
    g.output("counted", counted)?;

    // a declared operation and a state
    let declaration = Declaration {
        name: "rms_norm",
        inputs: vec!["input", "scale"],
        attrs: vec![("axes", DeclaredValue::Integer(-1)), ("eps", DeclaredValue::Float(1e-5))],
    };
    let scale = g.constant(&[4], &[1.0f32, 2.0, 0.5, -1.0])?;
    let norm = g.composite("norm", declaration, &[x, scale], |g, arguments| {
        let squares = g.mul(arguments[0], arguments[0])?;
        let mean = g.reduce_mean(squares, &[-1])?;
        let eps = g.scalar(1e-5f32)?;
        let mean = g.add(mean, eps)?;
        let inverse = g.rsqrt(mean)?;
        let normed = g.mul(arguments[0], inverse)?;
        g.mul(normed, arguments[1])
    })?;
    let normed = g.invoke(&norm, &[x, scale])?;
    let old = g.read(total)?;
    let new = g.add(old, normed)?;
    g.write(total, new)?;
    g.output("total so far", new)?;
    g.finish()?;
    asset.finish(Metadata { asset_version: Some("2.0".into()), ..Metadata::default() })
}

const X: [[f32; 4]; 3] = [[0.5, -1.0, 2.0, 0.25], [3.0, 0.0, -2.5, 1.0], [-0.75, 1.5, 0.125, -3.0]];

/// What the operations say, row by row.
fn expected() -> Vec<Vec<f32>> {
    let row = [1.0, -2.0, 0.0, 0.25];
    let sigmoid = |v: f32| 1.0 / (1.0 + (-v).exp());
    let gelu =
        |v: f32| v / 2.0 * (1.0 + ((2.0 / std::f32::consts::PI).sqrt() * (v + 0.044715 * v * v * v)).tanh());
    let all: f32 = X.iter().flatten().sum::<f32>() / 12.0;
    let mut outputs = vec![Vec::new(); 9];
    for (index, x) in X.iter().enumerate() {
        for (v, r) in x.iter().zip(row) {
            let a = (v - r) / 0.5;
            outputs[0].push(if a > r { a } else { v.max(r) });
            outputs[1].push((v * sigmoid(*v) + gelu(*v)) * sigmoid(*v));
        }
        outputs[2].push(x.iter().copied().fold(f32::MIN, f32::max) + all);
        outputs[2].push(x.iter().sum::<f32>() + all);
        let mut order: Vec<usize> = (0..4).collect();
        order.sort_by(|a, b| x[*b].total_cmp(&x[*a]));
        outputs[3].extend(order[..2].iter().map(|i| x[*i]));
        outputs[4].extend(order.iter().map(|i| *i as f32));
        let scores: Vec<f32> = (0..3)
            .map(|j| (0..4).map(|i| x[i] * ((i * 3 + j) as f32 / 4.0 - 1.0)).sum::<f32>().exp())
            .collect();
        let sum: f32 = scores.iter().sum();
        outputs[6].extend(scores.iter().map(|score| score / sum));
        outputs[7].extend(x.iter().map(|v| v + index as f32));
        let inverse = (x.iter().map(|v| v * v).sum::<f32>() / 4.0 + 1e-5).sqrt().recip();
        // the state has held 1 everywhere
        outputs[8].extend(x.iter().zip([1.0, 2.0, 0.5, -1.0]).map(|(v, s)| 1.0 + v * inverse * s));
    }
    for column in 0..2 {
        outputs[5].extend(X.iter().flat_map(|x| [x[column], x[2 + column]]));
    }
    outputs
}

fn check(asset: Arc<AIModelAsset>, device: Option<Arc<GpuDevice>>) {
    let unit = if device.is_some() { ComputeUnitKind::Gpu } else { ComputeUnitKind::Cpu };
    let options = runner::options(unit);
    let model =
        pollster::block_on(AIModel::specialize_on(asset, options, device, &mut |_| {})).expect("plans");
    let mut session = model.session_blocking("main", &[("total", &[3, 4])]).expect("a session");
    session
        .write_state("total", &coreai::NDArray::from_f32(&[3, 4], &[1.0; 12]).expect("twelve"))
        .expect("fits");
    let x: Vec<f32> = X.concat();
    let at = session.input_index("x").expect("an input");
    session.set_input(at, &[3, 4], InputData::F32(&x)).expect("fits");
    let expected = expected();
    let wants: Vec<OutputWant> = (0..expected.len()).map(OutputWant::all).collect();
    session.run_blocking(&wants).expect("runs");
    for (output, expected) in expected.iter().enumerate() {
        let found: Vec<f32> = session.output_f32(output).to_vec();
        assert_eq!(found.len(), expected.len(), "{unit:?} output {output}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 2e-5,
                "{unit:?} output {output}: {found}, expected {expected}"
            );
        }
    }
}

#[test]
fn authored_functions_compute_what_they_say() {
    let built = build().unwrap_or_else(|error| panic!("{error}"));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("built.aimodel");
    let options = WriteOptions { replace: true, ..WriteOptions::default() };
    built.save(&folder, &options, &mut |_, _| {}).expect("can be written");
    let device = runner::device(&runner::options(ComputeUnitKind::Gpu));
    let written = AIModelAsset::open(&folder).expect("can be read");
    assert_eq!(
        written.asset.function("main").expect("is there").outputs.len(),
        10,
        "nine outputs and a token"
    );
    for asset in [AIModelAsset::new(built), written] {
        check(asset.clone(), None);
        if device.is_some() {
            check(asset, device.clone());
        }
    }
}

/// `gather_mm` with a single expert: every token's product with the one matrix.
#[test]
fn one_expert_is_a_product() {
    let build = || -> Result<Asset, BuildError> {
        let mut asset = AssetBuilder::new();
        let mut g = asset.function("main");
        let x = g.input("x", F32, &[None, Some(1), Some(1), Some(4)])?;
        let tokens = g.size(x, 0)?;
        let matrix: Vec<f32> = (0..12).map(|i| i as f32 / 4.0 - 1.0).collect();
        let weight = g.constant(&[1, 1, 4, 3], &matrix)?;
        let zero = g.constant(&[1, 1], &[0i32])?;
        let indices = g.broadcast_to(zero, &[Size::Of(tokens), Size::Fixed(1)])?;
        let declaration = Declaration {
            name: "gather_mm",
            inputs: vec!["lhs", "rhs", "rhs_indices"],
            attrs: vec![("num_batch_axes", DeclaredValue::Integer(1))],
        };
        let product = g.composite("expert", declaration, &[x, weight, indices], |g, arguments| {
            let matrices = g.shrink_dims(arguments[1], 0)?;
            let index = g.expand_dims(arguments[2], 2)?;
            let chosen = g.gather_nd(matrices, index)?;
            let y = g.matmul(arguments[0], chosen)?;
            g.expand_dims(y, 0)
        })?;
        let y = g.invoke(&product, &[x, weight, indices])?;
        g.output("y", y)?;
        g.finish()?;
        asset.finish(Metadata::default())
    };
    let asset = AIModelAsset::new(build().unwrap_or_else(|error| panic!("{error}")));
    let device = runner::device(&runner::options(ComputeUnitKind::Gpu));
    for device in [None, device.clone()] {
        let unit = if device.is_some() { ComputeUnitKind::Gpu } else { ComputeUnitKind::Cpu };
        let options = runner::options(unit);
        let model = pollster::block_on(AIModel::specialize_on(asset.clone(), options, device, &mut |_| {}));
        let mut session = model.expect("plans").session_blocking("main", &[]).expect("a session");
        session.set_input(0, &[3, 1, 1, 4], InputData::F32(&X.concat())).expect("fits");
        session.run_blocking(&[OutputWant::all(0)]).expect("runs");
        let found = session.output_f32(0).to_vec();
        for (row, x) in X.iter().enumerate() {
            for column in 0..3 {
                let expected: f32 = (0..4).map(|i| x[i] * ((i * 3 + column) as f32 / 4.0 - 1.0)).sum();
                assert!((found[row * 3 + column] - expected).abs() < 1e-5, "{unit:?} {found:?}");
            }
        }
    }
}
