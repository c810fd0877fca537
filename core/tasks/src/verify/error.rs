//! What can be wrong with a recorded case itself.

/// Why a case cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// No file or folder there, or it cannot be read.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A folder without cases.
    #[error("{path}: no cases here; expected case.json, cases/, or folders with case.json")]
    NoCases {
        /// The folder.
        path: String,
    },
    /// A file that does not have the documented layout.
    #[error("{path}: {reason}")]
    Layout {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that `case.json` names and the files lack, or hold in another type or shape.
    #[error("{file}: tensor {key:?}: {reason}")]
    Tensor {
        /// `inputs`, `outputs`, `states` or `reference`.
        file: &'static str,
        /// Key in the file.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

impl VerifyError {
    /// Stable identifier for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            VerifyError::File { .. } => "case.file",
            VerifyError::NoCases { .. } => "case.none",
            VerifyError::Layout { .. } => "case.layout",
            VerifyError::Tensor { .. } => "case.tensor",
        }
    }
}
