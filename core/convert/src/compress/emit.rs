//! The constants of a compressed weight, and the operations that make floats of them.

use std::sync::Arc;

use coreai_asset::{BuildError, ByteSource, Content, Editor, ElementType, Graph, Value};

use super::layout::Layout;
use super::swapped::Swapped;
use super::{Weight, storage};
use crate::error::ConvertError;
use crate::formats::StoredRows;
use crate::quantize::{Flattened, Quantized, Scheme};
use crate::rows::{Packing, Rows, SharedRows};
use crate::weights::content::{Codes, Packed, Parameter, Parameters};

/// A weight that can be compressed.
pub(super) struct Compressible {
    layout: Layout,
    element: ElementType,
    packing: Packing,
    quantized: Arc<Quantized>,
}

impl Compressible {
    pub fn new(
        weight: &Weight,
        source: &Arc<dyn ByteSource>,
        layout: Layout,
        scheme: Scheme,
    ) -> Result<Self, ConvertError> {
        let name = weight.name.as_str();
        let failed = |reason: &str| ConvertError::Tensor { name: name.into(), reason: reason.into() };
        let element = weight.ty.element;
        let (storage, _) = storage(element).ok_or_else(|| failed("is not of a float type"))?;
        let (source, range) = (source.clone(), weight.range.clone());
        let rows: SharedRows = match layout.order {
            Some(_) => Arc::new(Swapped::new(name, source, range, layout.source, storage)?),
            None => {
                let stored = Arc::new(StoredRows::new(name, source, range, layout.shape.clone(), storage)?);
                match layout.rows + 1 == layout.shape.len() {
                    true => stored,
                    false => Arc::new(Flattened::new(name, stored)?),
                }
            }
        };
        let quantized = Arc::new(Quantized::new(name, rows, scheme)?);
        let packing = quantized.packing().ok_or_else(|| failed("cannot be compressed"))?;
        Ok(Self { layout, element, packing, quantized })
    }
}

/// The constants of a compressed weight.
#[derive(Clone)]
pub(super) struct Prepared {
    layout: Layout,
    element: ElementType,
    pub element_of_codes: ElementType,
    pub group: u64,
    codes: Content,
    scales: Content,
    /// Of codes and scales.
    pub bytes: u64,
    pub quantized: Arc<Quantized>,
}

impl Prepared {
    /// Registers the contents of the constants.
    pub fn new(editor: &mut Editor, weight: Compressible) -> Result<Self, BuildError> {
        let Compressible { layout, element, packing, quantized } = weight;
        let (element_of_codes, group) = (packing.codes.element(), packing.block);
        let packed = Arc::new(Packed { rows: quantized.clone(), packing, element, tally: None });
        let codes = Arc::new(Codes { weight: packed.clone() });
        let scales = Arc::new(Parameters { weight: packed, parameter: Parameter::Scale });
        let bytes = codes.len().saturating_add(scales.len());
        let (codes, scales) = (editor.content(codes)?, editor.content(scales)?);
        Ok(Self { layout, element, element_of_codes, group, codes, scales, bytes, quantized })
    }

    /// `scale · code`, in the order of the constant.
    pub fn emit(&self, g: &mut Graph<'_>) -> Result<Value, BuildError> {
        let Layout { shape, order, .. } = &self.layout;
        let blocks = self.layout.scales(self.group);
        let codes = g.shared_weight(self.element_of_codes, shape, &self.codes)?;
        let scales = g.shared_weight(self.element, &blocks, &self.scales)?;
        let zero = g.filled(self.element_of_codes, &blocks, 0.0)?;
        let minimum = g.filled(self.element, &blocks, 0.0)?;
        let value = g.blockwise_shift_scale(codes, scales, zero, minimum)?;
        match order {
            Some(order) => g.transpose(value, order),
            None => Ok(value),
        }
    }
}
