//! What became of each weight.

use coreai_asset::ElementType;
use serde::{Serialize, Serializer};

use crate::quantize::{Difference, WeightClass};

/// A weight of an asset.
#[derive(Clone, Debug, Serialize)]
pub struct CompressedWeight {
    /// `FUNCTION/CLASS_NUMBER.SHAPE`, see [`super::compress`].
    pub name: String,
    /// What it is used for.
    #[serde(serialize_with = "class")]
    pub class: WeightClass,
    /// Extents as the program has them.
    pub shape: Vec<u64>,
    /// The float type that it had, and that the program still sees.
    #[serde(serialize_with = "display")]
    pub element: ElementType,
    /// How many constants of the program it is.
    pub constants: usize,
    /// Stored bytes before.
    pub bytes_before: u64,
    /// Stored bytes after, codes and scales.
    pub bytes_after: u64,
    /// How it is stored now, or why it was left as it was.
    pub outcome: Outcome,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Codes with scales.
    Compressed {
        /// Type of the codes.
        #[serde(serialize_with = "display")]
        codes: ElementType,
        /// Weights that share a scale.
        group: u64,
        /// Of the stored values from those before; there once the asset was written. JSON has no infinity, so an
        /// exact weight has none there.
        #[serde(serialize_with = "numbers")]
        difference: Option<Difference>,
    },
    /// It is as it was.
    Left {
        /// Why.
        reason: String,
    },
}

impl CompressedWeight {
    /// Number of values.
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |product, extent| product.saturating_mul(*extent))
    }

    /// Stored bits of each value.
    pub fn bits_per_weight(&self) -> f64 {
        self.bytes_after as f64 * 8.0 / self.elements().max(1) as f64
    }
}

/// What became of all weights.
#[derive(Clone, Debug, Serialize)]
pub struct CompressionReport {
    /// Grows when fields change their meaning.
    pub schema_version: u32,
    /// In the order of the program.
    pub weights: Vec<CompressedWeight>,
}

/// Sums of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CompressionTotals {
    /// Weights that were compressed.
    pub compressed: usize,
    /// Weights that were left.
    pub left: usize,
    /// Bytes of all weights before.
    pub bytes_before: u64,
    /// Bytes of all weights after.
    pub bytes_after: u64,
    /// Bits of a compressed weight's value.
    pub bits_per_weight: f64,
}

impl CompressionReport {
    /// The sums.
    pub fn totals(&self) -> CompressionTotals {
        let mut totals = CompressionTotals::default();
        let (mut bits, mut elements) = (0.0, 0.0);
        for weight in &self.weights {
            totals.bytes_before = totals.bytes_before.saturating_add(weight.bytes_before);
            totals.bytes_after = totals.bytes_after.saturating_add(weight.bytes_after);
            match weight.outcome {
                Outcome::Compressed { .. } => {
                    totals.compressed += 1;
                    bits += weight.bytes_after as f64 * 8.0;
                    elements += weight.elements() as f64;
                }
                Outcome::Left { .. } => totals.left += 1,
            }
        }
        totals.bits_per_weight = if elements > 0.0 { bits / elements } else { 0.0 };
        totals
    }
}

fn display<S: Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn class<S: Serializer>(class: &WeightClass, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(class_name(*class))
}

/// The name of a class, as names of weights have it.
pub fn class_name(class: WeightClass) -> &'static str {
    match class {
        WeightClass::Embedding => "embedding",
        WeightClass::Head => "head",
        WeightClass::Linear => "linear",
        WeightClass::Conv => "conv",
        WeightClass::Expert => "expert",
    }
}

fn numbers<S: Serializer>(difference: &Option<Difference>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Numbers {
        psnr_db: Option<f64>,
        mse: f64,
        max_abs: f32,
    }
    let numbers = difference.map(|difference| Numbers {
        psnr_db: Some(difference.psnr_db).filter(|psnr| psnr.is_finite()),
        mse: difference.mse,
        max_abs: difference.max_abs,
    });
    numbers.serialize(serializer)
}
