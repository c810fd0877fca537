//! The type table (§3).

use crate::error::AssetError;
use crate::file::{Cursor, Tables};
use crate::limits::MAX_RANK;
use crate::types::{AttrId, ElementType, TensorType, Type, TypeId};

/// Decodes the whole type table. Types refer to others by index, so there is nothing to unfold;
/// afterwards each reference is checked to lead to a simpler kind, which rules out cycles.
pub(crate) fn decode_types(tables: &Tables) -> Result<Vec<Type>, AssetError> {
    let entries = &tables.type_entries;
    let mut types = Vec::with_capacity(entries.len());
    for entry in entries {
        if !entry.known {
            return Err(foreign(entry.start));
        }
        let mut cursor = tables.entry(*entry, "type")?;
        let decoded = decode(&mut cursor, tables)?;
        types.push(decoded);
    }
    let mut resolved = Vec::with_capacity(types.len());
    for (partial, entry) in types.iter().zip(entries) {
        resolved.push(partial.resolve(&types, entry.start)?);
    }
    Ok(resolved)
}

pub(super) fn foreign(offset: u64) -> AssetError {
    AssetError::ForeignDialect { dialect: "(textual or other encoding)".into(), offset }
}

/// A type whose element type is still an index.
enum Partial {
    Done(Type),
    Tensor { shape: Vec<Option<u64>>, element: TypeId, encoding: Option<AttrId> },
}

fn decode(cursor: &mut Cursor<'_>, tables: &Tables) -> Result<Partial, AssetError> {
    let types = tables.type_entries.len();
    let attrs = tables.attrs.len();
    let at = cursor.offset();
    let code = cursor.vi()?;
    let decoded = match code {
        1 => {
            let name = cursor.index("string", tables.strings.len())?;
            let name = tables.strings.get(name as usize).map(|s| s.to_string());
            let count = cursor.count("parameters", 1)?;
            let mut params = Vec::with_capacity(count);
            for _ in 0..count {
                params.push(AttrId(cursor.index("attribute", attrs)?));
            }
            Type::Opaque { name: name.unwrap_or_default(), params }
        }
        2 | 3 => {
            let rank = cursor.count("rank", 1)?;
            if rank as u64 > MAX_RANK {
                let value = rank as u64;
                let what = "rank";
                return Err(AssetError::LimitExceeded { what, offset: at, value, limit: MAX_RANK });
            }
            let mut shape = Vec::with_capacity(rank);
            for _ in 0..rank {
                let offset = cursor.offset();
                shape.push(match cursor.svi()? {
                    i64::MIN => None,
                    extent => Some(
                        u64::try_from(extent)
                            .map_err(|_| AssetError::malformed("type", offset, format!("extent {extent}")))?,
                    ),
                });
            }
            let element = TypeId(cursor.index("type", types)?);
            let encoding = match code {
                3 => Some(AttrId(cursor.index("attribute", attrs)?)),
                _ => None,
            };
            cursor.finish()?;
            return Ok(Partial::Tensor { shape, element, encoding });
        }
        30 => {
            // results come first
            let outputs = type_list(cursor, types)?;
            let inputs = type_list(cursor, types)?;
            Type::Function { inputs, outputs }
        }
        31 => Type::Handle(TypeId(cursor.index("type", types)?)),
        32 => Type::Token,
        33..=35 => {
            cursor.take(cursor.remaining() as u64)?; // parametric graphs: kept by code only
            Type::Parametric(code as u8)
        }
        39 | 40 => {
            let fourcc = AttrId(cursor.index("attribute", attrs)?);
            let (height, width) = (cursor.vi()?, cursor.vi()?);
            let constraints = match code {
                40 => Some(AttrId(cursor.index("attribute", attrs)?)),
                _ => None,
            };
            Type::Image { fourcc: fourcc_value(tables, fourcc)?, height, width, constraints }
        }
        41..=45 => {
            cursor.take(cursor.remaining() as u64)?;
            Type::Debug(code as u8)
        }
        _ => match ElementType::from_code(code) {
            Some(element) => Type::Scalar(element),
            None => {
                return Err(AssetError::UnknownCode { what: "type", offset: at, code });
            }
        },
    };
    cursor.finish()?;
    Ok(Partial::Done(decoded))
}

fn type_list(cursor: &mut Cursor<'_>, types: usize) -> Result<Vec<TypeId>, AssetError> {
    let count = cursor.count("types", 1)?;
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(TypeId(cursor.index("type", types)?));
    }
    Ok(list)
}

/// Attribute code 27 with one value.
fn fourcc_value(tables: &Tables, id: AttrId) -> Result<u64, AssetError> {
    let Some(entry) = tables.attrs.get(id.0 as usize).filter(|entry| entry.known) else {
        return Err(foreign(0));
    };
    let mut cursor = tables.entry(*entry, "pixel format")?;
    let offset = cursor.offset();
    match cursor.vi()? {
        27 => cursor.vi(),
        code => Err(AssetError::UnknownCode { what: "pixel format", offset, code }),
    }
}

impl Partial {
    fn resolve(&self, types: &[Partial], offset: u64) -> Result<Type, AssetError> {
        let at = |id: TypeId| types.get(id.0 as usize);
        let wrong = |reason: &str| Err(AssetError::malformed("type", offset, reason));
        match self {
            Self::Tensor { shape, element, encoding } => match at(*element) {
                Some(Self::Done(Type::Scalar(element))) => Ok(Type::Tensor(TensorType {
                    shape: shape.clone(),
                    element: *element,
                    encoding: *encoding,
                })),
                _ => wrong("the element type of a tensor is not a scalar"),
            },
            Self::Done(Type::Handle(inner)) => match at(*inner) {
                Some(Self::Tensor { .. } | Self::Done(Type::Scalar(_) | Type::Image { .. })) => {
                    Ok(Type::Handle(*inner))
                }
                _ => wrong("a state that is not a tensor or an image"),
            },
            Self::Done(Type::Function { inputs, outputs }) => {
                let nested = |id: &TypeId| matches!(at(*id), Some(Self::Done(Type::Function { .. })));
                match inputs.iter().chain(outputs).any(nested) {
                    true => wrong("a function type as argument or result of a function type"),
                    false => Ok(Type::Function { inputs: inputs.clone(), outputs: outputs.clone() }),
                }
            }
            Self::Done(done) => Ok(done.clone()),
        }
    }
}
