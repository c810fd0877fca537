//! The tensors of a file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use coreai_asset::ByteSource;

use super::cursor::Cursor;
use crate::error::ConvertError;
use crate::formats::{BlockFormat, Storage, StoredRows};

/// Axes of a tensor, as in ggml.
const MAX_AXES: u32 = 4;

/// What the header says about a tensor.
struct Described {
    shape: Vec<u64>,
    storage: Storage,
    /// From the start of the data.
    offset: u64,
    /// Of the data.
    length: u64,
}

/// Reads the descriptions of `count` tensors, which end the header, and finds their data.
pub(super) fn read(
    cursor: &mut Cursor,
    count: u64,
    alignment: u64,
    source: &Arc<dyn ByteSource>,
) -> Result<BTreeMap<String, Arc<StoredRows>>, ConvertError> {
    let mut described = BTreeMap::new();
    for index in 0..count {
        cursor.begin(format!("tensor {index}"));
        let name = cursor.text()?.to_owned();
        cursor.begin(format!("tensor {name:?}"));
        match described.entry(name) {
            Entry::Vacant(entry) => {
                let tensor = describe(cursor, entry.key(), alignment)?;
                entry.insert(tensor);
            }
            Entry::Occupied(_) => return Err(cursor.malformed("is there twice".into())),
        }
    }
    refuse_overlaps(cursor, &described)?;
    let data = cursor.at().next_multiple_of(alignment); // far below 2⁶⁴: a header's length
    let mut tensors = BTreeMap::new();
    for (name, tensor) in described {
        let end = data.checked_add(tensor.offset).and_then(|start| start.checked_add(tensor.length));
        let Some(end) = end.filter(|end| *end <= source.len()) else {
            cursor.begin(format!("tensor {name:?}"));
            return Err(cursor.malformed(format!(
                "truncated: {} bytes from byte {} on, the file has {}",
                tensor.length,
                data.saturating_add(tensor.offset),
                source.len()
            )));
        };
        let range = end - tensor.length..end;
        let rows = StoredRows::new(name.clone(), source.clone(), range, tensor.shape, tensor.storage)?;
        tensors.insert(name, Arc::new(rows));
    }
    Ok(tensors)
}

fn describe(cursor: &mut Cursor, name: &str, alignment: u64) -> Result<Described, ConvertError> {
    let axes = cursor.u32()?;
    if axes > MAX_AXES {
        return Err(cursor.malformed(format!("has {axes} axes; expected at most {MAX_AXES}")));
    }
    let mut shape = Vec::with_capacity(axes as usize);
    for _ in 0..axes {
        shape.push(cursor.u64()?);
    }
    // the file has the innermost first
    shape.reverse();
    let storage =
        storage(cursor.u32()?).map_err(|reason| ConvertError::Tensor { name: name.into(), reason })?;
    let offset = cursor.u64()?;
    if !offset.is_multiple_of(alignment) {
        return Err(cursor.malformed(format!("offset {offset} is not a multiple of {alignment}")));
    }
    let length = storage.byte_length(&shape).map_err(|reason| cursor.malformed(reason))?;
    Ok(Described { shape, storage, offset, length })
}

fn refuse_overlaps(cursor: &mut Cursor, described: &BTreeMap<String, Described>) -> Result<(), ConvertError> {
    let mut order: Vec<_> = described.iter().collect();
    order.sort_by_key(|(_, tensor)| tensor.offset);
    for pair in order.windows(2) {
        if let [(first, before), (second, after)] = pair
            && before.offset.checked_add(before.length).is_none_or(|end| end > after.offset)
        {
            cursor.begin(format!("tensor {second:?}"));
            return Err(cursor.malformed(format!(
                "offset {} is inside tensor {first:?}, which has {} bytes from {} on",
                after.offset, before.length, before.offset
            )));
        }
    }
    Ok(())
}

/// The storage of a type of ggml, by the number that files have.
fn storage(code: u32) -> Result<Storage, String> {
    let name = match code {
        0 => return Ok(Storage::F32),
        1 => return Ok(Storage::F16),
        2 => return Ok(Storage::Block(BlockFormat::Q4_0)),
        3 => return Ok(Storage::Block(BlockFormat::Q4_1)),
        6 => return Ok(Storage::Block(BlockFormat::Q5_0)),
        7 => return Ok(Storage::Block(BlockFormat::Q5_1)),
        8 => return Ok(Storage::Block(BlockFormat::Q8_0)),
        10 => return Ok(Storage::Block(BlockFormat::Q2_K)),
        11 => return Ok(Storage::Block(BlockFormat::Q3_K)),
        12 => return Ok(Storage::Block(BlockFormat::Q4_K)),
        13 => return Ok(Storage::Block(BlockFormat::Q5_K)),
        14 => return Ok(Storage::Block(BlockFormat::Q6_K)),
        20 => return Ok(Storage::Block(BlockFormat::IQ4_NL)),
        23 => return Ok(Storage::Block(BlockFormat::IQ4_XS)),
        24 => return Ok(Storage::I8),
        25 => return Ok(Storage::I16),
        26 => return Ok(Storage::I32),
        28 => return Ok(Storage::F64),
        30 => return Ok(Storage::BF16),
        39 => return Ok(Storage::Block(BlockFormat::MXFP4)),
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        27 => "I64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        40 => "NVFP4",
        41 => "Q1_0",
        _ => "an unknown type",
    };
    let blocks: Vec<_> = BlockFormat::ALL.iter().map(|format| format.name()).collect();
    Err(format!(
        "is stored as {name} ({code}), which is not supported; supported: F32, F16, BF16, F64, I8, I16, I32, {} \
         (take a file of another quantization)",
        blocks.join(", ")
    ))
}
