//! Parameters that hold for blocks of a tensor.

use super::Fault;
use super::operands::strides;

/// The place of an element's parameter, as a sum of one term per axis.
pub(super) struct Blocks {
    /// Per axis and coordinate, what it adds to the parameter's place.
    terms: Vec<Vec<usize>>,
}

impl Blocks {
    /// `params` divides `shape` axis by axis into equal blocks, or has rank 0: one block. `unit` is the
    /// number of elements that belong to one parameter. `shape` holds elements.
    pub(super) fn new(shape: &[usize], params: &[usize], unit: usize) -> Result<Blocks, Fault> {
        if params.is_empty() {
            return Ok(Blocks { terms: shape.iter().map(|n| vec![0; *n]).collect() });
        }
        let uneven = params.iter().zip(shape).any(|(p, n)| *p == 0 || n % p != 0);
        if params.len() != shape.len() || uneven {
            return Err(Fault::Program(format!("parameters {params:?} do not divide {shape:?} into blocks")));
        }
        let line = |((n, p), step): ((&usize, &usize), &usize)| {
            let block = n / p;
            (0..*n).map(|at| at / block * step * unit).collect()
        };
        Ok(Blocks { terms: shape.iter().zip(params).zip(&strides(params)).map(line).collect() })
    }

    /// One parameter for every coordinate of `axis`.
    pub(super) fn along(shape: &[usize], axis: usize) -> Result<Blocks, Fault> {
        let params: Vec<usize> =
            shape.iter().enumerate().map(|(i, n)| if i == axis { *n } else { 1 }).collect();
        Blocks::new(shape, &params, 1)
    }

    /// Calls `f` with the place of the parameter of every element, row-major.
    pub(super) fn each(&self, mut f: impl FnMut(usize)) {
        let Some((last, outer)) = self.terms.split_last() else { return f(0) };
        let mut place = vec![0; outer.len()];
        loop {
            let base: usize = outer.iter().zip(&place).map(|(terms, at)| terms[*at]).sum();
            last.iter().for_each(|term| f(base + term));
            let mut axis = outer.len();
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                place[axis] += 1;
                if place[axis] < outer[axis].len() {
                    break;
                }
                place[axis] = 0;
            }
        }
    }
}
