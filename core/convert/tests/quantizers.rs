//! Linear compression against coreai-opt's (`tests/oracle/quantizers.py`), and against its own promises.

use std::collections::BTreeMap;
use std::sync::Arc;

use coreai_convert::quantize::{Fit, Flattened, Granularity, Quantized, ScaleFormat, Scheme, Width};
use coreai_convert::{CodeType, ConvertError, PackedRows, Rows, SharedRows};
use half::{bf16, f16};

/// A tensor in memory.
struct Held {
    shape: Vec<u64>,
    values: Vec<f32>,
}

impl Rows for Held {
    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn read(&self, first: u64, out: &mut [f32]) -> Result<(), ConvertError> {
        let start = first as usize * self.columns() as usize;
        out.copy_from_slice(&self.values[start..start + out.len()]);
        Ok(())
    }
}

fn held(shape: &[u64], values: Vec<f32>) -> SharedRows {
    assert_eq!(shape.iter().product::<u64>(), values.len() as u64);
    Arc::new(Held { shape: shape.to_vec(), values })
}

/// Numbers between −1 and 1 that repeat with the seed.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next() * next()).collect()
}

fn packed(quantized: &Quantized) -> PackedRows {
    let mut rows = PackedRows::default();
    quantized.read_packed(0, quantized.rows(), &mut rows).unwrap();
    rows
}

fn mse(weights: &[f32], rows: &PackedRows) -> f64 {
    let group = weights.len() / rows.scales.len();
    let value = |i: usize| f64::from(rows.codes[i].cast_signed()) * f64::from(rows.scales[i / group]);
    let squares = weights.iter().enumerate().map(|(i, w)| (f64::from(*w) - value(i)).powi(2));
    squares.sum::<f64>() / weights.len() as f64
}

/// What coreai-opt made of some weights.
struct Recorded {
    bytes: Vec<u8>,
    header: BTreeMap<String, serde_json::Value>,
    data: usize,
}

impl Recorded {
    fn open() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/quantizers.safetensors");
        let bytes = std::fs::read(path).unwrap();
        let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = serde_json::from_slice(&bytes[8..data]).unwrap();
        Self { bytes, header, data }
    }

    fn weights(&self) -> Vec<&str> {
        let derived =
            |name: &str| name == "__metadata__" || name.ends_with(".codes") || name.ends_with(".scales");
        self.header.keys().map(String::as_str).filter(|name| !derived(name)).collect()
    }

    fn bytes(&self, name: &str) -> (&str, &[u8]) {
        let entry = &self.header[name];
        let offset = |i: usize| self.data + entry["data_offsets"][i].as_u64().unwrap() as usize;
        (entry["dtype"].as_str().unwrap(), &self.bytes[offset(0)..offset(1)])
    }

    fn floats(&self, name: &str) -> (ScaleFormat, Vec<f32>) {
        let (dtype, bytes) = self.bytes(name);
        let halves = || bytes.as_chunks::<2>().0.iter().copied();
        match dtype {
            "F16" => (ScaleFormat::F16, halves().map(|b| f16::from_le_bytes(b).to_f32()).collect()),
            "BF16" => (ScaleFormat::BF16, halves().map(|b| bf16::from_le_bytes(b).to_f32()).collect()),
            _ => {
                (ScaleFormat::F32, bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
            }
        }
    }

    fn weight(&self, name: &str) -> (ScaleFormat, SharedRows, Vec<f32>) {
        let (format, values) = self.floats(name);
        let extents = self.header[name]["shape"].as_array().unwrap();
        let shape: Vec<u64> = extents.iter().map(|extent| extent.as_u64().unwrap()).collect();
        (format, held(&shape, values.clone()), values)
    }

    fn mse(&self, name: &str, scheme: &str) -> f64 {
        self.header["__metadata__"][format!("{name}.{scheme}.mse")].as_str().unwrap().parse().unwrap()
    }
}

const RECORDED: [(&str, Scheme); 4] =
    [("w8", Scheme::W8), ("8bit", Scheme::W8), ("w4_per_block", Scheme::W4), ("4bit", Scheme::W4)];

#[test]
fn the_plain_form_is_coreai_opts() {
    let recorded = Recorded::open();
    assert_eq!(recorded.weights().len(), 14);
    for name in recorded.weights() {
        let (format, rows, values) = recorded.weight(name);
        for (label, scheme) in [RECORDED[1], RECORDED[3]] {
            let scheme = Scheme { fit: Fit::Maximum, ..scheme.with_scale(format) };
            let ours = packed(&Quantized::new(name, rows.clone(), scheme).unwrap());
            assert_eq!(ours.codes, recorded.bytes(&format!("{name}.{label}.codes")).1, "{name} {label}");
            let scales = recorded.floats(&format!("{name}.{label}.scales")).1;
            let groups = values.chunks_exact(values.len() / scales.len());
            for ((ours, theirs), group) in ours.scales.iter().zip(&scales).zip(groups) {
                let zeros = group.iter().all(|value| *value == 0.0);
                // the one difference: theirs is subnormal in float16
                assert_eq!(*ours, if zeros { 0.5f32.powi(14) } else { *theirs }, "{name} {label}");
            }
            let (ours, theirs) = (mse(&values, &ours), recorded.mse(name, label));
            assert!((ours / theirs - 1.0).abs() < 1e-9, "{name} {label}: {ours:e}, theirs {theirs:e}");
        }
    }
}

