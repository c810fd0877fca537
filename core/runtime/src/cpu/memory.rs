//! Views bound to memory: checked once per step, then read without further failure.

use crate::expr::Expr;
use crate::step::{Kind, Storage, View};

use super::Fault;
use super::quantized::Quantized;
use super::simd;

/// Highest rank of a view.
pub(super) const MAX_RANK: usize = 8;

/// Most operands of one step.
pub(super) const MAX_READS: usize = 16;

/// Offset, extents and strides of a view, in elements. Every index lies inside the buffer.
#[derive(Clone, Copy, Debug)]
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
            count = isize::try_from(dim).ok().and_then(|d| count?.checked_mul(d));
            let reach = extent.saturating_sub(1).checked_mul(stride);
            low = low.zip(reach).and_then(|(at, by)| at.checked_add(by.min(0)));
            high = high.zip(reach).and_then(|(at, by)| at.checked_add(by.max(0)));
        }
        if layout.dims().contains(&0) {
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

/// Memory of a buffer as it is stored. Little-endian.
#[derive(Clone, Copy)]
pub(super) enum Data<'a> {
    Word(&'a [u8]),
    F16(&'a [u8]),
    BF16(&'a [u8]),
    Byte { bytes: &'a [u8], signed: bool },
    Quant(Quantized<'a>),
}

impl<'a> Data<'a> {
    /// Interprets bytes by their storage; compressed weights are made by [`Quantized::new`].
    pub fn new(storage: &Storage, bytes: &'a [u8]) -> Result<Data<'a>, Fault> {
        Ok(match storage {
            Storage::Word => Data::Word(bytes),
            Storage::F16 => Data::F16(bytes),
            Storage::BF16 => Data::BF16(bytes),
            Storage::Byte { signed } => Data::Byte { bytes, signed: *signed },
            Storage::Quant(_) => return Err(Fault::program("compressed storage without its parts".into())),
        })
    }

    /// Number of elements stored.
    pub fn elements(&self) -> usize {
        match self {
            Data::Word(bytes) => bytes.len() / 4,
            Data::F16(bytes) | Data::BF16(bytes) => bytes.len() / 2,
            Data::Byte { bytes, .. } => bytes.len(),
            Data::Quant(quant) => quant.elements(),
        }
    }

    /// Loads `out.len()` elements at `offset`, `offset + stride` … as words.
    fn run(&self, offset: usize, stride: isize, out: &mut [u32]) {
        if stride == 0 {
            let mut first = [0];
            self.run(offset, 1, &mut first);
            out.fill(first[0]);
            return;
        }
        let n = out.len();
        let index = |i: usize| (offset as isize + i as isize * stride) as usize;
        match self {
            Data::Word(bytes) if stride == 1 => {
                bytemuck::cast_slice_mut(out).copy_from_slice(&bytes[offset * 4..(offset + n) * 4]);
            }
            Data::Word(bytes) => {
                for (i, o) in out.iter_mut().enumerate() {
                    let at = index(i) * 4;
                    *o = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
                }
            }
            Data::F16(bytes) if stride == 1 => {
                simd::f16_to_f32(&bytes[offset * 2..(offset + n) * 2], bytemuck::cast_slice_mut(out));
            }
            Data::F16(bytes) => {
                for (i, o) in out.iter_mut().enumerate() {
                    *o = half::f16::from_bits(half_at(bytes, index(i))).to_f32().to_bits();
                }
            }
            Data::BF16(bytes) => {
                for (i, o) in out.iter_mut().enumerate() {
                    *o = u32::from(half_at(bytes, index(i))) << 16;
                }
            }
            Data::Byte { bytes, signed: true } => {
                for (i, o) in out.iter_mut().enumerate() {
                    *o = i32::from(bytes[index(i)] as i8) as u32;
                }
            }
            Data::Byte { bytes, signed: false } => {
                for (i, o) in out.iter_mut().enumerate() {
                    *o = u32::from(bytes[index(i)]);
                }
            }
            Data::Quant(quant) if stride == 1 => quant.load(offset, bytemuck::cast_slice_mut(out)),
            Data::Quant(quant) => {
                for (i, o) in out.iter_mut().enumerate() {
                    let mut one = [0.0];
                    quant.load(index(i), &mut one);
                    *o = one[0].to_bits();
                }
            }
        }
    }
}

fn half_at(bytes: &[u8], index: usize) -> u16 {
    u16::from_le_bytes([bytes[index * 2], bytes[index * 2 + 1]])
}

/// A bound operand.
#[derive(Clone, Copy)]
pub(super) struct Operand<'a> {
    pub kind: Kind,
    pub data: Data<'a>,
    pub layout: Layout,
    /// `layout` with its axes merged: what loads walk over.
    merged: Layout,
}

impl<'a> Operand<'a> {
    pub fn new(kind: Kind, data: Data<'a>, layout: Layout) -> Operand<'a> {
        Operand { kind, data, layout, merged: layout.merged() }
    }

    /// An operand over nothing, to fill tables.
    pub fn empty() -> Operand<'a> {
        Operand::new(Kind::U32, Data::Word(&[]), Layout::dense(&[0]))
    }

    pub fn dims(&self) -> &[usize] {
        self.layout.dims()
    }

    /// Extent of axis `axis`, 1 beyond the rank.
    pub fn dim(&self, axis: usize) -> usize {
        self.layout.dims().get(axis).copied().unwrap_or(1)
    }

    /// Loads the elements `start..start + out.len()` in row-major order as words.
    pub fn load(&self, start: usize, out: &mut [u32]) {
        self.merged.runs(start, out.len(), |offset, stride, at, n| {
            self.data.run(offset, stride, &mut out[at..at + n]);
        });
    }

    /// [`Operand::load`] of float elements.
    pub fn load_f32(&self, start: usize, out: &mut [f32]) {
        self.load(start, bytemuck::cast_slice_mut(out));
    }

    /// Loads a run by buffer offset.
    pub fn load_run(&self, offset: usize, stride: isize, out: &mut [f32]) {
        self.data.run(offset, stride, bytemuck::cast_slice_mut(out));
    }

    /// All elements, when they lie as words in row-major order.
    pub fn words(&self) -> Option<&'a [u32]> {
        let Data::Word(bytes) = self.data else { return None };
        if !(self.merged.dims().is_empty() || self.merged.dims().len() == 1 && self.merged.strides()[0] == 1) {
            return None;
        }
        let count = self.layout.count();
        let start = self.merged.offset * 4;
        let range = if count == 0 { 0..0 } else { start..start + count * 4 };
        bytemuck::try_cast_slice(bytes.get(range)?).ok()
    }

    /// The elements `start..start + len`: in place where they lie as words, else loaded.
    pub fn row<'b>(&self, start: usize, len: usize, buffer: &'b mut [u32]) -> &'b [u32]
    where
        'a: 'b,
    {
        if let Some(words) = self.words() {
            return &words[start..start + len];
        }
        let out = &mut buffer[..len];
        self.load(start, out);
        out
    }

    /// Copies a matrix stored column by column into `out`, in blocks of lines; false when the words
    /// do not lie like that.
    pub fn turn(&self, out: &mut [u32]) -> bool {
        // Lines copied together: as many words as a cache line has.
        const LINES: usize = 16;
        let Data::Word(bytes) = self.data else { return false };
        let merged = &self.merged;
        let rank = merged.rank;
        if rank < 2 || merged.strides[rank - 2] != 1 || merged.dims[rank - 1] < LINES {
            return false;
        }
        let (lines, n) = (merged.dims[rank - 2], merged.dims[rank - 1]);
        let stride = merged.strides[rank - 1];
        // Lines of one task do not leave their matrix.
        for (plane, out) in out.chunks_mut(lines * n).enumerate() {
            let base = merged.at(&merged.dims[..rank - 2], plane) as isize;
            super::threads::chunks(out, LINES * n, 2, |at, out| {
                let first = base + (at / n) as isize;
                for column in (0..n).step_by(LINES) {
                    for (i, line) in out.chunks_mut(n).enumerate() {
                        for (j, o) in line[column..n.min(column + LINES)].iter_mut().enumerate() {
                            let at = (first + i as isize + (column + j) as isize * stride) as usize * 4;
                            *o = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
                        }
                    }
                }
            });
        }
        true
    }

    /// All elements as words: in place, or loaded into `buffer`.
    pub fn dense<'b>(&self, buffer: &'b mut Vec<u32>) -> Result<&'b [u32], Fault>
    where
        'a: 'b,
    {
        if let Some(words) = self.words() {
            return Ok(words);
        }
        let count = self.layout.count();
        grow(buffer, count)?;
        super::threads::chunks(&mut buffer[..count], 4096, 2, |at, out| self.load(at, out));
        Ok(&buffer[..count])
    }
}

/// Makes `buffer` at least `len` words long; never shrinks.
pub(super) fn grow(buffer: &mut Vec<u32>, len: usize) -> Result<(), Fault> {
    if buffer.len() < len {
        buffer
            .try_reserve_exact(len - buffer.len())
            .map_err(|_| Fault::Memory((len as u64).saturating_mul(4)))?;
        buffer.resize(len, 0);
    }
    Ok(())
}

/// Checks that a destination has no element twice because of a broadcast axis.
pub(super) fn check_destination(layout: &Layout, available: usize) -> Result<(), Fault> {
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

/// Writes words to a strided destination, converting to its storage.
pub(super) fn store(bytes: &mut [u8], storage: &Storage, layout: &Layout, values: &[u32]) -> Result<(), Fault> {
    if matches!(storage, Storage::Quant(_)) {
        return Err(Fault::program("a compressed weight cannot be written".into()));
    }
    layout.merged().runs(0, values.len(), |offset, stride, at, n| {
        let values = &values[at..at + n];
        if stride == 1 {
            match storage {
                Storage::Word => {
                    let out = &mut bytes[offset * 4..(offset + n) * 4];
                    return out.copy_from_slice(bytemuck::cast_slice(values));
                }
                Storage::F16 => {
                    let out = &mut bytes[offset * 2..(offset + n) * 2];
                    return simd::f32_to_f16(bytemuck::cast_slice(values), out);
                }
                _ => {}
            }
        }
        for (i, &value) in values.iter().enumerate() {
            let index = (offset as isize + i as isize * stride) as usize;
            let float = f32::from_bits(value);
            match storage {
                Storage::Word => bytes[index * 4..index * 4 + 4].copy_from_slice(&value.to_le_bytes()),
                Storage::F16 => {
                    let bits = half::f16::from_f32(float).to_le_bytes();
                    bytes[index * 2..index * 2 + 2].copy_from_slice(&bits);
                }
                Storage::BF16 => {
                    let bits = half::bf16::from_f32(float).to_le_bytes();
                    bytes[index * 2..index * 2 + 2].copy_from_slice(&bits);
                }
                Storage::Byte { .. } => bytes[index] = value as u8,
                Storage::Quant(_) => {}
            }
        }
    });
    Ok(())
}

/// Evaluates a count.
pub(super) fn extent(expr: &Expr, values: &[i64]) -> Result<usize, Fault> {
    let value = expr.eval(values);
    usize::try_from(value).map_err(|_| Fault::program(format!("an extent evaluates to {value}")))
}
