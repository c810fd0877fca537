//! Weights as rows that are read on demand.

use std::sync::Arc;

use coreai_asset::ElementType;

use crate::error::ConvertError;

/// A matrix that is read by rows, whatever its storage. Tensors of more than two axes are the matrix
/// of their last axis: `[.., rows, columns]` has the product of the others as rows.
pub trait Rows: Send + Sync {
    /// Extents in row-major order, outermost first.
    fn shape(&self) -> &[u64];

    /// Writes whole rows from row `first` on as float32. `out` holds a multiple of [`Rows::columns`].
    fn read(&self, first: u64, out: &mut [f32]) -> Result<(), ConvertError>;

    /// How the rows are packed, if the ops of an asset can express that.
    fn packing(&self) -> Option<Packing> {
        None
    }

    /// Writes `count` whole rows from row `first` on as they are packed. Only for what has a
    /// [`Rows::packing`]; an error otherwise.
    fn read_packed(&self, first: u64, count: u64, out: &mut PackedRows) -> Result<(), ConvertError> {
        let _ = (first, count, out);
        Err(ConvertError::Tensor { name: String::new(), reason: "is not packed".into() })
    }

    /// Values of a row: the last extent; 1 for a scalar.
    fn columns(&self) -> u64 {
        self.shape().last().copied().unwrap_or(1)
    }

    /// Rows: the product of all extents but the last.
    fn rows(&self) -> u64 {
        let outer = self.shape().split_last().map_or(&[][..], |(_, outer)| outer);
        outer.iter().fold(1, |product, extent| product.saturating_mul(*extent))
    }
}

/// Shared between the constants that are made of it.
pub type SharedRows = Arc<dyn Rows>;

/// Type of the codes of a packed weight, as it is stored in an asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CodeType {
    SI8,
    SI4,
    SI2,
    UI8,
    UI6,
    UI4,
    UI3,
    UI2,
    F4E2M1,
}

impl CodeType {
    /// The element type of the codes in an asset.
    pub fn element(self) -> ElementType {
        match self {
            Self::SI8 => ElementType::SI8,
            Self::SI4 => ElementType::SI4,
            Self::SI2 => ElementType::SI2,
            Self::UI8 => ElementType::UI8,
            Self::UI6 => ElementType::UI6,
            Self::UI4 => ElementType::UI4,
            Self::UI3 => ElementType::UI3,
            Self::UI2 => ElementType::UI2,
            Self::F4E2M1 => ElementType::F4E2M1FN,
        }
    }
}

/// What the scales of a packed weight are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleType {
    /// Real numbers; rounded to the scale type of the asset (float16, bfloat16 or float32).
    Float,
    /// Powers of two from 2⁻¹²⁷, stored as their exponent bytes (float8E8M0FN).
    Exponent,
}

/// How rows are packed: along a row, blocks of `block` codes share a scale, and where there is one a
/// minimum. With `v = palette[code]`, or the code itself where there is no palette,
/// `value = (v − zero) · scale + minimum`.
#[derive(Clone, Debug, PartialEq)]
pub struct Packing {
    /// Storage of the codes.
    pub codes: CodeType,
    /// Columns that share a scale; divides the columns.
    pub block: u64,
    /// The same for all blocks.
    pub zero: i32,
    /// Blocks have minimums.
    pub minimum: bool,
    /// Values of the codes, for formats with a table; int8 values.
    pub palette: Option<&'static [i8]>,
    /// Type of the scales.
    pub scale: ScaleType,
}

impl Packing {
    /// `v − zero` of every byte that [`PackedRows::codes`] can hold.
    pub fn values(&self) -> [f32; 256] {
        /// Magnitudes of float4E2M1FN (`AIMODEL_FORMAT` §5); the sign is bit 3.
        const E2M1: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
        std::array::from_fn(|code| {
            let value = match (self.codes, self.palette) {
                (_, Some(palette)) => palette.get(code).map_or(0.0, |value| f32::from(*value)),
                (CodeType::SI8 | CodeType::SI4 | CodeType::SI2, None) => f32::from(code as u8 as i8),
                (CodeType::F4E2M1, None) => {
                    let magnitude = E2M1[code & 7];
                    if code & 8 == 0 { magnitude } else { -magnitude }
                }
                (_, None) => code as f32,
            };
            value - self.zero as f32
        })
    }
}

/// Rows as they are packed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PackedRows {
    /// A code of each value, one to a byte; signed ones in two's complement. `[rows, columns]`
    pub codes: Vec<u8>,
    /// `[rows, columns / block]`
    pub scales: Vec<f32>,
    /// `[rows, columns / block]`, or empty.
    pub minimums: Vec<f32>,
}
