//! Compressed assets are valid, and their weights are what the quantizer says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coreai_asset::{
    Asset, AssetBuilder, ByteSource, ConstantRef, Declaration, DeclaredValue, ElementType, Graph,
    MemorySource, Metadata, Op, ReadFuture, TensorType, Value, WriteOptions,
};
use coreai_convert::compress::{Compressed, CompressedWeight, Outcome, compress};
use coreai_convert::quantize::{Pattern, Quantized, Scheme, Schemes, Selection, WeightClass};
use coreai_convert::{ConvertError, Rows, SharedRows};

/// `$COREAI_SHARED`, or the folder `shared` next to the repository.
fn shared(part: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("COREAI_SHARED") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let path = root.join(part);
    if !path.exists() {
        println!("skipped: {} does not exist (set COREAI_SHARED)", path.display());
        return None;
    }
    Some(path)
}

/// Written and read again; the report after that.
fn written(compressed: &Compressed) -> Asset {
    let mut bytes = Vec::new();
    let written = compressed.asset.write_to(&mut bytes, &WriteOptions::default(), &mut |_, _| {});
    written.unwrap_or_else(|error| panic!("cannot be written: {error}"));
    Asset::read_blocking(Arc::new(MemorySource(bytes)), None, None).expect("can be read")
}

/// Numbers that look like weights, the same each time.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 - 0.5
    };
    (0..count).map(|_| next() + next() + next()).collect()
}

/// Rows in memory.
struct Held {
    shape: [u64; 2],
    values: Vec<f32>,
}

impl Rows for Held {
    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn read(&self, first: u64, out: &mut [f32]) -> Result<(), ConvertError> {
        let start = (first * self.shape[1]) as usize;
        out.copy_from_slice(&self.values[start..start + out.len()]);
        Ok(())
    }
}

/// What the quantizer makes of rows.
fn quantized(values: Vec<f32>, columns: u64, scheme: Scheme) -> Vec<f32> {
    let shape = [values.len() as u64 / columns, columns];
    let mut out = vec![0.0; values.len()];
    let rows: SharedRows = Arc::new(Held { shape, values });
    Quantized::new("w", rows, scheme).expect("fits").read(0, &mut out).expect("is finite");
    out
}

fn bytes(asset: &Asset, constant: &ConstantRef) -> Vec<u8> {
    let mut future = asset.source().read(constant.range.clone());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(bytes) => bytes.expect("in range").into_owned(),
        std::task::Poll::Pending => panic!("native sources are ready"),
    }
}

/// Shapes and float values of all compressed weights of a function, in the order of the codes' tensor.
fn decoded(asset: &Asset, function: &str) -> Vec<(Vec<u64>, Vec<f32>)> {
    let function = asset.function(function).expect("is there");
    let mut constants: HashMap<_, &Op> = HashMap::new();
    let mut weights = Vec::new();
    for op in &function.body.ops {
        if op.constant().is_some() {
            constants.insert(op.results[0], op);
        }
        if &*op.name != "primitive.blockwise_shift_scale_v2" {
            continue;
        }
        let tensor = |at: usize| {
            let made = constants.get(&op.operands[at])?;
            let ty = asset.tensor_type(function.scope().ty(made.results[0])?)?;
            let shape = ty.shape.iter().map(|extent| extent.expect("static")).collect::<Vec<u64>>();
            Some((shape, ty.element, bytes(asset, made.constant()?)))
        };
        let (Some((shape, codes, data)), Some((blocks, float, scales))) = (tensor(0), tensor(1)) else {
            continue;
        };
        let code = |at: usize| match codes {
            ElementType::SI8 => f32::from(data[at] as i8),
            ElementType::SI4 => f32::from(((data[at / 2] >> (at % 2 * 4)) << 4) as i8 >> 4),
            other => panic!("{other}"),
        };
        let scale = |at: usize| match float {
            ElementType::F32 => f32::from_le_bytes(scales[at * 4..][..4].try_into().unwrap()),
            ElementType::F16 => half::f16::from_le_bytes(scales[at * 2..][..2].try_into().unwrap()).to_f32(),
            other => panic!("{other}"),
        };
        let count = shape.iter().product::<u64>() as usize;
        let value = |at: usize| {
            let (mut rest, mut block, mut stride) = (at as u64, 0, 1);
            for (extent, blocks) in shape.iter().zip(&blocks).rev() {
                block += rest % extent / (extent / blocks) * stride;
                stride *= blocks;
                rest /= extent;
            }
            code(at) * scale(block as usize)
        };
        weights.push((shape.clone(), (0..count).map(value).collect()));
    }
    weights
}