#[test]
fn no_worse_than_coreai_opt() {
    let recorded = Recorded::open();
    for name in recorded.weights() {
        let (format, rows, values) = recorded.weight(name);
        for (label, scheme) in RECORDED {
            let quantized = Quantized::new(name, rows.clone(), scheme.with_scale(format)).unwrap();
            let ours = mse(&values, &packed(&quantized));
            let theirs = recorded.mse(name, label);
            println!("{name} {label}: {:.3} of {theirs:.3e}", ours / theirs);
            // the issue allows 2 % more; the search gives less or the same
            assert!(ours <= theirs * (1.0 + 1e-5), "{name} {label}: {ours:e}, theirs {theirs:e}");
            let measured = quantized.measure().unwrap(); // products with float32 scales are rounded there
            assert!((measured.mse - ours).abs() <= ours * 1e-5, "{name} {label}: {measured:?}");
        }
        let searched =
            mse(&values, &packed(&Quantized::new(name, rows, Scheme::W4.with_scale(format)).unwrap()));
        let gain = searched / recorded.mse(name, "4bit");
        let natural = name.starts_with("normal") || name.ends_with(".weight");
        assert!(!natural || gain < 0.85, "{name}: {gain}");
    }
}

#[test]
fn every_group_is_no_worse_than_plain() {
    let schemes = [Scheme::W4, Scheme::W8, Scheme::W8.with_scale(ScaleFormat::BF16)];
    for (seed, scheme) in schemes.into_iter().enumerate() {
        for columns in [32, 96, 160] {
            let values = noise(40 * columns, seed as u32 + 1);
            let rows = held(&[40, columns as u64], values.clone());
            let searched = packed(&Quantized::new("w", rows.clone(), scheme).unwrap());
            let plain = Scheme { fit: Fit::Maximum, ..scheme };
            let plain = packed(&Quantized::new("w", rows, plain).unwrap());
            let group = values.len() / plain.scales.len();
            let part = |of: &PackedRows, i: usize| PackedRows {
                codes: of.codes[i * group..][..group].to_vec(),
                scales: vec![of.scales[i]],
                ..PackedRows::default()
            };
            for (i, weights) in values.chunks_exact(group).enumerate() {
                let (ours, plain) = (mse(weights, &part(&searched, i)), mse(weights, &part(&plain, i)));
                assert!(
                    ours <= plain,
                    "{scheme:?}, {columns} columns, group {i}: {ours:e} against {plain:e}"
                );
            }
        }
    }
}

#[test]
fn rows_do_not_depend_on_the_range() {
    let (rows, columns) = (300u64, 512u64); // more than one chunk
    let values = noise(153_600, 9);
    for scheme in [Scheme::W4, Scheme::W8] {
        let quantized = Quantized::new("w", held(&[3, 100, columns], values.clone()), scheme).unwrap();
        let packing = quantized.packing().unwrap();
        let (code, block) = if scheme == Scheme::W4 { (CodeType::SI4, 32) } else { (CodeType::SI8, columns) };
        assert_eq!((packing.codes, packing.block, packing.zero, packing.minimum), (code, block, 0, false));
        let whole = packed(&quantized);
        assert_eq!(quantized.tally().count, 153_600);
        assert_eq!((whole.codes.len(), whole.scales.len()), (153_600, (rows * columns / block) as usize));
        let mut read = vec![0f32; values.len()];
        quantized.read(0, &mut read).unwrap();
        for (i, value) in read.iter().enumerate() {
            let scale = whole.scales[i / block as usize];
            assert_eq!(scale, f16::from_f32(scale).to_f32());
            assert_eq!(*value, f32::from(whole.codes[i].cast_signed()) * scale);
        }
        for (first, count) in [(0, 1), (299, 1), (17, 203), (300, 0)] {
            let mut part = PackedRows { minimums: vec![1.0], ..PackedRows::default() };
            quantized.read_packed(first, count, &mut part).unwrap();
            let range = |per_row: u64| (first * per_row) as usize..((first + count) * per_row) as usize;
            assert_eq!(part.codes, whole.codes[range(columns)]);
            assert_eq!(part.scales, whole.scales[range(columns / block)]);
            assert!(part.minimums.is_empty());
        }
        assert_eq!(quantized.measure().unwrap().max_abs, {
            let errors = values.iter().zip(&read).map(|(a, b)| (a - b).abs());
            errors.fold(0.0, f32::max)
        });
    }
}

