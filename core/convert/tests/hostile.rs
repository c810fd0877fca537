//! Whole imports of broken checkpoints: a typed error, nothing left behind, little memory. And what an import
//! of a checkpoint that is larger than that memory takes.

#[path = "../../asset/tests/corpus/heap.rs"]
mod heap;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use coreai_convert::quantize::Selection;
use coreai_convert::{Checkpoint, ConvertError, ImportOptions, ImportReport, import};
use serde_json::{Value, json};

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// Bytes of heap that an import may take, whatever it reads.
const MEMORY: usize = 64 << 20;
/// What an import of a broken checkpoint of some kB may take.
const BROKEN: usize = 4 << 20;

/// The heap is one for all tests of a process.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder that goes away with the test: a checkpoint in `in`, and `out` for what is made of it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coreai-hostile-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("in")).unwrap();
        fs::create_dir_all(path.join("out")).unwrap();
        Self(path)
    }

    /// With a checkpoint that can be imported.
    fn model(name: &str) -> Self {
        let scratch = Self::new(name);
        scratch.write("config.json", config(json!({})).to_string());
        scratch.write("tokenizer.json", r#"{"model": {}}"#);
        scratch.weights(&tensors(), 0.5);
        scratch
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.0.join("in").join(name), bytes).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.0.join("in").join(name)).unwrap();
    }

    fn weights(&self, tensors: &[(String, Vec<u64>)], value: f32) {
        self.write("model.safetensors", safetensors(tensors, value));
    }

    fn out(&self) -> PathBuf {
        self.0.join("out")
    }

    fn import(&self, options: &ImportOptions) -> Result<ImportReport, ConvertError> {
        imported(&self.0.join("in"), &self.out().join("model"), options)
    }

    /// Everything below `out`.
    fn left(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.out()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                found.push(entry.path());
                folders.extend(entry.path().is_dir().then(|| entry.path()));
            }
        }
        found.sort();
        found
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn imported(from: &Path, to: &Path, options: &ImportOptions) -> Result<ImportReport, ConvertError> {
    import(&Checkpoint::open(from)?, to, options, &mut |_| {})
}

/// A small llama, changed by `keys`.
fn config(keys: Value) -> Value {
    let mut json = json!({
        "model_type": "llama", "vocab_size": 96, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 128, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2,
    });
    json.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    json
}

/// Names and shapes of its tensors.
fn tensors() -> Vec<(String, Vec<u64>)> {
    llama(96, 64, 96, 2, 2)
}

fn llama(vocabulary: u64, hidden: u64, width: u64, layers: u64, groups: u64) -> Vec<(String, Vec<u64>)> {
    let keys = hidden / groups;
    let mut all = vec![
        ("model.embed_tokens.weight".to_owned(), vec![vocabulary, hidden]),
        ("model.norm.weight".to_owned(), vec![hidden]),
    ];
    for layer in 0..layers {
        for (name, shape) in [
            ("input_layernorm", vec![hidden]),
            ("post_attention_layernorm", vec![hidden]),
            ("self_attn.q_proj", vec![hidden, hidden]),
            ("self_attn.k_proj", vec![keys, hidden]),
            ("self_attn.v_proj", vec![keys, hidden]),
            ("self_attn.o_proj", vec![hidden, hidden]),
            ("mlp.gate_proj", vec![width, hidden]),
            ("mlp.up_proj", vec![width, hidden]),
            ("mlp.down_proj", vec![hidden, width]),
        ] {
            all.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    all
}

/// The header of a file, and the bytes of its tensors.
fn header(tensors: &[(String, Vec<u64>)], dtype: &str, size: u64) -> (Vec<u8>, u64) {
    let (mut header, mut end) = (json!({}), 0);
    for (name, shape) in tensors {
        let start = end;
        end += shape.iter().product::<u64>() * size;
        header[name] = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]});
    }
    let header = header.to_string();
    ([&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat(), end)
}

/// A file with one value for all.
fn safetensors(tensors: &[(String, Vec<u64>)], value: f32) -> Vec<u8> {
    let (mut bytes, length) = header(tensors, "F32", 4);
    bytes.extend(value.to_le_bytes().iter().cycle().take(length as usize));
    bytes
}

fn compressed() -> ImportOptions {
    ImportOptions {
        selection: Some(Selection::W4),
        compression: Some("4bit".into()),
        ..ImportOptions::default()
    }
}

