//! Reductions and what is made of them (`OPSET` §5).

use super::error::BuildError;
use super::extent::{Extent, shape_text};
use super::graph::{Graph, Value, tensor};
use crate::types::{ElementType, Type};

/// How elements are folded.
#[derive(Clone, Copy)]
struct Fold {
    name: &'static str,
    combine: &'static str,
    start: f64,
}

const SUM: Fold = Fold { name: "reduce_sum_v1", combine: "primitive.add_v1", start: 0.0 };
const MAX: Fold = Fold { name: "reduce_max_v1", combine: "primitive.maximum_v1", start: f64::NEG_INFINITY };

impl Graph<'_> {
    /// The sum of floats over axes, which stay with extent 1. Negative axes count from the end.
    pub fn reduce_sum(&mut self, x: Value, axes: &[i32]) -> Result<Value, BuildError> {
        let (axes, shape) = self.axes(SUM.name, x, axes)?;
        self.fold(SUM, x, axes, &shape)
    }

    /// The largest float over axes, which stay with extent 1.
    pub fn reduce_max(&mut self, x: Value, axes: &[i32]) -> Result<Value, BuildError> {
        let (axes, shape) = self.axes(MAX.name, x, axes)?;
        self.fold(MAX, x, axes, &shape)
    }

    /// The mean of floats over axes, which stay with extent 1.
    pub fn reduce_mean(&mut self, x: Value, axes: &[i32]) -> Result<Value, BuildError> {
        let count = axes.len() as u64;
        let (axes, shape) = self.axes("reduce_mean_v1", x, axes)?;
        let result = self.resized(x, &shape)?;
        self.decomposed("reduce_mean_v1", &[x, axes], result, |g, operands| {
            let (x, axes) = (operands[0], operands[1]);
            let element = g.element(x)?;
            let sum = g.fold(SUM, x, axes, &shape)?;
            let extents = g.get_shape(x)?;
            let column = g.constant(&[2], &[count as i32, 1])?;
            let axes =
                g.one("primitive.reshape_v2", &[axes, column], ElementType::SI32, &[Some(count), Some(1)])?;
            let reduced =
                g.one("primitive.gather_nd_v1", &[extents, axes], ElementType::UI32, &[Some(count)])?;
            // as float32: float16 ends at 65504
            let mut elements = g.cast(reduced, ElementType::F32)?;
            if count > 1 {
                let parts: Result<Vec<Value>, BuildError> =
                    (0..count as usize).map(|i| g.vector_part(elements, i, i + 1)).collect();
                let mut parts = parts?.into_iter();
                elements = parts.next().unwrap_or(elements);
                for part in parts {
                    elements = g.mul(elements, part)?;
                }
            }
            let sum = g.cast(sum, ElementType::F32)?;
            let mean = g.divide(sum, elements)?;
            g.cast(mean, element)
        })
    }

    /// e^x / Σ e^x along an axis.
    pub fn softmax(&mut self, x: Value, axis: i32) -> Result<Value, BuildError> {
        let axis = self.axis("softmax_v1", x, axis)?;
        let ty = self.ty(x)?.clone();
        let mut shape = ty.shape.clone();
        shape[axis] = Some(1);
        let axis = self.scalar(axis as i32)?;
        self.decomposed("softmax_v1", &[x, axis], ty, |g, operands| {
            let one = g.constant(&[1], &[1i32])?;
            let axes = g.one("primitive.reshape_v2", &[operands[1], one], ElementType::SI32, &[Some(1)])?;
            let exponential = g.exp(operands[0])?;
            let sum = g.fold(SUM, exponential, axes, &shape)?;
            g.divide(exponential, sum)
        })
    }

    /// Elements in order along an axis, and where they were (int32): a stable sort, NaN last.
    pub fn sort(&mut self, x: Value, axis: i32, descending: bool) -> Result<(Value, Value), BuildError> {
        let axis = self.axis("sort_v1", x, axis)?;
        let ty = self.ty(x)?.clone();
        let axis = self.scalar(axis as i32)?;
        let descending = self.scalar(descending)?;
        let stable = self.scalar(true)?;
        let operands = [x, axis, descending, stable];
        let indices = tensor(ElementType::SI32, &ty.shape);
        let sorted = self.decomposed("sort_v1", &operands, ty.clone(), |g, operands| {
            let order = g.op("primitive.argsort_v1", operands, std::slice::from_ref(&indices))?[0];
            g.one("primitive.gather_along_axis_v1", &[operands[0], order, operands[1]], ty.element, &ty.shape)
        })?;
        let order = self.op("primitive.argsort_v1", &operands, &[indices])?[0];
        Ok((sorted, order))
    }

    /// Axes as a constant, and the extents after the reduction.
    fn axes(&mut self, op: &str, x: Value, axes: &[i32]) -> Result<(Value, Vec<Extent>), BuildError> {
        let mut shape = self.shape(x)?.to_vec();
        let mut positions = Vec::with_capacity(axes.len());
        for axis in axes {
            let axis = self.axis(op, x, *axis)?;
            shape[axis] = Some(1);
            positions.push(axis as i32);
        }
        Ok((self.constant(&[positions.len() as u64], &positions)?, shape))
    }

    /// An axis from 0, of a value with that many.
    pub(super) fn axis(&self, op: &str, x: Value, axis: i32) -> Result<usize, BuildError> {
        let shape = self.shape(x)?;
        let rank = shape.len() as i64;
        let wrapped = i64::from(axis) + if axis < 0 { rank } else { 0 };
        usize::try_from(wrapped).ok().filter(|axis| *axis < shape.len()).ok_or_else(|| {
            BuildError::operand(op, "the axis", axis.to_string(), format!("one of {}", shape_text(shape)))
        })
    }

    fn fold(&mut self, fold: Fold, x: Value, axes: Value, shape: &[Extent]) -> Result<Value, BuildError> {
        let result = self.resized(x, shape)?;
        self.decomposed(fold.name, &[x, axes], result.clone(), |g, operands| {
            let element = g.element(operands[0])?;
            // sums of short floats are kept in float32
            let short = matches!(element, ElementType::F16 | ElementType::BF16) && fold.start == 0.0;
            let inner = if short { ElementType::F32 } else { element };
            let start = g.number(inner, fold.start)?;
            let accumulator = g.module.intern(Type::Tensor(tensor(inner, &[])));
            let each = g.module.intern(Type::Tensor(tensor(element, &[])));
            let combiner = g.region(&[accumulator, each], "dataflow.yield_v1", |g, pair| {
                let term = g.cast(pair[1], inner)?;
                Ok(vec![g.one(fold.combine, &[pair[0], term], inner, &[])?])
            })?;
            let operands = [operands[0], operands[1], start];
            Ok(g.emit("primitive.reduce_v1", &operands, Vec::new(), vec![combiner], &[result])?[0])
        })
    }
}
