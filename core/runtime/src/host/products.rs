//! Matrix products and convolutions.

use super::Eval;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] = &[];
