//! Rows of a tensor in a file.

use std::ops::Range;
use std::sync::Arc;

use coreai_asset::ByteSource;

use super::block::BlockFormat;
use super::bytes::bytes_of;
use super::plain;
use crate::error::ConvertError;
use crate::rows::{PackedRows, Packing, Rows, ScaleType};

/// Bytes that are read at once from sources that are not in memory, unless a row has more.
const CHUNK: u64 = 1 << 20;

/// How the values of a tensor are stored; numbers are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Storage {
    F32,
    F16,
    BF16,
    /// Rounded to float32.
    F64,
    I8,
    I16,
    /// Rounded to float32, which has 24 bits.
    I32,
    U8,
    Block(BlockFormat),
}

impl Storage {
    /// The name that GGUF and safetensors have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F64 => "F64",
            Self::I8 => "I8",
            Self::I16 => "I16",
            Self::I32 => "I32",
            Self::U8 => "U8",
            Self::Block(format) => format.name(),
        }
    }

    /// Values that are stored together: 1 for plain numbers.
    pub fn elements(self) -> u64 {
        match self {
            Self::Block(format) => format.elements(),
            _ => 1,
        }
    }

    /// Bytes of [`Storage::elements`] values.
    pub fn bytes(self) -> u64 {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 => 8,
            Self::Block(format) => format.bytes(),
        }
    }

    /// Bytes of a tensor, or why there is no such tensor: rows are whole blocks, extents are not zero, and
    /// the bytes can be counted.
    pub fn byte_length(self, shape: &[u64]) -> Result<u64, String> {
        if let Some(axis) = shape.iter().position(|extent| *extent == 0) {
            return Err(format!("shape {shape:?}: axis {axis} is empty"));
        }
        let columns = shape.last().copied().unwrap_or(1);
        if !columns.is_multiple_of(self.elements()) {
            return Err(format!(
                "rows of {columns} values are not blocks of {} ({})",
                self.elements(),
                self.name()
            ));
        }
        let outer = shape.split_last().map_or(&[][..], |(_, outer)| outer);
        outer
            .iter()
            .try_fold(columns / self.elements(), |product, extent| product.checked_mul(*extent))
            .and_then(|blocks| blocks.checked_mul(self.bytes()))
            .ok_or_else(|| format!("shape {shape:?} has more than 2⁶⁴ bytes"))
    }

    /// Whole rows.
    fn dequantize(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 => plain::convert(bytes, out, f32::from_le_bytes),
            Self::F16 => plain::float16(bytes, out),
            Self::BF16 => plain::bfloat16(bytes, out),
            Self::F64 => plain::convert(bytes, out, |bytes| f64::from_le_bytes(bytes) as f32),
            Self::I8 => plain::convert(bytes, out, |bytes| f32::from(i8::from_le_bytes(bytes))),
            Self::I16 => plain::convert(bytes, out, |bytes| f32::from(i16::from_le_bytes(bytes))),
            Self::I32 => plain::convert(bytes, out, |bytes| i32::from_le_bytes(bytes) as f32),
            Self::U8 => plain::convert(bytes, out, |[byte]| f32::from(byte)),
            Self::Block(format) => (format.codec().dequantize)(bytes, out),
        }
    }
}

/// A tensor in a file: its rows are read when they are asked for, without a copy of the stored bytes where
/// the source lies in memory or is mapped.
pub struct StoredRows {
    name: String,
    source: Arc<dyn ByteSource>,
    /// Of the source.
    range: Range<u64>,
    shape: Vec<u64>,
    storage: Storage,
    /// Of a row.
    row_bytes: u64,
}

