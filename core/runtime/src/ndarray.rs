//! Host tensors.

use coreai_asset::ElementType;

use crate::error::Error;
use crate::host::{self, Elements, Fault};

/// A dense row-major tensor on the host, in its declared dtype, little-endian. Sub-byte types hold
/// one element per byte.
#[derive(Clone, Debug, PartialEq)]
pub struct NDArray {
    /// Element type.
    pub element: ElementType,
    /// Extents.
    pub shape: Vec<usize>,
    /// Bytes.
    pub data: Vec<u8>,
}

impl NDArray {
    /// Wraps bytes after checking their number against shape and dtype.
    pub fn new(element: ElementType, shape: Vec<usize>, data: Vec<u8>) -> Result<NDArray, Error> {
        let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let expected = count.and_then(|n| n.checked_mul(element.bits().div_ceil(8) as usize));
        if expected != Some(data.len()) {
            return Err(Error::Input {
                name: String::new(),
                reason: format!(
                    "{} bytes do not make a {} tensor of shape {shape:?}",
                    data.len(),
                    element.name()
                ),
            });
        }
        Ok(NDArray { element, shape, data })
    }

    /// An int32 tensor.
    pub fn from_i32(shape: &[usize], data: &[i32]) -> Result<NDArray, Error> {
        NDArray::new(ElementType::SI32, shape.to_vec(), bytemuck::cast_slice(data).to_vec())
    }

    /// A float32 tensor.
    pub fn from_f32(shape: &[usize], data: &[f32]) -> Result<NDArray, Error> {
        NDArray::new(ElementType::F32, shape.to_vec(), bytemuck::cast_slice(data).to_vec())
    }

    /// The elements as float64, 64-bit integers or complex pairs.
    pub fn elements(&self) -> Result<Elements, Error> {
        host::decode(self).map_err(refused)
    }

    /// A tensor of `element` from elements of its domain: floats round to nearest even, integers wrap.
    pub fn from_elements(element: ElementType, shape: &[usize], values: &Elements) -> Result<NDArray, Error> {
        host::encode(element, shape, values).map_err(refused)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn refused(fault: Fault) -> Error {
    let reason = match fault {
        Fault::Unsupported(what) => format!("{what} are not supported"),
        Fault::Program(reason) => reason,
        Fault::Index { index, extent } => format!("index {index} is out of range for {extent}"),
    };
    Error::Input { name: String::new(), reason }
}
