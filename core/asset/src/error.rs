//! What can be wrong with a file.

/// Why an asset cannot be read or written. Each variant says what is wrong with the *file* and, where it
/// makes sense, at which byte of `main.mlirb`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each variant and field means
pub enum AssetError {
    #[error("{path}: no such file or directory")]
    NotFound { path: String },
    #[error("{path}: not a Core AI asset: {reason}")]
    NotAnAsset { path: String, reason: String },
    #[error("{path}: cannot read: {reason}")]
    Io { path: String, reason: String },
    #[error("main.mlirb is not MLIR bytecode: {found} (expected the magic bytes 4D 4C EF 52)")]
    BadMagic { found: String },
    #[error(
        "bytecode version {found} is not supported; this reader understands version {expected} \
         (convert the model again with a matching coreai-core)"
    )]
    BytecodeVersion { found: u64, expected: u64 },
    #[error("aicode encoding version {found} is not supported; expected {expected}")]
    DialectVersion { found: u64, expected: u64 },
    #[error("metadata.json: asset version {found:?} is not supported; expected \"2.0\"")]
    AssetVersion { found: String },
    #[error("metadata.json: {reason}")]
    Metadata { reason: String },
    #[error("truncated: {what} at byte {offset} needs {needed} more bytes, {available} are left")]
    Truncated { what: &'static str, offset: u64, needed: u64, available: u64 },
    #[error("byte {offset}: the file has no {what} section")]
    MissingSection { what: &'static str, offset: u64 },
    #[error("byte {offset}: {what}: {reason}")]
    Malformed { what: &'static str, offset: u64, reason: String },
    #[error("byte {offset}: {what} {index} does not exist, the file has {len}")]
    IndexOutOfRange { what: &'static str, offset: u64, index: u64, len: u64 },
    #[error("byte {offset}: {what}: {value} exceeds the limit {limit}")]
    LimitExceeded { what: &'static str, offset: u64, value: u64, limit: u64 },
    #[error("byte {offset}: unknown {what} code {code} (a newer file, or a damaged one)")]
    UnknownCode { what: &'static str, offset: u64, code: u64 },
    #[error("byte {offset}: dialect {dialect:?} is not supported, only \"aicode\" is")]
    ForeignDialect { dialect: String, offset: u64 },
    #[error("byte {offset}: operation {op:?} has properties, but their layout is unknown")]
    UnknownProperties { op: String, offset: u64 },
    #[error("byte {offset}: operation {op:?}: {reason}")]
    InvalidOp { op: String, offset: u64, reason: String },
    #[error("byte {offset}: constant of type {ty}: {reason}")]
    InvalidConstant { ty: String, offset: u64, reason: String },
    #[error("function {function:?}: {reason}")]
    InvalidFunction { function: String, reason: String },
    #[error("bytes {start}..{end} cannot be read: {reason}")]
    Source { start: u64, end: u64, reason: String },
    #[error("cannot be written: {what}: {reason}")]
    Unwritable { what: &'static str, reason: String },
    #[error("{path}: already exists: {reason}")]
    Exists { path: String, reason: String },
    #[error("{path}: no space left on the device; nothing was written")]
    DiskFull { path: String },
    #[error("{path}: cannot write: {reason}")]
    Write { path: String, reason: String },
}

impl AssetError {
    /// A stable name of the variant, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "asset.not_found",
            Self::NotAnAsset { .. } => "asset.not_an_asset",
            Self::Io { .. } => "asset.io",
            Self::BadMagic { .. } => "asset.bad_magic",
            Self::BytecodeVersion { .. } => "asset.bytecode_version",
            Self::DialectVersion { .. } => "asset.dialect_version",
            Self::AssetVersion { .. } => "asset.asset_version",
            Self::Metadata { .. } => "asset.metadata",
            Self::Truncated { .. } => "asset.truncated",
            Self::MissingSection { .. } => "asset.missing_section",
            Self::Malformed { .. } => "asset.malformed",
            Self::IndexOutOfRange { .. } => "asset.index_out_of_range",
            Self::LimitExceeded { .. } => "asset.limit_exceeded",
            Self::UnknownCode { .. } => "asset.unknown_code",
            Self::ForeignDialect { .. } => "asset.foreign_dialect",
            Self::UnknownProperties { .. } => "asset.unknown_properties",
            Self::InvalidOp { .. } => "asset.invalid_op",
            Self::InvalidConstant { .. } => "asset.invalid_constant",
            Self::InvalidFunction { .. } => "asset.invalid_function",
            Self::Source { .. } => "asset.source",
            Self::Unwritable { .. } => "asset.unwritable",
            Self::Exists { .. } => "asset.exists",
            Self::DiskFull { .. } => "asset.disk_full",
            Self::Write { .. } => "asset.write",
        }
    }

    pub(crate) fn malformed(what: &'static str, offset: u64, reason: impl Into<String>) -> Self {
        Self::Malformed { what, offset, reason: reason.into() }
    }
}