fn floats(g: &mut Graph<'_>, shape: &[u64], values: &[f32]) -> Value {
    g.constant(shape, values).expect("as many as the shape has")
}

const F32: ElementType = ElementType::F32;

fn finish(mut asset: AssetBuilder, build: impl FnOnce(&mut Graph<'_>) -> Value) -> Asset {
    let mut g = asset.function("main");
    let y = build(&mut g);
    g.output("y", y).expect("a tensor");
    g.finish().expect("a function");
    asset.finish(Metadata::default()).expect("an asset")
}

fn names(compressed: &Compressed) -> Vec<String> {
    compressed.report().weights.into_iter().map(|weight| weight.name).collect()
}

fn done(weight: &CompressedWeight) -> bool {
    matches!(weight.outcome, Outcome::Compressed { .. })
}

/// `[rows, columns]` in the other order.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

#[test]
fn linear_weights_of_both_orders() {
    let (outer, inner) = (numbers(48 * 64, 1), numbers(48 * 64, 2));
    for (selection, scheme) in [(Selection::W8, Scheme::W8), (Selection::W4, Scheme::W4)] {
        let asset = finish(AssetBuilder::new(), |g| {
            let x = g.input("x", F32, &[None, Some(64)]).unwrap();
            let w = floats(g, &[48, 64], &outer);
            let w = g.transpose(w, &[1, 0]).unwrap();
            let y = g.matmul(x, w).and_then(|y| g.tanh(y)).unwrap();
            let v = floats(g, &[48, 64], &inner);
            let y = g.matmul(y, v).unwrap();
            g.softmax(y, -1).unwrap()
        });
        let compressed = compress(asset, &selection).expect("two weights");
        assert_eq!(names(&compressed), ["main/linear_0.48x64", "main/linear_1.48x64"]);
        let new = written(&compressed);
        let weights = decoded(&new, "main");
        let scheme = scheme.with_scale(coreai_convert::quantize::ScaleFormat::F32);
        assert_eq!(weights[0], (vec![48, 64], quantized(outer.clone(), 64, scheme)));
        // 48 summed values are no blocks of 32
        let expected = quantized(transposed(&inner, 48, 64), 48, scheme.or_per_channel(48));
        assert_eq!(weights[1], (vec![64, 48], expected), "the summed axis is last");
        let report = compressed.report();
        for weight in &report.weights {
            let Outcome::Compressed { difference: Some(difference), .. } = weight.outcome else {
                panic!("{weight:?}")
            };
            assert!(difference.psnr_db > 20.0, "{weight:?}");
            assert!(weight.bytes_after * 3 < weight.bytes_before, "{weight:?}");
        }
        assert_eq!(report.totals().compressed, 2);
        assert!(serde_json::to_string(&report).expect("is JSON").contains("\"psnr_db\""));
    }
}

#[test]
fn a_tied_table_is_compressed_once() {
    let table = numbers(128 * 32, 3);
    let asset = finish(AssetBuilder::new(), |g| {
        let ids = g.input("ids", ElementType::SI32, &[None, Some(1)]).unwrap();
        let w = floats(g, &[128, 32], &table);
        let rows = TensorType { shape: vec![None, Some(32)], element: F32, encoding: None };
        let x = g.op("primitive.gather_nd_v1", &[w, ids], &[rows]).unwrap()[0];
        let back = g.transpose(w, &[1, 0]).unwrap();
        g.matmul(x, back).unwrap()
    });
    let compressed = compress(asset, &Selection::W4).expect("a weight");
    let report = compressed.report();
    assert_eq!(report.weights.len(), 1);
    assert_eq!((report.weights[0].class, report.weights[0].constants), (WeightClass::Embedding, 1));
    let new = written(&compressed);
    assert_eq!(decoded(&new, "main").len(), 1);
}

#[test]
fn functions_share_a_weight() {
    let mut asset = AssetBuilder::new();
    let content = asset.content(Arc::new(Generated(256 * 64 * 2))).unwrap();
    for name in ["prefill", "extend"] {
        let mut g = asset.function(name);
        let x = g.input("x", ElementType::F16, &[None, Some(64)]).unwrap();
        for output in ["y", "z"] {
            let w = g.shared_weight(ElementType::F16, &[256, 64], &content).unwrap();
            let w = g.transpose(w, &[1, 0]).unwrap();
            let y = g.matmul(x, w).unwrap();
            g.output(output, y).unwrap();
        }
        g.finish().unwrap();
    }
    let asset = asset.finish(Metadata::default()).unwrap();
    let compressed = compress(asset, &Selection::W8).expect("a weight");
    let report = compressed.report();
    assert_eq!(names(&compressed), ["prefill/head_0.256x64"]);
    assert_eq!((report.weights[0].constants, report.weights[0].bytes_after), (4, 256 * 64 + 256 * 2));
    let new = written(&compressed);
    assert_eq!((decoded(&new, "prefill").len(), decoded(&new, "extend").len()), (2, 2));
    let length = new.source().len();
    assert!(length < 2 * 256 * 64, "stored once: {length} bytes");
}

#[test]
fn heads_kernels_and_experts() {
    let mut asset = AssetBuilder::new();
    let kernel = numbers(32 * 16 * 9, 4);
    let experts = numbers(4 * 64 * 32, 5);
    let head = numbers(96 * 32, 6);
    let mut inner = asset.function("outer");
    let x = inner.input("x", F32, &[Some(1), Some(16), Some(8), Some(8)]).unwrap();
    let w = floats(&mut inner, &[32, 16, 3, 3], &kernel);
    let ones = inner.constant(&[2], &[1u32, 1]).unwrap();
    let one = inner.scalar(1u32).unwrap();
    let shape = [1, 32, 6, 6].map(Some).to_vec();
    let ty = TensorType { shape, element: F32, encoding: None };
    let y = inner.op("primitive.conv2d_v1", &[x, w, ones, ones, one], &[ty]).unwrap()[0];
    inner.output("y", y).unwrap();
    inner.finish().unwrap();
    let asset = finish(asset, |g| {
        let x = g.input("x", F32, &[Some(1), Some(1), Some(64)]).unwrap();
        let at = g.input("at", ElementType::UI16, &[Some(1)]).unwrap();
        let w = floats(g, &[4, 64, 32], &experts);
        let declaration = Declaration {
            name: "gather_mm",
            inputs: vec!["lhs", "rhs", "rhs_indices"],
            attrs: vec![("num_batch_axes", DeclaredValue::Integer(0))],
        };
        let name = "model.layers.0.mlp.up_proj.gather_mm_0";
        let ty = TensorType { shape: [1, 1, 32].map(Some).to_vec(), element: F32, encoding: None };
        let callee = g
            .composite(name, declaration, &[x, w, at], |g, _| g.filled(F32, &[1, 1, 32], 0.0))
            .expect("a graph");
        let y = g.invoke(&callee, &[x, w, at]).unwrap();
        assert_eq!(g.ty(y).unwrap(), &ty);
        let h = floats(g, &[32, 96], &head);
        g.matmul(y, h).unwrap()
    });
    let compressed = compress(asset, &Selection::W4).expect("three weights");
    let expected = ["outer/conv_0.32x16x3x3", "main/expert_0.mlp.up_proj.4x64x32", "main/head_0.32x96"];
    assert_eq!(names(&compressed), expected);
    let new = written(&compressed);
    let f32s = |scheme: Scheme| scheme.with_scale(coreai_convert::quantize::ScaleFormat::F32);
    let conv = quantized(kernel, 16 * 9, f32s(Scheme::W8));
    assert_eq!(decoded(&new, "outer"), [(vec![32, 16, 3, 3], conv)]);
    let main = decoded(&new, "main");
    let rows = experts.chunks(64 * 32).flat_map(|expert| transposed(expert, 64, 32)).collect();
    assert_eq!(main[0], (vec![4, 32, 64], quantized(rows, 64, f32s(Scheme::W4))));
    assert_eq!(main[1], (vec![96, 32], quantized(transposed(&head, 32, 96), 32, f32s(Scheme::W4))));
}

#[test]
fn selections_and_what_is_left() {
    let build = || {
        finish(AssetBuilder::new(), |g| {
            let x = g.input("x", F32, &[None, Some(64)]).unwrap();
            let big = floats(g, &[64, 64], &numbers(64 * 64, 7));
            let other = floats(g, &[64, 64], &numbers(64 * 64, 8));
            let small = floats(g, &[64, 8], &numbers(64 * 8, 9));
            let bias = floats(g, &[8], &numbers(8, 10));
            let y = g.matmul(x, big).and_then(|y| g.matmul(y, other)).and_then(|y| g.matmul(y, small));
            y.and_then(|y| g.add(y, bias)).unwrap()
        })
    };
    let outcomes = |selection: &Selection| -> Vec<bool> {
        compress(build(), selection).expect("weights").report().weights.iter().map(done).collect()
    };
    assert_eq!(outcomes(&Selection::W8), [true, true, false], "the small one stays, the bias is no weight");
    let pattern = |text: &str| vec![Pattern::new(text).expect("a glob")];
    let include = Selection { include: pattern("main/linear_1.*"), ..Selection::W8 };
    assert_eq!(outcomes(&include), [false, true, false]);
    let exclude = Selection { exclude: pattern("*_1.64x64"), ..Selection::W8 };
    assert_eq!(outcomes(&exclude), [true, false, false]);
    let none = Selection { schemes: Schemes { linear: None, ..Schemes::W8 }, ..Selection::W8 };
    assert_eq!(outcomes(&none), [false, false, false]);
    let report = compress(build(), &none).expect("weights").report();
    let Outcome::Left { reason } = &report.weights[0].outcome else { panic!("{report:?}") };
    assert_eq!(reason, "not selected");
    assert_eq!(report.totals().bytes_before, report.totals().bytes_after);
    // what is packed already is no float constant any more
    let once = written(&compress(build(), &Selection::W8).expect("weights"));
    let twice = compress(once, &Selection::W4).expect("an asset");
    assert!(twice.report().weights.iter().all(|weight| !done(weight)), "{:?}", twice.report());
}

/// Compresses, writes and reads an asset; the rows of the report.
fn check(path: &Path, selection: &Selection) -> Result<Vec<CompressedWeight>, String> {
    let original = Asset::open(path).map_err(|error| error.to_string())?;
    let (functions, ops) = (original.functions.len(), original.op_counts(false));
    let compressed = compress(original, selection).map_err(|error| error.to_string())?;
    let new = written(&compressed);
    let report = compressed.report();
    let count =
        |ops: &std::collections::BTreeMap<Arc<str>, usize>, name: &str| ops.get(name).copied().unwrap_or(0);
    let name = "primitive.blockwise_shift_scale_v2";
    let constants: usize = report.weights.iter().filter(|weight| done(weight)).map(|w| w.constants).sum();
    let added = count(&new.op_counts(false), name) - count(&ops, name);
    if added != constants || new.functions.len() != functions {
        return Err(format!("{constants} constants, but {added} operations were added"));
    }
    for weight in &report.weights {
        if let Outcome::Compressed { difference, .. } = &weight.outcome
            && !difference.is_some_and(|difference| difference.psnr_db > 18.0)
        {
            return Err(format!("{weight:?}"));
        }
    }
    Ok(report.weights)
}

#[test]
fn models_stay_valid() {
    let Some(root) = shared("conformance/cases") else { return };
    let mut cases: Vec<PathBuf> = std::fs::read_dir(root)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("model-")))
        .collect();
    cases.sort();
    let mut failures = Vec::new();
    for case in &cases {
        for selection in [&Selection::W8, &Selection::W4] {
            match check(&case.join("model.aimodel"), selection) {
                Err(error) => failures.push(format!("{}: {error}", case.display())),
                Ok(rows) if std::env::var_os("COREAI_LIST").is_some() => {
                    println!("{}", case.display());
                    for row in rows {
                        println!(
                            "  {} {:?} {:.2} {:?}",
                            row.name,
                            row.element,
                            row.bits_per_weight(),
                            row.outcome
                        );
                    }
                }
                Ok(_) => {}
            }
        }
    }
    println!("{} models", cases.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// float16 weights without end, the same at each place.
struct Generated(u64);

impl ByteSource for Generated {
    fn len(&self) -> u64 {
        self.0
    }

    fn read(&self, range: std::ops::Range<u64>) -> ReadFuture<'_> {
        let value = |at: u64| {
            let mixed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let parts = [mixed >> 48, mixed >> 32 & 0xffff, mixed >> 16 & 0xffff];
            let sum: f32 = parts.iter().map(|part| *part as f32 / 65536.0 - 0.5).sum();
            half::f16::from_f32(sum * 0.1).to_le_bytes()
        };
        let (first, last) = (range.start / 2, range.end.div_ceil(2));
        let bytes: Vec<u8> = (first..last).flat_map(value).collect();
        let from = (range.start - first * 2) as usize;
        let wanted = bytes[from..from + (range.end - range.start) as usize].to_vec();
        Box::pin(std::future::ready(Ok(std::borrow::Cow::Owned(wanted))))
    }
}

