//! A source far away, with some of its bytes kept in memory.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{BringFuture, ByteSource, ReadFuture, read_exact};
use crate::asset::Asset;
use crate::error::AssetError;

/// Bytes by which constants of one shape may differ in the file: headers and padding.
const SLACK: u64 = 64;

/// Reads far away; answers [`slice`](ByteSource::slice) for what was brought before. What is
/// kept stays for the source's life, so slices can be lent.
pub struct KeptSource {
    far: Arc<dyn ByteSource>,
    kept: Kept,
    /// Ranges that were asked for in vain.
    missed: Mutex<Vec<Range<u64>>>,
    /// Sizes of the constants that had been missed before, bytes.
    sizes: Mutex<Vec<u64>>,
    /// Where the file's constants lie, ascending.
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
        let (missed, sizes) = (Mutex::default(), Mutex::default());
        KeptSource { far, kept: Kept::default(), missed, sizes, constants: OnceLock::new() }
    }

    /// Brings the program of the asset that was read from this source, and constants of at most `bytes`
    /// bytes: what planning looks into.
    pub async fn keep_program(&self, asset: &Asset, bytes: u64) -> Result<(), AssetError> {
        let constants = asset.constant_ranges();
        let mut wanted = asset.program_ranges();
        wanted.extend(constants.iter().filter(|c| c.end - c.start <= bytes).cloned());
        self.keep(wanted, constants).await
    }

    /// Brings ranges, and remembers where the constants lie, ascending.
    async fn keep(&self, mut wanted: Vec<Range<u64>>, constants: Vec<Range<u64>>) -> Result<(), AssetError> {
        let _ = self.constants.set(constants);
        // Reading the asset asked for every header.
        lock(&self.missed).clear();
        wanted.sort_by_key(|range| (range.start, range.end));
        self.bring(wanted).await
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
            lock(&self.missed).push(range);
        }
        found
    }

    fn bring_missed(&self) -> BringFuture<'_> {
        Box::pin(async move {
            let missed = std::mem::take(&mut *lock(&self.missed));
            if missed.is_empty() {
                return Ok(false);
            }
            // Layers repeat: when a second constant of a size is missed, all of that size are brought.
            let constants = self.constants.get().map_or(&[][..], Vec::as_slice);
            let size = |range: &Range<u64>| range.end - range.start;
            let holder = |m: &Range<u64>| constants.iter().find(|c| c.start <= m.start && m.end <= c.end);
            let mut repeated = vec![];
            {
                let mut sizes = lock(&self.sizes);
                for new in missed.iter().filter_map(holder).map(size) {
                    let again = sizes.iter().any(|s| s.abs_diff(new) <= SLACK);
                    if again { repeated.push(new) } else { sizes.push(new) }
                }
            }
            let alike = |c: &&Range<u64>| repeated.iter().any(|s| s.abs_diff(size(c)) <= SLACK);
            let mut wanted: Vec<Range<u64>> = constants.iter().filter(alike).cloned().collect();
            wanted.extend(missed);
            wanted.sort_by_key(|range| (range.start, range.end));
            self.bring(wanted).await.map(|()| true)
        })
    }
}

/// The lists are valid after each single change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let source = KeptSource::new(Arc::new(Far(MemorySource(
            (0..200).chain(0..200).chain(0..200).chain(0..200).collect(),
        ))));
        let ranges = vec![0..4, 10..14, 20..60, 60..90, 200..400, 400..600, 600..800];
        ready(source.keep(vec![10..14, 0..4], ranges)).expect("is in memory");
        assert_eq!(source.slice(11..13), Some(&[11, 12][..]));
        assert_eq!(source.slice(0..0), None, "nothing says that it lies in memory");
        assert!(!ready(source.bring_missed()).expect("nothing was missed"));
        let small = source.slice(0..4).expect("was kept");

        assert_eq!(source.slice(61..63), None);
        assert!(ready(source.bring_missed()).expect("is in memory"));
        assert_eq!(source.slice(61..63), Some(&[61, 62][..]));
        assert_eq!(source.slice(200..300), None);
        assert!(ready(source.bring_missed()).expect("is in memory"));
        assert_eq!(source.slice(200..202), Some(&[0, 1][..]));
        assert_eq!(source.slice(400..402), None, "only one of its size was missed so far");
        assert!(ready(source.bring_missed()).expect("is in memory"));
        assert_eq!(source.slice(700..702), Some(&[100, 101][..]), "the second one brings the third");
        assert_eq!(small, [0, 1, 2, 3]);
        assert!(source.slice(780..801).is_none() && !source.is_empty());
    }
}
