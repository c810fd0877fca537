//! Damaged safetensors files end in a typed error.

use std::sync::Arc;

use coreai_asset::MemorySource;

use super::write::{file, safetensors, tensor};
use crate::checkpoint::{Stored, read_safetensors};
use crate::error::ConvertError;
use crate::rows::Rows;

fn read(bytes: Vec<u8>) -> Result<Vec<(String, Stored)>, ConvertError> {
    read_safetensors("test.safetensors", Arc::new(MemorySource(bytes)))
}

fn refusal(header: &str, data: usize) -> String {
    read(file(header, &vec![0; data])).err().expect(header).to_string()
}

#[test]
fn what_a_file_holds() {
    let header = r#"{
        "__metadata__": {"format": "pt"},
        "b": {"dtype": "BF16", "shape": [2, 1], "data_offsets": [4, 8]},
        "a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]},
        "scalar": {"dtype": "F32", "shape": [], "data_offsets": [8, 12]},
        "wide": {"dtype": "I64", "shape": [1], "data_offsets": [12, 20]},
        "empty": {"dtype": "F32", "shape": [3, 0], "data_offsets": [20, 20]}
    }  "#;
    let data =
        [&[0x00, 0x3c, 0x00, 0xc0, 0x80, 0x3f, 0x40, 0xc0][..], &1.5f32.to_le_bytes(), &[0; 8]].concat();
    let tensors = read(file(header, &data)).unwrap();
    let names: Vec<_> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b", "scalar", "wide", "empty"]);
    let expected: [&[f32]; 3] = [&[1.0, -2.0], &[1.0, -3.0], &[1.5]];
    for ((name, stored), expected) in tensors.iter().zip(expected) {
        let Stored::Weight(rows) = stored else { panic!("{name}") };
        let mut values = vec![0.0; expected.len()];
        rows.read(0, &mut values).unwrap();
        assert_eq!(values, expected, "{name}");
    }
    for (name, stored) in &tensors[3..] {
        assert!(matches!(stored, Stored::Other(_)), "{name}");
    }
}

#[test]
fn refusals() {
    let one = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"x": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}}}"#)
    };
    assert!(read(vec![]).err().unwrap().to_string().contains("0 bytes"));
    let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    assert!(read(huge).err().unwrap().to_string().contains("2 are left"));
    assert!(refusal("{", 0).contains("header"));
    assert!(refusal("[]", 0).contains("header"));
    assert!(refusal(&one("F32", "[1]", "[0, 4]"), 0).contains("which has 0"));
    assert!(refusal(&one("F32", "[1]", "[0, 4]"), 8).contains("4 bytes are of tensors, the file has 8"));
    assert!(refusal(&one("F32", "[1]", "[4, 8]"), 8).contains("expected to begin at 0"));
    assert!(refusal(&one("F32", "[1]", "[4, 0]"), 8).contains("expected to begin at 0"));
    assert!(refusal(&one("F32", "[2]", "[0, 4]"), 4).contains("has 4 bytes; shape [2]"));
    assert!(refusal(&one("F32", "[4294967296, 4294967296]", "[0, 4]"), 4).contains("has 4 bytes"));
    assert!(refusal(&one("F32", "[1]", "[0, 18446744073709551615]"), 4).contains("which has 4"));
    assert!(refusal(&one("F32", "[1,1,1,1,1,1,1,1,1]", "[0, 4]"), 4).contains("at most 8 extents"));
    assert!(refusal(&one("F32", "[-1]", "[0, 4]"), 4).contains("header"));
    assert!(refusal(&one("F8_E4M3", "[4]", "[0, 4]"), 4).contains("is stored as F8_E4M3"));
    let overlap = r#"{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "y": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}"#;
    assert!(refusal(overlap, 8).contains("expected to begin at 8"));
    let twice = r#"{"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}"#;
    assert!(refusal(twice, 8).contains("is there twice"));
    let deep = format!(r#"{{"__metadata__": {}"#, "[".repeat(100_000));
    assert!(refusal(&deep, 0).contains("EOF"));
    let deep = format!(r#"{{"x": {}"#, "[".repeat(100_000));
    assert!(refusal(&deep, 0).contains("header"));
}

#[test]
fn damage() {
    let whole = safetensors(&[tensor("a", &[3, 2]), tensor("b", &[4])]);
    assert_eq!(read(whole.clone()).unwrap().len(), 2);
    for length in 0..whole.len() {
        assert!(read(whole[..length].to_vec()).is_err(), "{length}");
    }
    // every byte of the header in some other ways: an error or tensors that can be read
    let header = whole.len() - 40;
    for at in 0..header {
        for other in [0, b'0', b'9', b'"', b'}', b',', 0xff, whole[at] ^ 1] {
            let mut bytes = whole.clone();
            bytes[at] = other;
            for (_, stored) in read(bytes).unwrap_or_default() {
                if let Stored::Weight(rows) = stored {
                    let mut values = vec![0.0; (rows.rows() * rows.columns()) as usize];
                    rows.read(0, &mut values).unwrap();
                }
            }
        }
    }
}
