//! Compressed weights: `scale * (code - zero) + min`.

use coreai_asset::ElementType;

use crate::step::QuantFormat;

use super::Fault;
use super::simd;

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
            ElementType::SI4 | ElementType::UI4 => 4,
            ElementType::UI3 => 3,
            ElementType::SI2 | ElementType::UI2 => 2,
            ElementType::UI1 => 1,
            _ => return refuse("codes are not integers of at most 8 bits"),
        };
        if !matches!(format.scale, ElementType::F16 | ElementType::BF16 | ElementType::F32) {
            return refuse("scales are not f16, bf16 or f32");
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

    /// Scale, zero point and minimum of a block.
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

    /// Dequantizes the elements `start..start + out.len()`.
    pub fn load(&self, start: usize, out: &mut [f32]) {
        let (row, block) = (self.row(), self.block());
        let mut done = 0;
        while done < out.len() {
            let at = start + done;
            let column = at % row;
            let end = (column / block + 1) * block;
            let n = (end - column).min(out.len() - done);
            let params = self.params(self.scale_row(at / row) + column / block);
            self.block_run(at, params, &mut out[done..done + n]);
            done += n;
        }
    }

    fn block_run(&self, at: usize, (scale, zero, min): (f32, f32, f32), out: &mut [f32]) {
        let plain = !self.codes.splat && (self.bits == 8 || !self.codes.unpacked);
        if plain && self.bits == 4 && at.is_multiple_of(2) && out.len().is_multiple_of(2) {
            let bytes = &self.codes.bytes[at / 2..(at + out.len()) / 2];
            return simd::dequantize4(bytes, self.signed(), scale, zero, min, out);
        }
        if plain && self.bits == 8 {
            let bytes = &self.codes.bytes[at..at + out.len()];
            return simd::dequantize8(bytes, self.signed(), scale, zero, min, out);
        }
        for (i, o) in out.iter_mut().enumerate() {
            *o = scale * (self.code(&self.codes, at + i) as f32 - zero) + min;
        }
    }
}

/// Bytes of a scale.
pub(super) fn scale_bytes(element: ElementType) -> usize {
    if element == ElementType::F32 { 4 } else { 2 }
}

fn float(part: &Part, element: ElementType, index: usize) -> f32 {
    let index = if part.splat { 0 } else { index };
    let at = index * scale_bytes(element);
    let half = u16::from_le_bytes([part.bytes[at], part.bytes[at + 1]]);
    match element {
        ElementType::F16 => half::f16::from_bits(half).to_f32(),
        ElementType::BF16 => f32::from_bits(u32::from(half) << 16),
        _ => f32::from_bits(
            u32::from(half) | u32::from(part.bytes[at + 2]) << 16 | u32::from(part.bytes[at + 3]) << 24,
        ),
    }
}