/// What is wrong, the code of the error, what its message says, and how the checkpoint gets so.
type Case = (&'static str, &'static str, &'static str, fn(&Scratch));

fn with(scratch: &Scratch, keys: Value) {
    scratch.write("config.json", config(keys).to_string());
}

fn without(scratch: &Scratch, name: &str) {
    let mut all = tensors();
    all.retain(|(own, _)| own != name);
    scratch.weights(&all, 0.5);
}

fn extra(scratch: &Scratch, name: &str, shape: &[u64]) {
    scratch.weights(&[tensors(), vec![(name.to_owned(), shape.to_vec())]].concat(), 0.5);
}

fn sharded(scratch: &Scratch, file: &str) {
    scratch.remove("model.safetensors");
    let index = json!({"weight_map": {"model.norm.weight": file}});
    scratch.write("model.safetensors.index.json", index.to_string());
}

const CASES: &[Case] = &[
    ("a width that is not that of the tensors", "convert.tensor", "the configuration expects", |s| {
        with(s, json!({"hidden_size": 128}));
    }),
    ("a million layers", "convert.config", "num_hidden_layers is 1000000", |s| {
        with(s, json!({"num_hidden_layers": 1_000_000}));
    }),
    ("as many layers as are allowed", "convert.tensor", "layers.2.", |s| {
        with(s, json!({"num_hidden_layers": 10_000}));
    }),
    ("a huge vocabulary", "convert.config", "vocab_size is 1099511627776", |s| {
        with(s, json!({"vocab_size": 1u64 << 40}));
    }),
    ("the largest sizes that are allowed", "convert.tensor", "the configuration expects", |s| {
        with(s, json!({"vocab_size": 1 << 24, "hidden_size": 1 << 22, "intermediate_size": 1 << 22}));
    }),
    ("heads that are too wide together", "convert.config", "head_dim is 4194304", |s| {
        with(s, json!({"head_dim": 1 << 22}));
    }),
    ("a negative size", "convert.config", "num_attention_heads is -4", |s| {
        with(s, json!({"num_attention_heads": -4}));
    }),
    ("heads that do not divide", "convert.config", "num_key_value_heads is 3", |s| {
        with(s, json!({"num_key_value_heads": 3}));
    }),
    ("an epsilon that is no number", "convert.config", "rms_norm_eps", |s| {
        with(s, json!({"rms_norm_eps": "NaN"}));
    }),
    ("an unknown architecture", "convert.architecture", "\"mamba\"", |s| {
        with(s, json!({"model_type": "mamba"}));
    }),
    ("weights in a packing that is not known", "convert.config", "quant", |s| {
        with(s, json!({"quantization_config": {"quant_method": "gptq", "bits": 4}}));
    }),
    ("a configuration cut off", "convert.malformed", "config.json", |s| {
        s.write("config.json", "{\"model_type\":")
    }),
    ("a configuration nested deeply", "convert.malformed", "config.json", |s| {
        s.write("config.json", "[".repeat(1 << 20));
    }),
    ("a configuration that is a list", "convert.config", "config.json", |s| s.write("config.json", "[]")),
    ("no configuration", "convert.file", "has no config.json", |s| s.remove("config.json")),
    ("no tokenizer", "convert.file", "has no tokenizer.json", |s| s.remove("tokenizer.json")),
    ("a tokenizer that is none", "convert.malformed", "tokenizer.json", |s| {
        s.write("tokenizer.json", [0xff, 0xfe, 0x00]);
    }),
    ("a tokenizer cut off", "convert.malformed", "tokenizer.json", |s| {
        s.write("tokenizer.json", r#"{"model": {"vocab": {"a": 0"#);
    }),
    ("a tokenizer of gigabytes", "convert.limit", "tokenizer.json", |s| {
        fs::File::create(s.0.join("in/tokenizer.json")).unwrap().set_len(8 << 30).unwrap();
    }),
    ("no weights", "convert.file", "has no safetensors files", |s| s.remove("model.safetensors")),
    ("a weight that is missing", "convert.tensor", "layers.1.mlp.up_proj.weight\": is missing", |s| {
        without(s, "model.layers.1.mlp.up_proj.weight");
    }),
    ("a bias that the configuration forgets", "convert.tensor", "q_proj.bias", |s| {
        extra(s, "model.layers.0.self_attn.q_proj.bias", &[64]);
    }),
    ("scales of weights", "convert.tensor", "up_proj.weight_scale", |s| {
        extra(s, "model.layers.1.mlp.up_proj.weight_scale", &[1]);
    }),
    ("a weight of the wrong rank", "convert.tensor", "model.norm.weight", |s| {
        let mut all = tensors();
        all[1].1 = vec![8, 8];
        s.weights(&all, 0.5);
    }),
    ("weights cut off", "convert.malformed", "downloaded completely", |s| {
        let bytes = safetensors(&tensors(), 0.5);
        s.write("model.safetensors", &bytes[..bytes.len() - 1]);
    }),
    ("a header cut off", "convert.malformed", "downloaded completely", |s| {
        s.write("model.safetensors", &safetensors(&tensors(), 0.5)[..100]);
    }),
    ("a file of three bytes", "convert.malformed", "expected 8", |s| s.write("model.safetensors", [1, 2, 3])),
    ("a header of exabytes", "convert.malformed", "header", |s| {
        s.write("model.safetensors", [&(1u64 << 62).to_le_bytes()[..], &[b'{'; 64]].concat());
    }),
    ("a long header in a long file", "convert.limit", "bytes of the header", |s| {
        s.write("model.safetensors", (1u64 << 39).to_le_bytes());
        let file = fs::OpenOptions::new().write(true).open(s.0.join("in/model.safetensors"));
        file.unwrap().set_len(1 << 40).unwrap();
    }),
    ("a shard in another folder", "convert.malformed", "../model.safetensors", |s| {
        sharded(s, "../model.safetensors");
    }),
    ("a shard from the root", "convert.malformed", "/etc/x.safetensors", |s| {
        sharded(s, "/etc/x.safetensors")
    }),
    ("a shard of another system", "convert.malformed", "safetensors", |s| sharded(s, "C:\\x.safetensors")),
    ("a shard that is a folder", "convert.file", "is not a file", |s| {
        sharded(s, "x.safetensors");
        fs::create_dir(s.0.join("in/x.safetensors")).unwrap();
    }),
    ("a shard that is missing", "convert.not_found", "x.safetensors", |s| sharded(s, "x.safetensors")),
    ("an index that is none", "convert.malformed", "index", |s| {
        s.remove("model.safetensors");
        s.write("model.safetensors.index.json", "[]");
    }),
];

#[test]
fn broken_checkpoints() {
    let _alone = alone();
    assert!(Scratch::model("whole").import(&compressed()).is_ok(), "what is broken below was whole");
    for (what, code, text, damage) in CASES {
        for options in [ImportOptions::default(), compressed()] {
            let scratch = Scratch::model("broken");
            damage(&scratch);
            let before = heap::reset_peak();
            let answer = scratch.import(&options);
            let peak = heap::peak().saturating_sub(before);
            let error = answer.err().unwrap_or_else(|| panic!("{what}: was imported"));
            assert_eq!(error.code(), *code, "{what}: {error}");
            assert!(error.to_string().contains(text), "{what}: {error}");
            assert!(scratch.left().is_empty(), "{what}: {:?}", scratch.left());
            assert!(peak < BROKEN, "{what}: {peak} bytes");
        }
    }
}

/// Weights are read while the asset is written, so these errors come late.
#[test]
fn numbers_that_cannot_be_compressed() {
    let _alone = alone();
    for value in [f32::NAN, f32::INFINITY] {
        let scratch = Scratch::model("nan");
        scratch.weights(&tensors(), value);
        let error = scratch.import(&compressed()).expect_err("cannot be compressed");
        assert_eq!(error.code(), "asset.source", "{error}");
        assert!(error.to_string().contains("model.embed_tokens.weight"), "{error}");
        assert!(scratch.left().is_empty(), "{:?}", scratch.left());
    }
}

#[test]
fn outputs_that_cannot_be() {
    let _alone = alone();
    let scratch = Scratch::model("outputs");
    let model = scratch.0.join("in");
    let options = ImportOptions::default();
    fs::write(scratch.out().join("file"), "text").unwrap();
    fs::create_dir(scratch.out().join("other")).unwrap();
    fs::write(scratch.out().join("other/text"), "text").unwrap();
    let before = scratch.left();
    for (name, replace, code) in [
        ("a b", false, "convert.file"),
        (".hidden", false, "convert.file"),
        ("..", false, "convert.file"),
        ("model/..", false, "convert.file"),
        ("mod\u{202e}el", false, "convert.file"),
        ("a\nb", false, "convert.file"),
        ("file", false, "asset.exists"),
        ("file", true, "asset.exists"),
        ("other", false, "asset.exists"),
        ("other", true, "asset.exists"),
        ("missing/model", false, "asset.write"),
        ("file/model", false, "asset.write"),
    ] {
        let options = ImportOptions { replace, ..options.clone() };
        let error = imported(&model, &scratch.out().join(name), &options).err();
        let error = error.unwrap_or_else(|| panic!("{name:?} was written"));
        assert_eq!(error.code(), code, "{name:?}: {error}");
        assert_eq!(scratch.left(), before, "{name:?}");
    }
    // no file can be made there, whoever asks
    if cfg!(target_os = "linux") {
        let error = imported(&model, Path::new("/proc/self/model"), &options).expect_err("is read-only");
        assert_eq!(error.code(), "asset.write", "{error}");
    }
    let long = ImportOptions { max_context: Some(129), ..options };
    assert_eq!(scratch.import(&long).expect_err("was trained for less").code(), "convert.config");
    assert_eq!(scratch.left(), before);
}

#[test]
fn broken_gguf_files() {
    let _alone = alone();
    let counts = |version: u32, tensors: u64, keys: u64| {
        [&b"GGUF"[..], &version.to_le_bytes(), &tensors.to_le_bytes(), &keys.to_le_bytes()].concat()
    };
    for (what, bytes, codes) in [
        ("nothing", vec![], ["convert.malformed"; 2]),
        ("another file", b"PK\x03\x04 and more".to_vec(), ["convert.malformed"; 2]),
        ("the future", counts(4, 0, 0), ["convert.malformed"; 2]),
        ("no keys", counts(3, 0, 0), ["convert.malformed", "convert.config"]),
        ("2⁶¹ tensors", counts(3, 1 << 61, 0), ["convert.malformed", "convert.limit"]),
        ("2⁶⁴ keys", counts(3, 0, u64::MAX), ["convert.malformed", "convert.limit"]),
    ] {
        let scratch = Scratch::new("gguf");
        scratch.write("model.gguf", bytes);
        let before = heap::reset_peak();
        let answer = imported(
            &scratch.0.join("in/model.gguf"),
            &scratch.out().join("model"),
            &ImportOptions::default(),
        );
        let peak = heap::peak().saturating_sub(before);
        let error = answer.err().unwrap_or_else(|| panic!("{what}: was imported"));
        assert!(codes.contains(&error.code()) && error.to_string().contains("model.gguf"), "{what}: {error}");
        assert!(scratch.left().is_empty(), "{what}");
        assert!(peak < BROKEN, "{what}: {peak} bytes");
    }
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Any damage to a configuration or a header ends in a bundle or a typed error, and only a bundle stays.
#[test]
fn random_damage() {
    let _alone = alone();
    let (mut state, mut whole, mut broken) = (7, 0, 0);
    let scratch = Scratch::model("random");
    let files = ["config.json", "model.safetensors", "tokenizer.json"];
    let originals = files.map(|name| fs::read(scratch.0.join("in").join(name)).unwrap());
    for round in 0..600 {
        let which = [0, 0, 1, 1, 1, 2][round % 6];
        let mut bytes = originals[which].clone();
        // the header of the weights, and the other files whole
        for _ in 0..1 + random(&mut state) % 3 {
            let at = (random(&mut state) as usize) % bytes.len().min(2000);
            match random(&mut state) % 4 {
                0 => bytes[at] ^= 1 << (random(&mut state) % 8),
                1 => bytes[at] = b'0' + (random(&mut state) % 10) as u8,
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"9{[\",-e"[(random(&mut state) % 7) as usize]),
            }
        }
        scratch.write(files[which], &bytes);
        let before = heap::reset_peak();
        let answer = scratch.import(&ImportOptions::default());
        let peak = heap::peak().saturating_sub(before);
        assert!(peak < MEMORY, "round {round}: {peak} bytes");
        match answer {
            Ok(_) => {
                whole += 1;
                fs::remove_dir_all(scratch.out().join("model")).unwrap();
            }
            Err(_) => broken += 1,
        }
        assert!(scratch.left().is_empty(), "round {round}: {:?}", scratch.left());
        scratch.write(files[which], &originals[which]);
    }
    assert!(whole > 5 && broken > 300, "{whole} were harmless, {broken} were refused");
}

/// A checkpoint of 300 MB of zeros, most of which is a hole in a file.
#[test]
fn memory_does_not_grow_with_weights() {
    let _alone = alone();
    let scratch = Scratch::new("large");
    let (vocabulary, hidden, width, layers) = (65_536, 1024, 2816, 6);
    let json = config(json!({
        "vocab_size": vocabulary, "hidden_size": hidden, "intermediate_size": width, "num_hidden_layers": layers,
        "num_attention_heads": 16, "num_key_value_heads": 8, "max_position_embeddings": 2048,
    }));
    scratch.write("config.json", json.to_string());
    scratch.write("tokenizer.json", r#"{"model": {}}"#);
    let (bytes, length) = header(&llama(vocabulary, hidden, width, layers, 2), "F16", 2);
    let weights = scratch.0.join("in/model.safetensors");
    fs::write(&weights, &bytes).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&weights).unwrap();
    file.set_len(bytes.len() as u64 + length).unwrap();
    assert!(length > 250 << 20, "{length} bytes");
    for options in [ImportOptions::default(), compressed()] {
        let before = heap::reset_peak();
        let report = scratch.import(&options).expect("is a checkpoint");
        let peak = heap::peak().saturating_sub(before);
        println!("{length} bytes of weights became {}, {peak} bytes of heap at the peak", report.bytes);
        assert!(peak < MEMORY, "{peak} bytes");
        let expected = length as f64 * report.bits_per_weight / 16.0;
        assert!(
            (report.bytes as f64 / expected - 1.0).abs() < 0.05,
            "{} bytes, not {expected}",
            report.bytes
        );
        fs::remove_dir_all(scratch.out().join("model")).unwrap();
    }
}
