//! What a specialization decided.

use serde::Serialize;

use crate::options::{ComputeUnitKind, Precision};

/// One choice or fallback.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct ReportEntry {
    /// Short stable identifier, e.g. `host_op`, `state_copy`, `software_adapter`.
    pub code: &'static str,
    /// What was done and why.
    pub message: String,
    /// A fallback: an error under `strict`.
    pub fallback: bool,
}

/// Everything a specialization decided. Nothing is silent.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this structure's JSON form.
    pub schema_version: u32,
    /// Unit.
    pub compute_unit: ComputeUnitKind,
    /// Adapter name and backend; the processor for the CPU unit.
    pub device: String,
    /// Precision mode.
    pub precision: Precision,
    /// Choices and fallbacks.
    pub entries: Vec<ReportEntry>,
}
