//! A tensor as a matrix of its first axis.

use crate::error::ConvertError;
use crate::rows::{Rows, SharedRows};

/// A tensor `[channels, ..]` as `[channels, product of the rest]`, in the same order: a convolution's kernel with
/// all weights of an output channel in one row.
pub struct Flattened {
    source: SharedRows,
    shape: [u64; 2],
    /// Rows of the source in one of these.
    stride: u64,
}

impl Flattened {
    /// Of a tensor with at least one axis.
    pub fn new(name: &str, source: SharedRows) -> Result<Self, ConvertError> {
        let fail = |reason: &str| ConvertError::Tensor { name: name.into(), reason: reason.into() };
        let (channels, rest) = source.shape().split_first().ok_or_else(|| fail("has no axes"))?;
        let columns = rest.iter().try_fold(1u64, |product, extent| product.checked_mul(*extent));
        let columns = columns.ok_or_else(|| fail("has more than 2⁶⁴ values a channel"))?;
        let stride = columns.checked_div(if rest.is_empty() { 0 } else { source.columns() });
        // a vector is a single row of the source, so its values cannot be rows
        let stride = stride.ok_or_else(|| fail("is a vector or empty; rows need two axes"))?;
        Ok(Self { shape: [*channels, columns], stride, source })
    }
}

impl Rows for Flattened {
    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn read(&self, first: u64, out: &mut [f32]) -> Result<(), ConvertError> {
        self.source.read(first.saturating_mul(self.stride), out)
    }
}
