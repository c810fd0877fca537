//! Compressed weights: scaled blocks, palettes, bit masks.

use super::blocks::Blocks;
use super::numbers::{real, room, truncated};
use super::operands::{axis, count, exactly, integer, integers, made, result, strides, width};
use super::{Call, Elements, Eval, Fault, decode, encode};
use crate::ndarray::NDArray;

/// The family. A sparse tensor is its dense form here; ops on stored entries take its mask as one more
/// operand, the last.
pub(super) const OPS: &[(&[&str], Eval)] = &[
    (&["primitive.blockwise_shift_scale_v2", "primitive.blockwise_shift_scale_v1"], shift_scale),
    (&["primitive.sparse_with_bitmask_blockwise_shift_scale_v1"], sparse_shift_scale),
    (&["primitive.lut_to_dense_v1"], palette),
    (&["primitive.lut_to_sparse_with_bitmask_v1"], sparse_palette),
    (&["primitive.build_sparse_with_bitmask_v1"], build),
    (&["primitive.sparse_with_bitmask_to_dense_v1"], dense),
];

/// Elements as float64; integers beyond 2^53 round.
pub(super) fn reals(x: &NDArray) -> Result<Vec<f64>, Fault> {
    match decode(x)? {
        Elements::Real(values) => Ok(values),
        Elements::Int(values) => Ok(values.iter().map(|v| real(x.element, *v)).collect()),
        Elements::Complex(_) => Err(Fault::Unsupported(format!("compressed {} values", x.element))),
    }
}

/// Values in the type of result `n`; integers truncate and saturate.
pub(super) fn stored(call: &Call, n: usize, shape: &[usize], values: Vec<f64>) -> Result<NDArray, Fault> {
    let element = result(call, n)?;
    let values = match element.is_integer() {
        true => Elements::Int(values.iter().map(|v| truncated(element, *v)).collect()),
        false => Elements::Real(values),
    };
    encode(element, shape, &values)
}

/// `(data, scale, offset1, offset2?)`: scale·(data − offset1) + offset2, per block.
fn shift_scale(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let (&[x, scale, offset] | &[x, scale, offset, _]) = inputs else {
        return Err(Fault::Program(format!("{} with {} operands", call.name, inputs.len())));
    };
    let values = scaled(x, scale, offset, inputs.get(3).copied())?;
    stored(call, 0, &x.shape, values).map(|array| vec![array])
}

fn scaled(x: &NDArray, scale: &NDArray, zero: &NDArray, bias: Option<&NDArray>) -> Result<Vec<f64>, Fault> {
    if zero.shape != scale.shape || bias.is_some_and(|bias| bias.shape != scale.shape) {
        let shapes = (&scale.shape, &zero.shape, bias.map(|bias| &bias.shape));
        return Err(Fault::Program(format!("scale and offsets of shapes {shapes:?}")));
    }
    let mut values = reals(x)?;
    if values.is_empty() {
        return Ok(values);
    }
    let blocks = Blocks::new(&x.shape, &scale.shape, 1)?;
    let (scale, zero, bias) = (reals(scale)?, reals(zero)?, bias.map(reals).transpose()?);
    let mut rest = values.iter_mut();
    blocks.each(|at| {
        if let Some(v) = rest.next() {
            *v = scale[at] * (*v - zero[at]) + bias.as_ref().map_or(0.0, |bias| bias[at]);
        }
    });
    Ok(values)
}

/// `(dense data, scale, offset, mask)`: zero where the mask is 0.
fn sparse_shift_scale(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, scale, offset, mask] = exactly(call, inputs)?;
    let mut values = scaled(x, scale, offset, None)?;
    for (v, _) in values.iter_mut().zip(bits(mask, &x.shape)?).filter(|(_, bit)| *bit == 0) {
        *v = 0.0;
    }
    stored(call, 0, &x.shape, values).map(|array| vec![array])
}

