//! Which axis of a constant an axis of a view of it is.

use coreai_asset::{Asset, Attribute, ConstantRef, ElementType, Op, Scope, TensorType, ValueId};

use crate::formats::bytes_of;

/// Axes of a longer permutation are not looked at; tensors have at most 32.
const MAX_RANK: usize = 32;

/// For each axis of a view the axis of the constant, where it is one.
pub(super) type Axes = Vec<Option<usize>>;

/// The name of an operation without group and version: `transpose` of `primitive.transpose_v1`.
pub(super) fn stem(name: &str) -> &str {
    let name = name.rsplit_once("_v").map_or(name, |(stem, _)| stem);
    name.strip_prefix("primitive.").unwrap_or(name)
}

/// The axes of the result of an operation whose first operand has these `axes`; `None` where the result is no
/// view of that operand.
pub(super) fn follow(
    asset: &Asset,
    scope: &Scope,
    op: &Op,
    axes: &Axes,
    constants: &dyn Fn(ValueId) -> Option<(ConstantRef, TensorType)>,
) -> Option<Axes> {
    let ([operand, ..], [result]) = (op.operands.as_slice(), op.results.as_slice()) else {
        return None;
    };
    let tensor = |value: ValueId| asset.tensor_type(scope.ty(value)?);
    let (from, to) = (tensor(*operand)?, tensor(*result)?);
    match stem(&op.name) {
        "transpose" => {
            let (order, ty) = constants(*op.operands.get(1)?)?;
            let order = integers(asset, &order, &ty)?;
            let axis = |from: &i64| axes.get(usize::try_from(*from).ok()?).copied().flatten();
            (order.len() == to.rank()).then(|| order.iter().map(axis).collect())
        }
        "reshape" | "expand_dims" | "shrink_dims" => Some(regrouped(from, to, axes)),
        "broadcast_to" | "broadcast_in_dims" | "slice" => Some(aligned(from, to, axes)),
        _ => None,
    }
}

/// Axes of a reshaped tensor: those that begin and end at the same place in both shapes.
fn regrouped(from: &TensorType, to: &TensorType, axes: &Axes) -> Axes {
    let none = vec![None; to.rank()];
    let extents = |ty: &TensorType| ty.shape.iter().copied().collect::<Option<Vec<u64>>>();
    let (Some(from), Some(to)) = (extents(from), extents(to)) else {
        return none;
    };
    let places = |shape: &[u64]| -> Vec<(u64, u64)> {
        let mut inner = 1u64;
        let mut places: Vec<_> = shape
            .iter()
            .rev()
            .map(|extent| {
                let place = (inner, *extent);
                inner = inner.saturating_mul(*extent);
                place
            })
            .collect();
        places.reverse();
        places
    };
    let from = places(&from);
    let axis = |place: (u64, u64)| {
        let at = from.iter().position(|other| *other == place).filter(|_| place.1 > 1)?;
        axes.get(at).copied().flatten()
    };
    places(&to).into_iter().map(axis).collect()
}

/// Axes of a tensor that was stretched, or of a part of it.
fn aligned(from: &TensorType, to: &TensorType, axes: &Axes) -> Axes {
    let shift = to.rank().saturating_sub(from.rank());
    let axis = |at: usize| {
        let old = at.checked_sub(shift)?;
        let stretched = from.shape.get(old)? == &Some(1);
        axes.get(old).copied().flatten().filter(|_| !stretched)
    };
    (0..to.rank()).map(axis).collect()
}

/// The elements of a constant vector or scalar of 16 or 32-bit integers.
pub(super) fn integers(asset: &Asset, constant: &ConstantRef, ty: &TensorType) -> Option<Vec<i64>> {
    let count = usize::try_from(ty.elements()?).ok().filter(|count| *count <= MAX_RANK)?;
    let width = usize::try_from(ty.element.bits() / 8).ok()?;
    let stored = if constant.splat { count.min(1) } else { count };
    let range = constant.range.clone();
    if range.end.checked_sub(range.start)? != (stored * width) as u64 {
        return None;
    }
    let bytes = bytes_of(&**asset.source(), range).ok()?;
    let number = |bytes: &[u8]| match (ty.element, bytes) {
        (ElementType::UI16, [a, b]) => Some(i64::from(u16::from_le_bytes([*a, *b]))),
        (ElementType::SI16, [a, b]) => Some(i64::from(i16::from_le_bytes([*a, *b]))),
        (ElementType::UI32, [a, b, c, d]) => Some(i64::from(u32::from_le_bytes([*a, *b, *c, *d]))),
        (ElementType::SI32, [a, b, c, d]) => Some(i64::from(i32::from_le_bytes([*a, *b, *c, *d]))),
        _ => None,
    };
    let numbers: Vec<i64> = bytes.chunks(width.max(1)).map(number).collect::<Option<_>>()?;
    match constant.splat {
        true => Some(vec![*numbers.first()?; count]),
        false => Some(numbers),
    }
}

/// The indices that a `gather_nd` takes from each vector of its indices.
pub(super) fn indices(ty: &TensorType) -> Option<usize> {
    usize::try_from(ty.shape.last().copied().flatten()?).ok()
}

/// The integer attribute of a composite, 0 where it has none.
pub(super) fn composite_axes(attribute: Option<&Attribute>) -> usize {
    attribute.and_then(Attribute::as_i64).and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[u64]) -> TensorType {
        let shape = shape.iter().map(|extent| Some(*extent)).collect();
        TensorType { shape, element: ElementType::F32, encoding: None }
    }

    #[test]
    fn stems() {
        assert_eq!(stem("primitive.transpose_v1"), "transpose");
        assert_eq!(stem("broadcasting_batch_matmul_v1"), "broadcasting_batch_matmul");
    }

    #[test]
    fn axes_through_reshapes() {
        let axes = vec![Some(0), Some(1), Some(2)];
        let of = |to: &[u64]| regrouped(&tensor(&[4, 6, 8]), &tensor(to), &axes);
        assert_eq!(of(&[4, 1, 6, 8]), [Some(0), None, Some(1), Some(2)]);
        assert_eq!(of(&[24, 8]), [None, Some(2)]);
        assert_eq!(of(&[4, 48]), [Some(0), None]);
        assert_eq!(of(&[8, 3, 8]), [None, None, Some(2)]);
        let stretched = aligned(&tensor(&[1, 6, 8]), &tensor(&[5, 4, 6, 8]), &axes);
        assert_eq!(stretched, [None, None, Some(1), Some(2)]);
    }
}
