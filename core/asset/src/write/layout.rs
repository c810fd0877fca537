//! The file: sections around the weights (§2.2), and the pass that writes it.

use std::io::{ErrorKind, Write};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Progress;
use super::bytes::{flagged, section, vi};
use super::encoder::Encoder;
use super::pool::Pool;
use crate::error::AssetError;
use crate::file::Section;
use crate::limits::{BYTECODE_VERSION, DIALECT_VERSION, MAX_TABLE_BYTES};
use crate::source::{ByteSource, read_exact, ready};

/// What Apple's writer calls itself; a built asset has no other.
const PRODUCER: &str = "MLIR22.0.0git";
/// Alignment of weights, as in all files seen.
const ALIGNMENT: u64 = 16;
/// Section of the version of a dialect.
const DIALECT_VERSION_SECTION: u8 = 7;
/// Bytes of weights read at a time.
const CHUNK: u64 = 1 << 20;

/// The bytes of one resource: a header, then a range of a source.
struct Blob {
    header: Vec<u8>,
    source: Arc<dyn ByteSource>,
    start: u64,
    end: u64,
}

/// A file whose lengths are all known.
pub(super) struct Layout {
    /// Up to the weights.
    before: Vec<u8>,
    blobs: Vec<Blob>,
    /// What follows the weights.
    after: Vec<u8>,
    total: u64,
}

impl Layout {
    pub fn new(producer: &str, mut encoder: Encoder<'_, '_>, ir: &[u8]) -> Result<Self, AssetError> {
        // names of resources only have to differ
        let keys: Vec<u64> =
            (0..encoder.weights.len()).map(|index| encoder.string(&format!("resource_{index}"))).collect();
        let mut before = b"ML\xefR".to_vec();
        vi(&mut before, BYTECODE_VERSION);
        let producer = if producer.is_empty() { PRODUCER } else { producer };
        before.extend_from_slice(producer.as_bytes());
        before.push(0);
        section(&mut before, Section::Dialects as u8, &dialects(&encoder.op_names));
        section(&mut before, Section::AttrTypeOffsets as u8, &offsets(&encoder.attrs, &encoder.types));
        let mut data = std::mem::take(&mut encoder.attrs.data);
        data.append(&mut encoder.types.data);
        section(&mut before, Section::AttrTypeData as u8, &data);
        section(&mut before, Section::Ir as u8, ir);

        let mut blobs = Vec::with_capacity(encoder.weights.len());
        let mut table = Vec::new();
        vi(&mut table, 0); // no external groups
        if !encoder.weights.is_empty() {
            vi(&mut table, 0); // the dialect
            vi(&mut table, encoder.weights.len() as u64);
        }
        let mut length = 0u64;
        for (weights, key) in encoder.weights.iter().zip(keys) {
            let size = weights.range.end.saturating_sub(weights.range.start);
            let mut header = Vec::new();
            vi(&mut header, ALIGNMENT);
            vi(&mut header, size);
            let at = length.saturating_add(header.len() as u64);
            let padding = at.wrapping_neg() % ALIGNMENT;
            header.extend(std::iter::repeat_n(0xCB, padding as usize));
            let entry = size.saturating_add(header.len() as u64);
            length = length.checked_add(entry).ok_or(AssetError::LimitExceeded {
                what: "bytes of weights",
                offset: 0,
                value: u64::MAX,
                limit: i64::MAX as u64,
            })?;
            vi(&mut table, key);
            vi(&mut table, entry);
            table.push(0); // a blob
            let source = encoder.asset(weights.part)?.source().clone();
            blobs.push(Blob { header, source, start: weights.range.start, end: weights.range.end });
        }
        section(&mut before, Section::ResourceOffsets as u8, &table);
        match blobs.is_empty() {
            true => section(&mut before, Section::Resources as u8, &[]),
            false => {
                before.push(Section::Resources as u8 | 0x80);
                vi(&mut before, length);
                vi(&mut before, ALIGNMENT);
                let padding = (before.len() as u64).wrapping_neg() % ALIGNMENT;
                before.extend(std::iter::repeat_n(0xCB, padding as usize));
            }
        }
        let mut after = Vec::new();
        section(&mut after, Section::Strings as u8, &strings(&encoder.strings));
        section(&mut after, Section::Properties as u8, &properties(&encoder.properties));
        let tables = before.len() as u64 + after.len() as u64;
        if tables > MAX_TABLE_BYTES {
            return Err(AssetError::LimitExceeded {
                what: "bytes of tables",
                offset: 0,
                value: tables,
                limit: MAX_TABLE_BYTES,
            });
        }
        let total = length.saturating_add(tables);
        Ok(Self { before, blobs, after, total })
    }

