//! Pooling and resampling.

use super::Eval;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] = &[];
