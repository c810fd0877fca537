//! How a model is specialized for a device.

/// Which unit runs a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ComputeUnitKind {
    /// Through `wgpu`.
    Gpu,
    /// On the host's processor.
    Cpu,
}

/// What happens to the precision of intermediates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// float32 intermediates; states keep their dtype.
    Exact,
    /// Rounded to the declared dtype where a value is materialized.
    Fast,
    /// CPU only: as `Exact`, with float64 accumulators.
    Wide,
}

/// A kernel variant that a run can be forced to, to compare it with the usual choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ForcedKernel {
    /// Matrix products of few rows use the tiled kernel too.
    Tiled,
    /// Reductions go through workgroup memory even where the adapter has subgroups; convolutions compute
    /// one result per invocation.
    Plain,
}

/// Options of `AIModel::specialize`.
#[derive(Clone, Debug)]
pub struct SpecializationOptions {
    /// Unit.
    pub compute_unit: ComputeUnitKind,
    /// Part of the adapter's name; `None` takes the best hardware adapter.
    pub adapter: Option<String>,
    /// Accept an adapter that runs on the CPU without it being named.
    pub allow_software_adapter: bool,
    /// Precision mode.
    pub precision: Precision,
    /// Replace composites and chains by fused kernels. Off: run every body as written.
    pub rules: bool,
    /// Any fallback is an error instead of a report entry.
    pub strict: bool,
    /// Use subgroup operations where the adapter has them.
    pub subgroups: bool,
    /// Use `shader-f16` where the adapter has it.
    pub shader_f16: bool,
    /// Upper bound for one storage binding, in bytes; the adapter's own limit when larger.
    pub max_binding_bytes: Option<u64>,
    /// Kernel variant to use wherever it applies (debugging).
    pub force_kernel: Option<ForcedKernel>,
}

impl Default for SpecializationOptions {
    fn default() -> Self {
        SpecializationOptions {
            compute_unit: ComputeUnitKind::Gpu,
            adapter: None,
            allow_software_adapter: false,
            precision: Precision::Fast,
            rules: true,
            strict: false,
            subgroups: true,
            shader_f16: true,
            max_binding_bytes: None,
            force_kernel: None,
        }
    }
}
