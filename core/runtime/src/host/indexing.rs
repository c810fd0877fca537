//! Gather, scatter, non-zero and ranges.

use coreai_asset::ElementType;

use super::copies::advance;
use super::movement::keeps;
use super::operands::{
    axis, choice, count, exactly, integer, integers, made, position, result, strides, width,
};
use super::{Call, Elements, Eval, Fault, Region, decode, encode, real, region, whole};
use crate::ndarray::NDArray;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] = &[
    (&["primitive.gather_along_axis_v1"], gather_along_axis),
    (&["primitive.gather_nd_v1"], gather_nd),
    (&["primitive.scatter_along_axis_v1"], scatter_along_axis),
    (&["primitive.scatter_nd_v1"], scatter_nd),
    (&["primitive.non_zero_v1"], non_zero),
    (&["primitive.range_v1"], range),
];

/// For every index in row-major order the element of a tensor of `shape` that it names along `axis`.
/// The index may cover less of the other axes than the tensor.
fn along(shape: &[usize], index: &NDArray, axis: usize) -> Result<Vec<usize>, Fault> {
    let fits = |(a, (own, full)): (usize, (&usize, &usize))| a == axis || own <= full;
    if index.shape.len() != shape.len() || !index.shape.iter().zip(shape).enumerate().all(fits) {
        return Err(Fault::Program(format!(
            "indices of shape {:?} along axis {axis} of {shape:?}",
            index.shape
        )));
    }
    let strides = strides(shape);
    let mut place = vec![0; shape.len()];
    let mut found = Vec::with_capacity(index.len());
    for value in integers(index)? {
        let at = position(value, shape[axis])?;
        let others = place.iter().zip(&strides).enumerate().filter(|(a, _)| *a != axis);
        found.push(others.map(|(_, (i, s))| i * s).sum::<usize>() + at * strides[axis]);
        advance(&mut place, &index.shape);
    }
    Ok(found)
}

fn gather_along_axis(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, index, dim] = exactly(call, inputs)?;
    keeps(call, x.element)?;
    let axis = axis(integer(dim)?, x.shape.len())?;
    let w = width(x.element);
    let mut data = Vec::with_capacity(count(x.element, &index.shape)? * w);
    for at in along(&x.shape, index, axis)? {
        data.extend_from_slice(&x.data[at * w..][..w]);
    }
    made(x.element, index.shape.clone(), data)
}

/// Blocks of a tensor that the rows of an index name by its leading axes.
struct Blocks {
    /// Extents of the leading axes, and the distance of their steps in bytes.
    axes: Vec<(usize, usize)>,
    /// The index, row by row.
    index: Vec<i64>,
    /// Bytes of a block.
    bytes: usize,
    /// Extents of all blocks together: those of the index without its last axis, then of a block.
    shape: Vec<usize>,
    /// Number of axes of a block.
    rank: usize,
    /// Number of rows.
    rows: usize,
}

impl Blocks {
    fn new(x: &NDArray, index: &NDArray) -> Result<Blocks, Fault> {
        let Some((q, lead)) = index.shape.split_last().filter(|(q, _)| **q <= x.shape.len()) else {
            let reason = format!("indices of shape {:?} into {:?}", index.shape, x.shape);
            return Err(Fault::Program(reason));
        };
        let w = width(x.element);
        let shape = [lead, &x.shape[*q..]].concat();
        let total = count(x.element, &shape)?;
        let steps = strides(&x.shape).into_iter().map(|s| s.saturating_mul(w));
        let axes = x.shape.iter().copied().zip(steps).take(*q).collect();
        // Without elements there is nothing to look up, however many rows there are.
        let block: usize = if total == 0 { 0 } else { x.shape[*q..].iter().product() };
        let rows = total.checked_div(block).unwrap_or(0);
        Ok(Blocks { axes, index: integers(index)?, bytes: block * w, shape, rank: x.shape.len() - q, rows })
    }

    /// First byte of the block that a row names.
    fn start(&self, row: usize) -> Result<usize, Fault> {
        let own = self.index.iter().skip(row * self.axes.len());
        own.zip(&self.axes).try_fold(0, |at, (i, (extent, step))| Ok(at + position(*i, *extent)? * step))
    }
}

fn gather_nd(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, index] = exactly(call, inputs)?;
    keeps(call, x.element)?;
    let blocks = Blocks::new(x, index)?;
    let mut data = Vec::with_capacity(blocks.rows * blocks.bytes);
    for row in 0..blocks.rows {
        data.extend_from_slice(&x.data[blocks.start(row)?..][..blocks.bytes]);
    }
    made(x.element, blocks.shape, data)
}

fn scatter_nd(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, index, updates] = exactly(call, inputs)?;
    keeps(call, x.element)?;
    let blocks = Blocks::new(x, index)?;
    if updates.shape != blocks.shape || updates.element != x.element {
        let reason =
            format!("{} {:?} as updates of shape {:?}", updates.element, updates.shape, blocks.shape);
        return Err(Fault::Program(reason));
    }
    let mut data = x.data.clone();
    // A region that yields its second argument replaces.
    let combine = call.region.filter(|r| r.result != 1);
    let extents = &blocks.shape[blocks.shape.len() - blocks.rank..];
    for row in 0..blocks.rows {
        let own = &mut data[blocks.start(row)?..][..blocks.bytes];
        let new = &updates.data[row * blocks.bytes..][..blocks.bytes];
        match combine {
            None => own.copy_from_slice(new),
            Some(r) => own.copy_from_slice(&combined(r, x.element, extents, own, new)?),
        }
    }
    made(x.element, x.shape.clone(), data)
}

