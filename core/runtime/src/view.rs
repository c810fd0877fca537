//! Free re-interpretations of strided views.

use crate::expr::Expr;
use crate::facts::{Assumptions, contiguous, product};
use crate::step::{BufferId, View};

impl View {
    /// A whole row-major buffer.
    pub fn whole(buffer: BufferId, dims: Vec<Expr>) -> View {
        View { buffer, offset: Expr::zero(), strides: contiguous(&dims), dims }
    }

    /// Whether the view is its whole buffer in row-major order, given the buffer's element count.
    pub fn is_whole(&self, elements: &Expr) -> bool {
        self.offset.is(0) && product(&self.dims) == *elements && self.is_row_major()
    }

    /// Whether elements follow each other in row-major order (axes of extent 1 do not count).
    pub fn is_row_major(&self) -> bool {
        let mut expected = Expr::one();
        for (d, s) in self.dims.iter().zip(&self.strides).rev() {
            if d.is(1) {
                continue;
            }
            if *s != expected {
                return false;
            }
            expected = &expected * d;
        }
        true
    }

    /// NumPy broadcast to `dims` (right-aligned). Extents other than 1 are taken to match.
    pub fn broadcast(&self, dims: &[Expr]) -> View {
        let lead = dims.len().saturating_sub(self.dims.len());
        let strides = dims
            .iter()
            .enumerate()
            .map(|(i, d)| match i.checked_sub(lead) {
                Some(k) if !self.dims[k].is(1) || d.is(1) => self.strides[k].clone(),
                _ => Expr::zero(),
            })
            .collect();
        View { buffer: self.buffer, offset: self.offset.clone(), dims: dims.to_vec(), strides }
    }

    /// Axis `i` of the result is axis `perm[i]` of this.
    pub fn permute(&self, perm: &[usize]) -> View {
        View {
            buffer: self.buffer,
            offset: self.offset.clone(),
            dims: perm.iter().map(|p| self.dims[*p].clone()).collect(),
            strides: perm.iter().map(|p| self.strides[*p].clone()).collect(),
        }
    }

    /// Restricts axis `axis` to `length` elements from `start` by `step`.
    pub fn slice(&self, axis: usize, start: &Expr, length: &Expr, step: i64) -> View {
        let mut view = self.clone();
        view.offset = &view.offset + &(start * &self.strides[axis]);
        view.dims[axis] = length.clone();
        view.strides[axis] = &self.strides[axis] * &Expr::from(step);
        view
    }

    /// Inserts an axis of extent 1 before `axis`.
    pub fn expand(&self, axis: usize) -> View {
        let mut view = self.clone();
        view.dims.insert(axis, Expr::one());
        view.strides.insert(axis, Expr::zero());
        view
    }

    /// Row-major reshape without moving data; `None` when the strides do not allow it.
    pub fn reshape(&self, dims: &[Expr], shapes: &Assumptions) -> Option<View> {
        // Axes of extent 1 carry no stride.
        let old: Vec<(&Expr, &Expr)> =
            self.dims.iter().zip(&self.strides).filter(|(d, _)| !d.is(1)).collect();
        let mut strides = vec![Expr::zero(); dims.len()];
        let new: Vec<usize> = (0..dims.len()).filter(|i| !dims[*i].is(1)).collect();
        let (mut i, mut j) = (0, 0);
        while i < old.len() && j < new.len() {
            let (first_old, first_new) = (i, j);
            let mut have = old[i].0.clone();
            let mut want = dims[new[j]].clone();
            while !shapes.same(&have, &want) {
                if want.exact_div(&have).is_some() || divides(shapes, &have, &want) {
                    i += 1;
                    have = &have * old.get(i)?.0;
                } else {
                    j += 1;
                    want = &want * &dims[*new.get(j)?];
                }
            }
            for k in first_old..i {
                if *old[k].1 != old[k + 1].1 * old[k + 1].0 {
                    return None;
                }
            }
            let mut stride = old[i].1.clone();
            for k in (first_new..=j).rev() {
                strides[new[k]] = stride.clone();
                stride = &stride * &dims[new[k]];
            }
            i += 1;
            j += 1;
        }
        (i == old.len() && j == new.len()).then(|| View {
            buffer: self.buffer,
            offset: self.offset.clone(),
            dims: dims.to_vec(),
            strides,
        })
    }

    /// The same elements seen with other extents that differ only in axes of extent 1.
    pub fn realign(&self, dims: &[Expr]) -> Option<View> {
        let mut from = (0..self.dims.len()).filter(|i| !self.dims[*i].is(1));
        let mut strides = vec![Expr::zero(); dims.len()];
        for (i, d) in dims.iter().enumerate() {
            if !d.is(1) {
                strides[i] = self.strides[from.next()?].clone();
            }
        }
        from.next().is_none().then(|| View {
            buffer: self.buffer,
            offset: self.offset.clone(),
            dims: dims.to_vec(),
            strides,
        })
    }
}

/// Whether growing the first product is the right way to reach the second: it is provably smaller.
fn divides(shapes: &Assumptions, have: &Expr, want: &Expr) -> bool {
    have.exact_div(want).is_none() && shapes.bounds(&(want - have)).min > 0
}

/// Whether two shapes are equal but for axes of extent 1.
pub fn same_squeezed(a: &[Expr], b: &[Expr], shapes: &Assumptions) -> bool {
    let mut x = a.iter().filter(|d| !d.is(1));
    let mut y = b.iter().filter(|d| !d.is(1));
    loop {
        match (x.next(), y.next()) {
            (None, None) => return true,
            (Some(p), Some(q)) if shapes.same(p, q) => {}
            _ => return false,
        }
    }
}
