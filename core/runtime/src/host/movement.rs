//! Ops that move elements and look at none.

use super::Eval;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] = &[];
