//! Ops that move elements and look at none: bit-exact for every type.

use coreai_asset::ElementType;

use super::copies::{Walk, mapped};
use super::operands::{
    axes, axis, broadcast, choice, count, exactly, extents, integer, integers, made, result, strides, width,
};
use super::{Call, Elements, Eval, Fault, encode};
use crate::ndarray::NDArray;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] = &[
    (&["primitive.reshape_v1", "primitive.reshape_v2"], reshape),
    (&["primitive.transpose_v1"], transpose),
    (&["primitive.expand_dims_v1"], expand_dims),
    (&["primitive.shrink_dims_v1"], shrink_dims),
    (&["primitive.broadcast_to_v1"], broadcast_to_shape),
    (&["primitive.broadcast_in_dims_v1"], broadcast_in_dims),
    (&["primitive.broadcast_shapes_v1"], broadcast_shapes),
    (&["primitive.get_shape_v1", "primitive.get_shape_v2"], get_shape),
    (&["tile_v1", "tile_v2"], tile),
    (&["primitive.concat_v1"], concat),
    (&["primitive.split_v1"], split),
    (&["primitive.slice_v1"], slice),
    (&["primitive.slice_update_v1"], slice_update),
    (&["primitive.pad_v1"], pad),
    (&["primitive.reverse_v1"], reverse),
    (
        &[
            "ax.copy_with_constraints_v1",
            "ax.copy_discarding_constraints_v1",
            "primitive.image_to_tensor_v1",
            "primitive.tensor_to_image_v1",
        ],
        identity,
    ),
];

/// Refuses a result declared as another type than what is moved.
pub(super) fn keeps(call: &Call, element: ElementType) -> Result<(), Fault> {
    match result(call, 0)? {
        declared if declared == element => Ok(()),
        declared => Err(Fault::Program(format!("{} of {element} with a {declared} result", call.name))),
    }
}

fn identity(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x] = exactly(call, inputs)?;
    keeps(call, x.element)?;
    Ok(vec![x.clone()])
}

/// The same bytes in another shape.
fn shaped(call: &Call, x: &NDArray, shape: Vec<usize>) -> Result<Vec<NDArray>, Fault> {
    keeps(call, x.element)?;
    if count(x.element, &shape)? != x.len() {
        return Err(Fault::Program(format!("{} of {:?} to {shape:?}", call.name, x.shape)));
    }
    made(x.element, shape, x.data.clone())
}

fn reshape(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, shape] = exactly(call, inputs)?;
    let mut sizes = integers(shape)?;
    if let Some(free) = sizes.iter().position(|s| *s == -1) {
        let mut known = sizes.iter().enumerate().filter(|(i, _)| *i != free);
        let known = known.try_fold(1i64, |n, (_, s)| n.checked_mul(*s)).filter(|n| *n > 0);
        let total = x.len() as i64;
        sizes[free] = match known {
            Some(known) if total % known == 0 => total / known,
            _ => return Err(Fault::Program(format!("{} of {:?} to {sizes:?}", call.name, x.shape))),
        };
    }
    let size = |s: &i64| usize::try_from(*s).map_err(|_| Fault::Program(format!("{s} is no extent")));
    shaped(call, x, sizes.iter().map(size).collect::<Result<_, _>>()?)
}

fn expand_dims(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, at] = exactly(call, inputs)?;
    let mut shape = x.shape.clone();
    for axis in axes(at, x.shape.len() + at.len())? {
        shape.insert(axis, 1);
    }
    shaped(call, x, shape)
}

fn shrink_dims(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, at] = exactly(call, inputs)?;
    let mut shape = x.shape.clone();
    for axis in axes(at, shape.len())?.into_iter().rev() {
        if shape.remove(axis) != 1 {
            return Err(Fault::Program(format!("axis {axis} of {:?} is not 1", x.shape)));
        }
    }
    shaped(call, x, shape)
}

fn transpose(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, order] = exactly(call, inputs)?;
    keeps(call, x.element)?;
    axes(order, x.shape.len())?;
    let order = extents(order)?;
    if order.len() != x.shape.len() {
        return Err(Fault::Program(format!("the order {order:?} of the axes of {:?}", x.shape)));
    }
    let from = strides(&x.shape);
    let walk = Walk {
        shape: order.iter().map(|a| x.shape[*a]).collect(),
        strides: order.iter().map(|a| from[*a] as isize).collect(),
        start: 0,
    };
    Ok(vec![walk.copy(x)?])
}

/// `x` stretched to `shape` by NumPy's rule.
pub(super) fn broadcast_to(x: &NDArray, shape: &[usize]) -> Result<NDArray, Fault> {
    let fits = broadcast(&x.shape, shape)?;
    if fits != shape {
        return Err(Fault::Program(format!("shape {:?} does not broadcast to {shape:?}", x.shape)));
    }
    let lead = shape.len() - x.shape.len();
    let from = strides(&x.shape);
    let stride = |i: usize| if i < lead || x.shape[i - lead] == 1 { 0 } else { from[i - lead] as isize };
    Walk { shape: shape.to_vec(), strides: (0..shape.len()).map(stride).collect(), start: 0 }.copy(x)
}

