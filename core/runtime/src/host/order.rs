//! Sorting, and the place of the largest element.

use std::cmp::Ordering;

use super::numbers::{greatest, key_range, keys, room};
use super::operands::{axis, exactly, integer, result};
use super::reduce::lines;
use super::{Call, Elements, Eval, Fault, decode, encode};
use crate::ndarray::NDArray;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] =
    &[(&["argmax_v1"], argmax), (&["sort_v1"], sort), (&["primitive.argsort_v1"], argsort)];

fn unordered() -> Fault {
    Fault::Unsupported("an order of complex numbers".into())
}

/// `(x, axis)`, the axis kept as 1. The first of equals wins; NaN never does, nor does anything that is not
/// above the type's lowest finite value: index 0 then.
fn argmax(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, operand] = exactly(call, inputs)?;
    let axis = axis(integer(operand)?, x.shape.len())?;
    let mut shape = x.shape.clone();
    shape[axis] = 1;
    let element = result(call, 0)?;
    let mut out = vec![0; room(element, &shape)?];
    fn fill<T: Copy + PartialOrd>(x: &NDArray, axis: usize, values: &[T], lowest: T, out: &mut [i64]) {
        let (n, mut number) = (x.shape[axis], 0);
        lines(&x.shape, axis, |first, step| {
            let mut best = lowest;
            for i in 0..n {
                let value = values[first + i * step];
                if value > best {
                    best = value;
                    out[number] = i as i64;
                }
            }
            number += 1;
        });
    }
    match decode(x)? {
        Elements::Real(values) => fill(x, axis, &values, -greatest(x.element), &mut out),
        Elements::Int(values) => {
            fill(x, axis, &keys(x.element, values), key_range(x.element).0, &mut out);
        }
        Elements::Complex(_) => return Err(unordered()),
    }
    encode(element, &shape, &Elements::Int(out)).map(|array| vec![array])
}

/// Numbers in the asked direction, then NaN in either.
fn reals(descending: bool) -> impl Fn(f64, f64) -> Ordering {
    move |a: f64, b: f64| match a.partial_cmp(&b) {
        Some(order) if descending => order.reverse(),
        Some(order) => order,
        None => a.is_nan().cmp(&b.is_nan()),
    }
}

fn integers(descending: bool) -> impl Fn(i64, i64) -> Ordering {
    move |a: i64, b: i64| if descending { b.cmp(&a) } else { a.cmp(&b) }
}

/// Axis and direction of `(x, dim, descending, stable)`. Every sort here is stable.
fn direction(call: &Call, inputs: &[&NDArray]) -> Result<(usize, bool), Fault> {
    let [x, dim, descending, _] = exactly(call, inputs)?;
    Ok((axis(integer(dim)?, x.shape.len())?, integer(descending)? != 0))
}

/// Every line along the axis in order.
fn sort(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let (axis, descending) = direction(call, inputs)?;
    let x = inputs[0];
    fn sorted<T: Copy>(x: &NDArray, axis: usize, values: &mut [T], order: impl Fn(T, T) -> Ordering) {
        let n = x.shape[axis];
        let mut line = Vec::new();
        lines(&x.shape, axis, |first, step| {
            line.clear();
            line.extend((0..n).map(|i| values[first + i * step]));
            line.sort_by(|a, b| order(*a, *b));
            line.iter().enumerate().for_each(|(i, v)| values[first + i * step] = *v);
        });
    }
    let values = match decode(x)? {
        Elements::Real(mut values) => {
            sorted(x, axis, &mut values, reals(descending));
            Elements::Real(values)
        }
        Elements::Int(values) => {
            let mut values = keys(x.element, values);
            sorted(x, axis, &mut values, integers(descending));
            Elements::Int(keys(x.element, values))
        }
        Elements::Complex(_) => return Err(unordered()),
    };
    encode(result(call, 0)?, &x.shape, &values).map(|array| vec![array])
}

/// Where the elements of the sorted lines came from.
fn argsort(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let (axis, descending) = direction(call, inputs)?;
    let x = inputs[0];
    fn sorted<T: Copy>(x: &NDArray, axis: usize, values: &[T], order: impl Fn(T, T) -> Ordering) -> Vec<i64> {
        let n = x.shape[axis];
        let mut out = vec![0; values.len()];
        let mut line: Vec<usize> = Vec::new();
        lines(&x.shape, axis, |first, step| {
            line.clear();
            line.extend(0..n);
            line.sort_by(|a, b| order(values[first + a * step], values[first + b * step]));
            line.iter().enumerate().for_each(|(i, from)| out[first + i * step] = *from as i64);
        });
        out
    }
    let out = match decode(x)? {
        Elements::Real(values) => sorted(x, axis, &values, reals(descending)),
        Elements::Int(values) => sorted(x, axis, &keys(x.element, values), integers(descending)),
        Elements::Complex(_) => return Err(unordered()),
    };
    encode(result(call, 0)?, &x.shape, &Elements::Int(out)).map(|array| vec![array])
}
