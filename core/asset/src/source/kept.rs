//! A source far away, with some of its bytes kept in memory.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{BringFuture, ByteSource, ReadFuture, read_exact};
use crate::error::AssetError;

/// Most bytes that are brought along with a range that was missed.
const MAX_ALONG: u64 = 256 << 20;

/// Reads far away; answers [`slice`](ByteSource::slice) for what was brought before. What is
/// kept stays for the source's life, so slices can be lent.
pub struct KeptSource {
    far: Arc<dyn ByteSource>,
    kept: Kept,
    /// Ranges that were asked for in vain.
    missed: Mutex<Vec<Range<u64>>>,
    /// Where the file's constants lie; ranges of those that are missed together are brought together.
    constants: OnceLock<Vec<Range<u64>>>,
}

/// A list that grows at its end only.
#[derive(Default)]
struct Kept {
    pieces: OnceLock<Vec<(u64, Vec<u8>)>>,
    next: OnceLock<Box<Kept>>,
}

impl Kept {
    fn find(&self, range: &Range<u64>) -> Option<&[u8]> {
        let mut list = Some(self);
        while let Some(kept) = list {
            let pieces = kept.pieces.get().map_or(&[][..], Vec::as_slice);
            // The last piece that begins at or before the range.
            let after = pieces.partition_point(|(start, _)| *start <= range.start);
            if let Some((start, bytes)) = after.checked_sub(1).and_then(|at| pieces.get(at)) {
                let first = usize::try_from(range.start - start).ok()?;
                let length = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
                if let Some(found) = first.checked_add(length).and_then(|end| bytes.get(first..end)) {
                    return Some(found);
                }
            }
            list = kept.next.get().map(|next| &**next);
        }
        None
    }

    /// Appends pieces, ascending by their start.
    fn push(&self, mut pieces: Vec<(u64, Vec<u8>)>) {
        let mut end = self;
        while let Err(back) = end.pieces.set(pieces) {
            pieces = back;
            end = end.next.get_or_init(Box::default);
        }
    }
}

impl KeptSource {
    /// Keeps nothing yet.
    pub fn new(far: Arc<dyn ByteSource>) -> KeptSource {
        KeptSource { far, kept: Kept::default(), missed: Mutex::default(), constants: OnceLock::new() }
    }

    /// Tells where the constants of the file lie (see [`Asset::constant_ranges`](crate::Asset::constant_ranges)),
    /// and brings those of at most `bytes` bytes.
    pub async fn keep_constants(&self, ranges: Vec<Range<u64>>, bytes: u64) -> Result<(), AssetError> {
        let mut sorted = ranges;
        sorted.sort_by_key(|range| (range.start, range.end));
        sorted.dedup();
        let small = sorted.iter().filter(|r| r.end - r.start <= bytes).cloned().collect();
        let _ = self.constants.set(sorted);
        self.bring(small).await
    }

    /// Brings ranges, ascending by their start.
    async fn bring(&self, ranges: Vec<Range<u64>>) -> Result<(), AssetError> {
        let mut pieces = vec![];
        for range in ranges {
            if self.kept.find(&range).is_none() {
                let bytes = read_exact(&*self.far, range.clone()).await?;
                pieces.push((range.start, bytes.into_owned()));
            }
        }
        if !pieces.is_empty() {
            self.kept.push(pieces);
        }
        Ok(())
    }
}

impl ByteSource for KeptSource {
    fn len(&self) -> u64 {
        self.far.len()
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        self.far.read(range)
    }

    fn slice(&self, range: Range<u64>) -> Option<&[u8]> {
        if range.is_empty() || range.end > self.len() {
            return None;
        }
        let found = self.kept.find(&range);
        if found.is_none() {
            self.missed.lock().unwrap_or_else(PoisonError::into_inner).push(range);
        }
        found
    }

    fn bring_missed(&self) -> BringFuture<'_> {
        Box::pin(async move {
            let missed = std::mem::take(&mut *self.missed.lock().unwrap_or_else(PoisonError::into_inner));
            let size = |range: &Range<u64>| range.end - range.start;
            let Some(largest) = missed.iter().map(size).max() else { return Ok(false) };
            // Whoever wanted one constant of a kind wants the others as well.
            let constants = self.constants.get().map_or(&[][..], Vec::as_slice);
            let alike = constants.iter().filter(|r| size(r) <= largest && self.kept.find(r).is_none());
            let mut wanted: Vec<Range<u64>> = match alike.clone().map(size).sum::<u64>() <= MAX_ALONG {
                true => alike.cloned().collect(),
                false => vec![],
            };
            wanted.extend(missed);
            wanted.sort_by_key(|range| (range.start, range.end));
            self.bring(wanted).await.map(|()| true)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{MemorySource, ready};

    /// Memory that lends nothing.
    struct Far(MemorySource);

    impl ByteSource for Far {
        fn len(&self) -> u64 {
            self.0.len()
        }

        fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
            self.0.read(range)
        }
    }

    #[test]
    fn what_was_missed_is_there_the_next_time() {
        let source = KeptSource::new(Arc::new(Far(MemorySource((0..100).collect()))));
        let ranges = vec![0..4, 10..14, 20..60, 60..90];
        ready(source.keep_constants(ranges, 4)).expect("is in memory");
        assert_eq!(source.slice(11..13), Some(&[11, 12][..]));
        assert_eq!(source.slice(0..0), None, "nothing says that it lies in memory");
        assert!(!ready(source.bring_missed()).expect("nothing was missed"));
        let small = source.slice(0..4).expect("was kept");

        assert_eq!(source.slice(61..63), None);
        assert!(ready(source.bring_missed()).expect("is in memory"));
        assert_eq!(source.slice(61..63), Some(&[61, 62][..]));
        assert_eq!(source.slice(20..60), None, "larger than what was missed");
        assert_eq!(small, [0, 1, 2, 3]);
        assert!(source.slice(80..101).is_none() && !source.is_empty());
    }
}
