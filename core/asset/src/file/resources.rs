//! Resources: where the bytes of large constants lie (§2.2).

use std::ops::Range;

use super::container::{Container, Section};
use super::cursor::Cursor;
use crate::error::AssetError;
use crate::limits::MAX_ALIGNMENT;

/// What a resource holds.
pub(crate) enum Blob {
    /// Bytes, and where they are. `None` while unknown: the source gives no slices, so the header
    /// of the blob was not read; the constant's type tells ([`infer_blob`]).
    Bytes(Option<Range<u64>>),
    /// A boolean or a string; no constant refers to one.
    Other,
}

/// One entry of the resource table.
pub(crate) struct Resource {
    /// Header, padding and data in the file.
    pub entry: Range<u64>,
    pub blob: Blob,
}

/// The non-external resources, in file order.
pub(crate) fn read_resources(container: &Container, strings: usize) -> Result<Vec<Resource>, AssetError> {
    let Some(mut table) = container.optional(Section::ResourceOffsets)? else {
        return Ok(Vec::new());
    };
    let Some(payload) = container.range(Section::Resources) else {
        return Err(AssetError::MissingSection { what: "resource", offset: table.offset() });
    };
    let external_groups = table.vi()?;
    let mut resources = Vec::new();
    let mut at = payload.start;
    let mut group = 0u64;
    while !table.is_done() {
        table.vi()?; // provider: all resources of a portable asset are the dialect's own
        let count = table.count("resources", 3)?;
        for _ in 0..count {
            table.index("string", strings)?; // key: a unique name without meaning
            let offset = table.offset();
            let size = table.vi()?;
            let kind = table.u8()?;
            let end =
                at.checked_add(size).filter(|end| *end <= payload.end).ok_or(AssetError::Truncated {
                    what: "resource",
                    offset,
                    needed: size,
                    available: payload.end.saturating_sub(at),
                })?;
            if group >= external_groups {
                let entry = at..end;
                let blob = match kind {
                    0 => Blob::Bytes(match container.source.slice(entry.clone()) {
                        Some(bytes) => Some(parse_blob(bytes, &entry)?),
                        None => None,
                    }),
                    1 | 2 => Blob::Other,
                    code => {
                        let code = u64::from(code);
                        return Err(AssetError::UnknownCode { what: "resource", offset, code });
                    }
                };
                resources.push(Resource { entry, blob });
            }
            at = end;
        }
        group += 1;
    }
    match payload.end - at {
        0 => Ok(resources),
        n => {
            let reason = format!("{n} bytes too many");
            Err(AssetError::malformed("resource section", at, reason))
        }
    }
}

/// Reads the header of a blob; `bytes` may end anywhere after the header's padding.
pub(crate) fn parse_blob(bytes: &[u8], entry: &Range<u64>) -> Result<Range<u64>, AssetError> {
    let mut cursor = Cursor::new(bytes, entry.start, "resource");
    let alignment = cursor.vi()?;
    let size = cursor.vi()?;
    cursor.padding(alignment)?;
    let start = cursor.offset();
    if start.checked_add(size) != Some(entry.end) {
        let room = entry.end.saturating_sub(start);
        let reason = format!("the blob says {size} bytes, the table leaves {room}");
        return Err(AssetError::malformed("resource", entry.start, reason));
    }
    Ok(start..entry.end)
}

/// Where the data of an unread blob must lie, given the lengths its constant could have.
/// Data ends the entry, so a length fits if some alignment explains the bytes before it. `None`
/// if no length fits or several do.
pub(crate) fn infer_blob(entry: &Range<u64>, lengths: &[u64]) -> Option<Range<u64>> {
    let mut fitting = None;
    for (i, &length) in lengths.iter().enumerate() {
        let repeated = lengths.get(..i).is_some_and(|before| before.contains(&length));
        if !repeated && header_fits(entry, length) {
            if fitting.is_some() {
                return None;
            }
            fitting = Some(entry.end - length..entry.end);
        }
    }
    fitting
}

fn header_fits(entry: &Range<u64>, length: u64) -> bool {
    let size = entry.end.saturating_sub(entry.start);
    let Some(head) = size.checked_sub(length) else {
        return false;
    };
    let data = entry.end - length;
    let shifts = 0..=MAX_ALIGNMENT.trailing_zeros();
    shifts.map(|shift| 1u64 << shift).any(|alignment| {
        let fields = vi_bytes(alignment) + vi_bytes(length);
        let padding = head.checked_sub(fields);
        data.is_multiple_of(alignment) && padding.is_some_and(|padding| padding < alignment)
    })
}

/// Bytes of a value as PrefixVarInt.
fn vi_bytes(value: u64) -> u64 {
    match 64 - value.leading_zeros() {
        bits @ 0..=56 => u64::from(bits.div_ceil(7).max(1)),
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_found_without_its_header() {
        // 1 byte alignment, 2 bytes length, 13 bytes padding, 512 bytes
        let entry = 1000 * 16..1000 * 16 + 16 + 512;
        assert_eq!(infer_blob(&entry, &[1024, 512]), Some(1001 * 16..1001 * 16 + 512));
        assert_eq!(infer_blob(&entry, &[1024]), None);
    }

    #[test]
    fn two_explanations_are_none() {
        // 2 bytes header, 2 bytes padding, 2 bytes; or 2 bytes header, 4 bytes
        let entry = 12..18;
        assert!(header_fits(&entry, 2) && header_fits(&entry, 4));
        assert_eq!(infer_blob(&entry, &[2, 4]), None);
        assert_eq!(infer_blob(&entry, &[2, 2]), Some(16..18));
    }

    #[test]
    fn varint_lengths() {
        for (value, bytes) in [(0, 1), (127, 1), (128, 2), ((1 << 56) - 1, 8), (1 << 56, 9)] {
            assert_eq!(vi_bytes(value), bytes);
        }
    }
}
