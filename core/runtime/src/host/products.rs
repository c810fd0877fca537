//! Matrix products.

use super::numbers::{Number, both, room};
use super::operands::{broadcast, exactly, result, strides};
use super::{Call, Elements, Eval, Fault, encode};
use crate::ndarray::NDArray;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] =
    &[(&["primitive.batch_matmul_v1"], equal_batches), (&["broadcasting_batch_matmul_v1"], broadcasting)];

fn equal_batches(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, y] = exactly(call, inputs)?;
    let batch = |s: &NDArray| s.shape[..s.shape.len().saturating_sub(2)].to_vec();
    if batch(x) != batch(y) {
        return Err(Fault::Program(format!("products of batches {:?} and {:?}", x.shape, y.shape)));
    }
    broadcasting(call, inputs)
}

/// `[…, M, K] · […, K, N] → […, M, N]`.
fn broadcasting(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, y] = exactly(call, inputs)?;
    let refused = || Fault::Program(format!("a product of {:?} and {:?}", x.shape, y.shape));
    let (&[ref outer_x @ .., m, k], &[ref outer_y @ .., k2, n]) = (&x.shape[..], &y.shape[..]) else {
        return Err(refused());
    };
    if k != k2 {
        return Err(refused());
    }
    let mut shape = broadcast(outer_x, outer_y)?;
    let batch = shape.clone();
    shape.extend([m, n]);
    let element = result(call, 0)?;
    let count = room(element, &shape)?;
    let steps = [steps(&batch, outer_x), steps(&batch, outer_y)];
    let values = both!(x, y, |a, b| Ok(multiply(&a, &b, &batch, &steps, [m, k, n], count)))?;
    encode(element, &shape, &values).map(|array| vec![array])
}

/// Matrices of the operand between neighbours along every axis of the batch.
fn steps(batch: &[usize], outer: &[usize]) -> Vec<usize> {
    let mut steps = vec![0; batch.len() - outer.len()];
    steps.extend(strides(outer).iter().zip(outer).map(|(step, d)| if *d == 1 { 0 } else { *step }));
    steps
}

/// Number of the operand's matrix for matrix `number` of the result.
fn place(mut number: usize, batch: &[usize], steps: &[usize]) -> usize {
    let mut at = 0;
    for (extent, step) in batch.iter().zip(steps).rev() {
        at += number % extent * step;
        number /= extent;
    }
    at
}

fn multiply<T: Number>(
    a: &[T],
    b: &[T],
    batch: &[usize],
    steps: &[Vec<usize>; 2],
    dims: [usize; 3],
    count: usize,
) -> Vec<T> {
    let [m, k, n] = dims;
    let mut out = vec![T::ZERO; count];
    if count == 0 {
        return out;
    }
    for (number, out) in out.chunks_exact_mut(m * n).enumerate() {
        let (pa, pb) = (place(number, batch, &steps[0]), place(number, batch, &steps[1]));
        let (a, b) = (&a[pa * m * k..][..m * k], &b[pb * k * n..][..k * n]);
        for (i, row) in out.chunks_exact_mut(n).enumerate() {
            for (x, line) in a[i * k..][..k].iter().zip(b.chunks_exact(n)) {
                for (o, y) in row.iter_mut().zip(line) {
                    *o = o.plus(x.times(*y));
                }
            }
        }
    }
    out
}
