//! A checkpoint as a folder: configuration, tokenizer, safetensors.

use std::collections::HashMap;
use std::path::Path;
use std::{fs, io};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Map, Value, json};

use super::case::{Checkpoint, Elements, Tensor};
use super::tokenizer;

/// Type of the weights in a file. Packed weights stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// The weights that the logits were recorded with.
    #[default]
    F32,
    /// Rounded to nearest, ties to even.
    F16,
    /// Rounded to nearest, ties to even.
    BF16,
}

/// Which names the keys of `config.json` have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// Those of transformers 5: `rope_parameters`, `dtype`.
    #[default]
    Current,
    /// Those of most published checkpoints: `rope_theta`, `rope_scaling`, `torch_dtype`.
    Legacy,
}

/// How a folder is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Type of the weights.
    pub storage: Storage,
    /// Names of the configuration's keys.
    pub keys: Keys,
    /// Safetensors files beside an index; none or one is `model.safetensors` without an index.
    pub shards: usize,
}

impl Checkpoint {
    /// Writes `config.json`, `tokenizer.json`, `tokenizer_config.json` and the weights; makes the folder.
    pub fn write_folder(&self, folder: &Path, layout: &Layout) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let (mut config, dtype) = match layout.keys {
            Keys::Current => (self.config.clone(), "dtype"),
            Keys::Legacy => (self.legacy_config(), "torch_dtype"),
        };
        config[dtype] = layout.storage.name().into();
        let write = |name: &str, value: &Value| fs::write(folder.join(name), format!("{value:#}\n"));
        write("config.json", &config)?;
        write("tokenizer.json", &tokenizer::huggingface(&self.config))?;
        write("tokenizer_config.json", &tokenizer::huggingface_config(&self.config))?;

        let tensors: Vec<Packed> =
            self.tensors().into_iter().map(|t| Packed::new(t, layout.storage)).collect();
        if layout.shards < 2 {
            return save(&folder.join("model.safetensors"), &tensors);
        }
        let mut map = Map::new();
        for (i, part) in tensors.chunks(tensors.len().div_ceil(layout.shards)).enumerate() {
            let name = format!("model-{:05}-of-{:05}.safetensors", i + 1, layout.shards);
            save(&folder.join(&name), part)?;
            map.extend(part.iter().map(|tensor| (tensor.name.clone(), Value::from(name.as_str()))));
        }
        let size: usize = tensors.iter().map(|tensor| tensor.bytes.len()).sum();
        write("model.safetensors.index.json", &json!({"metadata": {"total_size": size}, "weight_map": map}))
    }
}

impl Storage {
    fn name(self) -> &'static str {
        match self {
            Storage::F32 => "float32",
            Storage::F16 => "float16",
            Storage::BF16 => "bfloat16",
        }
    }

    /// A weight as it is after this storage.
    pub(super) fn round(self, value: f32) -> f32 {
        match self {
            Storage::F32 => value,
            Storage::F16 => f16::from_f32(value).to_f32(),
            Storage::BF16 => bf16::from_f32(value).to_f32(),
        }
    }

    /// Little-endian bytes.
    pub(super) fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Storage::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Storage::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
            Storage::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        }
    }
}

/// A tensor as its bytes.
struct Packed {
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
    bytes: Vec<u8>,
}

impl Packed {
    fn new(tensor: Tensor, storage: Storage) -> Packed {
        let (dtype, bytes) = match (tensor.elements, storage) {
            (Elements::Bytes(bytes), _) => (Dtype::U8, bytes),
            (Elements::Float(values), Storage::F32) => (Dtype::F32, storage.bytes(&values)),
            (Elements::Float(values), Storage::F16) => (Dtype::F16, storage.bytes(&values)),
            (Elements::Float(values), Storage::BF16) => (Dtype::BF16, storage.bytes(&values)),
        };
        Packed { name: tensor.name, shape: tensor.shape, dtype, bytes }
    }
}

fn save(path: &Path, tensors: &[Packed]) -> io::Result<()> {
    let views: Result<Vec<_>, _> = tensors
        .iter()
        .map(|t| Ok((t.name.as_str(), TensorView::new(t.dtype, t.shape.clone(), &t.bytes)?)))
        .collect();
    let views = views.map_err(|e: safetensors::SafeTensorError| io::Error::other(e))?;
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views, Some(format), path).map_err(io::Error::other)
}
