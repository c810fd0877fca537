//! Operands: bound views over memory, loaded and stored as words.

use crate::expr::Expr;
use crate::step::{Kind, Storage};

use super::Fault;
use super::layout::Layout;
use super::quantized::Quantized;
use super::simd;

/// Most operands of one step.
pub(super) const MAX_READS: usize = 16;

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
    /// Number of the buffer when its content never changes.
    pub fixed: Option<u32>,
    /// `layout` with its axes merged: what loads walk over.
    merged: Layout,
}

impl<'a> Operand<'a> {
    pub fn new(kind: Kind, data: Data<'a>, layout: Layout) -> Operand<'a> {
        Operand { kind, data, layout, fixed: None, merged: layout.merged() }
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

    /// The value of the elements `start..start + len` when a broadcast axis makes them one.
    pub fn single(&self, start: usize, len: usize) -> Option<u32> {
        if let (Some(&dim), Some(&stride)) = (self.merged.dims().last(), self.merged.strides().last())
            && (stride != 0 || start % dim.max(1) + len > dim)
        {
            return None;
        }
        let mut one = [0];
        self.load(start, &mut one);
        Some(one[0])
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
        if !(self.merged.dims().is_empty() || self.merged.dims().len() == 1 && self.merged.strides()[0] == 1)
        {
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
        let rank = merged.dims().len();
        if out.is_empty() || rank < 2 || merged.strides()[rank - 2] != 1 || merged.dims()[rank - 1] < LINES {
            return false;
        }
        let (lines, n) = (merged.dims()[rank - 2], merged.dims()[rank - 1]);
        let stride = merged.strides()[rank - 1];
        // Lines of one task do not leave their matrix.
        for (plane, out) in out.chunks_mut(lines * n).enumerate() {
            let base = merged.at(&merged.dims()[..rank - 2], plane) as isize;
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

/// Writes words to a strided destination, converting to its storage.
pub(super) fn store(
    bytes: &mut [u8],
    storage: &Storage,
    layout: &Layout,
    values: &[u32],
) -> Result<(), Fault> {
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
