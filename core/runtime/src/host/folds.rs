//! Reductions whose step is a region of the program.

use std::ops::Range;

use super::operands::{axis, count, exactly, integer, result, strides, width};
use super::reduce::folded_axes;
use super::region::apply;
use super::{Call, Elements, Eval, Fault, Region, decode, encode};
use crate::ndarray::NDArray;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] =
    &[(&["primitive.reduce_v1"], fold), (&["primitive.reduce_index_v1"], winner)];

fn region<'a>(call: &Call<'a>) -> Result<&'a Region, Fault> {
    call.region.ok_or_else(|| Fault::Program(format!("{} without a region", call.name)))
}

/// A scalar everywhere in `shape`.
fn filled(scalar: &NDArray, shape: &[usize]) -> Result<NDArray, Fault> {
    if scalar.len() != 1 {
        return Err(Fault::Program(format!("an initial value of shape {:?}", scalar.shape)));
    }
    let count = count(scalar.element, shape)?;
    NDArray::new(scalar.element, shape.to_vec(), scalar.data.repeat(count))
        .map_err(|e| Fault::Program(e.to_string()))
}

/// `(x, axes, init)`; region (accumulator, element) → accumulator, in row-major order of the folded axes.
fn fold(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, operand, init] = exactly(call, inputs)?;
    let axes = folded_axes(operand, x.shape.len())?;
    let region = region(call)?;
    let mut shape = x.shape.clone();
    for axis in &axes {
        shape[*axis] = 1;
    }
    let mut acc = filled(init, &shape)?;
    if !x.is_empty() {
        let steps = strides(&x.shape);
        let folded: Vec<(usize, usize)> = axes.iter().map(|a| (x.shape[*a], steps[*a])).collect();
        let kept: Vec<(usize, usize)> =
            (0..x.shape.len()).filter(|a| !axes.contains(a)).map(|a| (x.shape[a], steps[a])).collect();
        for number in 0..folded.iter().map(|(n, _)| n).product() {
            let elem = NDArray {
                element: x.element,
                shape: shape.clone(),
                data: picked(x, offset(number, &folded), &kept),
            };
            acc = apply(region, &acc, &elem)?;
        }
    }
    if acc.element != result(call, 0)? {
        return Err(Fault::Program(format!("{} gives {} elements", call.name, acc.element.name())));
    }
    Ok(vec![acc])
}

/// Offset of coordinate `number` in row-major order of `(extent, stride)` axes.
fn offset(mut number: usize, axes: &[(usize, usize)]) -> usize {
    let mut at = 0;
    for (extent, stride) in axes.iter().rev() {
        at += number % extent * stride;
        number /= extent;
    }
    at
}

/// Bytes of the elements at `base` plus every coordinate of `(extent, stride)` axes, row-major.
fn picked(x: &NDArray, base: usize, axes: &[(usize, usize)]) -> Vec<u8> {
    let width = width(x.element);
    let bytes = |at: usize| -> Range<usize> { at * width..(at + 1) * width };
    let count: usize = axes.iter().map(|(n, _)| n).product();
    (0..count).flat_map(|number| &x.data[bytes(base + offset(number, axes))]).copied().collect()
}

/// `(x, axis, init_value, init_index)`; region (best, candidate) → whether the candidate replaces it.
fn winner(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, operand, init, init_index] = exactly(call, inputs)?;
    let axis = axis(integer(operand)?, x.shape.len())?;
    let region = region(call)?;
    let mut shape = x.shape.clone();
    shape[axis] = 1;
    let mut best = filled(init, &shape)?;
    if best.element != x.element {
        return Err(Fault::Program(format!("{} compares {} with {}", call.name, x.element, best.element)));
    }
    let element = result(call, 0)?;
    let mut index = vec![integer(init_index)?; count(coreai_asset::ElementType::SI64, &shape)?];
    let after: usize = if x.is_empty() { 0 } else { x.shape[axis + 1..].iter().product() };
    let width = width(x.element);
    for number in 0..if x.is_empty() { 0 } else { x.shape[axis] } {
        let line = after * width;
        let starts = (0..index.len() / after).map(|block| (block * x.shape[axis] + number) * line);
        let data: Vec<u8> = starts.flat_map(|at| &x.data[at..at + line]).copied().collect();
        let candidate = NDArray { element: x.element, shape: shape.clone(), data };
        let Elements::Int(wins) = decode(&apply(region, &best, &candidate)?)? else {
            return Err(Fault::Program(format!("the region of {} gives no bools", call.name)));
        };
        for (at, _) in wins.iter().enumerate().filter(|(_, win)| **win != 0) {
            index[at] = number as i64;
            let bytes = at * width..(at + 1) * width;
            best.data[bytes.clone()].copy_from_slice(&candidate.data[bytes]);
        }
    }
    encode(element, &shape, &Elements::Int(index)).map(|array| vec![array])
}
