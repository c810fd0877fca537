//! Bounded reading of a header.

use std::borrow::Cow;
use std::ops::Range;

use coreai_asset::ByteSource;

use crate::error::ConvertError;
use crate::formats::bytes_of;

/// Bytes of a header: keys, values and the tensors' names. The vocabularies of large models take 20 MB.
const MAX_HEADER_BYTES: u64 = 128 << 20;
/// Bytes that are read at once from sources that are not in memory.
const WINDOW: u64 = 256 << 10;

/// A position in the header. Every read is checked against the file and the limit.
pub(super) struct Cursor<'a> {
    file: &'a str,
    source: &'a dyn ByteSource,
    /// Where in the file the next byte is.
    at: u64,
    /// Bytes around `at`, and where in the file they begin.
    window: Cow<'a, [u8]>,
    window_at: u64,
    /// What is being read, for messages.
    what: Cow<'static, str>,
}

impl<'a> Cursor<'a> {
    pub fn new(file: &'a str, source: &'a dyn ByteSource) -> Self {
        // of sources in memory the whole header is the window
        let header = source.len().min(MAX_HEADER_BYTES);
        let window = source.slice(0..header).map_or(Cow::Borrowed(&[][..]), Cow::Borrowed);
        Self { file, source, at: 0, window, window_at: 0, what: "header".into() }
    }

    pub fn file(&self) -> &str {
        self.file
    }

    /// File offset of the next byte.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Names what comes next.
    pub fn begin(&mut self, what: impl Into<Cow<'static, str>>) {
        self.what = what.into();
    }

    pub fn malformed(&self, reason: String) -> ConvertError {
        ConvertError::Malformed { file: self.file.into(), what: self.what.to_string(), reason }
    }

    fn limit(&self, of: &str, value: u64, limit: u64) -> ConvertError {
        ConvertError::Limit { file: self.file.into(), what: format!("{}: {of}", self.what), value, limit }
    }

    fn remaining(&self) -> u64 {
        self.source.len().saturating_sub(self.at)
    }

    /// Moves over `count` bytes, which then are at this place in the window.
    fn advance(&mut self, count: u64) -> Result<Range<usize>, ConvertError> {
        if count > self.remaining() {
            return Err(self.malformed(format!(
                "truncated: {count} bytes from byte {} on, {} are left",
                self.at,
                self.remaining()
            )));
        }
        let end = self.at + count; // at most the length of the file
        if end > MAX_HEADER_BYTES {
            return Err(self.limit("end in the header", end, MAX_HEADER_BYTES));
        }
        if end > self.window_at + self.window.len() as u64 {
            let window_end = self.source.len().min(MAX_HEADER_BYTES).min(self.at.saturating_add(WINDOW));
            self.window = bytes_of(self.source, self.at..window_end.max(end))?;
            self.window_at = self.at;
        }
        // within the window, which is not longer than the limit
        let start = (self.at - self.window_at) as usize;
        self.at = end;
        Ok(start..start + count as usize)
    }

    /// The next bytes.
    pub fn take(&mut self, count: u64) -> Result<&[u8], ConvertError> {
        let range = self.advance(count)?;
        Ok(self.window.get(range).unwrap_or_default())
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ConvertError> {
        let mut array = [0; N];
        for (to, from) in array.iter_mut().zip(self.take(N as u64)?) {
            *to = *from;
        }
        Ok(array)
    }

    pub fn u32(&mut self) -> Result<u32, ConvertError> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, ConvertError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of items that take at least `item_bytes` each: not more than the header can hold, nor than
    /// `limit`.
    pub fn count(&mut self, what: &'static str, item_bytes: u64, limit: u64) -> Result<u64, ConvertError> {
        self.begin(what);
        let count = self.items(item_bytes)?;
        if count > limit { Err(self.limit("count", count, limit)) } else { Ok(count) }
    }

    /// [`Cursor::count`] of a thing that has been named, without a limit of its own.
    pub fn items(&mut self, item_bytes: u64) -> Result<u64, ConvertError> {
        let count = self.u64()?;
        let possible = self.remaining() / item_bytes.max(1);
        if count > possible {
            return Err(self.malformed(format!(
                "{count} items of {item_bytes} bytes or more from byte {} on, {} bytes are left",
                self.at,
                self.remaining()
            )));
        }
        let possible = MAX_HEADER_BYTES.saturating_sub(self.at) / item_bytes.max(1);
        if count > possible { Err(self.limit("items", count, possible)) } else { Ok(count) }
    }

    /// A string: its length in bytes, then UTF-8.
    pub fn text(&mut self) -> Result<&str, ConvertError> {
        let start = self.at;
        let length = self.u64()?;
        let range = self.advance(length)?;
        std::str::from_utf8(self.window.get(range).unwrap_or_default())
            .map_err(|error| self.malformed(format!("the string at byte {start} is not UTF-8: {error}")))
    }
}
