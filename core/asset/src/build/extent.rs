//! Extents, and how they are told to operations that take them as values.

use super::graph::Value;

/// An extent of a tensor; `None` where only a run knows it.
pub type Extent = Option<u64>;

/// An extent that is given to an operation.
#[derive(Clone, Copy, Debug)]
pub enum Size {
    /// A number.
    Fixed(u64),
    /// An extent that a run computes: an int32 tensor of one element.
    Of(Value),
}

/// A bound of a slice along one axis.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// A position; negative ones count from the end.
    At(i32),
    /// To the end.
    End,
    /// A position that a run computes: an int32 tensor of one element.
    Of(Value),
}

/// The extents of a broadcast, or `None` if they do not agree. `[batch, 1] × [3] → [batch, 3]`
pub(super) fn broadcast(a: &[Extent], b: &[Extent]) -> Option<Vec<Extent>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[Extent], axis: usize| {
        let missing = rank - shape.len();
        axis.checked_sub(missing).map_or(Some(1), |axis| shape.get(axis).copied().flatten())
    };
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (Some(1), other) | (other, Some(1)) => Some(other),
            (Some(a), Some(b)) => (a == b).then_some(Some(a)),
            // the unknown one must be 1 or the same
            (known @ Some(_), None) | (None, known @ Some(_)) => Some(known),
            (None, None) => Some(None),
        })
        .collect()
}

/// `[1, ?, 4]` for messages.
pub(super) fn shape_text(shape: &[Extent]) -> String {
    let text = |extent: &Extent| extent.map_or_else(|| "?".to_owned(), |extent| extent.to_string());
    format!("[{}]", shape.iter().map(text).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_of_broadcasts() {
        assert_eq!(broadcast(&[None, Some(1)], &[Some(3)]), Some(vec![None, Some(3)]));
        assert_eq!(broadcast(&[None], &[Some(5)]), Some(vec![Some(5)]));
        assert_eq!(broadcast(&[], &[None, Some(2)]), Some(vec![None, Some(2)]));
        assert_eq!(broadcast(&[Some(2)], &[Some(3)]), None);
        assert_eq!(shape_text(&[Some(1), None]), "[1, ?]");
    }
}
