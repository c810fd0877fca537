//! What can go wrong while an asset is made.

use coreai_asset::{AssetError, BuildError};

/// Why a checkpoint cannot be imported, or an asset not be changed. Each message names the file or tensor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each variant and field means
pub enum ConvertError {
    #[error("{path}: no such file or folder")]
    NotFound { path: String },
    #[error("{path}: {reason}")]
    File { path: String, reason: String },
    #[error("{file}: {what}: {reason}")]
    Malformed { file: String, what: String, reason: String },
    #[error("{file}: {what}: {value} exceeds the limit {limit}")]
    Limit { file: String, what: String, value: u64, limit: u64 },
    #[error("{file}: {key} is {found}; expected {expected}")]
    Config { file: String, key: String, found: String, expected: String },
    #[error("architecture {found:?} is not supported; supported: {known}")]
    Architecture { found: String, known: String },
    #[error("tensor {name:?}: {reason}")]
    Tensor { name: String, reason: String },
    #[error("{what}: {reason}; {advice}")]
    Download { what: String, reason: String, advice: String },
    #[error("{0}")]
    Graph(#[from] BuildError),
    #[error("{0}")]
    Asset(#[from] AssetError),
}

impl ConvertError {
    /// A stable name of the variant, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "convert.not_found",
            Self::File { .. } => "convert.file",
            Self::Malformed { .. } => "convert.malformed",
            Self::Limit { .. } => "convert.limit",
            Self::Config { .. } => "convert.config",
            Self::Architecture { .. } => "convert.architecture",
            Self::Tensor { .. } => "convert.tensor",
            Self::Download { .. } => "convert.download",
            Self::Graph(_) => "convert.graph",
            Self::Asset(error) => error.code(),
        }
    }
}
