//! What a decoder has to run, and how large its cache has to be. Pure arithmetic.

use std::ops::Range;

/// First capacity of a growing cache, in tokens.
const FIRST_CAPACITY: usize = 256;

/// Tokens of the cache that can stay when the context becomes `wanted`. The last wanted token is
/// always run again, since its logits are what is asked for. Without `rewind` (a recurrent state,
/// which has no positions) the cache stays whole or not at all.
pub(super) fn reusable(cached: &[u32], wanted: &[u32], rewind: bool) -> usize {
    let common = cached.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    let common = common.min(wanted.len().saturating_sub(1));
    if rewind || common == cached.len() { common } else { 0 }
}

/// `range` in pieces of at most `chunk` tokens.
pub(super) fn chunks(range: Range<usize>, chunk: usize) -> impl Iterator<Item = Range<usize>> {
    let (end, step) = (range.end, chunk.max(1));
    range.step_by(step).map(move |start| start..end.min(start + step))
}

/// Capacity for `needed` tokens: doubles, starting at 256, up to `limit`.
pub(super) fn capacity(current: usize, needed: usize, limit: usize) -> usize {
    if needed <= current {
        return current;
    }
    let mut next = current.max(FIRST_CAPACITY);
    while next < needed {
        next = next.saturating_mul(2);
    }
    next.min(limit.max(needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_prefix_stays() {
        assert_eq!(reusable(&[], &[1, 2], true), 0);
        assert_eq!(reusable(&[1, 2], &[1, 2, 3], true), 2);
        assert_eq!(reusable(&[1, 2, 3], &[1, 2, 3], true), 2);
        assert_eq!(reusable(&[1, 2, 3, 4], &[1, 2], true), 1);
        assert_eq!(reusable(&[1, 9, 3], &[1, 2, 3], true), 1);
        assert_eq!(reusable(&[1], &[], true), 0);
    }

    #[test]
    fn a_recurrent_state_only_goes_forward() {
        assert_eq!(reusable(&[1, 2], &[1, 2, 3], false), 2);
        assert_eq!(reusable(&[1, 2], &[1, 2], false), 0);
        assert_eq!(reusable(&[1, 2], &[1, 3, 4], false), 0);
    }

    #[test]
    fn chunks_cover_the_range_once() {
        let list = |range, chunk| chunks(range, chunk).collect::<Vec<_>>();
        assert_eq!(list(3..10, 4), [3..7, 7..10]);
        assert_eq!(list(0..8, 4), [0..4, 4..8]);
        assert!(list(5..5, 4).is_empty());
        assert_eq!(list(0..2, 0), [0..1, 1..2]);
    }

    #[test]
    fn capacity_doubles_up_to_the_limit() {
        assert_eq!(capacity(0, 1, 8192), 256);
        assert_eq!(capacity(256, 256, 8192), 256);
        assert_eq!(capacity(256, 257, 8192), 512);
        assert_eq!(capacity(256, 5000, 8192), 8192);
        assert_eq!(capacity(256, 300, 400), 400);
        assert_eq!(capacity(0, 10, 64), 64);
    }
}
