//! Iteration spaces: extents with the strides of every operand, reduced to as few axes as provable.

use crate::expr::Expr;

/// Extents and, per operand, element strides. Axes of extent 1 are gone and contiguous neighbours
/// are merged; the row-major order of the elements is unchanged.
#[derive(Clone, Debug)]
pub(super) struct Space {
    pub dims: Vec<Expr>,
    /// `[operand][axis]`
    pub strides: Vec<Vec<Expr>>,
    /// Where each original axis went; `None` for extent 1 and for merged axes that were not kept.
    pub axis_of: Vec<Option<usize>>,
}

impl Space {
    /// Reduces `dims` with one list of strides per operand. Axes in `keep` are not merged.
    pub fn new(dims: &[Expr], strides: &[&[Expr]], keep: &[usize]) -> Space {
        let mut space =
            Space { dims: vec![], strides: vec![vec![]; strides.len()], axis_of: vec![None; dims.len()] };
        let mut last_kept = true;
        for (axis, dim) in dims.iter().enumerate() {
            if dim.is(1) {
                continue;
            }
            let kept = keep.contains(&axis);
            let merges = !kept
                && !last_kept
                && space
                    .strides
                    .iter()
                    .zip(strides)
                    .all(|(have, s)| have.last().is_some_and(|outer| *outer == &s[axis] * dim));
            if merges {
                if let Some(last) = space.dims.last_mut() {
                    *last = &*last * dim;
                }
                for (have, s) in space.strides.iter_mut().zip(strides) {
                    if let Some(last) = have.last_mut() {
                        *last = s[axis].clone();
                    }
                }
            } else {
                space.dims.push(dim.clone());
                for (have, s) in space.strides.iter_mut().zip(strides) {
                    have.push(s[axis].clone());
                }
            }
            if kept {
                space.axis_of[axis] = Some(space.dims.len() - 1);
            }
            last_kept = kept;
        }
        space
    }

    /// Number of elements.
    pub fn elements(&self) -> Expr {
        crate::facts::product(&self.dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Sym;
    use crate::facts::contiguous;

    #[test]
    fn contiguous_axes_merge_and_ones_vanish() {
        let n = |v: i64| Expr::from(v);
        let s = Expr::from(Sym(0));
        let dims = [n(1), s.clone(), n(3), n(64)];
        let row_major = contiguous(&dims);
        let space = Space::new(&dims, &[&row_major, &row_major], &[]);
        assert_eq!(space.dims, [&s * &n(192)]);
        let broadcast = [n(0), n(0), n(0), n(1)];
        let space = Space::new(&dims, &[&row_major, &broadcast], &[]);
        assert_eq!(space.dims, [&s * &n(3), n(64)]);
        assert_eq!(space.strides[1], [n(0), n(1)]);
        let space = Space::new(&dims, &[&row_major], &[2]);
        assert_eq!(space.dims, [s, n(3), n(64)]);
        assert_eq!(space.axis_of, [None, None, Some(1), None]);
    }
}
