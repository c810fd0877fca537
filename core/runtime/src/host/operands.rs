//! Reading operands and sizing results: what every family does first.

use coreai_asset::{Attribute, ElementType};

use super::{Call, Elements, Fault, MAX_RESULT_BYTES, decode};
use crate::ndarray::NDArray;

/// The operands, if there are exactly `N`.
pub(super) fn exactly<'a, const N: usize>(
    call: &Call,
    inputs: &[&'a NDArray],
) -> Result<[&'a NDArray; N], Fault> {
    let found = inputs.len();
    inputs.try_into().map_err(|_| Fault::Program(format!("{} with {found} operands, not {N}", call.name)))
}

/// Element type of result `n`.
pub(super) fn result(call: &Call, n: usize) -> Result<ElementType, Fault> {
    let missing = || Fault::Program(format!("{} without result {n}", call.name));
    call.results.get(n).copied().ok_or_else(missing)
}

/// A vector or scalar of integers; `ui64` beyond 2^63 is refused.
pub(super) fn integers(array: &NDArray) -> Result<Vec<i64>, Fault> {
    let Elements::Int(values) = decode(array)? else {
        return Err(Fault::Program(format!("{} where integers are due", array.element.name())));
    };
    if array.element == ElementType::UI64 && values.iter().any(|v| *v < 0) {
        return Err(Fault::Program("an extent beyond 2^63".into()));
    }
    Ok(values)
}

/// The only integer of an operand.
pub(super) fn integer(array: &NDArray) -> Result<i64, Fault> {
    match integers(array)?[..] {
        [value] => Ok(value),
        _ => Err(Fault::Program(format!("shape {:?} where one integer is due", array.shape))),
    }
}

/// Non-negative integers, as extents.
pub(super) fn extents(array: &NDArray) -> Result<Vec<usize>, Fault> {
    let extent = |v: &i64| usize::try_from(*v).map_err(|_| Fault::Program(format!("{v} is no extent")));
    integers(array)?.iter().map(extent).collect()
}

/// An axis of `rank`, negative ones counted from the end.
pub(super) fn axis(value: i64, rank: usize) -> Result<usize, Fault> {
    let wrapped = if value < 0 { value.saturating_add(rank as i64) } else { value };
    match usize::try_from(wrapped) {
        Ok(axis) if axis < rank => Ok(axis),
        _ => Err(Fault::Program(format!("no axis {value} in rank {rank}"))),
    }
}

/// Distinct axes of `rank`, ascending.
pub(super) fn axes(array: &NDArray, rank: usize) -> Result<Vec<usize>, Fault> {
    let mut found = integers(array)?.iter().map(|v| axis(*v, rank)).collect::<Result<Vec<usize>, Fault>>()?;
    found.sort_unstable();
    match found.windows(2).find(|w| w[0] == w[1]) {
        Some(w) => Err(Fault::Program(format!("axis {} twice", w[0]))),
        None => Ok(found),
    }
}

/// A position along an axis of `extent`; negative ones count from the end, once.
pub(super) fn position(index: i64, extent: usize) -> Result<usize, Fault> {
    let wrapped = if index < 0 { index.saturating_add(extent as i64) } else { index };
    match usize::try_from(wrapped) {
        Ok(at) if at < extent => Ok(at),
        _ => Err(Fault::Index { index, extent: extent as i64 }),
    }
}

/// Bytes of one element as a host tensor stores it.
pub(super) fn width(element: ElementType) -> usize {
    element.bits().div_ceil(8) as usize
}

/// Number of elements of a result, which must not exceed [`MAX_RESULT_BYTES`].
pub(super) fn count(element: ElementType, shape: &[usize]) -> Result<usize, Fault> {
    let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    let bytes = count.and_then(|n| n.checked_mul(width(element)));
    match (count, bytes) {
        (Some(count), Some(bytes)) if bytes <= MAX_RESULT_BYTES => Ok(count),
        _ => Err(Fault::Program(format!("a {} result of shape {shape:?}", element.name()))),
    }
}

/// A result from its bytes.
pub(super) fn made(element: ElementType, shape: Vec<usize>, data: Vec<u8>) -> Result<Vec<NDArray>, Fault> {
    NDArray::new(element, shape, data).map(|a| vec![a]).map_err(|e| Fault::Program(e.to_string()))
}

/// Row-major strides in elements. Those of an empty shape may saturate; nothing uses them.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].saturating_mul(shape[i]);
    }
    strides
}

/// The value of an enumeration attribute; `default` when it is absent.
pub(super) fn choice(call: &Call, name: &str, default: u64) -> Result<u64, Fault> {
    match call.attrs.iter().find(|(n, _)| *n == name) {
        None => Ok(default),
        Some((_, Attribute::Enum { value, .. })) => Ok(*value),
        Some((_, other)) => Err(Fault::Program(format!("{name} of {} is {other:?}", call.name))),
    }
}

/// NumPy's common shape of two: right-aligned, extents of 1 stretch.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Fault> {
    let rank = a.len().max(b.len());
    let extent = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |k| shape[k]);
    (0..rank)
        .map(|i| match (extent(a, i), extent(b, i)) {
            (x, y) if x == y || y == 1 => Ok(x),
            (1, y) => Ok(y),
            _ => Err(Fault::Program(format!("shapes {a:?} and {b:?} do not broadcast"))),
        })
        .collect()
}
