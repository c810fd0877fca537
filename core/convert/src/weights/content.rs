//! Rows as the bytes of constants, made when they are asked for.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use coreai_asset::{AssetError, ByteSource, ElementType, ReadFuture};
use half::{bf16, f16};

use crate::error::ConvertError;
use crate::quantize::Tally;
use crate::rows::{PackedRows, Packing, SharedRows};

/// Values that are converted at a time, unless a row has more. 1 MiB as float32.
const BATCH: u64 = 1 << 18;

/// Rounds to one of the float types that weights and scales are stored in.
pub(crate) fn rounded(element: ElementType, value: f32) -> f32 {
    match element {
        ElementType::F16 => f16::from_f32(value).to_f32(),
        ElementType::BF16 => bf16::from_f32(value).to_f32(),
        _ => value,
    }
}

/// Appends values as a float type.
fn append(element: ElementType, values: &[f32], out: &mut Vec<u8>) {
    match element {
        ElementType::F16 => values.iter().for_each(|v| out.extend(f16::from_f32(*v).to_le_bytes())),
        ElementType::BF16 => values.iter().for_each(|v| out.extend(bf16::from_f32(*v).to_le_bytes())),
        _ => values.iter().for_each(|v| out.extend(v.to_le_bytes())),
    }
}

/// The rows that hold a range of items, `columns` to a row, in batches of about [`BATCH`] values.
fn batches(items: Range<u64>, per_row: u64, columns: u64) -> impl Iterator<Item = Range<u64>> {
    let step = (BATCH / columns.max(1)).max(1);
    let (first, end) = (items.start / per_row.max(1), items.end.div_ceil(per_row.max(1)));
    (first..end).step_by(step as usize).map(move |row| row..end.min(row + step))
}

fn failed(range: &Range<u64>, error: ConvertError) -> AssetError {
    AssetError::Source { start: range.start, end: range.end, reason: error.to_string() }
}

/// Answers a read that is made by `make` of a range within `length`.
fn answer<'a>(
    range: Range<u64>,
    length: u64,
    make: impl FnOnce(&Range<u64>) -> Result<Vec<u8>, ConvertError>,
) -> ReadFuture<'a> {
    let made = match range.start <= range.end && range.end <= length {
        true => make(&range).map(Cow::Owned).map_err(|error| failed(&range, error)),
        false => {
            let reason = format!("the constant has {length} bytes");
            Err(AssetError::Source { start: range.start, end: range.end, reason })
        }
    };
    Box::pin(std::future::ready(made))
}

/// A weight as float32, float16 or bfloat16.
pub(crate) struct Floats {
    pub rows: SharedRows,
    pub element: ElementType,
}

impl ByteSource for Floats {
    fn len(&self) -> u64 {
        let width = u64::from(self.element.bits() / 8);
        self.rows.rows().saturating_mul(self.rows.columns()).saturating_mul(width)
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        answer(range, self.len(), |range| {
            let width = u64::from(self.element.bits() / 8);
            let columns = self.rows.columns();
            let items = range.start / width..range.end.div_ceil(width);
            let first = items.start / columns * columns * width; // byte of the first row
            let mut out = Vec::with_capacity((range.end - range.start) as usize);
            let mut values = Vec::new();
            let mut bytes = Vec::new();
            let mut at = first;
            for rows in batches(items, columns, columns) {
                values.resize(((rows.end - rows.start) * columns) as usize, 0.0);
                self.rows.read(rows.start, &mut values)?;
                bytes.clear();
                append(self.element, &values, &mut bytes);
                keep(range, at, &bytes, &mut out);
                at += bytes.len() as u64;
            }
            Ok(out)
        })
    }
}

/// Appends what of `bytes`, which begin at byte `at`, lies in the range.
fn keep(range: &Range<u64>, at: u64, bytes: &[u8], out: &mut Vec<u8>) {
    let from = range.start.saturating_sub(at).min(bytes.len() as u64) as usize;
    let to = range.end.saturating_sub(at).min(bytes.len() as u64) as usize;
    out.extend_from_slice(&bytes[from..to]);
}

/// The codes and parameters of a packed weight, which are several constants.
pub(crate) struct Packed {
    pub rows: SharedRows,
    pub packing: Packing,
    /// Scales and minimums are rounded to this type.
    pub element: ElementType,
    /// What the stored form is away from the source, counted while the codes are read; `None` where the rows
    /// count themselves.
    pub tally: Option<Mutex<Tally>>,
}