/// Bits of a mask of the given shape.
fn bits(mask: &NDArray, shape: &[usize]) -> Result<Vec<i64>, Fault> {
    if mask.shape != shape {
        return Err(Fault::Program(format!("a mask of shape {:?} for {shape:?}", mask.shape)));
    }
    integers(mask)
}

/// `(indices[a…], lut[b…, P, V], axis)`: V consecutive values along the axis for every index.
fn palette(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [indices, lut, operand] = exactly(call, inputs)?;
    looked_up(call, indices, lut, operand, None)
}

/// `(dense indices, lut, axis, mask)`: zero where the mask is 0.
fn sparse_palette(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [indices, lut, operand, mask] = exactly(call, inputs)?;
    looked_up(call, indices, lut, operand, Some(bits(mask, &indices.shape)?))
}

fn looked_up(
    call: &Call,
    indices: &NDArray,
    lut: &NDArray,
    operand: &NDArray,
    mask: Option<Vec<i64>>,
) -> Result<Vec<NDArray>, Fault> {
    let refused = || Fault::Program(format!("palettes {:?} for indices {:?}", lut.shape, indices.shape));
    let &[ref outer @ .., entries, vector] = &lut.shape[..] else { return Err(refused()) };
    let rank = indices.shape.len();
    let element = result(call, 0)?;
    if outer.len() != rank || element != lut.element {
        return Err(refused());
    }
    let axis = axis(integer(operand)?, rank)?;
    let mut shape = indices.shape.clone();
    shape[axis] = shape[axis].checked_mul(vector).ok_or_else(refused)?;
    let mut out = vec![0; count(element, &shape)? * width(element)];
    if out.is_empty() {
        return made(element, shape, out);
    }
    let blocks = Blocks::new(&indices.shape, outer, entries * vector)?;
    let Elements::Int(codes) = decode(indices)? else { return Err(refused()) };
    let width = width(element);
    // Elements of one index along the axis lie `after` apart.
    let after = strides(&indices.shape)[axis];
    let mut fault = None;
    let mut number = 0;
    blocks.each(|base| {
        let code = codes[number];
        let (line, column) = (number / after, number % after);
        let stored = mask.as_ref().is_none_or(|mask| mask[number] != 0);
        number += 1;
        let Some(entry) = usize::try_from(code).ok().filter(|entry| *entry < entries) else {
            fault = Some(Fault::Index { index: code, extent: entries as i64 });
            return;
        };
        for v in 0..if stored { vector } else { 0 } {
            let (from, to) = (base + entry * vector + v, (line * vector + v) * after + column);
            out[to * width..][..width].copy_from_slice(&lut.data[from * width..][..width]);
        }
    });
    match fault {
        Some(fault) => Err(fault),
        None => made(element, shape, out),
    }
}

/// `(values[nnz], mask)`: the values at the set bits in row-major order, zeros elsewhere.
fn build(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [values, mask] = exactly(call, inputs)?;
    let element = result(call, 0)?;
    let bits = integers(mask)?;
    let set = bits.iter().filter(|bit| **bit != 0).count();
    if values.element != element || values.shape != [set] {
        let (found, shape) = (values.element.name(), &values.shape);
        return Err(Fault::Program(format!("{found} values of shape {shape:?} for {set} set bits")));
    }
    let width = width(element);
    let mut out = vec![0; room(element, &mask.shape)? * width];
    let places = out.chunks_exact_mut(width).zip(&bits).filter(|(_, bit)| **bit != 0);
    for ((place, _), value) in places.zip(values.data.chunks_exact(width)) {
        place.copy_from_slice(value);
    }
    made(element, mask.shape.clone(), out)
}

/// The dense form is what there is.
fn dense(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x] = exactly(call, inputs)?;
    if x.element != result(call, 0)? {
        return Err(Fault::Program(format!("{} of {} values", call.name, x.element.name())));
    }
    Ok(vec![x.clone()])
}
