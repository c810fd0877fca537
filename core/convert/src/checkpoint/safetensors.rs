//! Headers of safetensors files: eight bytes of length, a JSON object, then the tensors' bytes without gaps.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use coreai_asset::ByteSource;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::ConvertError;
use crate::formats::{Storage, StoredRows, bytes_of};

/// Bytes of a header, as in the reference reader; real ones have a few MB.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Tensors of a file; models with thousands of separate experts reach some ten thousands.
pub(super) const MAX_TENSORS: usize = 1 << 17;
/// Axes of a tensor.
const MAX_AXES: usize = 8;

/// A tensor of a safetensors file.
pub enum Stored {
    /// Numbers that can be weights.
    Weight(Arc<StoredRows>),
    /// No weight, and why: of integers wider than those of weights, or empty.
    Other(String),
}

/// Reads the header of a safetensors file and names the tensors, in the order of their bytes. `file` is for messages.
///
/// Fails for a header that is not in the file or not JSON, for tensors that lie outside the file, overlap or
/// leave gaps, whose shape is not that of their bytes, or whose type is none that weights are stored in.
pub fn read(file: &str, source: Arc<dyn ByteSource>) -> Result<Vec<(String, Stored)>, ConvertError> {
    let malformed =
        |what: &str, reason: String| ConvertError::Malformed { file: file.into(), what: what.into(), reason };
    let left = source.len().checked_sub(8).ok_or_else(|| {
        malformed("header", format!("the file has {} bytes; expected 8 and a header", source.len()))
    })?;
    let length = bytes_of(&*source, 0..8)?.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if length > left {
        let reason = format!("of {length} bytes, {left} are left (was the file downloaded completely?)");
        return Err(malformed("header", reason));
    }
    if length > MAX_HEADER_BYTES {
        let (what, limit) = ("bytes of the header".into(), MAX_HEADER_BYTES);
        return Err(ConvertError::Limit { file: file.into(), what, value: length, limit });
    }
    let data = 8 + length;
    let header: Pairs<Entry> = serde_json::from_slice(&bytes_of(&*source, 8..data)?)
        .map_err(|error| malformed("header", error.to_string()))?;
    let mut entries = header.0;
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut end = 0;
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        let Entry { dtype, shape, data_offsets: [from, to] } = entry;
        let what = || format!("tensor {name:?}");
        if from != end || to < from {
            let reason = format!(
                "bytes {from}..{to} of the data; expected to begin at {end}, the end of the one before"
            );
            return Err(malformed(&what(), reason));
        }
        end = to;
        let range = data.checked_add(from).zip(data.checked_add(to)).map(|(from, to)| from..to);
        let Some(range) = range.filter(|range| range.end <= source.len()) else {
            let reason = format!(
                "bytes {from}..{to} of the data, which has {} (was the file downloaded completely?)",
                source.len() - data
            );
            return Err(malformed(&what(), reason));
        };
        let stored = stored(&name, &dtype, shape.0, range, &source)?;
        tensors.push((name, stored));
    }
    if end != source.len() - data {
        let reason = format!("{end} bytes are of tensors, the file has {}", source.len() - data);
        return Err(malformed("data", reason));
    }
    let mut names: Vec<_> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some([name, _]) = names.array_windows().find(|[one, next]| one == next) {
        return Err(malformed(&format!("tensor {name:?}"), "is there twice".into()));
    }
    Ok(tensors)
}

fn stored(
    name: &str,
    dtype: &str,
    shape: Vec<u64>,
    range: Range<u64>,
    source: &Arc<dyn ByteSource>,
) -> Result<Stored, ConvertError> {
    let failed = |reason: String| ConvertError::Tensor { name: name.into(), reason };
    let (storage, bytes) = match dtype {
        "F64" => (Some(Storage::F64), 8),
        "F32" => (Some(Storage::F32), 4),
        "F16" => (Some(Storage::F16), 2),
        "BF16" => (Some(Storage::BF16), 2),
        "I32" => (Some(Storage::I32), 4),
        "I16" => (Some(Storage::I16), 2),
        "I8" => (Some(Storage::I8), 1),
        "U8" => (Some(Storage::U8), 1),
        "BOOL" => (None, 1),
        "U16" => (None, 2),
        "U32" => (None, 4),
        "I64" | "U64" => (None, 8),
        other => {
            return Err(failed(format!(
                "is stored as {other}; expected F16, BF16, F32, F64 or small integers (import the original \
                 checkpoint and quantize here)"
            )));
        }
    };
    let length = shape.iter().try_fold(bytes, |product: u64, extent| product.checked_mul(*extent));
    if length != Some(range.end - range.start) {
        return Err(failed(format!(
            "has {} bytes; shape {shape:?} of {dtype} takes another number",
            range.end - range.start
        )));
    }
    match storage {
        _ if shape.contains(&0) => Ok(Stored::Other(format!("is empty: shape {shape:?}"))),
        None => Ok(Stored::Other(format!("has values of type {dtype}"))),
        Some(storage) => StoredRows::new(name, source.clone(), range, shape, storage)
            .map(|rows| Stored::Weight(Arc::new(rows))),
    }
}

/// What the header says of a tensor.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Extents,
    data_offsets: [u64; 2],
}

/// Extents, outermost first; at most [`MAX_AXES`].
struct Extents(Vec<u64>);

impl<'de> Deserialize<'de> for Extents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Axes;
        impl<'de> Visitor<'de> for Axes {
            type Value = Extents;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "at most {MAX_AXES} extents")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut axes: A) -> Result<Extents, A::Error> {
                let mut extents = Vec::new();
                while let Some(extent) = axes.next_element()? {
                    if extents.len() == MAX_AXES {
                        return Err(A::Error::invalid_length(MAX_AXES + 1, &self));
                    }
                    extents.push(extent);
                }
                Ok(Extents(extents))
            }
        }
        deserializer.deserialize_seq(Axes)
    }
}

/// The pairs of an object as they are written, equal names included, apart from `__metadata__`; at most
/// [`MAX_TENSORS`].
pub(super) struct Pairs<T>(pub Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Names<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "an object of at most {MAX_TENSORS} names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut names: A) -> Result<Pairs<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(name) = names.next_key::<String>()? {
                    if name == "__metadata__" {
                        names.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if pairs.len() == MAX_TENSORS {
                        return Err(A::Error::invalid_length(MAX_TENSORS + 1, &self));
                    }
                    pairs.push((name, names.next_value()?));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Names(std::marker::PhantomData))
    }
}
