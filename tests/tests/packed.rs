//! Weights of every GGUF block format, kept packed in an asset, give the values that ggml's package computes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coreai::gpu::GpuDevice;
use coreai::{ComputeUnitKind, InputData, OutputWant};
use coreai_asset::{AssetBuilder, ElementType, Extent, Metadata, WriteOptions};
use coreai_convert::quantize::WeightClass;
use coreai_convert::{BlockFormat, ConvertError, Gguf, PackedRows, Packing, Rows, StoredRows, Weights};
use coreai_tests::{places, runner};

/// Rows of the other factor of the product.
const BATCH: usize = 3;

/// Small numbers that sums of 1024 products keep apart.
fn factor(row: usize, column: usize) -> f32 {
    ((row * 7 + column * 3) % 11) as f32 / 8.0 - 0.625
}

/// An asset that looks up every row of a weight, and multiplies with it.
fn asset(format: BlockFormat, weight: Arc<dyn Rows>, element: ElementType) -> PathBuf {
    let mut asset = AssetBuilder::new();
    let mut g = asset.function("main");
    let columns: Extent = Some(weight.columns());
    let ids = g.input("ids", ElementType::SI32, &[None, Some(1)]).expect("an input");
    let x = g.input("x", element, &[None, columns]).expect("an input");
    let mut weights = Weights::new(element, None);
    let w = weights.matrix(&mut g, format.name(), WeightClass::Linear, weight).expect("a weight");
    let rows = g.gather_nd(w, ids).expect("rows");
    let transposed = g.transpose(w, &[1, 0]).expect("a matrix");
    let y = g.matmul(x, transposed).expect("a product");
    g.output("rows", rows).expect("a tensor");
    g.output("y", y).expect("a tensor");
    g.finish().expect("a function");
    let metadata = Metadata { asset_version: Some("2.0".into()), ..Metadata::default() };
    let asset = asset.finish(metadata).expect("an asset");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("packed");
    std::fs::create_dir_all(&folder).expect("can be written");
    let folder = folder.join(format!("{}-{element}.aimodel", format.name()));
    let options = WriteOptions { replace: true, ..WriteOptions::default() };
    asset.save(&folder, &options, &mut |_, _| {}).expect("can be written");
    assert!(weights.reports()[0].stored.to_string().contains("kept packed"), "{format:?}");
    folder
}

/// What a lookup of all rows and a product give.
fn run(asset: &Path, rows: usize, columns: usize, device: Option<Arc<GpuDevice>>) -> (Vec<f32>, Vec<f32>) {
    let unit = if device.is_some() { ComputeUnitKind::Gpu } else { ComputeUnitKind::Cpu };
    let model = runner::specialize(asset, &runner::options(unit), device).expect("plans");
    let mut session = model.session_blocking("main", &[]).expect("a session");
    let ids: Vec<i32> = (0..rows as i32).collect();
    let x: Vec<f32> = (0..BATCH * columns).map(|at| factor(at / columns, at % columns)).collect();
    let at = |name| session.input_index(name).expect("an input");
    let (ids_at, x_at) = (at("ids"), at("x"));
    session.set_input(ids_at, &[rows, 1], InputData::I32(&ids)).expect("fits");
    session.set_input(x_at, &[BATCH, columns], InputData::F32(&x)).expect("fits");
    session.run_blocking(&[OutputWant::all(0), OutputWant::all(1)]).expect("runs");
    (session.output_f32(0).to_vec(), session.output_f32(1).to_vec())
}

fn close(found: f32, expected: f32, bound: f32) -> bool {
    (found - expected).abs() <= bound
}

