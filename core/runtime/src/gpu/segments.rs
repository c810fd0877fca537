//! Where the segments of a compressed weight lie in its device buffer.
//!
//! Segment `i` starts at `i * segment_stride`, a multiple of 256, so that every segment can be
//! bound on its own.

use crate::quant::SegmentParts;
use crate::step::QuantFormat;

/// Alignment of a binding's offset that every device accepts, bytes.
pub const BINDING_ALIGNMENT: u64 = 256;

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First outermost row.
    pub first_row: u64,
    /// Number of rows; the last segment may have fewer than the others.
    pub rows: u64,
    /// Byte offset in the buffer.
    pub offset: u64,
    /// Offsets of its parts, relative to `offset`.
    pub parts: SegmentParts,
}

/// Distance between two segments of which each is at most `limit` bytes.
pub fn segment_stride(format: &QuantFormat, limit: u64) -> u64 {
    format.parts(format.segment_rows(limit)).bytes.next_multiple_of(BINDING_ALIGNMENT)
}

/// The segments of a weight when a binding may have `limit` bytes.
pub fn segments(format: &QuantFormat, limit: u64) -> impl Iterator<Item = Segment> + '_ {
    let rows = format.dims.first().copied().unwrap_or(1);
    let per_segment = format.segment_rows(limit).max(1);
    let stride = segment_stride(format, limit);
    (0..rows.div_ceil(per_segment)).map(move |i| {
        let first_row = i * per_segment;
        let n = per_segment.min(rows - first_row);
        Segment { first_row, rows: n, offset: i * stride, parts: format.parts(n) }
    })
}

/// Bytes of the whole buffer.
pub fn segmented_bytes(format: &QuantFormat, limit: u64) -> u64 {
    segments(format, limit).last().map_or(0, |s| s.offset + s.parts.bytes)
}
