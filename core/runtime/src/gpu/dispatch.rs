//! What a step becomes on the device: shader, bindings, parameter words, workgroup count.

use std::sync::Arc;

use crate::expr::Expr;
use crate::step::BufferId;

/// Buffer behind a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A buffer of the plan.
    Buffer(BufferId),
    /// The status words: `[0]` is 0 or 1 + the node of the first failing step, `[1]` the offending
    /// index, `[2]` the extent. Bound read-write as `array<atomic<u32>>`.
    Status,
}

/// One storage binding. Group 0, binding `1 + position`; binding 0 is the uniform block of
/// parameter words (dynamic offset).
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// Buffer.
    pub target: Target,
    /// `read_write` instead of `read`.
    pub write: bool,
    /// Byte range `(offset, size)` bound instead of the whole buffer; offset aligned to 256.
    pub window: Option<(u64, u64)>,
}

/// One compute dispatch.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Short name of the kernel variant, for reports and traces.
    pub kernel: &'static str,
    /// Complete WGSL module with entry point `main`. Equal sources share a pipeline.
    pub source: Arc<str>,
    /// Storage bindings.
    pub bindings: Vec<Binding>,
    /// Parameter words, each evaluated to an i32/u32 for every run. At most 64.
    pub params: Vec<Expr>,
    /// Number of workgroups; folded into x·y·z ≤ 65535 by the executor. The shader recovers the
    /// linear workgroup index as `wid.x + wid.y * nwg.x + wid.z * nwg.x * nwg.y` and returns at once
    /// when it is ≥ the count it computes from its parameters.
    pub workgroups: Expr,
    /// Number of the plan's step.
    pub step: u32,
}

/// What the kernels may use on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Largest storage binding, bytes.
    pub max_binding_bytes: u64,
    /// Storage buffers per stage; kernels stay at ≤ 8 of them (parameters excluded).
    pub max_storage_buffers: u32,
    /// Invocations per workgroup (≥ 256).
    pub max_invocations: u32,
    /// Workgroup memory, bytes (≥ 16384).
    pub workgroup_bytes: u32,
    /// Subgroup builtins may be used.
    pub subgroups: bool,
    /// Largest subgroup, invocations; 0 where it is not known.
    pub subgroup_size: u32,
    /// `enable f16` may be used.
    pub shader_f16: bool,
    /// Use the tiled kernel for every matrix product.
    pub tiled_only: bool,
    /// Use the plain kernel for every convolution.
    pub plain_only: bool,
}
