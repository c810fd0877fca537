//! What can be wrong with a tensor that the caller gives.

use std::path::Path;

/// Why a value cannot be passed to a function, or a result not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The file cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What the system said, or what is wrong with the content.
        reason: String,
    },
    /// Bytes that are not what their format asks for.
    #[error("{0}")]
    Content(String),
    /// The value does not fit the port.
    #[error("input {name:?}: {reason}")]
    Value {
        /// Input or state.
        name: String,
        /// Expected, found, and what to do.
        reason: String,
    },
}

impl TensorError {
    /// Stable identifier for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            TensorError::File { .. } => "tensor.file",
            TensorError::Content(_) => "tensor.content",
            TensorError::Value { .. } => "tensor.value",
        }
    }

    /// Adds the file to an error about its content.
    pub(super) fn of(self, path: &Path) -> TensorError {
        match self {
            TensorError::Content(reason) => TensorError::File { path: path.display().to_string(), reason },
            other => other,
        }
    }
}

impl From<coreai::Error> for TensorError {
    fn from(error: coreai::Error) -> TensorError {
        match error {
            coreai::Error::Input { reason, .. } => TensorError::Content(reason),
            other => TensorError::Content(other.to_string()),
        }
    }
}
