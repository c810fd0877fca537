//! Types (§3): the counterpart of `decode::types`.

use super::bytes::{svi, vi};
use super::encoder::{Encoder, unwritable};
use crate::error::AssetError;
use crate::ir::Attribute;
use crate::types::{ElementType, TensorType, Type, TypeId};

/// A function of states of tensors of elements is the deepest type.
const MAX_DEPTH: usize = 8;

impl Encoder<'_, '_> {
    /// The number of a type in the new table.
    pub fn ty(&mut self, part: usize, id: TypeId) -> Result<u64, AssetError> {
        self.type_at(part, id, MAX_DEPTH)
    }

    /// `depth` also ends cycles, which the reader rules out, but an edit could make.
    fn type_at(&mut self, part: usize, id: TypeId, depth: usize) -> Result<u64, AssetError> {
        if let Some(known) = self.seen(part)?.types.get(&id.0) {
            return Ok(u64::from(*known));
        }
        let Some(depth) = depth.checked_sub(1) else {
            return Err(unwritable("type", format!("nested deeper than {MAX_DEPTH}, or a cycle")));
        };
        let number = match self.type_of(part, id)? {
            Type::Parametric(_) | Type::Debug(_) => self.raw_type(part, id)?,
            ty => {
                let mut out = Vec::new();
                self.encode_type(part, ty, depth, &mut out)?;
                self.types.intern(&out)
            }
        };
        self.seen(part)?.types.insert(id.0, number);
        Ok(u64::from(number))
    }

    fn encode_type(
        &mut self,
        part: usize,
        ty: &Type,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), AssetError> {
        match ty {
            Type::Scalar(element) => vi(out, code(*element)?),
            Type::Tensor(tensor) => self.tensor(part, tensor, out)?,
            Type::Handle(inner) => {
                vi(out, 31);
                vi(out, self.type_at(part, *inner, depth)?);
            }
            Type::Token => vi(out, 32),
            Type::Function { inputs, outputs } => {
                vi(out, 30);
                for list in [outputs, inputs] {
                    vi(out, list.len() as u64);
                    for id in list {
                        vi(out, self.type_at(part, *id, depth)?);
                    }
                }
            }
            Type::Image { fourcc, height, width, constraints } => {
                vi(out, if constraints.is_some() { 40 } else { 39 });
                let format = Attribute::Enum { code: 27, name: String::new(), value: *fourcc };
                vi(out, u64::from(self.attribute(part, &format)?));
                vi(out, *height);
                vi(out, *width);
                if let Some(id) = constraints {
                    vi(out, u64::from(self.raw_attribute(part, *id)?));
                }
            }
            Type::Opaque { name, params } => {
                vi(out, 1);
                vi(out, self.string(name));
                vi(out, params.len() as u64);
                for id in params {
                    vi(out, u64::from(self.raw_attribute(part, *id)?));
                }
            }
            Type::Parametric(code) | Type::Debug(code) => {
                return Err(unwritable("type", format!("type {code} by value")));
            }
        }
        Ok(())
    }

    fn tensor(&mut self, part: usize, tensor: &TensorType, out: &mut Vec<u8>) -> Result<(), AssetError> {
        vi(out, if tensor.encoding.is_some() { 3 } else { 2 });
        vi(out, tensor.shape.len() as u64);
        for extent in &tensor.shape {
            let extent = match extent {
                None => i64::MIN,
                Some(extent) => i64::try_from(*extent)
                    .map_err(|_| unwritable("type", format!("an extent of {extent}")))?,
            };
            svi(out, extent);
        }
        let mut element = Vec::new();
        vi(&mut element, code(tensor.element)?);
        vi(out, u64::from(self.types.intern(&element)));
        if let Some(id) = tensor.encoding {
            vi(out, u64::from(self.raw_attribute(part, id)?));
        }
        Ok(())
    }
}

fn code(element: ElementType) -> Result<u64, AssetError> {
    let found = (4..=47).find(|code| ElementType::from_code(*code) == Some(element));
    found.ok_or_else(|| unwritable("type", format!("{element} has no code")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_type_has_a_code() {
        for element in ElementType::all() {
            let code = code(element).expect("is in the table");
            assert_eq!(ElementType::from_code(code), Some(element));
        }
    }
}
