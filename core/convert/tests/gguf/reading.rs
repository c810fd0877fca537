//! What a file holds, and which files are refused.

use std::path::Path;
use std::sync::Arc;

use coreai_convert::{Gguf, Rows, Storage};

use crate::build::{Build, Ranges, array, read, small, text};

#[test]
fn a_file_of_another_writer() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/blocks.gguf");
    let file = Gguf::open(&path).unwrap();
    let keys = file.metadata();
    assert_eq!(file.version(), 3);
    assert_eq!(keys.str("general.architecture").unwrap(), Some("blocks"));
    assert_eq!(keys.u64("general.alignment").unwrap(), Some(64));
    assert_eq!(keys.u64("u8").unwrap(), Some(200));
    assert_eq!(keys.i64("i8").unwrap(), Some(-100));
    assert_eq!(keys.u64("u16").unwrap(), Some(60_000));
    assert_eq!(keys.i64("i16").unwrap(), Some(-30_000));
    assert_eq!(keys.u64("u32").unwrap(), Some(4_000_000_000));
    assert_eq!(keys.i64("i32").unwrap(), Some(-2_000_000_000));
    assert_eq!(keys.u64("u64").unwrap(), Some(u64::MAX));
    assert_eq!(keys.i64("i64").unwrap(), Some(i64::MIN));
    assert_eq!(keys.f64("f32").unwrap(), Some(f64::from(0.1f32)));
    assert_eq!(keys.f64("f64").unwrap(), Some(0.1));
    assert_eq!(keys.f64("u8").unwrap(), Some(200.0));
    assert_eq!(keys.bool("bool").unwrap(), Some(true));
    assert_eq!(keys.str("text").unwrap(), Some("Größe"));
    let texts: Vec<_> = keys.strings("texts").unwrap().unwrap().iter().collect();
    assert_eq!(texts, ["a", "", "▁the", "<0x0A>"]);
    let integers: Vec<_> = keys.integers("integers").unwrap().unwrap().collect();
    assert_eq!(integers, [1, -2, 2_000_000_000]);
    assert_eq!(keys.floats("floats").unwrap().unwrap().collect::<Vec<_>>(), [0.5, -1.25]);
    assert_eq!(keys.bools("bools").unwrap().unwrap().collect::<Vec<_>>(), [true, false]);
    assert_eq!(keys.str("absent").unwrap(), None);
    assert_eq!(file.names().len(), 38);
    // 3 rows of 40 columns
    assert_eq!(file.tensor("F16").unwrap().shape(), [3, 40]);
    assert!(file.tensor("absent").is_none());
}

#[test]
fn values_of_another_type_are_errors() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/blocks.gguf");
    let file = Gguf::open(&path).unwrap();
    let keys = file.metadata();
    let message = |error: Option<coreai_convert::ConvertError>| error.unwrap().to_string();
    let error = message(keys.u64("text").err());
    assert!(error.contains("blocks.gguf: text is \"Größe\"; expected an integer"), "{error}");
    assert!(message(keys.u64("i8").err()).contains("-100"));
    assert!(message(keys.i64("u64").err()).contains("18446744073709551615"));
    assert!(message(keys.str("texts").err()).contains("an array of 4 strings"));
    assert!(message(keys.integers("floats").err()).contains("an array of 2 float32s"));
    assert!(keys.f64("i64").is_err() && keys.f64("bool").is_err() && keys.bool("u8").is_err());
    assert!(keys.floats("integers").is_err() && keys.bools("integers").is_err());
    assert!(keys.strings("integers").is_err() && keys.integers("bools").is_err());
    let missing = keys.unexpected("absent", "a string").to_string();
    assert!(missing.contains("absent is missing; expected a string"), "{missing}");
}