#[test]
fn every_format_keeps_its_values() {
    let file = places::root().join("core/convert/tests/data/blocks.gguf");
    let file = Gguf::open(&file).expect("the blocks of all formats");
    let device = runner::device(&runner::options(ComputeUnitKind::Gpu));
    for format in BlockFormat::ALL {
        let weight = file.tensor(format.name()).expect("is there");
        let weight = Arc::new(Split::new(weight));
        let (rows, columns) = (weight.rows() as usize, weight.columns() as usize);
        assert!(rows >= 2, "{format:?} has {rows} usable rows");
        let mut exact = vec![0f32; rows * columns];
        weight.read(0, &mut exact).expect("can be read");
        for element in [ElementType::F32, ElementType::F16] {
            let path = asset(format, weight.clone(), element);
            for device in [None, device.clone()] {
                let on_gpu = device.is_some();
                let (found, product) = run(&path, rows, columns, device);
                let context = format!("{} {element} {}", format.name(), if on_gpu { "GPU" } else { "CPU" });
                for row in 0..rows {
                    let expected = &exact[row * columns..][..columns];
                    let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
                    // scales and minimums are rounded: to float32, or to float16 with its least number
                    let bound = match element {
                        ElementType::F16 => largest * 2e-3 + 1e-5,
                        _ => largest * 1e-6 + 1e-37,
                    };
                    for (column, value) in expected.iter().enumerate() {
                        let found = found[row * columns + column];
                        assert!(
                            close(found, *value, bound),
                            "{context} [{row}, {column}]: {found}, expected {value}"
                        );
                    }
                    for batch in 0..BATCH {
                        let products = expected
                            .iter()
                            .enumerate()
                            .map(|(column, value)| f64::from(*value) * f64::from(factor(batch, column)));
                        let sum = products.sum::<f64>() as f32;
                        let found = product[batch * rows + row];
                        let bound = bound * columns as f32 * 0.5;
                        assert!(
                            close(found, sum, bound),
                            "{context} product [{batch}, {row}]: {found}, expected {sum}"
                        );
                    }
                }
                if !on_gpu {
                    let bytes =
                        |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
                    std::fs::write(path.with_extension("rows.f32"), bytes(&found)).expect("can be written");
                    std::fs::write(path.with_extension("y.f32"), bytes(&product)).expect("can be written");
                }
            }
        }
    }
}

/// Some parts of the rows of a weight, each as a row of 256 values, the longest block there is.
struct Split {
    rows: Arc<StoredRows>,
    kept: Vec<u64>,
    shape: [u64; 2],
}

impl Split {
    /// The parts whose values are finite, and within float16.
    fn new(rows: Arc<StoredRows>) -> Self {
        let parts = rows.columns() / 256;
        let mut whole = vec![0f32; rows.columns() as usize];
        let mut kept = Vec::new();
        for row in 0..rows.rows() {
            rows.read(row, &mut whole).expect("can be read");
            // an exponent of MXFP4 that is no scale cannot be kept packed
            let packed = rows.read_packed(row, 1, &mut PackedRows::default()).is_ok();
            let usable = |part: &[f32]| packed && part.iter().all(|value| value.abs() < 6e4);
            let parts_of_row = whole.chunks_exact(256).enumerate().filter(|(_, part)| usable(part));
            kept.extend(parts_of_row.map(|(part, _)| row * parts + part as u64));
        }
        Self { shape: [kept.len() as u64, 256], kept, rows }
    }

    fn parts(&self) -> u64 {
        self.rows.columns() / 256
    }
}

impl Rows for Split {
    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn read(&self, first: u64, out: &mut [f32]) -> Result<(), ConvertError> {
        let mut whole = vec![0f32; self.rows.columns() as usize];
        for (row, out) in self.kept[first as usize..].iter().zip(out.chunks_exact_mut(256)) {
            self.rows.read(row / self.parts(), &mut whole)?;
            let part = (row % self.parts()) as usize;
            out.copy_from_slice(&whole[part * 256..][..256]);
        }
        Ok(())
    }

    fn packing(&self) -> Option<Packing> {
        self.rows.packing()
    }

    fn read_packed(&self, first: u64, count: u64, out: &mut PackedRows) -> Result<(), ConvertError> {
        let mut whole = PackedRows::default();
        *out = PackedRows::default();
        for row in &self.kept[first as usize..][..count as usize] {
            self.rows.read_packed(row / self.parts(), 1, &mut whole)?;
            let (part, parts) = ((row % self.parts()) as usize, self.parts() as usize);
            let piece = |values: usize| part * values / parts..(part + 1) * values / parts;
            out.codes.extend_from_slice(&whole.codes[piece(whole.codes.len())]);
            out.scales.extend_from_slice(&whole.scales[piece(whole.scales.len())]);
            out.minimums.extend_from_slice(&whole.minimums[piece(whole.minimums.len())]);
        }
        Ok(())
    }
}
