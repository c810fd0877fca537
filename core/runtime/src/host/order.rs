//! Sorting and arg-max.

use super::Eval;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] = &[];
