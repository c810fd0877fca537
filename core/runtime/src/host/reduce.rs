//! Reductions, scans and folds with regions.

use super::Eval;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] = &[];
