//! GGUF files: metadata, and tensors that are read by rows.
//!
//! The layout follows the GGUF specification of ggml, versions 2 and 3. Everything is little-endian:
//! magic, version, number of tensors, number of keys; the keys with their values; the tensors' names,
//! extents (innermost first), types and offsets; then, aligned, the data that the offsets count from.

mod cursor;
mod metadata;
mod tensors;
mod value;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use coreai_asset::{ByteSource, MappedFile};

pub use metadata::Metadata;
pub use value::{Numbers, Strings, Value};

use crate::error::ConvertError;
use crate::formats::StoredRows;
use cursor::Cursor;

/// Keys of a file; real files have some forty.
const MAX_KEYS: u64 = 1 << 16;
/// Tensors of a file; models with thousands of separate experts reach some ten thousands.
const MAX_TENSORS: u64 = 1 << 17;

/// An open GGUF file. Holds the metadata; the tensors' data stays in the file.
pub struct Gguf {
    version: u32,
    metadata: Metadata,
    tensors: BTreeMap<String, Arc<StoredRows>>,
}

impl Gguf {
    /// Maps the file and reads its header.
    pub fn open(path: &Path) -> Result<Self, ConvertError> {
        let file = path.display().to_string();
        if !path.exists() {
            return Err(ConvertError::NotFound { path: file });
        }
        if !path.is_file() {
            return Err(ConvertError::File { path: file, reason: "is not a file".into() });
        }
        Self::read(file, Arc::new(MappedFile::open(path)?))
    }

    /// Reads the header of a GGUF file. `file` names it in messages.
    ///
    /// Fails for files that are damaged, big-endian, of another version, one of several parts, or that have
    /// a tensor of a type that cannot be read.
    pub fn read(file: impl Into<String>, source: Arc<dyn ByteSource>) -> Result<Self, ConvertError> {
        let file = file.into();
        let mut cursor = Cursor::new(&file, &*source);
        let version = read_version(&mut cursor)?;
        // a name's length, extents, type, offset; a key's length, type, value
        let tensors = cursor.count("number of tensors", 24, MAX_TENSORS)?;
        let keys = cursor.count("number of keys", 13, MAX_KEYS)?;
        let metadata = Metadata::read(&mut cursor, keys)?;
        refuse_parts(&file, &metadata)?;
        let tensors = tensors::read(&mut cursor, tensors, metadata.alignment()?, &source)?;
        Ok(Self { version, metadata, tensors })
    }

    /// Of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Keys and values.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Names of the tensors, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor by the name it has in the file. Its shape is outermost first.
    pub fn tensor(&self, name: &str) -> Option<Arc<StoredRows>> {
        self.tensors.get(name).cloned()
    }
}

fn read_version(cursor: &mut Cursor) -> Result<u32, ConvertError> {
    cursor.begin("magic");
    let magic: [u8; 4] = cursor.array()?;
    if magic != *b"GGUF" {
        return Err(cursor.malformed(format!(
            "is \"{}\"; expected \"GGUF\" (not a GGUF file, or one that was not downloaded completely)",
            magic.escape_ascii()
        )));
    }
    cursor.begin("version");
    match cursor.u32()? {
        version @ (2 | 3) => Ok(version),
        version if version >= 1 << 16 && version.swap_bytes() < 1 << 16 => {
            Err(cursor.malformed("the file is big-endian; convert it to little-endian".into()))
        }
        version => Err(cursor.malformed(format!(
            "is {version}; expected 2 or 3 (convert the model again with a newer converter)"
        ))),
    }
}

/// A part of a model lacks the other tensors.
fn refuse_parts(file: &str, metadata: &Metadata) -> Result<(), ConvertError> {
    let parts = metadata.u64("split.count")?.unwrap_or(1);
    if parts <= 1 {
        return Ok(());
    }
    let part = metadata.u64("split.no")?.map_or(String::new(), |part| format!(" {}", part.saturating_add(1)));
    Err(ConvertError::File {
        path: file.into(),
        reason: format!(
            "is part{part} of the {parts} parts of a split model; join them first, with \
             `llama-gguf-split --merge FIRST_PART JOINED`"
        ),
    })
}
