//! What became of a weight.

use coreai_asset::ElementType;
use serde::Serialize;

use crate::quantize::{Difference, WeightClass};
use crate::rows::Packing;

/// How a weight is stored.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredAs {
    /// As numbers of a float type.
    Float {
        /// The type.
        element: ElementType,
    },
    /// As codes with scales.
    Packed {
        /// Type of the codes.
        codes: ElementType,
        /// Codes that share a scale.
        block: u64,
        /// Blocks have minimums too.
        minimum: bool,
        /// Codes are entries of a table.
        palette: bool,
        /// Codes, scales and minimums, for each value.
        bits_per_weight: f64,
        /// Compressed here, rather than kept as the checkpoint has it.
        compressed: bool,
        /// The checkpoint had it packed.
        packed_before: bool,
    },
}

impl StoredAs {
    pub(super) fn packed(
        packing: &Packing,
        element: ElementType,
        compressed: bool,
        packed_before: bool,
    ) -> Self {
        Self::Packed {
            codes: packing.codes.element(),
            block: packing.block,
            minimum: packing.minimum,
            palette: packing.palette.is_some(),
            bits_per_weight: super::bits_per_weight(packing, element),
            compressed,
            packed_before,
        }
    }

    /// Bits of each value.
    pub fn bits_per_weight(&self) -> f64 {
        match self {
            Self::Float { element } => f64::from(element.bits()),
            Self::Packed { bits_per_weight, .. } => *bits_per_weight,
        }
    }
}

impl std::fmt::Display for StoredAs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Float { element } => write!(f, "{element}"),
            Self::Packed { codes, block, minimum, palette, compressed, packed_before, .. } => {
                write!(f, "{codes}, {block} to a scale")?;
                if *minimum {
                    f.write_str(" and minimum")?;
                }
                if *palette {
                    f.write_str(", by a table")?;
                }
                match (*compressed, *packed_before) {
                    (true, true) => f.write_str(", expanded and compressed again"),
                    (true, false) => f.write_str(", compressed"),
                    (false, _) => f.write_str(", kept packed"),
                }
            }
        }
    }
}

/// A weight of an asset, and how it differs from the one it was made of.
#[derive(Clone, Debug)]
pub struct WeightReport {
    /// Name in the checkpoint.
    pub name: String,
    /// What it is for.
    pub class: WeightClass,
    /// Extents.
    pub shape: Vec<u64>,
    /// How it is stored.
    pub stored: StoredAs,
    /// Of the stored values from those of the source; `None` for floats that were rounded at most.
    pub difference: Option<Difference>,
}

impl WeightReport {
    pub(super) fn new(name: &str, class: WeightClass, shape: &[u64]) -> Self {
        Self {
            name: name.into(),
            class,
            shape: shape.to_vec(),
            stored: StoredAs::Float { element: ElementType::F32 },
            difference: None,
        }
    }

    /// Number of values.
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |product, extent| product.saturating_mul(*extent))
    }
}

impl Serialize for WeightReport {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut row = serializer.serialize_struct("weight", 6)?;
        row.serialize_field("name", &self.name)?;
        row.serialize_field("shape", &self.shape)?;
        row.serialize_field("stored", &self.stored.to_string())?;
        row.serialize_field("bits_per_weight", &self.stored.bits_per_weight())?;
        // JSON has no infinity: no difference at all has no ratio
        row.serialize_field("psnr_db", &self.difference.map(|d| d.psnr_db).filter(|psnr| psnr.is_finite()))?;
        row.serialize_field("max_abs_difference", &self.difference.map(|d| d.max_abs))?;
        row.end()
    }
}