#[test]
fn codes_stay_in_range_and_zeros_are_zeros() {
    let mut values = noise(64 * 64, 5);
    values[..64].fill(0.0);
    values[128..160].fill(-0.0);
    let rows = held(&[64, 64], values);
    for fit in [Fit::Maximum, Fit::LeastError] {
        let four = packed(&Quantized::new("w", rows.clone(), Scheme { fit, ..Scheme::W4 }).unwrap());
        let least = four.codes.iter().map(|code| code.cast_signed()).min();
        let most = four.codes.iter().map(|code| code.cast_signed()).max();
        assert_eq!((least, most), (Some(if fit == Fit::Maximum { -7 } else { -8 }), Some(7)));
        for zeros in [0, 1, 4] {
            assert!(four.codes[zeros * 32..][..32].iter().all(|code| *code == 0));
            assert!(four.scales[zeros] > 0.0 && f16::from_f32(four.scales[zeros]).is_normal());
        }
        assert!(four.scales.iter().all(|scale| *scale > 0.0 && scale.is_finite()));
    }
}

#[test]
fn extremes_of_float32() {
    let f32_scales = Scheme::W4.with_scale(ScaleFormat::F32);
    for magnitude in [f32::MAX, 1e30, 1e-30, f32::MIN_POSITIVE, 1e-45] {
        let values: Vec<f32> = noise(32, 3).iter().map(|value| value.signum() * magnitude).collect();
        let quantized = Quantized::new("w", held(&[1, 32], values.clone()), f32_scales).unwrap();
        let rows = packed(&quantized);
        assert!(rows.scales[0] > 0.0 && rows.scales[0].is_finite(), "{magnitude:e}: {:?}", rows.scales);
        let mut read = vec![0f32; 32];
        quantized.read(0, &mut read).unwrap();
        for (value, weight) in read.iter().zip(&values) {
            // half of the least scale, 2⁻²³, for the small ones
            assert!((value - weight).abs() <= magnitude * 1e-6 + 6e-8, "{value:e}, not {weight:e}");
        }
    }
}

fn fails(result: Result<impl Sized, ConvertError>, words: &[&str]) {
    let error = result.err().expect("an error");
    assert_eq!(error.code(), "convert.tensor");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} in {error}");
    }
}

#[test]
fn refusals_name_the_tensor() {
    let uneven = held(&[2, 48], vec![1.0; 96]);
    fails(Quantized::new("mlp.up", uneven.clone(), Scheme::W4), &["mlp.up", "48", "Block(32)", "int8"]);
    assert!(Quantized::new("mlp.up", uneven.clone(), Scheme::W4.or_per_channel(48)).is_ok());
    let nothing = Scheme { granularity: Granularity::Block(0), ..Scheme::W4 };
    fails(Quantized::new("w", uneven, nothing), &["Block(0)"]);
    fails(Quantized::new("w", held(&[3, 0], Vec::new()), Scheme::W8), &["0 columns"]);

    for (value, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        for scheme in [Scheme::W4, Scheme::W8] {
            let mut values = vec![0.5; 70 * 64];
            values[66 * 64 + 35] = value;
            let quantized = Quantized::new("mlp.up", held(&[70, 64], values), scheme).unwrap();
            let mut rows = PackedRows::default();
            quantized.read_packed(0, 66, &mut rows).unwrap();
            fails(quantized.read_packed(0, 70, &mut rows), &["mlp.up", text, "row 66", "column 35"]);
            fails(quantized.read(60, &mut [0.0; 640]), &["row 66"]);
        }
    }

    let large = held(&[1, 32], vec![1e6; 32]);
    fails(packed_result("w", &large, Scheme::W4), &["1e6", "float16", "bfloat16"]);
    assert!(packed_result("w", &large, Scheme::W4.with_scale(ScaleFormat::BF16)).is_ok());

    let quantized = Quantized::new("w", held(&[2, 32], vec![1.0; 64]), Scheme::W4).unwrap();
    let mut rows = PackedRows::default();
    for (first, count) in [(0, 3), (2, 1), (u64::MAX, 2), (1, u64::MAX)] {
        fails(quantized.read_packed(first, count, &mut rows), &["2 rows"]);
    }
    fails(quantized.read(0, &mut [0.0; 33]), &["32 columns", "33"]);
}

fn packed_result(name: &str, rows: &SharedRows, scheme: Scheme) -> Result<PackedRows, ConvertError> {
    let mut out = PackedRows::default();
    Quantized::new(name, rows.clone(), scheme)?.read_packed(0, rows.rows(), &mut out)?;
    Ok(out)
}

#[test]
fn convolutions_by_output_channel() {
    let values = noise(4 * 3 * 5 * 2, 8);
    let kernel = held(&[4, 3, 5, 2], values.clone());
    let flat: SharedRows = Arc::new(Flattened::new("conv", kernel).unwrap());
    assert_eq!(flat.shape(), [4, 30]);
    let mut read = vec![0f32; 60];
    flat.read(1, &mut read).unwrap();
    assert_eq!(read, values[30..90]);
    let rows = packed_result("conv", &flat, Scheme { width: Width::Int8, ..Scheme::W8 }).unwrap();
    assert_eq!((rows.codes.len(), rows.scales.len()), (120, 4));
    fails(Flattened::new("bias", held(&[4], vec![0.0; 4])), &["bias"]);
    fails(Flattened::new("none", held(&[4, 2, 0], Vec::new())), &["none"]);
}
