//! Tensors of `.safetensors` files.

use coreai::{ElementType, NDArray};
use safetensors::{Dtype, SafeTensors};

use super::TensorError;

/// A file in memory.
pub struct Tensors {
    bytes: Vec<u8>,
}

fn wrong(reason: impl Into<String>) -> TensorError {
    TensorError::Content(reason.into())
}

impl Tensors {
    /// Checks the bytes of a file.
    pub fn new(bytes: Vec<u8>) -> Result<Tensors, TensorError> {
        SafeTensors::deserialize(&bytes).map_err(|e| wrong(format!("not a safetensors file: {e}")))?;
        Ok(Tensors { bytes })
    }

    /// The tensor `key`. `element` says what the stored bits mean where the file's type is wider or
    /// only raw: 4-bit elements stored as bytes, for example. Its elements must have the same size.
    pub fn get(&self, key: &str, element: Option<ElementType>) -> Result<NDArray, TensorError> {
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(|e| wrong(e.to_string()))?;
        let view = tensors.tensor(key).map_err(|_| {
            let mut names = tensors.names();
            names.sort_unstable();
            let more = if names.len() > 8 { ", …" } else { "" };
            wrong(format!(
                "it has no tensor {key:?}; it has {}{more}",
                names[..names.len().min(8)].join(", ")
            ))
        })?;
        let stored = element_of(view.dtype())
            .ok_or_else(|| wrong(format!("tensor {key:?} has type {:?}, which is not read", view.dtype())))?;
        let raw = matches!(stored, ElementType::SI8 | ElementType::UI8);
        let meant = element.filter(|e| *e == stored || raw && e.bits() < 8).unwrap_or(stored);
        Ok(NDArray::new(meant, view.shape().to_vec(), view.data().to_vec())?)
    }

    /// The tensor `key`; without a key the one called `name`, or the only one.
    pub(super) fn only(
        &self,
        key: Option<&str>,
        name: &str,
        element: Option<ElementType>,
    ) -> Result<NDArray, TensorError> {
        if let Some(key) = key {
            return self.get(key, element);
        }
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(|e| wrong(e.to_string()))?;
        match tensors.names().as_slice() {
            [single] => self.get(single, element),
            _ => self.get(name, element),
        }
    }
}

/// Element type of a safetensors type.
pub fn element_of(dtype: Dtype) -> Option<ElementType> {
    use ElementType::*;
    Some(match dtype {
        Dtype::BOOL => Bool,
        Dtype::F64 => F64,
        Dtype::F32 => F32,
        Dtype::F16 => F16,
        Dtype::BF16 => BF16,
        Dtype::F8_E5M2 => F8E5M2,
        Dtype::F8_E4M3 => F8E4M3FN,
        Dtype::F8_E8M0 => F8E8M0FN,
        Dtype::C64 => ComplexF32,
        Dtype::I64 => SI64,
        Dtype::I32 => SI32,
        Dtype::I16 => SI16,
        Dtype::I8 => SI8,
        Dtype::U64 => UI64,
        Dtype::U32 => UI32,
        Dtype::U16 => UI16,
        Dtype::U8 => UI8,
        _ => return None,
    })
}
