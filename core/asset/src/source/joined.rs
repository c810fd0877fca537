//! Sources one after the other.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::{ByteSource, ReadFuture, read_exact};
use crate::error::AssetError;

/// Several sources as one file: the bytes of each follow those of the one before.
#[derive(Clone, Default)]
pub(crate) struct Joined {
    /// Where each part begins, ascending.
    parts: Vec<(u64, Arc<dyn ByteSource>)>,
    length: u64,
}

impl Joined {
    /// Appends a part; the ranges of the others stay as they are. `None` if the sum overflows.
    pub fn push(&mut self, part: Arc<dyn ByteSource>) -> Option<Range<u64>> {
        let start = self.length;
        self.length = start.checked_add(part.len())?;
        self.parts.push((start, part));
        Some(start..self.length)
    }

    /// The part that holds a byte, and where that part begins.
    fn part(&self, at: u64) -> Option<&(u64, Arc<dyn ByteSource>)> {
        let after = self.parts.partition_point(|(start, _)| *start <= at);
        // parts of no bytes begin where the next one does
        self.parts.get(after.checked_sub(1)?)
    }
}

impl ByteSource for Joined {
    fn len(&self) -> u64 {
        self.length
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        Box::pin(async move {
            let beyond = || AssetError::Source {
                start: range.start,
                end: range.end,
                reason: format!("the file has {} bytes", self.length),
            };
            if range.end > self.length || range.start > range.end {
                return Err(beyond());
            }
            let mut bytes = Vec::new();
            let mut at = range.start;
            while at < range.end {
                let (start, part) = self.part(at).ok_or_else(beyond)?;
                let end = range.end.min(start + part.len());
                let piece = read_exact(&**part, at - start..end - start).await?;
                if at == range.start && end == range.end {
                    return Ok(piece);
                }
                bytes.extend_from_slice(&piece);
                at = end;
            }
            Ok(Cow::Owned(bytes))
        })
    }

    fn slice(&self, range: Range<u64>) -> Option<&[u8]> {
        if range.is_empty() {
            return (range.end <= self.length).then_some(&[]);
        }
        let (start, part) = self.part(range.start)?;
        part.slice(range.start - start..range.end.checked_sub(*start)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{MemorySource, ready};

    #[test]
    fn ranges_across_parts() {
        let mut joined = Joined::default();
        for part in [&b"abc"[..], b"", b"defg"] {
            joined.push(Arc::new(MemorySource(part.to_vec()))).expect("is small");
        }
        assert_eq!(joined.len(), 7);
        let read = |range| ready(joined.read(range)).map(|bytes| bytes.into_owned());
        assert_eq!(read(0..3).expect("the first"), b"abc");
        assert_eq!(read(2..6).expect("across"), b"cdef");
        assert_eq!(read(7..7).expect("nothing"), b"");
        assert!(read(5..8).is_err());
        assert_eq!(joined.slice(3..7), Some(&b"defg"[..]));
        assert_eq!(joined.slice(2..4), None, "two parts are not one slice");
    }
}
