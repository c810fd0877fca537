//! Blocks of every format, against the values that ggml's Python package computes
//! (`tests/oracle/gguf_blocks.py`).

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use coreai_convert::{
    BlockFormat, CodeType, Gguf, PackedRows, Packing, Rows, ScaleType, Storage, StoredRows,
};

use crate::build::Ranges;

fn golden() -> Gguf {
    Gguf::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/blocks.gguf")).unwrap()
}

fn read(tensor: &StoredRows) -> Vec<f32> {
    let mut values = vec![0.0; (tensor.rows() * tensor.columns()) as usize];
    tensor.read(0, &mut values).unwrap();
    values
}

/// Any two that are not numbers are the same.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

#[test]
fn values_are_those_of_ggml() {
    let file = golden();
    let blocks = BlockFormat::ALL.map(BlockFormat::name);
    let mut finite = 0;
    for name in blocks.iter().copied().chain(["F16", "BF16", "F64", "I8", "I16", "I32"]) {
        let tensor = file.tensor(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(tensor.storage().name(), name);
        let expected = file.tensor(&format!("{name}.values")).unwrap();
        assert_eq!(tensor.shape(), expected.shape());
        assert_eq!(expected.storage(), Storage::F32);
        for (i, (found, expected)) in read(&tensor).into_iter().zip(read(&expected)).enumerate() {
            assert!(same(found, expected), "{name}, value {i}: {found} instead of {expected}");
            finite += usize::from(expected.is_finite() && expected != 0.0);
        }
    }
    assert!(finite > 20_000, "{finite} values mean something");
}

#[test]
fn rows_are_found_wherever_they_begin() {
    let file = golden();
    for name in BlockFormat::ALL.map(BlockFormat::name).into_iter().chain(["F16", "I32"]) {
        let tensor = file.tensor(name).unwrap();
        let columns = tensor.columns() as usize;
        let whole = read(&tensor);
        for first in 0..tensor.rows() {
            let mut row = vec![0.0; columns];
            tensor.read(first, &mut row).unwrap();
            let expected = &whole[first as usize * columns..][..columns];
            assert!(row.iter().zip(expected).all(|(a, b)| same(*a, *b)), "{name}, row {first}");
        }
        let mut row = vec![0.0; columns];
        assert!(tensor.read(tensor.rows(), &mut row).is_err());
        assert!(tensor.read(u64::MAX, &mut row).is_err());
        assert!(tensor.read(0, &mut row[1..]).is_err());
        tensor.read(tensor.rows(), &mut []).unwrap();
    }
}

/// E2M1: a sign, two bits of exponent, one of mantissa.
fn float4(code: u8) -> f32 {
    let magnitude = match (code >> 1 & 3, f32::from(code & 1)) {
        (0, mantissa) => mantissa / 2.0,
        (exponent, mantissa) => (1.0 + mantissa / 2.0) * f32::from(1u8 << (exponent - 1)),
    };
    if code & 8 == 0 { magnitude } else { -magnitude }
}

/// The bits of a code, and its number.
fn decode(code: u8, packing: &Packing) -> (u32, f32) {
    let number = |bits| (bits, f32::from(code));
    match packing.codes {
        CodeType::SI8 => (8, f32::from(code.cast_signed())),
        CodeType::UI6 => number(6),
        CodeType::UI4 => number(4),
        CodeType::UI3 => number(3),
        CodeType::UI2 => number(2),
        CodeType::F4E2M1 => (4, float4(code)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn packed_rows_follow_the_rule() {
    let file = golden();
    for format in BlockFormat::ALL.into_iter().filter(|format| *format != BlockFormat::MXFP4) {
        let tensor = file.tensor(format.name()).unwrap();
        check_packed(&tensor, 0, tensor.rows());
        check_packed(&tensor, 1, 1);
    }
    // a block of the last row has the exponent 255
    let tensor = file.tensor("MXFP4").unwrap();
    check_packed(&tensor, 0, tensor.rows() - 1);
}

fn check_packed(tensor: &StoredRows, first: u64, count: u64) {
    let (name, packing, columns) = (tensor.name(), tensor.packing().unwrap(), tensor.columns());
    let values = (count * columns) as usize;
    let mut packed = PackedRows { codes: vec![7], scales: vec![7.0], minimums: vec![7.0] };
    tensor.read_packed(first, count, &mut packed).unwrap();
    let blocks = values / packing.block as usize;
    assert_eq!(columns % packing.block, 0);
    assert_eq!(packed.codes.len(), values, "{name}");
    assert_eq!(packed.scales.len(), blocks, "{name}");
    assert_eq!(packed.minimums.len(), if packing.minimum { blocks } else { 0 }, "{name}");
    let mut expected = vec![0.0; values];
    tensor.read(first, &mut expected).unwrap();
    let mut seen = 0u64;
    for (i, (code, expected)) in packed.codes.iter().zip(expected).enumerate() {
        let (bits, mut value) = decode(*code, &packing);
        assert!(u32::from(*code) >> bits == 0, "{name}: code {code} of {bits} bits");
        if let Some(palette) = packing.palette {
            value = f32::from(palette[usize::from(*code)]);
        }
        seen |= 1 << (code % 64);
        let block = i / packing.block as usize;
        let scale = packed.scales[block];
        if packing.scale == ScaleType::Exponent {
            // a float8E8M0FN: 2⁻¹²⁷ is the least
            assert!(
                f64::from(scale).log2().fract() == 0.0 && f64::from(scale) >= 2f64.powi(-127),
                "{scale:e}"
            );
        }
        let product = (value - packing.zero as f32) * scale;
        let value = if packing.minimum { product + packed.minimums[block] } else { product };
        assert!(value == expected || same(value, expected), "{name}, {i}: {value} instead of {expected}");
    }
    assert!(seen.count_ones() >= 4, "{name}: {seen:b}");
}

#[test]
fn packings_are_those_that_assets_express() {
    let rows = [
        (BlockFormat::Q4_0, CodeType::UI4, 32, 8, false),
        (BlockFormat::Q4_1, CodeType::UI4, 32, 0, true),
        (BlockFormat::Q5_0, CodeType::UI6, 32, 16, false),
        (BlockFormat::Q5_1, CodeType::UI6, 32, 0, true),
        (BlockFormat::Q8_0, CodeType::SI8, 32, 0, false),
        (BlockFormat::Q2_K, CodeType::UI2, 16, 0, true),
        (BlockFormat::Q3_K, CodeType::UI3, 16, 4, false),
        (BlockFormat::Q4_K, CodeType::UI4, 32, 0, true),
        (BlockFormat::Q5_K, CodeType::UI6, 32, 0, true),
        (BlockFormat::Q6_K, CodeType::UI6, 16, 32, false),
        (BlockFormat::IQ4_NL, CodeType::UI4, 32, 0, false),
        (BlockFormat::IQ4_XS, CodeType::UI4, 32, 0, false),
        (BlockFormat::MXFP4, CodeType::F4E2M1, 32, 0, false),
    ];
    assert_eq!(rows.map(|row| row.0), BlockFormat::ALL);
    for (format, codes, block, zero, minimum) in rows {
        let packing = format.packing();
        assert_eq!(
            (packing.codes, packing.block, packing.zero, packing.minimum),
            (codes, block, zero, minimum),
            "{format:?}"
        );
        let table = matches!(format, BlockFormat::IQ4_NL | BlockFormat::IQ4_XS);
        assert_eq!(packing.palette.map(<[i8]>::len), table.then_some(16));
    }
}

#[test]
fn an_exponent_that_is_no_scale_is_not_packed() {
    let tensor = golden().tensor("MXFP4").unwrap();
    let mut packed = PackedRows::default();
    let error = tensor.read_packed(1, 1, &mut packed).unwrap_err().to_string();
    assert!(error.contains("MXFP4") && error.contains("255"), "{error}");
}

#[test]
fn plain_numbers_are_not_packed() {
    let tensor = golden().tensor("F16").unwrap();
    assert_eq!(tensor.packing(), None);
    assert!(tensor.read_packed(0, 1, &mut PackedRows::default()).is_err());
}

#[test]
fn sources_without_slices_are_read_in_pieces() {
    let rows = 3 << 10; // of 1 kB: three pieces
    let bytes: Vec<u8> = (0..rows << 8).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let length = bytes.len() as u64;
    let shape = vec![3, 1 << 10, 1 << 8];
    let tensor = StoredRows::new("t", Arc::new(Ranges(bytes)), 0..length, shape, Storage::F32).unwrap();
    assert_eq!(tensor.rows(), rows);
    assert!(read(&tensor).into_iter().enumerate().all(|(i, value)| value == i as f32));
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let source = Arc::new(Ranges(vec![0; 180]));
    let new = |range, shape: &[u64], storage| {
        StoredRows::new("t", source.clone(), range, shape.to_vec(), storage).map(|_| ())
    };
    let block = Storage::Block(BlockFormat::Q4_0);
    new(0..180, &[10, 32], block).unwrap();
    new(0..180, &[45], Storage::F32).unwrap();
    new(7..8, &[], Storage::U8).unwrap();
    for (range, shape, storage) in [
        (0..180, &[320u64, 1][..], block),
        (0..180, &[10, 31], block),
        (0..162, &[10, 32], block),
        (18..198, &[10, 32], block),
        (Range { start: 180, end: 0 }, &[10, 32], block),
        (0..0, &[0, 32], block),
        (0..180, &[1 << 62, 32], block),
        (0..180, &[1 << 32, 1 << 32], Storage::U8),
        (0..180, &[46], Storage::F32),
    ] {
        let error = new(range.clone(), shape, storage).unwrap_err();
        assert!(error.to_string().starts_with("tensor \"t\""), "{range:?} {shape:?}: {error}");
    }
}
