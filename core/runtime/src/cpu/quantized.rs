//! Compressed weights: `scale * (code - zero) + min`.

use coreai_asset::ElementType;

use crate::step::{Meaning, QuantFormat};

use super::Fault;
use super::simd::{self, Form};

/// Bytes of one part; with `splat`, one element stands for all.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub bytes: &'a [u8],
    pub splat: bool,
    /// Codes of fewer than 8 bits lie one per byte.
    pub unpacked: bool,
}

/// A compressed weight bound to its bytes, all lengths checked.
#[derive(Clone, Copy)]
pub(super) struct Quantized<'a> {
    pub format: &'a QuantFormat,
    pub codes: Part<'a>,
    pub scale: Part<'a>,
    pub zero: Option<Part<'a>>,
    pub min: Option<Part<'a>>,
    elements: usize,
    /// Bits of a code.
    pub bits: usize,
}

impl<'a> Quantized<'a> {
    /// Checks that the parts have the lengths that the format demands.
    pub fn new(
        format: &'a QuantFormat,
        codes: Part<'a>,
        scale: Part<'a>,
        zero: Option<Part<'a>>,
        min: Option<Part<'a>>,
    ) -> Result<Quantized<'a>, Fault> {
        let refuse = |what: &str| Err(Fault::program(format!("compressed weight {:?}: {what}", format.dims)));
        let bits = match format.code {
            ElementType::SI8 | ElementType::UI8 => 8usize,
            ElementType::UI6 => 6,
            ElementType::SI4 | ElementType::UI4 | ElementType::F4E2M1FN => 4,
            ElementType::UI3 => 3,
            ElementType::SI2 | ElementType::UI2 => 2,
            ElementType::UI1 => 1,
            _ => return refuse("codes are not integers of at most 8 bits"),
        };
        use ElementType::{BF16, F8E8M0FN, F16, F32};
        if !matches!(format.scale, F16 | BF16 | F32 | F8E8M0FN) {
            return refuse("scales are not f16, bf16, f32 or f8E8M0");
        }
        if matches!(&format.meaning, Meaning::Table(halves) if halves.len() != 1 << bits) {
            return refuse("the table has not one entry per code");
        }
        if format.blocks.len() != format.dims.len()
            || format.dims.iter().zip(&format.blocks).any(|(&d, &b)| b == 0 || d % b != 0)
        {
            return refuse("blocks do not divide the extents");
        }
        let elements = format
            .dims
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?))
            .filter(|n| *n <= isize::MAX as usize / 8);
        let Some(elements) = elements else {
            return refuse("too many elements");
        };
        let blocks = format.dims.iter().zip(&format.blocks).map(|(d, b)| d / b).product::<u64>() as usize;
        let fits = |part: &Part, bits: usize, count: usize| {
            let (bits, count) = (if part.unpacked { 8 } else { bits }, if part.splat { 1 } else { count });
            part.bytes.len() >= (count * bits).div_ceil(8)
        };
        let scale_bits = scale_bytes(format.scale) * 8;
        if !fits(&codes, bits, elements)
            || !fits(&scale, scale_bits, blocks)
            || zero.is_some_and(|p| !fits(&p, bits, blocks))
            || min.is_some_and(|p| !fits(&p, scale_bits, blocks))
        {
            return refuse("a part is shorter than the extents demand");
        }
        Ok(Quantized { format, codes, scale, zero, min, elements, bits })
    }

    /// A weight whose parts lie in one segment, as on the device.
    pub fn of_segment(format: &'a QuantFormat, bytes: &'a [u8]) -> Result<Quantized<'a>, Fault> {
        let parts = format.parts(format.dims.first().copied().unwrap_or(1));
        let at = |offset: u64| {
            let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or(&[]);
            Part { bytes: rest, splat: false, unpacked: false }
        };
        let zero = format.zero.then(|| Part { unpacked: true, ..at(parts.zero) });
        Quantized::new(format, at(0), at(parts.scale), zero, format.min.then(|| at(parts.min)))
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Extent of the last axis.
    pub fn row(&self) -> usize {
        self.format.dims.last().map_or(1, |d| *d as usize)
    }

    /// Block extent along the last axis.
    pub fn block(&self) -> usize {
        self.format.blocks.last().map_or(1, |b| *b as usize)
    }

    /// Whether codes are sign-extended.
    pub fn signed(&self) -> bool {
        matches!(self.format.code, ElementType::SI8 | ElementType::SI4 | ElementType::SI2)
    }

    /// Number of the first scale of row `row`, rows being numbered over all axes but the last.
    pub fn scale_row(&self, row: usize) -> usize {
        let rank = self.format.dims.len();
        if rank < 2 {
            return 0;
        }
        let mut stride = self.row() / self.block();
        let (mut rest, mut index) = (row, 0);
        for axis in (0..rank - 1).rev() {
            let (dim, block) = (self.format.dims[axis] as usize, self.format.blocks[axis] as usize);
            index += rest % dim / block * stride;
            rest /= dim;
            stride *= dim / block;
        }
        index
    }

    /// Scale, zero point and minimum of a block; not the zero point that all blocks share.
    pub fn params(&self, block: usize) -> (f32, f32, f32) {
        let scale = float(&self.scale, self.format.scale, block);
        let zero = self.zero.map_or(0.0, |part| self.code(&part, block) as f32);
        let min = self.min.map_or(0.0, |part| float(&part, self.format.scale, block));
        (scale, zero, min)
    }

    fn code(&self, part: &Part, index: usize) -> i32 {
        let index = if part.splat { 0 } else { index };
        let raw = if part.unpacked || self.bits == 8 {
            u32::from(part.bytes[index])
        } else {
            let at = index * self.bits;
            let high = part.bytes.get(at / 8 + 1).copied().unwrap_or(0);
            u32::from(u16::from_le_bytes([part.bytes[at / 8], high])) >> (at % 8)
        };
        let shift = 32 - self.bits as u32;
        if self.signed() { ((raw << shift) as i32) >> shift } else { ((raw << shift) >> shift) as i32 }
    }

    /// How the codes are read, where loops for whole vectors can: dense codes of 8 bits, or of fewer in a
    /// table of at most 16 entries.
    pub fn form(&self) -> Option<Form> {
        let dense = !self.codes.splat && (self.bits == 8 || !self.codes.unpacked);
        let form = Form::new(self.bits, self.signed(), &self.format.meaning)?;
        dense.then_some(form)
    }

    /// Dequantizes the elements `start..start + out.len()`.
    pub fn load(&self, start: usize, out: &mut [f32]) {
        let (row, block) = (self.row(), self.block());
        let form = self.form();
        let mut done = 0;
        while done < out.len() {
            let at = start + done;
            let column = at % row;
            let end = (column / block + 1) * block;
            let n = (end - column).min(out.len() - done);
            let params = self.params(self.scale_row(at / row) + column / block);
            self.block_run(at, form.as_ref(), params, &mut out[done..done + n]);
            done += n;
        }
    }

    fn block_run(
        &self,
        at: usize,
        form: Option<&Form>,
        (scale, zero, min): (f32, f32, f32),
        out: &mut [f32],
    ) {
        if let Some(form) = form {
            // Codes begin at a whole byte.
            let whole = |count: usize| (count * self.bits).is_multiple_of(8);
            if whole(at) && whole(out.len()) {
                let bytes = &self.codes.bytes[at * self.bits / 8..(at + out.len()) * self.bits / 8];
                return match (self.bits, form.table_only) {
                    (4, false) => {
                        simd::dequantize4(bytes, self.signed(), scale, zero + form.less, min, out);
                    }
                    (8, _) => simd::dequantize8(bytes, self.signed(), scale, zero + form.less, min, out),
                    _ => simd::dequantize(bytes, form, scale, zero, min, out),
                };
            }
        }
        for (i, o) in out.iter_mut().enumerate() {
            let code = self.format.meaning.value(self.code(&self.codes, at + i));
            *o = scale * (code - zero) + min;
        }
    }
}

/// Bytes of a scale.
pub(super) fn scale_bytes(element: ElementType) -> usize {
    match element {
        ElementType::F32 => 4,
        ElementType::F8E8M0FN => 1,
        _ => 2,
    }
}

/// Scale, or minimum, number `index` of little-endian bytes.
#[inline(always)]
pub(super) fn scale_at(bytes: &[u8], element: ElementType, index: usize) -> f32 {
    let at = index * scale_bytes(element);
    let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    match element {
        ElementType::F16 => half::f16::from_bits(half(at)).to_f32(),
        ElementType::BF16 => f32::from_bits(u32::from(half(at)) << 16),
        ElementType::F8E8M0FN => match bytes[at] {
            // 2^-127 is a subnormal number.
            0 => f32::from_bits(1 << 22),
            255 => f32::NAN,
            exponent => f32::from_bits(u32::from(exponent) << 23),
        },
        _ => f32::from_bits(u32::from(half(at)) | u32::from(half(at + 2)) << 16),
    }
}

fn float(part: &Part, element: ElementType, index: usize) -> f32 {
    scale_at(part.bytes, element, if part.splat { 0 } else { index })
}