/// Bytes of `region(old, new)`.
fn combined(
    region: &Region,
    element: ElementType,
    shape: &[usize],
    old: &[u8],
    new: &[u8],
) -> Result<Vec<u8>, Fault> {
    let block = |bytes: &[u8]| {
        NDArray::new(element, shape.to_vec(), bytes.to_vec()).map_err(|e| Fault::Program(e.to_string()))
    };
    let value = region::apply(region, &block(old)?, &block(new)?)?;
    if value.element != element {
        return Err(Fault::Program(format!("a region gives {} for {element}", value.element)));
    }
    Ok(value.data)
}

fn scatter_along_axis(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, index, updates, dim] = exactly(call, inputs)?;
    keeps(call, x.element)?;
    let axis = axis(integer(dim)?, x.shape.len())?;
    if updates.shape != index.shape || updates.element != x.element {
        let reason = format!("{} {:?} as updates at {:?}", updates.element, updates.shape, index.shape);
        return Err(Fault::Program(reason));
    }
    let places = along(&x.shape, index, axis)?;
    let element = x.element;
    let stem = match choice(call, "scatter_mode", 0)? {
        0 => {
            let w = width(element);
            let mut data = x.data.clone();
            for (at, new) in places.iter().zip(updates.data.chunks_exact(w)) {
                data[at * w..][..w].copy_from_slice(new);
            }
            return made(element, x.shape.clone(), data);
        }
        1 => "add",
        2 => "sub",
        3 => "mul",
        4 => "divide",
        5 => "maximum",
        6 => "minimum",
        other => return Err(Fault::Unsupported(format!("scatter mode {other}"))),
    };
    let lacking = || Fault::Unsupported(format!("{} {stem} of {element}", call.name));
    let elements = match (decode(x)?, decode(updates)?) {
        (Elements::Real(mut values), Elements::Real(new)) => {
            let function = real::binary(stem, element).ok_or_else(lacking)?;
            for (at, new) in places.iter().zip(new) {
                values[*at] = real::rounded(element, function(values[*at], new));
            }
            Elements::Real(values)
        }
        (Elements::Int(mut values), Elements::Int(new)) => {
            let function = whole::binary(stem, element).ok_or_else(lacking)?;
            for (at, new) in places.iter().zip(new) {
                values[*at] = whole::wrapped(element, function(values[*at], new));
            }
            Elements::Int(values)
        }
        _ => return Err(lacking()),
    };
    Ok(vec![encode(element, &x.shape, &elements)?])
}

/// Indices of the elements that are not 0 (NaN is not), one row each.
fn non_zero(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x] = exactly(call, inputs)?;
    let found: Vec<bool> = match decode(x)? {
        Elements::Real(values) => values.iter().map(|v| *v != 0.0).collect(),
        Elements::Int(values) => values.iter().map(|v| *v != 0).collect(),
        Elements::Complex(values) => values.iter().map(|v| *v != [0.0, 0.0]).collect(),
    };
    let (to, rank) = (result(call, 0)?, x.shape.len());
    let shape = [found.iter().filter(|f| **f).count(), rank];
    let mut rows = Vec::with_capacity(count(to, &shape)?);
    let mut place = vec![0; rank];
    for hit in found {
        if hit {
            rows.extend(place.iter().map(|i| *i as i64));
        }
        advance(&mut place, &x.shape);
    }
    Ok(vec![encode(to, &shape, &Elements::Int(rows))?])
}

/// `start`, `start + step`, … up to and without `stop`.
fn range(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [start, stop, step] = exactly(call, inputs)?;
    let to = result(call, 0)?;
    if [start, stop, step].iter().any(|x| x.element != to || x.len() != 1) {
        return Err(Fault::Program(format!("{} of other than three {to} numbers", call.name)));
    }
    let elements = match (decode(start)?, decode(stop)?, decode(step)?) {
        (Elements::Real(a), Elements::Real(b), Elements::Real(s)) => {
            let total = real::range(a[0], b[0], s[0])?;
            count(to, &[total])?;
            Elements::Real((0..total).map(|i| a[0] + i as f64 * s[0]).collect())
        }
        (Elements::Int(a), Elements::Int(b), Elements::Int(s)) => {
            let [a, b, s] = [a[0], b[0], s[0]].map(|v| whole::value(to, v));
            if s == 0 {
                return Err(Fault::Program(format!("a range from {a} to {b} by 0")));
            }
            let distance = if s > 0 { b - a } else { a - b };
            let total = (distance.max(0) as u128).div_ceil(s.unsigned_abs());
            let total = usize::try_from(total).unwrap_or(usize::MAX);
            count(to, &[total])?;
            Elements::Int((0..total).map(|i| (a + i as i128 * s) as i64).collect())
        }
        _ => return Err(Fault::Unsupported(format!("{} of {to}", call.name))),
    };
    let total = match &elements {
        Elements::Real(values) => values.len(),
        Elements::Int(values) => values.len(),
        Elements::Complex(values) => values.len(),
    };
    Ok(vec![encode(to, &[total], &elements)?])
}