/// The products of SmolLM2-135M, one after the other.
fn smollm2() -> Asset {
    let mut asset = AssetBuilder::new();
    let mut g = asset.function("main");
    let ids = g.input("ids", ElementType::SI32, &[None, Some(1)]).unwrap();
    let weight = |g: &mut Graph<'_>, rows: u64, columns: u64| {
        let source = Arc::new(Generated(rows * columns * 2));
        g.weight(ElementType::F16, &[rows, columns], source).unwrap()
    };
    let table = weight(&mut g, 49152, 576);
    let row = TensorType { shape: vec![None, Some(576)], element: ElementType::F16, encoding: None };
    let mut x = g.op("primitive.gather_nd_v1", &[table, ids], &[row]).unwrap()[0];
    let times = |g: &mut Graph<'_>, x: Value, rows: u64, columns: u64| {
        let w = weight(g, rows, columns);
        let w = g.transpose(w, &[1, 0]).unwrap();
        g.matmul(x, w).unwrap()
    };
    for _ in 0..30 {
        let query = times(&mut g, x, 576, 576);
        let small = [times(&mut g, x, 192, 576), times(&mut g, x, 192, 576)];
        let small = g.mul(small[0], small[1]).unwrap();
        let out = times(&mut g, query, 576, 576);
        let sum = g.add(x, out).unwrap();
        let (gate, up) = (times(&mut g, sum, 1536, 576), times(&mut g, sum, 1536, 576));
        let down = g.mul(gate, up).map(|h| times(&mut g, h, 576, 1536)).unwrap();
        let kept = g.reduce_mean(small, &[-1]).unwrap();
        x = g.add(sum, down).and_then(|x| g.add(x, kept)).unwrap();
    }
    let back = g.transpose(table, &[1, 0]).unwrap();
    let y = g.matmul(x, back).unwrap();
    g.output("logits", y).unwrap();
    g.finish().unwrap();
    asset.finish(Metadata::default()).unwrap()
}

/// With `COREAI_KEEP=FOLDER` the float asset is written there as `smollm2-shapes.aimodel`.
#[test]
#[ignore = "is about time, so it is for optimized builds"]
fn a_model_of_the_size_of_smollm2_takes_seconds() {
    if let Some(folder) = std::env::var_os("COREAI_KEEP") {
        let path = Path::new(&folder).join("smollm2-shapes.aimodel");
        let options = WriteOptions { replace: true, ..WriteOptions::default() };
        smollm2().save(&path, &options, &mut |_, _| {}).expect("can be written");
    }
    for selection in [&Selection::W8, &Selection::W4] {
        let compressed = compress(smollm2(), selection).expect("weights");
        let start = std::time::Instant::now();
        let written =
            compressed.asset.write_to(&mut std::io::sink(), &WriteOptions::default(), &mut |_, _| {});
        written.expect("can be written");
        let seconds = start.elapsed().as_secs_f64();
        let totals = compressed.report().totals();
        println!("{seconds:.1} s, {totals:?}");
        assert_eq!(totals.compressed, 211);
        assert!(seconds < 30.0, "{seconds} s");
    }
}
