//! Writes GGUF files byte by byte, right and wrong ones.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use coreai_asset::{ByteSource, MemorySource, ReadFuture};
use coreai_convert::{ConvertError, Gguf};

/// A file under construction: its keys and tensors so far.
#[derive(Clone)]
pub struct Build {
    pub magic: [u8; 4],
    pub version: u32,
    pub keys: (u64, Vec<u8>),
    pub tensors: (u64, Vec<u8>),
    pub data: Vec<u8>,
    pub alignment: usize,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            keys: (0, vec![]),
            tensors: (0, vec![]),
            data: vec![],
            alignment: 32,
        }
    }
}

impl Build {
    /// A key; `value` is what follows the type.
    pub fn key(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.keys.0 += 1;
        self.keys.1.extend(text(key));
        self.keys.1.extend(kind.to_le_bytes());
        self.keys.1.extend(value);
        self
    }

    /// A tensor's description; extents are innermost first.
    pub fn tensor(mut self, name: &str, extents: &[u64], kind: u32, offset: u64) -> Self {
        self.tensors.0 += 1;
        self.tensors.1.extend(text(name));
        self.tensors.1.extend((extents.len() as u32).to_le_bytes());
        self.tensors.1.extend(extents.iter().flat_map(|extent| extent.to_le_bytes()));
        self.tensors.1.extend(kind.to_le_bytes());
        self.tensors.1.extend(offset.to_le_bytes());
        self
    }

    pub fn data(mut self, data: &[u8]) -> Self {
        self.data.extend(data);
        self
    }

    pub fn header(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.tensors.0.to_le_bytes());
        bytes.extend(self.keys.0.to_le_bytes());
        bytes.extend(&self.keys.1);
        bytes.extend(&self.tensors.1);
        bytes
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        if !self.data.is_empty() {
            bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
            bytes.extend(&self.data);
        }
        bytes
    }

    pub fn read(&self) -> Result<Gguf, ConvertError> {
        read(self.bytes())
    }

    /// The error of reading it.
    pub fn error(&self) -> ConvertError {
        self.read().err().expect("a file that cannot be read")
    }
}

/// A string as files have it.
pub fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// What follows the type of an array.
pub fn array(kind: u32, count: u64, items: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), items].concat()
}

pub fn read(bytes: Vec<u8>) -> Result<Gguf, ConvertError> {
    Gguf::read("test.gguf", Arc::new(MemorySource(bytes)))
}

/// A source without slices.
pub struct Ranges(pub Vec<u8>);

impl ByteSource for Ranges {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        let bytes = self.0.get(range.start as usize..range.end as usize).unwrap_or_default();
        Box::pin(std::future::ready(Ok(Cow::Borrowed(bytes))))
    }
}

/// A file with keys of several types and three tensors.
pub fn small() -> Build {
    Build::default()
        .key("general.architecture", 8, &text("llama"))
        .key("general.alignment", 4, &32u32.to_le_bytes())
        .key("llama.block_count", 4, &2u32.to_le_bytes())
        .key("tokenizer.ggml.tokens", 9, &array(8, 3, &[text("a"), text("▁b"), text("")].concat()))
        .key("tokenizer.ggml.scores", 9, &array(6, 2, &[0; 8]))
        .key("tokenizer.ggml.add_bos_token", 7, &[1])
        .tensor("numbers", &[3, 2], 0, 0)
        .tensor("blocks", &[64, 2], 2, 32)
        .tensor("scalar", &[], 24, 128)
        .data(&[1; 129])
}
