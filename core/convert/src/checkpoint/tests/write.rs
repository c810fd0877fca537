//! Writes small checkpoints.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::checkpoint::{Checkpoint, layout};
use crate::config::Config;
use crate::error::ConvertError;

/// A folder that is removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coreai-convert-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// With a configuration and a tokenizer that nobody reads.
    pub fn model(name: &str, config: &Value) -> Self {
        let folder = Self::new(name);
        folder.write("config.json", config.to_string());
        folder.write("tokenizer.json", r#"{"model": {}}"#);
        folder
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.0.join(name), bytes).unwrap();
    }

    pub fn open(&self) -> Result<Checkpoint, ConvertError> {
        Checkpoint::open(&self.0)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Name, shape, values.
pub type Tensor = (String, Vec<u64>, Vec<f32>);

/// A tensor whose values are its own.
pub fn tensor(name: &str, shape: &[u64]) -> Tensor {
    let seed = name.bytes().fold(7u32, |seed, byte| seed.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let count: u64 = shape.iter().product();
    let values = (0..count as u32).map(|index| (seed % 1009) as f32 + index as f32 / 4.0).collect();
    (name.into(), shape.to_vec(), values)
}

/// All tensors of a configuration in the form that checkpoints are brought into.
pub fn tensors(config: &Config) -> Vec<Tensor> {
    let mut all = Vec::new();
    let added: Result<(), ()> = layout::tensors(config, |name, shape| {
        all.push(tensor(name, shape));
        Ok(())
    });
    added.unwrap();
    all
}

/// A small configuration with all keys, changed by `keys`.
pub fn small(model_type: &str, keys: Value) -> Value {
    let mut json = json!({
        "model_type": model_type, "vocab_size": 11, "hidden_size": 8, "intermediate_size": 6,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
        "tie_word_embeddings": false, "num_local_experts": 3, "num_experts_per_tok": 2,
        "moe_intermediate_size": 6,
    });
    for (key, value) in keys.as_object().unwrap() {
        json[key] = value.clone();
    }
    json
}

pub fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let (mut header, mut data) = (json!({"__metadata__": {"format": "pt"}}), Vec::new());
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        header[name] = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
    }
    file(&header.to_string(), &data)
}

/// A safetensors file of any header.
pub fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// Reads a tensor whole.
pub fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let rows = checkpoint.tensors.get(name).unwrap_or_else(|| panic!("{name} is missing"));
    let mut values = vec![f32::NAN; (rows.rows() * rows.columns()) as usize];
    rows.read(0, &mut values).unwrap();
    values
}

/// Every tensor of the configuration is there with the values of [`tensors`].
pub fn check(checkpoint: &Checkpoint, expected: &[Tensor]) {
    assert_eq!(checkpoint.tensors.len(), expected.len());
    for (name, shape, expected) in expected {
        assert_eq!(checkpoint.tensors[name].shape(), shape, "{name}");
        assert_eq!(&values(checkpoint, name), expected, "{name}");
    }
}

/// A value of GGUF metadata.
pub enum Meta {
    Text(String),
    Count(u32),
    Float(f32),
    Flag(bool),
    Texts(Vec<String>),
    Floats(Vec<f32>),
    Integers(Vec<i32>),
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn array(kind: u32, count: usize, items: Vec<u8>) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &(count as u64).to_le_bytes(), &items].concat()
}

/// A GGUF file with float32 tensors.
pub fn gguf(keys: &[(String, Meta)], tensors: &[Tensor]) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((keys.len() as u64).to_le_bytes());
    for (key, value) in keys {
        let (kind, value) = match value {
            Meta::Text(value) => (8u32, text(value)),
            Meta::Count(value) => (4, value.to_le_bytes().to_vec()),
            Meta::Float(value) => (6, value.to_le_bytes().to_vec()),
            Meta::Flag(value) => (7, vec![u8::from(*value)]),
            Meta::Texts(all) => (9, array(8, all.len(), all.iter().flat_map(|one| text(one)).collect())),
            Meta::Floats(all) => {
                (9, array(6, all.len(), all.iter().flat_map(|one| one.to_le_bytes()).collect()))
            }
            Meta::Integers(all) => {
                (9, array(5, all.len(), all.iter().flat_map(|one| one.to_le_bytes()).collect()))
            }
        };
        bytes.extend(text(key));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(value);
    }
    let mut data = Vec::new();
    for (name, shape, values) in tensors {
        data.resize(data.len().next_multiple_of(32), 0);
        bytes.extend(text(name));
        bytes.extend((shape.len() as u32).to_le_bytes());
        bytes.extend(shape.iter().rev().flat_map(|extent| extent.to_le_bytes()));
        bytes.extend(0u32.to_le_bytes());
        bytes.extend((data.len() as u64).to_le_bytes());
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.extend(data);
    bytes
}