impl Packed {
    /// Difference of all rows that were read so far.
    pub fn tally(&self) -> Option<Tally> {
        self.tally.as_ref().map(|tally| *tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self, rows: &Range<u64>, packed: &mut PackedRows) -> Result<(), ConvertError> {
        self.rows.read_packed(rows.start, rows.end - rows.start, packed)
    }

    /// Compares the stored form of rows with their values.
    fn compare(&self, rows: &Range<u64>, packed: &PackedRows) -> Result<(), ConvertError> {
        let Some(tally) = &self.tally else { return Ok(()) };
        let mut exact = vec![0f32; packed.codes.len()];
        self.rows.read(rows.start, &mut exact)?;
        let values = self.packing.values();
        let mut stored = Vec::with_capacity(exact.len());
        let exponents = self.packing.scale == crate::rows::ScaleType::Exponent;
        for (index, codes) in packed.codes.chunks(self.packing.block.max(1) as usize).enumerate() {
            let scale = packed.scales.get(index).copied().unwrap_or(0.0);
            let scale = if exponents { scale } else { rounded(self.element, scale) };
            let minimum = packed.minimums.get(index).map_or(0.0, |minimum| rounded(self.element, *minimum));
            stored.extend(codes.iter().map(|code| values[usize::from(*code)] * scale + minimum));
        }
        tally.lock().unwrap_or_else(PoisonError::into_inner).add(&exact, &stored);
        Ok(())
    }
}

/// The codes of a packed weight as a bit stream.
pub(crate) struct Codes {
    pub weight: Arc<Packed>,
}

impl ByteSource for Codes {
    fn len(&self) -> u64 {
        let count = self.weight.rows.rows().saturating_mul(self.weight.rows.columns());
        self.weight.packing.codes.element().packed_bytes(count).unwrap_or(u64::MAX)
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        answer(range, self.len(), |range| {
            let bits = u64::from(self.weight.packing.codes.element().bits());
            let columns = self.weight.rows.columns();
            let count = self.weight.rows.rows() * columns;
            // eight codes are whole bytes, whatever their width
            let first = range.start * 8 / bits / 8 * 8;
            let end = (range.end * 8).div_ceil(bits).min(count);
            let mut stream = BitStream::new(bits as u32);
            let mut packed = PackedRows::default();
            for rows in batches(first..end, columns, columns) {
                self.weight.read(&rows, &mut packed)?;
                self.weight.compare(&rows, &packed)?;
                let from = first.saturating_sub(rows.start * columns) as usize;
                let to = (end.saturating_sub(rows.start * columns) as usize).min(packed.codes.len());
                stream.push(packed.codes.get(from..to).unwrap_or(&[]));
            }
            let bytes = stream.finish();
            let mut out = Vec::with_capacity((range.end - range.start) as usize);
            keep(range, first * bits / 8, &bytes, &mut out);
            Ok(out)
        })
    }
}

/// Which parameter of the blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parameter {
    Scale,
    Minimum,
}

/// The scales or minimums of a packed weight. `[rows, columns / block]`
pub(crate) struct Parameters {
    pub weight: Arc<Packed>,
    pub parameter: Parameter,
}

impl Parameters {
    pub fn element(&self) -> ElementType {
        match (self.parameter, self.weight.packing.scale) {
            (Parameter::Scale, crate::rows::ScaleType::Exponent) => ElementType::F8E8M0FN,
            _ => self.weight.element,
        }
    }
}

impl ByteSource for Parameters {
    fn len(&self) -> u64 {
        let blocks = self.weight.rows.columns() / self.weight.packing.block.max(1);
        let width = u64::from(self.element().bits() / 8);
        self.weight.rows.rows().saturating_mul(blocks).saturating_mul(width)
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        answer(range, self.len(), |range| {
            let element = self.element();
            let width = u64::from(element.bits() / 8);
            let columns = self.weight.rows.columns();
            let blocks = columns / self.weight.packing.block.max(1);
            let items = range.start / width..range.end.div_ceil(width);
            let mut at = items.start / blocks * blocks * width;
            let mut out = Vec::with_capacity((range.end - range.start) as usize);
            let mut packed = PackedRows::default();
            let mut bytes = Vec::new();
            for rows in batches(items, blocks, columns) {
                self.weight.read(&rows, &mut packed)?;
                bytes.clear();
                match (self.parameter, element) {
                    (Parameter::Scale, ElementType::F8E8M0FN) => {
                        // powers of two from 2⁻¹²⁷ to 2¹²⁷
                        bytes.extend(packed.scales.iter().map(|scale| (scale.log2() + 127.0) as u8));
                    }
                    (Parameter::Scale, _) => append(element, &packed.scales, &mut bytes),
                    (Parameter::Minimum, _) => append(element, &packed.minimums, &mut bytes),
                }
                keep(range, at, &bytes, &mut out);
                at += bytes.len() as u64;
            }
            Ok(out)
        })
    }
}

/// Codes of a width as a little-endian stream of bits.
struct BitStream {
    bits: u32,
    bytes: Vec<u8>,
    held: u64,
    filled: u32,
}

impl BitStream {
    fn new(bits: u32) -> Self {
        Self { bits, bytes: Vec::new(), held: 0, filled: 0 }
    }

    fn push(&mut self, codes: &[u8]) {
        match self.bits {
            8 => self.bytes.extend_from_slice(codes),
            4 if self.filled == 0 => {
                let (pairs, rest) = codes.as_chunks::<2>();
                self.bytes.extend(pairs.iter().map(|[low, high]| (low & 15) | high << 4));
                rest.iter().for_each(|code| self.one(*code));
            }
            _ => codes.iter().for_each(|code| self.one(*code)),
        }
    }

    fn one(&mut self, code: u8) {
        let mask = (1u64 << self.bits) - 1;
        self.held |= (u64::from(code) & mask) << self.filled;
        self.filled += self.bits;
        while self.filled >= 8 {
            self.bytes.push(self.held as u8);
            self.held >>= 8;
            self.filled -= 8;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.bytes.push(self.held as u8);
        }
        self.bytes
    }
}
