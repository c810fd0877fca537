//! Views bound to extents: checked once per step, then walked without further failure.

use crate::step::View;

use super::Fault;

/// Highest rank of a view.
pub(super) const MAX_RANK: usize = 8;

/// Offset, extents and strides of a view, in elements. Every index lies inside the buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Layout {
    pub offset: usize,
    rank: usize,
    dims: [usize; MAX_RANK],
    strides: [isize; MAX_RANK],
}

impl Layout {
    /// Evaluates a view and checks that all its elements lie within `available` elements.
    pub fn bind(view: &View, values: &[i64], available: usize) -> Result<Layout, Fault> {
        let rank = view.dims.len();
        if rank > MAX_RANK || view.strides.len() != rank {
            return Err(Fault::program(format!(
                "a view has rank {rank} and {} strides; at most {MAX_RANK} axes are supported",
                view.strides.len()
            )));
        }
        let mut layout = Layout { offset: 0, rank, dims: [1; MAX_RANK], strides: [0; MAX_RANK] };
        let offset = view.offset.eval(values);
        let (mut low, mut high, mut count) = (Some(offset), Some(offset), Some(1isize));
        for axis in 0..rank {
            let extent = view.dims[axis].eval(values);
            let stride = view.strides[axis].eval(values);
            let (Ok(dim), Ok(step)) = (usize::try_from(extent), isize::try_from(stride)) else {
                return Err(Fault::program(format!("axis {axis} of a view has extent {extent}")));
            };
            layout.dims[axis] = dim;
            layout.strides[axis] = step;
            // Products over some of the axes must not overflow either, so 0 counts as 1.
            count = isize::try_from(dim.max(1)).ok().and_then(|d| count?.checked_mul(d));
            let reach = extent.saturating_sub(1).checked_mul(stride);
            low = low.zip(reach).and_then(|(at, by)| at.checked_add(by.min(0)));
            high = high.zip(reach).and_then(|(at, by)| at.checked_add(by.max(0)));
        }
        if count.is_some() && layout.dims().contains(&0) {
            return Ok(layout);
        }
        match (low, high, count) {
            (Some(low), Some(high), Some(_)) if low >= 0 && (high as u64) < available as u64 => {
                layout.offset = offset as usize;
                Ok(layout)
            }
            _ => Err(Fault::program(format!(
                "a view of extents {:?}, strides {:?} at {offset} does not fit its buffer of {available} elements",
                layout.dims(),
                layout.strides()
            ))),
        }
    }

    /// Row-major layout of a whole buffer.
    pub fn dense(dims: &[usize]) -> Layout {
        let rank = dims.len().min(MAX_RANK);
        let mut layout = Layout { offset: 0, rank, dims: [1; MAX_RANK], strides: [0; MAX_RANK] };
        let mut stride = 1isize;
        for axis in (0..rank).rev() {
            layout.dims[axis] = dims[axis];
            layout.strides[axis] = stride;
            stride = stride.saturating_mul(dims[axis] as isize);
        }
        layout
    }

    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    pub fn strides(&self) -> &[isize] {
        &self.strides[..self.rank]
    }

    /// Number of elements.
    pub fn count(&self) -> usize {
        self.dims().iter().product()
    }

    /// Whether the elements lie row-major without gaps.
    pub fn is_dense(&self) -> bool {
        let merged = self.merged();
        match merged.rank {
            0 => true,
            1 => merged.strides[0] == 1,
            _ => false,
        }
    }

    /// The same elements in the same order with as few axes as possible.
    pub fn merged(&self) -> Layout {
        let mut out = Layout { offset: self.offset, rank: 0, dims: [1; MAX_RANK], strides: [0; MAX_RANK] };
        for axis in 0..self.rank {
            let (dim, stride) = (self.dims[axis], self.strides[axis]);
            if dim == 1 {
                continue;
            }
            if out.rank > 0 && out.strides[out.rank - 1] == stride.wrapping_mul(dim as isize) {
                out.dims[out.rank - 1] *= dim;
                out.strides[out.rank - 1] = stride;
                continue;
            }
            out.dims[out.rank] = dim;
            out.strides[out.rank] = stride;
            out.rank += 1;
        }
        out
    }

    /// Axes `from..to` at the position given by `outer`, the row-major number over axes `0..from`.
    pub fn part(&self, from: usize, to: usize, outer: usize) -> Layout {
        let mut out = Layout {
            offset: self.at(&self.dims[..from], outer),
            rank: to - from,
            dims: [1; MAX_RANK],
            strides: [0; MAX_RANK],
        };
        out.dims[..to - from].copy_from_slice(&self.dims[from..to]);
        out.strides[..to - from].copy_from_slice(&self.strides[from..to]);
        out
    }

    /// Offset of the element with row-major number `index` over the leading axes `dims`.
    pub fn at(&self, dims: &[usize], index: usize) -> usize {
        let mut rest = index;
        let mut offset = self.offset as isize;
        for axis in (0..dims.len()).rev() {
            let dim = dims[axis].max(1);
            offset = offset.wrapping_add(((rest % dim) as isize).wrapping_mul(self.strides[axis]));
            rest /= dim;
        }
        offset as usize
    }

    /// Calls `f(offset, stride, position, count)` for the inner runs that make up the elements
    /// `start..start + len` in row-major order. Fewest calls on a [`Layout::merged`] layout.
    pub fn runs(&self, start: usize, len: usize, mut f: impl FnMut(usize, isize, usize, usize)) {
        if len == 0 {
            return;
        }
        if self.rank == 0 {
            f(self.offset, 0, 0, len);
            return;
        }
        let last = self.rank - 1;
        let (inner, stride) = (self.dims[last], self.strides[last]);
        if last == 0 {
            f((self.offset as isize + start as isize * stride) as usize, stride, 0, len);
            return;
        }
        let mut coords = [0usize; MAX_RANK];
        let mut rest = start / inner;
        let mut column = start % inner;
        let mut base = self.offset as isize;
        for axis in (0..last).rev() {
            coords[axis] = rest % self.dims[axis];
            rest /= self.dims[axis];
            base += coords[axis] as isize * self.strides[axis];
        }
        let mut done = 0;
        while done < len {
            let n = (inner - column).min(len - done);
            f((base + column as isize * stride) as usize, stride, done, n);
            done += n;
            column = 0;
            for axis in (0..last).rev() {
                coords[axis] += 1;
                base += self.strides[axis];
                if coords[axis] < self.dims[axis] {
                    break;
                }
                base -= self.dims[axis] as isize * self.strides[axis];
                coords[axis] = 0;
            }
        }
    }

    /// Makes every index refer to element 0: constants of which one element is stored.
    pub fn splat(&mut self) {
        self.offset = 0;
        self.strides = [0; MAX_RANK];
    }
}

/// Checks that a destination has no element twice because of a broadcast axis.
pub(super) fn check_destination(layout: &Layout, available: usize) -> Result<(), Fault> {
    if layout.count() == 0 {
        return Ok(());
    }
    let broadcast = layout.dims().iter().zip(layout.strides()).any(|(&d, &s)| d > 1 && s == 0);
    if broadcast || layout.count() > available {
        return Err(Fault::program(format!(
            "a result of extents {:?} and strides {:?} overlaps itself",
            layout.dims(),
            layout.strides()
        )));
    }
    Ok(())
}
