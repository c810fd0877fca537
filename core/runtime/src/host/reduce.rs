//! Reductions that keep their axes as 1, prefix scans and softmax.

use super::numbers::{Number, key_range, keys, larger, room, smaller, supremum};
use super::operands::{axes, axis, choice, exactly, integer, result, strides};
use super::{Call, Elements, Eval, Fault, decode, encode};
use crate::ndarray::NDArray;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] = &[
    (&["reduce_sum_v1", "reduce_mean_v1", "reduce_product_v1"], arithmetic),
    (&["reduce_max_v1", "reduce_min_v1"], extreme),
    (&["all_v1", "any_v1"], logical),
    (&["softmax_v1"], softmax),
    (&["primitive.scan_v1"], scan),
];

// Values of the attribute `combiner`.
const SUM: u64 = 0;
const PRODUCT: u64 = 1;
const MIN: u64 = 2;
const MAX: u64 = 3;

/// Folds the axes in row-major order of the elements; the result has extents of 1 there.
fn fold<T: Copy>(
    x: &NDArray,
    values: &[T],
    axes: &[usize],
    init: T,
    step: impl Fn(T, T) -> T,
) -> Result<Folded<T>, Fault> {
    let mut shape = x.shape.clone();
    for axis in axes {
        shape[*axis] = 1;
    }
    let mut out = vec![init; room(x.element, &shape)?];
    let mut steps = strides(&shape);
    for axis in axes {
        steps[*axis] = 0;
    }
    let (last, width) = (steps.last().copied().unwrap_or(0), x.shape.last().copied().unwrap_or(1));
    let outer = x.shape.len().saturating_sub(1);
    let mut place = vec![0; outer];
    let mut at = 0;
    for row in values.chunks_exact(width.max(1)) {
        if last == 0 {
            out[at] = row.iter().fold(out[at], |a, v| step(a, *v));
        } else {
            for (o, v) in out[at..][..width].iter_mut().zip(row) {
                *o = step(*o, *v);
            }
        }
        for axis in (0..outer).rev() {
            place[axis] += 1;
            at += steps[axis];
            if place[axis] < x.shape[axis] {
                break;
            }
            at -= place[axis] * steps[axis];
            place[axis] = 0;
        }
    }
    Ok(Folded { shape, values: out })
}

/// The axes to fold. None named means all, as in Apple's runtime.
pub(super) fn folded_axes(operand: &NDArray, rank: usize) -> Result<Vec<usize>, Fault> {
    let named = axes(operand, rank)?;
    Ok(if named.is_empty() { (0..rank).collect() } else { named })
}

struct Folded<T> {
    shape: Vec<usize>,
    values: Vec<T>,
}

impl<T> Folded<T> {
    fn stored(self, call: &Call, wrap: impl Fn(Vec<T>) -> Elements) -> Result<Vec<NDArray>, Fault> {
        encode(result(call, 0)?, &self.shape, &wrap(self.values)).map(|array| vec![array])
    }
}

/// `(x, axes)`: sum, mean and product.
fn arithmetic(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    fn run<T: Number>(call: &Call, x: &NDArray, values: &[T], axes: &[usize]) -> Result<Folded<T>, Fault> {
        match call.name {
            "reduce_product_v1" => fold(x, values, axes, T::ONE, T::times),
            _ => fold(x, values, axes, T::ZERO, T::plus),
        }
    }
    let [x, operand] = exactly(call, inputs)?;
    let axes = folded_axes(operand, x.shape.len())?;
    match decode(x)? {
        Elements::Real(values) => {
            let mut folded = run(call, x, &values, &axes)?;
            if call.name == "reduce_mean_v1" {
                let count: f64 = axes.iter().map(|axis| x.shape[*axis] as f64).product();
                folded.values.iter_mut().for_each(|v| *v /= count);
            }
            folded.stored(call, Elements::Real)
        }
        _ if call.name == "reduce_mean_v1" => Err(Fault::Unsupported("the mean of integers".into())),
        Elements::Int(values) => run(call, x, &values, &axes)?.stored(call, Elements::Int),
        Elements::Complex(values) => run(call, x, &values, &axes)?.stored(call, Elements::Complex),
    }
}

/// `(x, axes)`: maximum and minimum; NaN propagates.
fn extreme(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, operand] = exactly(call, inputs)?;
    let axes = folded_axes(operand, x.shape.len())?;
    let max = call.name == "reduce_max_v1";
    match decode(x)? {
        Elements::Real(values) => {
            let top = supremum(x.element);
            let folded = match max {
                true => fold(x, &values, &axes, -top, larger)?,
                false => fold(x, &values, &axes, top, smaller)?,
            };
            folded.stored(call, Elements::Real)
        }
        Elements::Int(values) => {
            let (values, (low, high)) = (keys(x.element, values), key_range(x.element));
            let folded = match max {
                true => fold(x, &values, &axes, low, i64::max)?,
                false => fold(x, &values, &axes, high, i64::min)?,
            };
            folded.stored(call, |values| Elements::Int(keys(x.element, values)))
        }
        Elements::Complex(_) => Err(Fault::Unsupported("an order of complex numbers".into())),
    }
}

