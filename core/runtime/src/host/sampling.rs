//! Interpolation between elements.

use super::numbers::{real, room, truncated};
use super::operands::{choice, exactly, extents, made, result, strides};
use super::{Call, Elements, Eval, Fault, decode, encode};
use crate::ndarray::NDArray;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] =
    &[(&["primitive.interpolate_v1"], interpolate), (&["primitive.interpolate_coordinates_v1"], coordinates)];

/// Most axes along which one point lies between elements: 2^16 elements are read for it.
const MAX_FRACTIONS: usize = 16;

/// Where a coordinate falls on an axis: two neighbours and the share of the second.
#[derive(Clone, Copy)]
struct Sample {
    low: usize,
    high: usize,
    share: f64,
}

impl Sample {
    /// `n` > 0. Coordinates are clamped to the axis; NaN is its start.
    fn new(coordinate: f32, n: usize, nearest: bool) -> Sample {
        let last = n - 1;
        if nearest {
            // The cast saturates, and turns NaN into 0.
            let low = (coordinate.round_ties_even() as usize).min(last);
            return Sample { low, high: low, share: 0.0 };
        }
        let low = (coordinate.floor() as usize).min(last);
        let share = f64::from(coordinate) - low as f64;
        if coordinate > 0.0 && low < last && share > 0.0 {
            Sample { low, high: low + 1, share }
        } else {
            Sample { low, high: low, share: 0.0 }
        }
    }
}

fn nearest(call: &Call) -> Result<bool, Fault> {
    match choice(call, "interpolation_mode", u64::MAX)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Fault::Unsupported(format!("interpolation mode {other}"))),
    }
}

/// A float32 operand.
fn floats(array: &NDArray) -> Result<Vec<f32>, Fault> {
    match decode(array)? {
        Elements::Real(values) => Ok(values.iter().map(|v| *v as f32).collect()),
        _ => Err(Fault::Program(format!("{} where floats are due", array.element.name()))),
    }
}

/// Elements as float64, if any arithmetic is done on them.
fn reals(x: &NDArray) -> Result<Vec<f64>, Fault> {
    match decode(x)? {
        Elements::Real(values) => Ok(values),
        Elements::Int(values) => Ok(values.iter().map(|v| real(x.element, *v)).collect()),
        Elements::Complex(_) => Err(Fault::Unsupported("interpolation of complex numbers".into())),
    }
}

/// Interpolated values in the result's type; integers truncate.
fn stored(call: &Call, shape: &[usize], values: Vec<f64>) -> Result<Vec<NDArray>, Fault> {
    let element = result(call, 0)?;
    let values = match element.is_integer() {
        true => Elements::Int(values.iter().map(|v| truncated(element, *v)).collect()),
        false => Elements::Real(values),
    };
    encode(element, shape, &values).map(|array| vec![array])
}

/// `(x, out_shape[r], scale[r], offset[r])`: coordinate (o + 0.5 − offset)/scale − 0.5 on every axis.
fn interpolate(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, shape, scale, offset] = exactly(call, inputs)?;
    let nearest = nearest(call)?;
    let (shape, scale, offset) = (extents(shape)?, floats(scale)?, floats(offset)?);
    let rank = x.shape.len();
    if shape.len() != rank || scale.len() != rank || offset.len() != rank {
        return Err(Fault::Program(format!("resampling {:?} to {shape:?} by {scale:?}", x.shape)));
    }
    let count = room(result(call, 0)?, &shape)?;
    if count > 0 && x.is_empty() {
        return Err(Fault::Program(format!("resampling {:?} to {shape:?}: nothing to sample", x.shape)));
    }
    if count == 0 {
        return made(result(call, 0)?, shape, Vec::new());
    }
    let samples = |axis: usize| -> Vec<Sample> {
        let coordinate = |at: usize| (at as f32 + 0.5 - offset[axis]) / scale[axis] - 0.5;
        (0..shape[axis]).map(|at| Sample::new(coordinate(at), x.shape[axis], nearest)).collect()
    };
    // Axes that shrink come first, so that nothing between is larger than the operand or the result.
    let mut axes: Vec<usize> = (0..rank).collect();
    axes.sort_by_key(|axis| shape[*axis] > x.shape[*axis]);
    if nearest && x.element == result(call, 0)? {
        // Integers beyond 2^53 are copied, not computed.
        let values = match decode(x)? {
            Elements::Real(values) => Elements::Real(resampled(values, x, &axes, samples, |a, _, _| a)),
            Elements::Int(values) => Elements::Int(resampled(values, x, &axes, samples, |a, _, _| a)),
            Elements::Complex(values) => Elements::Complex(resampled(values, x, &axes, samples, |a, _, _| a)),
        };
        return encode(x.element, &shape, &values).map(|array| vec![array]);
    }
    let values = resampled(reals(x)?, x, &axes, samples, between);
    stored(call, &shape, values)
}

