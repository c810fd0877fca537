//! Operations on extents (`OPSET` §6).

use super::error::BuildError;
use super::extent::{Extent, Size, broadcast, shape_text};
use super::graph::{Graph, Value};
use crate::types::ElementType;

impl Graph<'_> {
    /// The extents of a value as a uint32 vector.
    pub fn get_shape(&mut self, x: Value) -> Result<Value, BuildError> {
        let rank = self.shape(x)?.len() as u64;
        self.one("primitive.get_shape_v2", &[x], ElementType::UI32, &[Some(rank)])
    }

    /// One extent of a value as an int32 vector of one element, to be used as [`Size::Of`] or [`super::Bound::Of`].
    pub fn size(&mut self, x: Value, axis: i32) -> Result<Value, BuildError> {
        let axis = self.axis("get_shape", x, axis)?;
        if let Some(known) = self.shape(x)?[axis]
            && let Ok(known) = i32::try_from(known)
        {
            return self.constant(&[1], &[known]);
        }
        let shape = self.get_shape(x)?;
        let shape = self.cast(shape, ElementType::SI32)?;
        self.vector_part(shape, axis, axis + 1)
    }

    /// Elements `start..end` of a vector.
    pub(super) fn vector_part(
        &mut self,
        vector: Value,
        start: usize,
        end: usize,
    ) -> Result<Value, BuildError> {
        let element = self.element(vector)?;
        let bounds = [start as i32, end as i32, 1];
        let [start_at, end_at, stride] = bounds;
        let start_at = self.constant(&[1], &[start_at])?;
        let end_at = self.constant(&[1], &[end_at])?;
        let stride = self.constant(&[1], &[stride])?;
        let length = Some((end - start) as u64);
        self.one("primitive.slice_v1", &[vector, start_at, end_at, stride], element, &[length])
    }

    /// Sizes as an int32 vector: a constant, or one that a run puts together.
    pub(super) fn sizes(&mut self, sizes: &[Size]) -> Result<Value, BuildError> {
        let mut parts: Vec<Result<Value, i32>> = Vec::with_capacity(sizes.len());
        for size in sizes {
            parts.push(match size {
                Size::Fixed(extent) => Err(i32::try_from(*extent).map_err(|_| {
                    BuildError::operand("sizes", "an extent", extent.to_string(), "less than 2³¹")
                })?),
                Size::Of(value) => Ok(*value),
            });
        }
        self.vector(&parts)
    }

    /// An int32 vector of numbers and of values of one element.
    pub(super) fn vector(&mut self, parts: &[Result<Value, i32>]) -> Result<Value, BuildError> {
        let mut pieces: Vec<Value> = Vec::new();
        let mut at = 0;
        while at < parts.len() {
            let numbers: Vec<i32> = parts[at..].iter().map_while(|part| part.err()).collect();
            if numbers.is_empty() {
                pieces.extend(parts[at].ok());
                at += 1;
            } else {
                pieces.push(self.constant(&[numbers.len() as u64], &numbers)?);
                at += numbers.len();
            }
        }
        match pieces.as_slice() {
            [] => self.constant::<i32>(&[0], &[]),
            [one] => Ok(*one),
            several => self.concat(several, 0),
        }
    }

    /// The same elements in row-major order with other extents.
    pub fn reshape(&mut self, x: Value, sizes: &[Size]) -> Result<Value, BuildError> {
        let from = self.shape(x)?.to_vec();
        let to: Vec<Extent> = sizes
            .iter()
            .map(|size| match size {
                Size::Fixed(extent) => Some(*extent),
                Size::Of(_) => None,
            })
            .collect();
        let count = |shape: &[Extent]| {
            shape.iter().try_fold(1u64, |product, extent| extent.and_then(|e| product.checked_mul(e)))
        };
        if let (Some(before), Some(after)) = (count(&from), count(&to))
            && before != after
        {
            let (found, expected) =
                (shape_text(&to), format!("the {before} elements of {}", shape_text(&from)));
            return Err(BuildError::operand("reshape", "the new shape", found, expected));
        }
        let shape = self.sizes(sizes)?;
        let element = self.element(x)?;
        self.one("primitive.reshape_v2", &[x, shape], element, &to)
    }

    /// Axis `i` of the result is axis `order[i]` of x.
    pub fn transpose(&mut self, x: Value, order: &[u32]) -> Result<Value, BuildError> {
        let from = self.shape(x)?.to_vec();
        let mut seen = order.to_vec();
        seen.sort_unstable();
        if seen != (0..from.len() as u32).collect::<Vec<_>>() {
            let expected = format!("each axis of {} once", shape_text(&from));
            return Err(BuildError::operand(
                "transpose",
                "the order of axes",
                format!("{order:?}"),
                expected,
            ));
        }
        let shape: Vec<Extent> = order.iter().map(|axis| from[*axis as usize]).collect();
        let order = self.constant(&[order.len() as u64], order)?;
        let element = self.element(x)?;
        self.one("primitive.transpose_v1", &[x, order], element, &shape)
    }

    /// Inserts an axis of extent 1; `axis` refers to the result.
    pub fn expand_dims(&mut self, x: Value, axis: usize) -> Result<Value, BuildError> {
        let mut shape = self.shape(x)?.to_vec();
        if axis > shape.len() {
            let expected = format!("at most {}", shape.len());
            return Err(BuildError::operand("expand_dims", "the axis", axis.to_string(), expected));
        }
        shape.insert(axis, Some(1));
        let axis = self.constant(&[1], &[axis as i32])?;
        let element = self.element(x)?;
        self.one("primitive.expand_dims_v1", &[x, axis], element, &shape)
    }

    /// Removes an axis of extent 1.
    pub fn shrink_dims(&mut self, x: Value, axis: i32) -> Result<Value, BuildError> {
        let axis = self.axis("shrink_dims", x, axis)?;
        let mut shape = self.shape(x)?.to_vec();
        let extent = shape.remove(axis);
        if extent.is_some_and(|extent| extent != 1) {
            let found = format!("{} at axis {axis}", shape_text(&[extent]));
            return Err(BuildError::operand("shrink_dims", "the extent", found, "1"));
        }
        let axis = self.constant(&[1], &[axis as i32])?;
        let element = self.element(x)?;
        self.one("primitive.shrink_dims_v1", &[x, axis], element, &shape)
    }

    /// Values one after the other along an axis.
    pub fn concat(&mut self, values: &[Value], axis: i32) -> Result<Value, BuildError> {
        let name = "primitive.concat_v1";
        let [first, rest @ ..] = values else {
            return Err(BuildError::operand(name, "the number of values", "0", "1 or more"));
        };
        if rest.is_empty() {
            return Ok(*first);
        }
        let ty = self.ty(*first)?.clone();
        let axis = self.axis(name, *first, axis)?;
        let mut shape = ty.shape.clone();
        for value in rest {
            let other = self.ty(*value)?;
            let fits = other.element == ty.element
                && other.shape.len() == shape.len()
                && (0..shape.len()).all(|i| i == axis || can_be_same(shape[i], other.shape[i]));
            if !fits {
                let found = format!("{}{}", other.element, shape_text(&other.shape));
                let expected = format!("like {}{} but on axis {axis}", ty.element, shape_text(&ty.shape));
                return Err(BuildError::operand(name, "a value", found, expected));
            }
            for (i, extent) in shape.iter_mut().enumerate() {
                *extent = match i == axis {
                    true => extent.zip(other.shape[i]).and_then(|(a, b)| a.checked_add(b)),
                    false => extent.or(other.shape[i]),
                };
            }
        }
        let axis = self.scalar(axis as i32)?;
        let operands = [&[axis], values].concat();
        self.one(name, &operands, ty.element, &shape)
    }

    /// x stretched to extents, as in NumPy.
    pub fn broadcast_to(&mut self, x: Value, sizes: &[Size]) -> Result<Value, BuildError> {
        let mut target: Vec<Extent> = Vec::with_capacity(sizes.len());
        for size in sizes {
            target.push(match size {
                Size::Fixed(extent) => Some(*extent),
                Size::Of(_) => None,
            });
        }
        let from = self.ty(x)?.clone();
        let Some(shape) = broadcast(&from.shape, &target) else {
            let (found, expected) =
                (shape_text(&target), format!("what {} stretches to", shape_text(&from.shape)));
            return Err(BuildError::operand("broadcast_to", "the extents", found, expected));
        };
        let sizes = self.sizes(sizes)?;
        let sizes = self.cast(sizes, ElementType::UI32)?;
        self.one("primitive.broadcast_to_v1", &[x, sizes], from.element, &shape)
    }

    /// `start, start + 1, …` up to and without `end`; all int32, the bounds 0-D.
    pub fn range(&mut self, start: Value, end: Value) -> Result<Value, BuildError> {
        let step = self.scalar(1i32)?;
        self.one("primitive.range_v1", &[start, end, step], ElementType::SI32, &[None])
    }

    /// A vector of one element as a 0-D value.
    pub fn to_scalar(&mut self, x: Value) -> Result<Value, BuildError> {
        let none = self.constant::<u32>(&[0], &[])?;
        let element = self.element(x)?;
        self.one("primitive.reshape_v2", &[x, none], element, &[])
    }
}

/// Extents that can be the same.
fn can_be_same(a: Extent, b: Extent) -> bool {
    a.zip(b).is_none_or(|(a, b)| a == b)
}