fn broadcast_to_shape(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, shape] = exactly(call, inputs)?;
    keeps(call, x.element)?;
    Ok(vec![broadcast_to(x, &extents(shape)?)?])
}

fn broadcast_in_dims(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, sizes, at] = exactly(call, inputs)?;
    keeps(call, x.element)?;
    let (sizes, at) = (extents(sizes)?, integers(at)?);
    if sizes.len() != at.len() {
        return Err(Fault::Program(format!("{} sizes for {} axes", sizes.len(), at.len())));
    }
    let mut shape = x.shape.clone();
    for (size, value) in sizes.iter().zip(at) {
        shape[axis(value, x.shape.len())?] = *size;
    }
    Ok(vec![broadcast_to(x, &shape)?])
}

fn broadcast_shapes(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [a, b] = exactly(call, inputs)?;
    shape_vector(call, &broadcast(&extents(a)?, &extents(b)?)?)
}

fn get_shape(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x] = exactly(call, inputs)?;
    shape_vector(call, &x.shape)
}

fn shape_vector(call: &Call, shape: &[usize]) -> Result<Vec<NDArray>, Fault> {
    let values = Elements::Int(shape.iter().map(|d| *d as i64).collect());
    Ok(vec![encode(result(call, 0)?, &[shape.len()], &values)?])
}

fn tile(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, times] = exactly(call, inputs)?;
    keeps(call, x.element)?;
    let times = extents(times)?;
    let rank = times.len().max(x.shape.len());
    let led = |values: &[usize]| [vec![1; rank - values.len()], values.to_vec()].concat();
    let (from, times) = (led(&x.shape), led(&times));
    let shape = from.iter().zip(&times).map(|(d, n)| d.checked_mul(*n)).collect::<Option<Vec<usize>>>();
    let shape = shape.ok_or_else(|| Fault::Program(format!("{:?} {times:?} times", x.shape)))?;
    Ok(vec![mapped(x, &from, shape, &[], |axis, i| Some(i % from[axis]))?])
}

fn concat(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let (Some(dim), Some(first)) = (inputs.first(), inputs.get(1)) else {
        return Err(Fault::Program(format!("{} of nothing", call.name)));
    };
    let (element, parts) = (first.element, &inputs[1..]);
    keeps(call, element)?;
    // Scalars join vectors as one element.
    let at_least_1d = |x: &NDArray| if x.shape.is_empty() { vec![1] } else { x.shape.clone() };
    let mut shape = at_least_1d(first);
    let axis = axis(integer(dim)?, shape.len())?;
    shape[axis] = 0;
    for part in parts {
        let mut own = at_least_1d(part);
        let length = own.get_mut(axis).map(std::mem::take);
        let total = length.and_then(|n| shape[axis].checked_add(n));
        let mut others = shape.clone();
        others[axis] = 0;
        let (Some(total), true, true) = (total, own == others, part.element == element) else {
            let reason =
                format!("{} {:?} and {} {:?} along {axis}", element, first.shape, part.element, part.shape);
            return Err(Fault::Program(reason));
        };
        shape[axis] = total;
    }
    let total = count(element, &shape)?;
    let mut data = Vec::with_capacity(total * width(element));
    if total > 0 {
        let rows: usize = shape[..axis].iter().product();
        for row in 0..rows {
            for part in parts {
                let bytes = part.data.len() / rows;
                data.extend_from_slice(&part.data[row * bytes..][..bytes]);
            }
        }
    }
    made(element, shape, data)
}

fn split(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, sizes, dim] = exactly(call, inputs)?;
    let axis = axis(integer(dim)?, x.shape.len())?;
    let extent = x.shape[axis];
    let given = extents(sizes)?;
    let parts = match given[..] {
        [0] if sizes.shape.is_empty() => return Err(Fault::Program("chunks of size 0".into())),
        [size] if sizes.shape.is_empty() => {
            let count = call.results.len();
            (0..count).map(|i| extent.saturating_sub(size.saturating_mul(i)).min(size)).collect()
        }
        _ => given,
    };
    let total = parts.iter().try_fold(0usize, |n, part| n.checked_add(*part));
    if total != Some(extent) || parts.len() != call.results.len() {
        let reason = format!("{parts:?} of axis {axis} of {:?}, {} results", x.shape, call.results.len());
        return Err(Fault::Program(reason));
    }
    keeps(call, x.element)?;
    let from = strides(&x.shape);
    let mut first = 0;
    let part = |length: usize| {
        let mut shape = x.shape.clone();
        shape[axis] = length;
        let start = first * from[axis];
        first += length;
        Walk { shape, strides: from.iter().map(|s| *s as isize).collect(), start: start as isize }.copy(x)
    };
    parts.into_iter().map(part).collect()
}