/// `(x, axes)` of bools.
fn logical(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, operand] = exactly(call, inputs)?;
    let axes = folded_axes(operand, x.shape.len())?;
    let Elements::Int(values) = decode(x)? else {
        return Err(Fault::Unsupported(format!("{} of {}", call.name, x.element.name())));
    };
    let folded = match call.name {
        "all_v1" => fold(x, &values, &axes, 1, |a, v| i64::from(a != 0 && v != 0))?,
        _ => fold(x, &values, &axes, 0, |a, v| i64::from(a != 0 || v != 0))?,
    };
    folded.stored(call, Elements::Int)
}

/// Calls `f` with the places of every line along an axis: the first element, and the step.
pub(super) fn lines(shape: &[usize], axis: usize, mut f: impl FnMut(usize, usize)) {
    if shape.contains(&0) {
        return;
    }
    let after: usize = shape[axis + 1..].iter().product();
    let before: usize = shape[..axis].iter().product();
    for block in 0..before {
        for column in 0..after {
            f(block * shape[axis] * after + column, after);
        }
    }
}

/// `(x, axis)`: e^(x − max)/Σ. A line with NaN or +∞ is NaN.
fn softmax(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, operand] = exactly(call, inputs)?;
    let axis = axis(integer(operand)?, x.shape.len())?;
    let Elements::Real(mut values) = decode(x)? else {
        return Err(Fault::Unsupported(format!("softmax of {}", x.element.name())));
    };
    let n = x.shape[axis];
    lines(&x.shape, axis, |first, step| {
        let places = || (0..n).map(|i| first + i * step);
        let top = places().fold(f64::NEG_INFINITY, |top, at| larger(top, values[at]));
        let mut sum = 0.0;
        for at in places() {
            values[at] = (values[at] - top).exp();
            sum += values[at];
        }
        places().for_each(|at| values[at] /= sum);
    });
    encode(result(call, 0)?, &x.shape, &Elements::Real(values)).map(|array| vec![array])
}

/// `(x, axis, reverse)`: inclusive prefix folds. Minimum and maximum skip NaN, as Apple's runtime does, and
/// give the type's bound before the first number.
fn scan(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, operand, reverse] = exactly(call, inputs)?;
    let axis = axis(integer(operand)?, x.shape.len())?;
    let reverse = integer(reverse)? != 0;
    let combiner = choice(call, "combiner", u64::MAX)?;
    let unknown = || Fault::Unsupported(format!("scan combiner {combiner} of {}", x.element.name()));
    let values = match decode(x)? {
        Elements::Real(mut values) => {
            let top = supremum(x.element);
            match combiner {
                SUM => prefixes(x, axis, reverse, &mut values, 0.0, f64::plus),
                PRODUCT => prefixes(x, axis, reverse, &mut values, 1.0, f64::times),
                MIN => prefixes(x, axis, reverse, &mut values, top, |a, v| if v < a { v } else { a }),
                MAX => prefixes(x, axis, reverse, &mut values, -top, |a, v| if v > a { v } else { a }),
                _ => return Err(unknown()),
            }
            Elements::Real(values)
        }
        Elements::Int(values) => {
            let ordered = matches!(combiner, MIN | MAX);
            let mut values = if ordered { keys(x.element, values) } else { values };
            match combiner {
                SUM => prefixes(x, axis, reverse, &mut values, 0, i64::plus),
                PRODUCT => prefixes(x, axis, reverse, &mut values, 1, i64::times),
                MIN => prefixes(x, axis, reverse, &mut values, i64::MAX, i64::min),
                MAX => prefixes(x, axis, reverse, &mut values, i64::MIN, i64::max),
                _ => return Err(unknown()),
            }
            Elements::Int(if ordered { keys(x.element, values) } else { values })
        }
        Elements::Complex(_) => return Err(unknown()),
    };
    encode(result(call, 0)?, &x.shape, &values).map(|array| vec![array])
}

fn prefixes<T: Copy>(
    x: &NDArray,
    axis: usize,
    reverse: bool,
    values: &mut [T],
    init: T,
    step: impl Fn(T, T) -> T,
) {
    let n = x.shape[axis];
    lines(&x.shape, axis, |first, stride| {
        let mut sum = init;
        for i in 0..n {
            let at = first + if reverse { n - 1 - i } else { i } * stride;
            sum = step(sum, values[at]);
            values[at] = sum;
        }
    });
}
