//! Elementwise ops, casts and complex numbers.

use super::Eval;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] = &[];
