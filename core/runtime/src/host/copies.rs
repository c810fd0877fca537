//! Copying elements as bytes: by strides or by a map of indices for each axis.

use super::Fault;
use super::operands::{count, strides, width};
use crate::ndarray::NDArray;

/// Steps the index to the next in row-major order; `false` after the last.
pub(super) fn advance(index: &mut [usize], shape: &[usize]) -> bool {
    for (i, extent) in index.iter_mut().zip(shape).rev() {
        *i += 1;
        if *i < *extent {
            return true;
        }
        *i = 0;
    }
    false
}

/// Elements of a tensor in the order of another shape: `start` and one stride for each axis, in
/// elements, negative ones backwards.
#[derive(Debug)]
pub(super) struct Walk {
    /// Extents of the order.
    pub(super) shape: Vec<usize>,
    /// What a step along an axis adds.
    pub(super) strides: Vec<isize>,
    /// First element.
    pub(super) start: isize,
}

impl Walk {
    /// The offset of every run of adjacent elements, in order, and the length of a run.
    pub(super) fn runs(&self, mut visit: impl FnMut(usize, usize)) {
        if self.shape.contains(&0) {
            return;
        }
        let (mut run, mut outer) = (1, self.shape.len());
        while outer > 0 && (self.shape[outer - 1] == 1 || self.strides[outer - 1] == run as isize) {
            outer -= 1;
            run *= self.shape[outer];
        }
        let mut index = vec![0; outer];
        loop {
            let along = index.iter().zip(&self.strides).map(|(i, s)| *i as isize * s);
            visit((self.start + along.sum::<isize>()) as usize, run);
            if !advance(&mut index, &self.shape[..outer]) {
                return;
            }
        }
    }

    /// The elements, as a tensor of the walk's shape.
    pub(super) fn copy(self, x: &NDArray) -> Result<NDArray, Fault> {
        let w = width(x.element);
        let mut data = Vec::with_capacity(count(x.element, &self.shape)? * w);
        self.runs(|at, run| data.extend_from_slice(&x.data[at * w..][..run * w]));
        NDArray::new(x.element, self.shape, data).map_err(|e| Fault::Program(e.to_string()))
    }
}

/// A tensor of `shape` whose element at an index is `x`'s, taken to have `extents`, at the mapped
/// index: `map(axis, i)`. Where an axis maps to nothing it is `fill`, the bytes of one element.
pub(super) fn mapped(
    x: &NDArray,
    extents: &[usize],
    shape: Vec<usize>,
    fill: &[u8],
    map: impl Fn(usize, usize) -> Option<usize>,
) -> Result<NDArray, Fault> {
    let w = width(x.element);
    let total = count(x.element, &shape)?;
    let Some((length, outer)) = shape.split_last().filter(|_| total > 0) else {
        let data = if total > 0 { x.data.clone() } else { Vec::new() };
        return NDArray::new(x.element, shape, data).map_err(|e| Fault::Program(e.to_string()));
    };
    let strides = strides(extents);
    let mut data = Vec::with_capacity(total * w);
    let mut index = vec![0; outer.len()];
    loop {
        let step = |at: usize, (axis, i): (usize, &usize)| Some(at + map(axis, *i)? * strides[axis]);
        let row = index.iter().enumerate().try_fold(0, step);
        for i in 0..*length {
            match row.and_then(|row| Some(row + map(outer.len(), i)?)) {
                Some(at) => data.extend_from_slice(&x.data[at * w..][..w]),
                None => data.extend_from_slice(fill),
            }
        }
        if !advance(&mut index, outer) {
            break;
        }
    }
    NDArray::new(x.element, shape, data).map_err(|e| Fault::Program(e.to_string()))
}
