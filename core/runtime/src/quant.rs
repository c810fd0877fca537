//! Byte layout of compressed weights on the device.
//!
//! A weight is cut into segments of whole outermost rows so that each fits a storage binding. One
//! segment holds, one after the other and each padded to 4 bytes: codes (a dense bit stream as in
//! the asset), scales, zeros (one byte each), mins. A zero point that all blocks share and a table of
//! what codes stand for are part of the format.

use coreai_asset::ElementType;

use crate::step::QuantFormat;

/// Byte offsets of the parts inside one segment, and the segment's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentParts {
    /// Codes start at 0; their bytes, padded.
    pub codes: u64,
    /// Offset of the scales.
    pub scale: u64,
    /// Offset of the zeros.
    pub zero: u64,
    /// Offset of the mins.
    pub min: u64,
    /// Segment bytes, a multiple of 4.
    pub bytes: u64,
}

impl QuantFormat {
    /// Bits of a code in the asset.
    pub fn stored_bits(&self) -> u64 {
        match self.code {
            ElementType::SI8 | ElementType::UI8 => 8,
            ElementType::UI6 => 6,
            ElementType::SI4 | ElementType::UI4 | ElementType::F4E2M1FN => 4,
            ElementType::UI3 => 3,
            ElementType::SI2 | ElementType::UI2 => 2,
            _ => 1,
        }
    }

    /// Bits of a code on the device: the next power of two, so that no code crosses a word.
    pub fn code_bits(&self) -> u64 {
        self.stored_bits().next_power_of_two()
    }

    /// Whether codes are sign-extended.
    pub fn signed(&self) -> bool {
        matches!(self.code, ElementType::SI8 | ElementType::SI4 | ElementType::SI2)
    }

    /// Bytes of one scale.
    pub fn scale_bytes(&self) -> u64 {
        match self.scale {
            ElementType::F32 => 4,
            ElementType::F8E8M0FN => 1,
            _ => 2,
        }
    }

    /// Extents of the scale tensor.
    pub fn scale_dims(&self) -> Vec<u64> {
        self.dims.iter().zip(&self.blocks).map(|(d, b)| d / b).collect()
    }

    /// Elements in one outermost row.
    pub fn row_elements(&self) -> u64 {
        self.dims.iter().skip(1).product()
    }

    /// Scales per group of `blocks[0]` rows.
    pub fn row_scales(&self) -> u64 {
        self.dims.iter().zip(&self.blocks).skip(1).map(|(d, b)| d / b).product()
    }

    /// Least number of rows a segment can be cut at: whole words of codes and whole scale blocks.
    pub fn row_quantum(&self) -> u64 {
        let mut rows = self.blocks.first().copied().unwrap_or(1).max(1);
        while !(rows * self.row_elements() * self.code_bits()).is_multiple_of(32) {
            rows *= 2;
        }
        rows
    }

    /// Part offsets of a segment of `rows` rows.
    pub fn parts(&self, rows: u64) -> SegmentParts {
        let pad = |bytes: u64| bytes.div_ceil(4) * 4;
        let codes = pad((rows * self.row_elements() * self.code_bits()).div_ceil(8));
        let scales = rows.div_ceil(self.blocks.first().copied().unwrap_or(1)) * self.row_scales();
        let scale_bytes = pad(scales * self.scale_bytes());
        let zero = codes + scale_bytes;
        let min = zero + if self.zero { pad(scales) } else { 0 };
        let bytes = min + if self.min { scale_bytes } else { 0 };
        SegmentParts { codes, scale: codes, zero, min, bytes }
    }

    /// Rows per segment so that none exceeds `limit` bytes; all rows when they fit.
    pub fn segment_rows(&self, limit: u64) -> u64 {
        let rows = self.dims.first().copied().unwrap_or(1);
        if self.parts(rows).bytes <= limit {
            return rows;
        }
        let quantum = self.row_quantum();
        let mut n = rows / quantum;
        while n > 1 && self.parts(n * quantum).bytes > limit {
            n = (n * limit / self.parts(n * quantum).bytes).min(n - 1).max(1);
        }
        n.max(1) * quantum
    }

    /// Bytes of the whole weight in one segment.
    pub fn device_bytes(&self) -> u64 {
        self.parts(self.dims.first().copied().unwrap_or(1)).bytes
    }
}