/// The mean of two neighbours, weighted; the first alone where the second has no share.
fn between(a: f64, b: f64, share: f64) -> f64 {
    if share == 0.0 { a } else { a * (1.0 - share) + b * share }
}

/// Every axis in turn replaced by its samples.
fn resampled<T: Copy>(
    mut values: Vec<T>,
    x: &NDArray,
    axes: &[usize],
    samples: impl Fn(usize) -> Vec<Sample>,
    mix: impl Fn(T, T, f64) -> T,
) -> Vec<T> {
    let mut shape = x.shape.clone();
    for &axis in axes {
        let samples = samples(axis);
        let n = shape[axis];
        if samples.len() == n && samples.iter().enumerate().all(|(at, s)| s.low == at && s.share == 0.0) {
            continue;
        }
        let after: usize = shape[axis + 1..].iter().product();
        let mut out = Vec::with_capacity(values.len() / n * samples.len());
        for block in values.chunks_exact(n * after) {
            for sample in &samples {
                let high = &block[sample.high * after..][..after];
                let low = &block[sample.low * after..][..after];
                out.extend(low.iter().zip(high).map(|(a, b)| mix(*a, *b, sample.share)));
            }
        }
        shape[axis] = samples.len();
        values = out;
    }
    values
}

/// `(x, coordinates[N, r])` → `[N]`: absolute positions, clamped to the edges.
fn coordinates(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, points] = exactly(call, inputs)?;
    let nearest = nearest(call)?;
    let &[count, rank] = &points.shape[..] else {
        return Err(Fault::Program(format!("coordinates of shape {:?}", points.shape)));
    };
    if rank != x.shape.len() || count > 0 && x.is_empty() {
        return Err(Fault::Program(format!("coordinates {:?} in {:?}", points.shape, x.shape)));
    }
    let element = result(call, 0)?;
    room(element, &[count])?;
    let (values, points, steps) = (reals(x)?, floats(points)?, strides(&x.shape));
    let mut exact = Vec::with_capacity(count);
    let mut out = Vec::with_capacity(count);
    let mut corners: Vec<(usize, f64)> = Vec::new();
    for number in 0..count {
        let point = points.get(number * rank..(number + 1) * rank).unwrap_or_default();
        corners.clear();
        corners.push((0, 1.0));
        for ((&at, &n), &step) in point.iter().zip(&x.shape).zip(&steps) {
            let sample = Sample::new(at, n, nearest);
            for i in 0..corners.len() {
                let (base, weight) = corners[i];
                if sample.share > 0.0 {
                    corners.push((base + sample.high * step, weight * sample.share));
                }
                corners[i] = (base + sample.low * step, weight * (1.0 - sample.share));
            }
            if corners.len() > 1 << MAX_FRACTIONS {
                return Err(Fault::Unsupported(format!(
                    "interpolation along more than {MAX_FRACTIONS} axes"
                )));
            }
        }
        exact.push(corners[0].0);
        out.push(
            corners
                .iter()
                .map(|(at, weight)| if *weight == 1.0 { values[*at] } else { values[*at] * weight })
                .sum(),
        );
    }
    if let (true, Elements::Int(values)) = (nearest && x.element == element, decode(x)?) {
        // Integers beyond 2^53 are copied, not computed.
        let values = exact.iter().map(|at| values[*at]).collect();
        return encode(element, &[count], &Elements::Int(values)).map(|array| vec![array]);
    }
    stored(call, &[count], out)
}
