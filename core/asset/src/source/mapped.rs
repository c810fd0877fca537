//! A file mapped into memory. The only file of this crate with unsafe code.

#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use super::{ByteSource, ReadFuture, ready_slice, sub_slice};
use crate::error::AssetError;

/// A file mapped read-only. Pages come in when they are touched, so opening costs no reads.
///
/// As with every mapped file, truncating the file while it is open makes the process fault on
/// access; assets are write-once, and replacing one by a rename is safe.
pub struct MappedFile {
    /// `None` for an empty file, which cannot be mapped.
    map: Option<memmap2::Mmap>,
}

impl MappedFile {
    /// Maps the file at `path`.
    pub fn open(path: &Path) -> Result<Self, AssetError> {
        let io = |error: std::io::Error| AssetError::Io {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        if length == 0 {
            return Ok(Self { map: None });
        }
        // SAFETY: the map is read-only and private to this struct; slices borrow from it, so it
        // outlives them. Another process that writes the file meanwhile can change the bytes; the
        // reader checks every byte it interprets at the moment of reading and never relies on a
        // second read giving the same answer for memory safety.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        Ok(Self { map: Some(map) })
    }
}

impl ByteSource for MappedFile {
    fn len(&self) -> u64 {
        self.map.as_ref().map_or(0, |map| map.len() as u64)
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        ready_slice(self, range)
    }

    fn slice(&self, range: Range<u64>) -> Option<&[u8]> {
        sub_slice(self.map.as_deref().unwrap_or(&[]), range)
    }
}
