//! The same checkpoint as a GGUF file, as llama.cpp's converter writes it.
//! The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

use std::path::Path;
use std::{fs, io};

use super::case::Checkpoint;
use super::folder::Storage;
use super::gguf_keys;
use super::gguf_tensors::{self, Encoded};

/// Tensor data start at multiples of this many bytes.
const ALIGNMENT: usize = 32;

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Meta {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    F32s(Vec<f32>),
    I32s(Vec<i32>),
}

impl Checkpoint {
    /// What of this checkpoint a GGUF file cannot say: `None` where [`Checkpoint::write_gguf`] loses nothing.
    pub fn gguf_gap(&self) -> Option<&'static str> {
        gguf_keys::gap(&self.config)
    }

    /// Writes the checkpoint as a GGUF file. Weights are rounded to `storage` first; vectors, biases and
    /// routers are then stored as float32, as the converter does. MXFP4 experts stay MXFP4. An error for a
    /// checkpoint with a [`Checkpoint::gguf_gap`].
    pub fn write_gguf(&self, path: &Path, storage: Storage) -> io::Result<()> {
        if let Some(gap) = self.gguf_gap() {
            return Err(io::Error::other(format!("{}: {gap}", self.name())));
        }
        let keys = gguf_keys::keys(self, storage);
        let tensors = gguf_tensors::encode(self, storage);
        let mut file = Vec::new();
        file.extend(b"GGUF");
        file.extend(3_u32.to_le_bytes());
        file.extend((tensors.len() as u64).to_le_bytes());
        file.extend((keys.len() as u64).to_le_bytes());
        for (key, value) in &keys {
            text(&mut file, key);
            value.write(&mut file);
        }
        let mut offset = 0;
        for tensor in &tensors {
            describe(&mut file, tensor, offset);
            offset += tensor.bytes.len().next_multiple_of(ALIGNMENT) as u64;
        }
        for tensor in &tensors {
            file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
            file.extend(&tensor.bytes);
        }
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        fs::write(path, file)
    }
}

fn text(file: &mut Vec<u8>, text: &str) {
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(text.as_bytes());
}

/// The entry of a tensor; its extents are listed innermost first.
fn describe(file: &mut Vec<u8>, tensor: &Encoded, offset: u64) {
    text(file, &tensor.name);
    file.extend((tensor.shape.len() as u32).to_le_bytes());
    for extent in tensor.shape.iter().rev() {
        file.extend((*extent as u64).to_le_bytes());
    }
    file.extend((tensor.kind as u32).to_le_bytes());
    file.extend(offset.to_le_bytes());
}

impl Meta {
    fn write(&self, file: &mut Vec<u8>) {
        const U32: u32 = 4;
        const I32: u32 = 5;
        const F32: u32 = 6;
        const BOOL: u32 = 7;
        const TEXT: u32 = 8;
        const ARRAY: u32 = 9;
        let start = |file: &mut Vec<u8>, of: u32, count: usize| {
            file.extend(ARRAY.to_le_bytes());
            file.extend(of.to_le_bytes());
            file.extend((count as u64).to_le_bytes());
        };
        match self {
            Meta::U32(value) => file.extend([U32.to_le_bytes(), value.to_le_bytes()].concat()),
            Meta::F32(value) => file.extend([F32.to_le_bytes(), value.to_le_bytes()].concat()),
            Meta::Bool(value) => {
                file.extend(BOOL.to_le_bytes());
                file.push(u8::from(*value));
            }
            Meta::Text(value) => {
                file.extend(TEXT.to_le_bytes());
                text(file, value);
            }
            Meta::Texts(values) => {
                start(file, TEXT, values.len());
                values.iter().for_each(|value| text(file, value));
            }
            Meta::F32s(values) => {
                start(file, F32, values.len());
                values.iter().for_each(|value| file.extend(value.to_le_bytes()));
            }
            Meta::I32s(values) => {
                start(file, I32, values.len());
                values.iter().for_each(|value| file.extend(value.to_le_bytes()));
            }
        }
    }
}
