//! Which bytes of the asset make up a constant's device buffer.

use coreai_asset::ConstantRef;

use super::segments::{segmented_bytes, segments};
use super::transcode::Transcode;
use crate::error::Error;
use crate::plan::Plan;
use crate::step::{Buffer, Kind, QuantFormat, QuantSource, Role, Storage};

/// Identity of an uploaded constant: equal keys share one device buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ConstantKey {
    Plain(ConstantRef, Storage, Kind, u64),
    Quant(QuantSource, Storage),
    Host(std::sync::Arc<Vec<u8>>),
}

impl ConstantKey {
    /// `None` for buffers that are not constants.
    pub fn of(buffer: &Buffer) -> Option<ConstantKey> {
        match &buffer.role {
            Role::Constant(constant) => {
                let elements = elements_of(buffer);
                Some(ConstantKey::Plain(constant.clone(), buffer.storage.clone(), buffer.kind, elements))
            }
            Role::Quant(source) => Some(ConstantKey::Quant(source.clone(), buffer.storage.clone())),
            Role::Host(bytes) => Some(ConstantKey::Host(bytes.clone())),
            Role::Temp | Role::Input(_) | Role::Output(_) | Role::State(_) => None,
        }
    }
}

impl ConstantKey {
    /// Where its first byte lies in the asset.
    pub fn start(&self) -> u64 {
        match self {
            ConstantKey::Plain(constant, ..) => constant.range.start,
            ConstantKey::Quant(source, _) => source.codes.range.start,
            ConstantKey::Host(_) => 0,
        }
    }
}

/// Elements of a constant; constants have no symbolic extents.
fn elements_of(buffer: &Buffer) -> u64 {
    buffer.elements.as_const().and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

/// A run of elements that lie together both in the asset and on the device.
#[derive(Clone, Debug)]
pub(crate) struct Piece<'a> {
    pub constant: &'a ConstantRef,
    /// First element, counted in the constant.
    pub first: u64,
    pub count: u64,
    pub transcode: Transcode,
    /// Byte offset on the device, a multiple of 4.
    pub offset: u64,
}

/// Bytes of a constant's device buffer when a binding may have `limit` bytes.
pub(crate) fn device_bytes(buffer: &Buffer, limit: u64) -> u64 {
    match (&buffer.role, &buffer.storage) {
        (Role::Host(bytes), _) => bytes.len() as u64,
        (_, Storage::Quant(format)) => segmented_bytes(format, limit),
        (_, storage) => Plan::storage_bytes(storage, elements_of(buffer)),
    }
}

/// The pieces of a constant of the asset; none for other buffers.
pub(crate) fn pieces(buffer: &Buffer, limit: u64) -> Result<Vec<Piece<'_>>, String> {
    match (&buffer.role, &buffer.storage) {
        (Role::Constant(constant), storage) => {
            let count = elements_of(buffer);
            let transcode = plain(constant, storage, buffer.kind, count)?;
            Ok(vec![Piece { constant, first: 0, count, transcode, offset: 0 }])
        }
        (Role::Quant(source), Storage::Quant(format)) => Ok(quantized(source, format, limit)),
        (Role::Quant(_), other) => Err(format!("compressed weight with storage {other:?}")),
        _ => Ok(vec![]),
    }
}

fn plain(constant: &ConstantRef, storage: &Storage, kind: Kind, count: u64) -> Result<Transcode, String> {
    let bytes = constant.range.end.saturating_sub(constant.range.start);
    let stored = if constant.splat { 1 } else { count.max(1) };
    let width = bytes / stored;
    match (storage, width) {
        _ if count == 0 => Ok(Transcode::raw(32)),
        (Storage::Word, 4) => Ok(Transcode::raw(32)),
        (Storage::Word, 1 | 2) if kind != Kind::F32 => {
            let bits = width as u32 * 8;
            Ok(Transcode { stored: bits, value: bits, signed: kind == Kind::I32, device: 32 })
        }
        (Storage::F16 | Storage::BF16, 2) => Ok(Transcode::raw(16)),
        (Storage::Byte { .. }, 1) => Ok(Transcode::raw(8)),
        _ => Err(format!("{bytes} bytes do not hold {stored} {kind:?} elements for {storage:?} storage")),
    }
}

fn quantized<'a>(source: &'a QuantSource, format: &QuantFormat, limit: u64) -> Vec<Piece<'a>> {
    let (bits, device) = (format.stored_bits() as u32, format.code_bits() as u32);
    let signed = format.signed();
    let scale_bits = format.scale_bytes() as u32 * 8;
    let block = format.blocks.first().copied().unwrap_or(1).max(1);
    let code_stored = if source.codes_unpacked { 8 } else { bits };
    let mut pieces = vec![];
    for segment in segments(format, limit) {
        let row = format.row_elements();
        let code = Transcode { stored: code_stored, value: bits, signed, device };
        pieces.push(Piece {
            constant: &source.codes,
            first: segment.first_row * row,
            count: segment.rows * row,
            transcode: code,
            offset: segment.offset,
        });
        let first = segment.first_row / block * format.row_scales();
        let count = segment.rows.div_ceil(block) * format.row_scales();
        let mut part = |constant: &'a ConstantRef, transcode, at: u64| {
            pieces.push(Piece { constant, first, count, transcode, offset: segment.offset + at });
        };
        part(&source.scale, Transcode::raw(scale_bits), segment.parts.scale);
        if let (true, Some((zero, one_per_byte))) = (format.zero, &source.zero) {
            let stored = if *one_per_byte { 8 } else { bits };
            part(zero, Transcode { stored, value: bits, signed, device: 8 }, segment.parts.zero);
        }
        if let (true, Some(min)) = (format.min, &source.min) {
            part(min, Transcode::raw(scale_bits), segment.parts.min);
        }
    }
    pieces
}

impl Piece<'_> {
    /// Byte range in the asset of elements `first..first + count` of the piece.
    pub fn source_range(&self, first: u64, count: u64) -> Result<std::ops::Range<u64>, Error> {
        let range = &self.constant.range;
        let wanted = if self.constant.splat {
            self.transcode.stored_bytes(0, 1)
        } else {
            self.first.checked_add(first).and_then(|at| self.transcode.stored_bytes(at, count))
        };
        let found = wanted.and_then(|w| {
            let (start, end) = (range.start.checked_add(w.start)?, range.start.checked_add(w.end)?);
            (end <= range.end).then_some(start..end)
        });
        found.ok_or_else(|| Error::Program {
            function: String::new(),
            op: "constant".into(),
            source_line: None,
            reason: format!(
                "the {} bytes at {} are too few for element {} of {} bits",
                range.end.saturating_sub(range.start),
                range.start,
                self.first.saturating_add(first).saturating_add(count),
                self.transcode.stored
            ),
        })
    }
}
