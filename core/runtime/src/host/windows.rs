//! Pooling windows, one axis after another.

use super::numbers::{Number, key_range, keys, larger, supremum};
use super::operands::{exactly, extents, integer, result};
use super::{Call, Elements, Eval, Fault, decode, encode};
use crate::ndarray::NDArray;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] = &[
    (&["primitive.max_pool_2d_v1", "primitive.max_pool_3d_v1"], max_pool),
    (&["primitive.sum_pool_2d_v1", "primitive.sum_pool_3d_v1"], sum_pool),
];

/// Windows along one axis.
#[derive(Clone, Copy)]
struct Window {
    size: usize,
    stride: usize,
    dilation: usize,
    /// Number of windows.
    count: usize,
}

/// `(input, kernel, stride, dilation, ceil_mode)`; windows are clipped at the end of the axis.
fn max_pool(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, kernel, stride, dilation, ceil] = exactly(call, inputs)?;
    let windows = windows(call, x, [kernel, stride, dilation], integer(ceil)? != 0)?;
    let (shape, values) = match decode(x)? {
        Elements::Real(values) => {
            let (shape, values) = pool(&x.shape, values, &windows, -supremum(x.element), larger);
            (shape, Elements::Real(values))
        }
        Elements::Int(values) => {
            let least = key_range(x.element).0;
            let (shape, values) = pool(&x.shape, keys(x.element, values), &windows, least, i64::max);
            (shape, Elements::Int(keys(x.element, values)))
        }
        Elements::Complex(_) => return Err(Fault::Unsupported("the largest complex number".into())),
    };
    encode(result(call, 0)?, &shape, &values).map(|array| vec![array])
}

/// `(input, kernel, stride, dilation)`.
fn sum_pool(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, kernel, stride, dilation] = exactly(call, inputs)?;
    let windows = windows(call, x, [kernel, stride, dilation], false)?;
    fn sums<T: Number>(x: &NDArray, values: Vec<T>, windows: &[Window]) -> (Vec<usize>, Vec<T>) {
        pool(&x.shape, values, windows, T::ZERO, T::plus)
    }
    let (shape, values) = match decode(x)? {
        Elements::Real(values) => {
            let (shape, values) = sums(x, values, &windows);
            (shape, Elements::Real(values))
        }
        Elements::Int(values) => {
            let (shape, values) = sums(x, values, &windows);
            (shape, Elements::Int(values))
        }
        Elements::Complex(values) => {
            let (shape, values) = sums(x, values, &windows);
            (shape, Elements::Complex(values))
        }
    };
    encode(result(call, 0)?, &shape, &values).map(|array| vec![array])
}

/// The windows of every spatial axis: ⌊(n − d(k−1) − 1)/s⌋ + 1, or the ceiling. A window that misses the
/// axis altogether is an error.
fn windows(call: &Call, x: &NDArray, operands: [&NDArray; 3], ceil: bool) -> Result<Vec<Window>, Fault> {
    let rank = if call.name.contains("3d") { 3 } else { 2 };
    let [size, stride, dilation] = [extents(operands[0])?, extents(operands[1])?, extents(operands[2])?];
    let refused = || {
        let steps = format!("windows {size:?}, steps {stride:?}, dilation {dilation:?}");
        Fault::Program(format!("{} of {:?} with {steps}", call.name, x.shape))
    };
    if x.shape.len() != rank + 2
        || [&size, &stride, &dilation].iter().any(|v| v.len() != rank || v.contains(&0))
    {
        return Err(refused());
    }
    let window = |axis: usize| {
        let (n, stride) = (x.shape[axis + 2], stride[axis]);
        let span = dilation[axis].checked_mul(size[axis] - 1)?.checked_add(1)?;
        let room = n.checked_sub(span)?;
        let count = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
        let fits = (count - 1).checked_mul(stride)? < n;
        fits.then_some(Window { size: size[axis], stride, dilation: dilation[axis], count })
    };
    (0..rank).map(window).collect::<Option<_>>().ok_or_else(refused)
}

/// Folds the elements of every window. No pass makes more elements than it reads.
fn pool<T: Copy>(
    shape: &[usize],
    mut values: Vec<T>,
    windows: &[Window],
    init: T,
    step: impl Fn(T, T) -> T,
) -> (Vec<usize>, Vec<T>) {
    let mut shape = shape.to_vec();
    for (axis, window) in windows.iter().enumerate() {
        let axis = axis + 2;
        let n = shape[axis];
        shape[axis] = window.count;
        if values.is_empty() {
            continue;
        }
        let after: usize = shape[axis + 1..].iter().product();
        let mut out = vec![init; values.len() / n * window.count];
        for (number, row) in out.chunks_exact_mut(after).enumerate() {
            let (before, at) = (number / window.count, number % window.count * window.stride);
            for place in (0..window.size).map(|k| at + k * window.dilation).take_while(|place| *place < n) {
                for (o, x) in row.iter_mut().zip(&values[(before * n + place) * after..][..after]) {
                    *o = step(*o, *x);
                }
            }
        }
        values = out;
    }
    (shape, values)
}
