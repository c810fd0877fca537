//! Parts of tensors (`OPSET` §6).

use super::error::BuildError;
use super::extent::{Bound, Extent, shape_text};
use super::graph::{Graph, Value};
use crate::types::ElementType;

/// The end of a slice that reaches to the end.
const TO_END: i32 = i32::MAX;

impl Graph<'_> {
    /// Elements `from..to` of every axis. `[(from, to); rank]`
    pub fn slice(&mut self, x: Value, bounds: &[(Bound, Bound)]) -> Result<Value, BuildError> {
        let name = "primitive.slice_v1";
        let ty = self.ty(x)?.clone();
        let [starts, ends, strides] = self.bounds(name, x, bounds)?;
        let extents = ty.shape.iter().zip(bounds).map(|(extent, (from, to))| length(*extent, *from, *to));
        let shape: Vec<Extent> = extents.collect();
        self.one(name, &[x, starts, ends, strides], ty.element, &shape)
    }

    /// Elements `from..to` of one axis.
    pub fn narrow(&mut self, x: Value, axis: i32, from: Bound, to: Bound) -> Result<Value, BuildError> {
        let axis = self.axis("slice", x, axis)?;
        let mut bounds = vec![(Bound::At(0), Bound::End); self.shape(x)?.len()];
        bounds[axis] = (from, to);
        self.slice(x, &bounds)
    }

    /// x with the elements `from..to` of every axis replaced by those of `update`, which has their shape.
    pub fn slice_update(
        &mut self,
        x: Value,
        bounds: &[(Bound, Bound)],
        update: Value,
    ) -> Result<Value, BuildError> {
        let name = "primitive.slice_update_v1";
        let ty = self.ty(x)?.clone();
        if self.element(update)? != ty.element || self.shape(update)?.len() != ty.shape.len() {
            let found = format!("{}{}", self.element(update)?, shape_text(self.shape(update)?));
            let expected = format!("a part of {}{}", ty.element, shape_text(&ty.shape));
            return Err(BuildError::operand(name, "the update", found, expected));
        }
        let [starts, ends, strides] = self.bounds(name, x, bounds)?;
        Ok(self.op(name, &[x, starts, ends, strides, update], &[ty])?[0])
    }

    fn bounds(&mut self, op: &str, x: Value, bounds: &[(Bound, Bound)]) -> Result<[Value; 3], BuildError> {
        let rank = self.shape(x)?.len();
        if bounds.len() != rank {
            let found = bounds.len().to_string();
            return Err(BuildError::operand(op, "the number of bounds", found, rank.to_string()));
        }
        let part = |bound: &Bound| match bound {
            Bound::At(position) => Err(*position),
            Bound::End => Err(TO_END),
            Bound::Of(value) => Ok(*value),
        };
        let starts: Vec<_> = bounds.iter().map(|(from, _)| part(from)).collect();
        let ends: Vec<_> = bounds.iter().map(|(_, to)| part(to)).collect();
        let strides = self.constant(&[rank as u64], &vec![1i32; rank])?;
        Ok([self.vector(&starts)?, self.vector(&ends)?, strides])
    }

    /// The parts of x that the last axis of `indices` names: `x[i…]`, int32, without range check here.
    /// `[n…] · [.., q] → [.., n[q..]]`
    pub fn gather_nd(&mut self, x: Value, indices: Value) -> Result<Value, BuildError> {
        let name = "primitive.gather_nd_v1";
        let (ty, index) = (self.ty(x)?.clone(), self.ty(indices)?.clone());
        let split = index.shape.split_last();
        let (Some((Some(depth), outer)), ElementType::SI32) = (split, index.element) else {
            let found = format!("{}{}", index.element, shape_text(&index.shape));
            return Err(BuildError::operand(name, "the indices", found, "int32 with a known last extent"));
        };
        let rest = usize::try_from(*depth).ok().and_then(|depth| ty.shape.get(depth..));
        let Some(rest) = rest else {
            let (found, expected) = (depth.to_string(), format!("at most {}", ty.shape.len()));
            return Err(BuildError::operand(name, "the last extent of the indices", found, expected));
        };
        self.one(name, &[x, indices], ty.element, &[outer, rest].concat())
    }

    /// Elements along an axis: `x[.., indices[.., j, ..], ..]`; int32 indices of the rank of x.
    pub fn gather_along_axis(&mut self, x: Value, indices: Value, axis: i32) -> Result<Value, BuildError> {
        let name = "primitive.gather_along_axis_v1";
        let axis = self.axis(name, x, axis)?;
        let (ty, index) = (self.ty(x)?.clone(), self.ty(indices)?.clone());
        if index.shape.len() != ty.shape.len() || index.element != ElementType::SI32 {
            let found = format!("{}{}", index.element, shape_text(&index.shape));
            let expected = format!("int32 of rank {}", ty.shape.len());
            return Err(BuildError::operand(name, "the indices", found, expected));
        }
        let axis = self.scalar(axis as i32)?;
        self.one(name, &[x, indices, axis], ty.element, &index.shape)
    }
}

/// The extent of a slice, where it can be told.
fn length(extent: Extent, from: Bound, to: Bound) -> Extent {
    let position = |bound: Bound| match bound {
        Bound::At(at) if at >= 0 => Some(extent.map_or(at as u64, |extent| extent.min(at as u64))),
        Bound::At(at) => extent.map(|extent| extent.saturating_sub(u64::from(at.unsigned_abs()))),
        Bound::End => extent,
        Bound::Of(_) => None,
    };
    // of an axis of unknown extent, fewer elements may be there than the bounds say
    extent?;
    Some(position(to)?.saturating_sub(position(from)?))
}