#[test]
fn tensors_lie_where_the_header_says() {
    let mut data = vec![0; 128];
    for (i, value) in [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0].into_iter().enumerate() {
        data[4 * i..][..4].copy_from_slice(&value.to_le_bytes());
    }
    data.push(0xFE);
    let mut build = small();
    build.data = data;
    for version in [2, 3] {
        build.version = version;
        let inside = build.read().unwrap();
        let outside = Gguf::read("test.gguf", Arc::new(Ranges(build.bytes()))).unwrap();
        for file in [inside, outside] {
            assert_eq!(file.version(), version);
            assert_eq!(file.names().collect::<Vec<_>>(), ["blocks", "numbers", "scalar"]);
            let numbers = file.tensor("numbers").unwrap();
            assert_eq!((numbers.shape(), numbers.storage()), (&[2, 3][..], Storage::F32));
            let mut row = [0.0; 3];
            numbers.read(1, &mut row).unwrap();
            assert_eq!(row, [4.0, 5.0, 6.0]);
            let mut scalar = [0.0];
            file.tensor("scalar").unwrap().read(0, &mut scalar).unwrap();
            assert_eq!(scalar, [-2.0]);
        }
    }
}

#[test]
fn long_arrays_are_read_by_windows() {
    // 1.2 MB of header: several windows
    let texts: Vec<_> = (0..100_000).map(|i| format!("t{i}")).collect();
    let items: Vec<u8> = texts.iter().flat_map(|item| text(item)).collect();
    let scores: Vec<u8> = (0..100_000).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let build = Build::default().key("tokens", 9, &array(8, 100_000, &items)).key(
        "scores",
        9,
        &array(6, 100_000, &scores),
    );
    for file in [build.read(), Gguf::read("test.gguf", Arc::new(Ranges(build.bytes())))] {
        let file = file.unwrap();
        let found = file.metadata().strings("tokens").unwrap().unwrap();
        assert!(found.iter().eq(texts.iter().map(String::as_str)));
        assert_eq!(found.get(99_999), Some("t99999"));
        assert_eq!(found.get(100_000), None);
        let scores = file.metadata().floats("scores").unwrap().unwrap();
        assert!(scores.eq((0..100_000).map(f64::from)));
    }
}

/// The message, which names the file, must hold all parts.
fn refused(build: &Build, code: &str, parts: &[&str]) {
    let error = build.error();
    let message = error.to_string();
    assert_eq!(error.code(), code, "{message}");
    for part in parts {
        assert!(message.contains(part), "{message:?} has no {part:?}");
    }
}

#[test]
fn what_is_not_this_format_is_refused() {
    let build = Build { magic: *b"ggml", ..small() };
    refused(&build, "convert.malformed", &["test.gguf", "\"ggml\"", "\"GGUF\""]);
    for version in [0, 1, 4, u32::MAX] {
        let build = Build { version, ..small() };
        refused(&build, "convert.malformed", &["version", &version.to_string(), "2 or 3"]);
    }
    refused(&Build { version: 3 << 24, ..small() }, "convert.malformed", &["big-endian"]);
    let parts = Build::default().key("split.count", 2, &[3, 0]).key("split.no", 2, &[1, 0]);
    refused(&parts, "convert.file", &["part 2 of the 3", "--merge"]);
    assert!(Build::default().key("split.count", 2, &[1, 0]).read().is_ok());
    let missing = Gguf::open(Path::new("/no/such/file.gguf")).err().unwrap();
    assert_eq!(missing.code(), "convert.not_found");
    assert_eq!(Gguf::open(Path::new("/")).err().unwrap().code(), "convert.file");
}

#[test]
fn types_that_cannot_be_read_are_named() {
    for (kind, name) in [(16, "IQ2_XXS"), (35, "TQ2_0"), (99, "an unknown type (99)")] {
        let build = Build::default().tensor("w", &[256], kind, 0).data(&[0; 64]);
        refused(&build, "convert.tensor", &["\"w\"", name, "Q4_K", "MXFP4", "BF16"]);
    }
}