impl StoredRows {
    /// The tensor in bytes `range` of the source, in row-major order. `shape` is outermost first; extents
    /// are not zero. A [`ConvertError::Tensor`] if the range is not in the source or its length is not that
    /// of the shape.
    pub fn new(
        name: impl Into<String>,
        source: Arc<dyn ByteSource>,
        range: Range<u64>,
        shape: Vec<u64>,
        storage: Storage,
    ) -> Result<Self, ConvertError> {
        let name = name.into();
        let checked = storage.byte_length(&shape).and_then(|expected| {
            if range.start > range.end || range.end > source.len() {
                return Err(format!(
                    "bytes {}..{} are not in the file, which has {}",
                    range.start,
                    range.end,
                    source.len()
                ));
            }
            if range.end - range.start != expected {
                return Err(format!(
                    "has {} bytes; shape {shape:?} of {} takes {expected}",
                    range.end - range.start,
                    storage.name()
                ));
            }
            Ok(expected)
        });
        let length = checked.map_err(|reason| ConvertError::Tensor { name: name.clone(), reason })?;
        let outer = shape.split_last().map_or(&[][..], |(_, outer)| outer);
        // extents are not zero, and the product is at most the length
        let row_bytes = length / outer.iter().product::<u64>().max(1);
        Ok(Self { name, source, range, shape, storage, row_bytes })
    }

    /// The name that the file gives it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its values are stored.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// Bytes in the file.
    pub fn byte_len(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn error(&self, reason: String) -> ConvertError {
        ConvertError::Tensor { name: self.name.clone(), reason }
    }

    /// Calls `each` with the bytes of rows `first..first + count`, some whole rows at a time, in order.
    fn visit(&self, first: u64, count: u64, mut each: impl FnMut(&[u8])) -> Result<(), ConvertError> {
        let end = first.checked_add(count).filter(|end| *end <= self.rows()).ok_or_else(|| {
            self.error(format!("{count} rows from row {first} on are asked for; it has {}", self.rows()))
        })?;
        let step = (CHUNK / self.row_bytes).max(1);
        let mut row = first;
        while row < end {
            let next = row.saturating_add(step).min(end);
            // both are at most the rows, whose bytes are in the range
            let range = self.range.start + row * self.row_bytes..self.range.start + next * self.row_bytes;
            each(&bytes_of(&*self.source, range)?);
            row = next;
        }
        Ok(())
    }

    /// A length in memory.
    fn size(&self, value: u64) -> Result<usize, ConvertError> {
        usize::try_from(value).map_err(|_| self.error(format!("{value} values at once are too many")))
    }
}

impl Rows for StoredRows {
    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn read(&self, first: u64, mut out: &mut [f32]) -> Result<(), ConvertError> {
        let columns = self.columns();
        let values = out.len() as u64;
        if !values.is_multiple_of(columns) {
            return Err(self.error(format!("{values} values are not whole rows of {columns}")));
        }
        self.visit(first, values / columns, |bytes| {
            let values = bytes.len() as u64 / self.row_bytes * columns;
            let here = out.split_off_mut(..values as usize).unwrap_or_default();
            self.storage.dequantize(bytes, here);
        })
    }

    fn packing(&self) -> Option<Packing> {
        match self.storage {
            Storage::Block(format) => Some(format.packing()),
            _ => None,
        }
    }

    /// Replaces the contents of `out`. An error where a block has a scale that the packing cannot express:
    /// the exponent 255 of MXFP4.
    fn read_packed(&self, first: u64, count: u64, out: &mut PackedRows) -> Result<(), ConvertError> {
        let Storage::Block(format) = self.storage else {
            return Err(self.error(format!("{} is not packed", self.storage.name())));
        };
        if first.checked_add(count).is_none_or(|end| end > self.rows()) {
            return self.visit(first, count, |_| {});
        }
        let codec = format.codec();
        // at most the values of the tensor
        let (values, scales) = (count * self.columns(), count * self.columns() / codec.packing.block);
        out.codes.clear();
        out.scales.clear();
        out.minimums.clear();
        out.codes.reserve_exact(self.size(values)?);
        out.scales.reserve_exact(self.size(scales)?);
        if codec.packing.minimum {
            out.minimums.reserve_exact(self.size(scales)?);
        }
        self.visit(first, count, |bytes| (codec.split)(bytes, out))?;
        if codec.packing.scale == ScaleType::Exponent
            && let Some(at) = out.scales.iter().position(|scale| scale.is_infinite())
        {
            return Err(self.error(format!(
                "block {at} of the rows from {first} on: its exponent byte is 255, which is no scale"
            )));
        }
        Ok(())
    }
}
