//! Quantization, palettes and sparse weights.

use super::Eval;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] = &[];