    /// Writes the file and returns its SHA-256.
    pub fn write(self, sink: &mut dyn Write, progress: &mut Progress<'_>) -> Result<[u8; 32], AssetError> {
        let mut out = Output { sink, progress, hash: Sha256::new(), done: 0, total: self.total };
        out.put(&self.before)?;
        for blob in &self.blobs {
            out.put(&blob.header)?;
            let mut at = blob.start;
            while at < blob.end {
                let end = blob.end.min(at.saturating_add(CHUNK));
                match blob.source.slice(at..end) {
                    Some(bytes) => out.put(bytes)?,
                    None => out.put(&ready(read_exact(&*blob.source, at..end))?)?,
                }
                at = end;
            }
        }
        out.put(&self.after)?;
        out.sink.flush().map_err(|error| write_error("main.mlirb", &error))?;
        Ok(out.hash.finalize().into())
    }
}

struct Output<'a, 'p> {
    sink: &'a mut dyn Write,
    progress: &'a mut Progress<'p>,
    hash: Sha256,
    done: u64,
    total: u64,
}

impl Output<'_, '_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), AssetError> {
        self.sink.write_all(bytes).map_err(|error| write_error("main.mlirb", &error))?;
        self.hash.update(bytes);
        self.done += bytes.len() as u64;
        (self.progress)(self.done, self.total);
        Ok(())
    }
}

/// Why a file cannot be written.
pub(super) fn write_error(path: &str, error: &std::io::Error) -> AssetError {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => AssetError::DiskFull { path },
        _ => AssetError::Write { path, reason: error.to_string() },
    }
}

fn dialects(op_names: &Pool) -> Vec<u8> {
    let mut out = Vec::new();
    vi(&mut out, 1);
    flagged(&mut out, 0, true); // string 0, with a version
    let mut version = Vec::new();
    vi(&mut version, DIALECT_VERSION);
    section(&mut out, DIALECT_VERSION_SECTION, &version);
    vi(&mut out, op_names.len() as u64);
    vi(&mut out, 0);
    vi(&mut out, op_names.len() as u64);
    // an entry is the index of a string; all operations are registered
    for name in op_names.entries() {
        let index = crate::file::Cursor::new(name, 0, "operation name").vi().unwrap_or_default();
        flagged(&mut out, index, true);
    }
    out
}

fn offsets(attrs: &Pool, types: &Pool) -> Vec<u8> {
    let mut out = Vec::new();
    vi(&mut out, attrs.len() as u64);
    vi(&mut out, types.len() as u64);
    for pool in [attrs, types].into_iter().filter(|pool| pool.len() > 0) {
        vi(&mut out, 0); // the dialect
        vi(&mut out, pool.len() as u64);
        pool.sizes.iter().for_each(|size| flagged(&mut out, *size as u64, true));
    }
    out
}

/// Lengths in reverse order, then the texts.
fn strings(strings: &Pool) -> Vec<u8> {
    let mut out = Vec::new();
    vi(&mut out, strings.len() as u64);
    strings.sizes.iter().rev().for_each(|size| vi(&mut out, *size as u64 + 1));
    for text in strings.entries() {
        out.extend_from_slice(text);
        out.push(0);
    }
    out
}

fn properties(blobs: &Pool) -> Vec<u8> {
    let mut out = Vec::new();
    vi(&mut out, blobs.len() as u64);
    for blob in blobs.entries() {
        vi(&mut out, blob.len() as u64);
        out.extend_from_slice(blob);
    }
    out
}
