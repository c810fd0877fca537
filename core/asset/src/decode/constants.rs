//! Checks that the bytes of a constant agree with its type (§5).

use std::ops::Range;

use super::Decoder;
use crate::error::AssetError;
use crate::file::{Blob, infer_blob};
use crate::ir::ConstantRef;
use crate::limits::MAX_ELEMENTS;
use crate::print::type_text;
use crate::types::{TensorType, Type, TypeId};

impl Decoder<'_> {
    /// Checks the length of a constant; finds the data of resources whose header was not read.
    pub(super) fn check_constant(
        &mut self,
        constant: &mut ConstantRef,
        ty: TypeId,
        offset: u64,
    ) -> Result<(), AssetError> {
        let types = &self.tables.types;
        let wrong = |reason: String| {
            let ty = type_text(types, ty);
            Err(AssetError::InvalidConstant { ty, offset, reason })
        };
        let tensor = match types.get(ty.0 as usize) {
            Some(Type::Tensor(tensor)) => tensor,
            Some(Type::Image { .. }) => return self.locate(constant, &[]),
            _ => return wrong("only tensors and images can be constant".into()),
        };
        let Some(count) = tensor.elements() else {
            return wrong("the shape is dynamic or too large".into());
        };
        if count > MAX_ELEMENTS {
            return wrong(format!("{count} elements exceed the limit {MAX_ELEMENTS}"));
        }
        let stored = if constant.splat { count.min(1) } else { count };
        let (Some(lengths), Some(all)) = (lengths(tensor, stored), lengths(tensor, count)) else {
            return wrong("the size overflows".into());
        };
        self.locate(constant, &lengths)?;
        let found = constant.range.end - constant.range.start;
        if constant.splat && !lengths.contains(&found) && all.contains(&found) {
            // written for bool: marked as a splat, but every element is stored
            constant.splat = false;
            return Ok(());
        }
        let pending = constant.resource.is_some_and(|handle| self.unclear.contains(&handle));
        // a splat of no elements may still store one
        let spare = constant.splat && count == 0 && tensor.element.packed_bytes(1) == Some(found);
        if lengths.contains(&found) || pending || spare {
            return Ok(());
        }
        let [packed, _] = lengths;
        wrong(format!("{packed} bytes expected, {found} found"))
    }

    /// Sets the range of a resource whose header was not read.
    fn locate(&mut self, constant: &mut ConstantRef, lengths: &[u64]) -> Result<(), AssetError> {
        let Some(handle) = constant.resource else {
            return Ok(());
        };
        let Some(resource) = self.tables.resources.get(handle as usize) else {
            return Ok(());
        };
        if let Blob::Bytes(None) = resource.blob {
            match infer_blob(&resource.entry, lengths) {
                Some(range) => {
                    self.remember(handle, range.clone());
                    constant.range = range;
                }
                None => {
                    self.unclear.insert(handle);
                }
            }
        }
        Ok(())
    }

    fn remember(&mut self, handle: u32, range: Range<u64>) {
        // constants that share a resource must agree, else its header decides
        let agreed = self.located.entry(handle).or_insert_with(|| range.clone());
        if *agreed != range {
            self.unclear.insert(handle);
        }
    }
}

/// The two lengths that `count` elements can have: packed, and one byte for each sub-byte element.
fn lengths(tensor: &TensorType, count: u64) -> Option<[u64; 2]> {
    let packed = tensor.element.packed_bytes(count)?;
    Some([packed, if tensor.element.bits() < 8 { count } else { packed }])
}