/// The elements of a slice: NumPy's rules, with an end beyond the axis taken as the axis's end.
fn sliced(x: &NDArray, [start, end, stride]: [&NDArray; 3]) -> Result<Walk, Fault> {
    let (start, end, stride) = (integers(start)?, integers(end)?, integers(stride)?);
    let rank = x.shape.len();
    if [start.len(), end.len(), stride.len()] != [rank; 3] {
        return Err(Fault::Program(format!("a slice of {} axes in rank {rank}", start.len())));
    }
    let from = strides(&x.shape);
    let mut walk = Walk { shape: vec![0; rank], strides: vec![0; rank], start: 0 };
    let empty = x.is_empty();
    for axis in 0..rank {
        let (extent, step) = (x.shape[axis] as i64, stride[axis]);
        let (least, most) = match step {
            0 => return Err(Fault::Program("a slice with stride 0".into())),
            1.. => (0, extent),
            _ => (-1, extent - 1),
        };
        let bound = |v: i64| if v < 0 { v.saturating_add(extent) } else { v }.clamp(least, most);
        let (first, last) = (bound(start[axis]), bound(end[axis]));
        let distance = if step > 0 { last - first } else { first - last };
        let length = (distance.max(0) as u64).div_ceil(step.unsigned_abs()) as usize;
        walk.shape[axis] = length;
        // An empty walk visits nothing; a step over one element is never taken.
        if !empty && length > 0 {
            walk.start += first as isize * from[axis] as isize;
            walk.strides[axis] = if length > 1 { step as isize * from[axis] as isize } else { 0 };
        }
    }
    Ok(walk)
}

fn slice(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, start, end, stride] = exactly(call, inputs)?;
    keeps(call, x.element)?;
    Ok(vec![sliced(x, [start, end, stride])?.copy(x)?])
}

fn slice_update(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, start, end, stride, update] = exactly(call, inputs)?;
    keeps(call, x.element)?;
    let walk = sliced(x, [start, end, stride])?;
    if update.shape != walk.shape || update.element != x.element {
        let reason = format!("{} {:?} into a slice of {:?}", update.element, update.shape, walk.shape);
        return Err(Fault::Program(reason));
    }
    let w = width(x.element);
    let (mut data, mut read) = (x.data.clone(), 0);
    walk.runs(|at, run| {
        data[at * w..][..run * w].copy_from_slice(&update.data[read..][..run * w]);
        read += run * w;
    });
    made(x.element, x.shape.clone(), data)
}

fn reverse(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, dims] = exactly(call, inputs)?;
    keeps(call, x.element)?;
    let dims = axes(dims, x.shape.len())?;
    if x.is_empty() {
        return Ok(vec![x.clone()]);
    }
    let mut walk = Walk {
        shape: x.shape.clone(),
        strides: strides(&x.shape).iter().map(|s| *s as isize).collect(),
        start: 0,
    };
    for axis in dims {
        walk.start += walk.strides[axis] * (walk.shape[axis] - 1) as isize;
        walk.strides[axis] = -walk.strides[axis];
    }
    Ok(vec![walk.copy(x)?])
}

fn pad(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, padding, value] = exactly(call, inputs)?;
    keeps(call, x.element)?;
    let mode = choice(call, "padding_mode", 1)?;
    let sizes = extents(padding)?;
    if sizes.len() != 2 * x.shape.len() || value.element != x.element || value.len() != 1 {
        let reason =
            format!("{} of {:?} by {sizes:?} with {} {:?}", call.name, x.shape, value.element, value.shape);
        return Err(Fault::Program(reason));
    }
    let padded = |(d, p): (&usize, &[usize])| d.checked_add(p[0])?.checked_add(p[1]);
    let shape = x.shape.iter().zip(sizes.chunks_exact(2)).map(padded).collect::<Option<Vec<usize>>>();
    let shape = shape.ok_or_else(|| Fault::Program(format!("{:?} padded by {sizes:?}", x.shape)))?;
    if mode != 1 && x.is_empty() && !shape.contains(&0) {
        return Err(Fault::Program(format!("an empty tensor of {:?} has no edge", x.shape)));
    }
    count(x.element, &shape)?;
    let source = |axis: usize, i: usize| {
        // Extents below 2^32 elements: the differences fit.
        let (n, i) = (x.shape[axis] as i64, i as i64 - sizes[2 * axis] as i64);
        let at = match mode {
            0 => i.rem_euclid(n),
            1 => i,
            2 => mirrored(i, n, 2 * (n - 1)),
            3 => i.clamp(0, n - 1),
            _ => {
                let at = i.rem_euclid(2 * n);
                at.min(2 * n - 1 - at)
            }
        };
        usize::try_from(at).ok().filter(|at| *at < x.shape[axis])
    };
    if mode > 4 {
        return Err(Fault::Unsupported(format!("padding mode {mode}")));
    }
    Ok(vec![mapped(x, &x.shape, shape, &value.data, source)?])
}

/// The position that `i` has after reflections at the centres of both edges, with their period.
fn mirrored(i: i64, n: i64, period: i64) -> i64 {
    if n <= 1 {
        return 0;
    }
    let at = i.rem_euclid(period);
    at.min(period - at)
}
