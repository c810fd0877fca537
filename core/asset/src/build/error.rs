//! What can be wrong with a graph that is being built.

use crate::error::AssetError;

/// Why an operation cannot be added, or a function not be finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each variant and field means
pub enum BuildError {
    #[error("{op}: {what} is {found}; expected {expected}")]
    Operand { op: String, what: String, found: String, expected: String },
    #[error("{op}: a value of another graph; values belong to the graph that made them")]
    Foreign { op: String },
    #[error("function {function:?}: {reason}")]
    Function { function: String, reason: String },
    #[error("{0}")]
    Asset(#[from] AssetError),
}

impl BuildError {
    pub(crate) fn operand(
        op: &str,
        what: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Operand { op: op.into(), what: what.into(), found: found.into(), expected: expected.into() }
    }
}
