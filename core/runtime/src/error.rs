//! Typed errors with stable codes.

use coreai_asset::AssetError;

/// What can go wrong between opening an asset and reading a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The asset is unreadable.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// No such entry point.
    #[error("no function named {name:?}; the asset has {available}")]
    NoFunction {
        /// Asked for.
        name: String,
        /// Entry points of the asset.
        available: String,
    },
    /// An op, dtype or attribute that this runtime does not execute.
    #[error("{function}: {op}{} is not supported: {reason}", at(.source_line))]
    Unsupported {
        /// Function being planned.
        function: String,
        /// Op name as serialized.
        op: String,
        /// `file:line` when the asset has it.
        source_line: Option<String>,
        /// What is missing.
        reason: String,
    },
    /// The program contradicts itself.
    #[error("{function}: {op}{}: {reason}", at(.source_line))]
    Program {
        /// Function being planned or run.
        function: String,
        /// Op name as serialized.
        op: String,
        /// `file:line` when the asset has it.
        source_line: Option<String>,
        /// Expected and found.
        reason: String,
    },
    /// An input or state that does not fit its declaration.
    #[error("input {name:?}: {reason}")]
    Input {
        /// Input or state name.
        name: String,
        /// Expected and found.
        reason: String,
    },
    /// A data-dependent index out of range.
    #[error("{op}: index {index} is out of range [-{extent}, {extent})")]
    IndexOutOfRange {
        /// Op name.
        op: String,
        /// Offending index.
        index: i64,
        /// Extent of the indexed axis.
        extent: i64,
    },
    /// No usable adapter.
    #[error("no GPU adapter{}: {reason}", named(.wanted))]
    NoAdapter {
        /// `--adapter`, when given.
        wanted: Option<String>,
        /// What was found and what to do.
        reason: String,
    },
    /// `strict` refuses what would otherwise be a report entry.
    #[error("strict: {0}")]
    Strict(String),
    /// The device went away; sessions must be made again from asset and options.
    #[error("the GPU device was lost: {0}")]
    DeviceLost(String),
    /// Memory.
    #[error("out of {what}: {needed} bytes needed, {limit} available; {advice}")]
    OutOfMemory {
        /// Device memory, binding size …
        what: &'static str,
        /// Bytes asked for.
        needed: u64,
        /// Bytes there are.
        limit: u64,
        /// What to do.
        advice: String,
    },
    /// The driver or wgpu refused something; a defect of ours or theirs.
    #[error("GPU error in {context}: {message}")]
    Gpu {
        /// What was being done.
        context: String,
        /// What the driver said.
        message: String,
    },
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
}

fn at(source: &Option<String>) -> String {
    source.as_ref().map(|s| format!(" ({s})")).unwrap_or_default()
}

fn named(name: &Option<String>) -> String {
    name.as_ref().map(|n| format!(" named {n:?}")).unwrap_or_default()
}

impl Error {
    /// Stable identifier for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Asset(e) => e.code(),
            Error::NoFunction { .. } => "no_function",
            Error::Unsupported { .. } => "unsupported",
            Error::Program { .. } => "program",
            Error::Input { .. } => "input",
            Error::IndexOutOfRange { .. } => "index_out_of_range",
            Error::NoAdapter { .. } => "no_adapter",
            Error::Strict(_) => "strict",
            Error::DeviceLost(_) => "device_lost",
            Error::OutOfMemory { .. } => "out_of_memory",
            Error::Gpu { .. } => "gpu",
            Error::Cancelled => "cancelled",
        }
    }
}