#[test]
fn wrong_keys_are_refused() {
    let twice = Build::default().key("k", 0, &[1]).key("k", 0, &[1]);
    refused(&twice, "convert.malformed", &["key \"k\"", "twice"]);
    refused(&Build::default().key("", 0, &[1]), "convert.malformed", &["key 0", "0 bytes"]);
    refused(&Build::default().key(&"k".repeat(1 << 16), 0, &[1]), "convert.malformed", &["65536"]);
    refused(&Build::default().key("k", 13, &[1]), "convert.malformed", &["type 13"]);
    refused(&Build::default().key("k", 7, &[2]), "convert.malformed", &["\"k\"", "bool"]);
    refused(&Build::default().key("k", 9, &array(7, 2, &[1, 2])), "convert.malformed", &["bool"]);
    refused(&Build::default().key("k", 9, &array(9, 1, &[0; 12])), "convert.malformed", &["arrays"]);
    let latin = [&3u64.to_le_bytes()[..], b"Gr\xf6"].concat();
    refused(&Build::default().key("k", 8, &latin), "convert.malformed", &["\"k\"", "UTF-8"]);
}

#[test]
fn wrong_tensors_are_refused() {
    let tensor =
        |extents: &[u64], kind, offset| Build::default().tensor("w", extents, kind, offset).data(&[0; 256]);
    assert!(tensor(&[32], 0, 128).read().is_ok());
    assert!(tensor(&[1, 1, 1, 1], 0, 0).read().is_ok());
    let malformed = "convert.malformed";
    refused(&tensor(&[1; 5], 0, 0), malformed, &["\"w\"", "5 axes"]);
    refused(&tensor(&[0], 0, 0), malformed, &["\"w\"", "empty"]);
    refused(&tensor(&[33], 2, 0), malformed, &["\"w\"", "blocks of 32"]);
    refused(&tensor(&[1 << 32, 1 << 32], 0, 0), malformed, &["\"w\"", "2⁶⁴"]);
    refused(&tensor(&[32, 1 << 58, 2], 0, 0), malformed, &["\"w\"", "2⁶⁴"]);
    refused(&tensor(&[32], 0, 1), malformed, &["\"w\"", "offset 1", "32"]);
    refused(&tensor(&[32], 0, 160), malformed, &["\"w\"", "truncated"]);
    refused(&tensor(&[32], 0, u64::MAX - 31), malformed, &["\"w\"", "truncated"]);
    let twice = tensor(&[8], 0, 0).tensor("w", &[8], 0, 32);
    refused(&twice, malformed, &["\"w\"", "twice"]);
    let inside = tensor(&[9], 0, 0).tensor("v", &[8], 0, 32);
    refused(&inside, malformed, &["\"v\"", "inside", "\"w\""]);
    assert!(tensor(&[8], 0, 0).tensor("v", &[8], 0, 32).read().is_ok());
}

#[test]
fn alignments_are_powers_of_two() {
    let aligned = |alignment: u32| {
        let build = Build { alignment: alignment.clamp(1, 1 << 20) as usize, ..Build::default() };
        build.key("general.alignment", 4, &alignment.to_le_bytes()).tensor("w", &[1], 24, 0).data(&[7])
    };
    for alignment in [1, 8, 64, 4096, 1 << 16] {
        let mut value = [0.0];
        aligned(alignment).read().unwrap().tensor("w").unwrap().read(0, &mut value).unwrap();
        assert_eq!(value, [7.0], "alignment {alignment}");
    }
    for alignment in [0, 3, 33, 1 << 17, u32::MAX] {
        refused(&aligned(alignment), "convert.config", &["general.alignment", &alignment.to_string()]);
    }
    let named = Build::default().key("general.alignment", 8, &text("32"));
    refused(&named, "convert.config", &["general.alignment", "\"32\""]);
}

#[test]
fn a_file_without_tensors_has_no_data() {
    let file = read(Build::default().key("k", 0, &[1]).bytes()).unwrap();
    assert_eq!(file.names().len(), 0);
}
