//! Gather, scatter, non-zero and ranges.

use super::Eval;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] = &[];
