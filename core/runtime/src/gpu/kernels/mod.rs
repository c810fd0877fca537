//! Kernels: a step of the plan becomes one or more dispatches.
//!
//! Sources are specialized on operation, storage, kind and rank, never on extents: those are
//! parameter words, so that a decode loop needs no new pipeline when a sequence grows.

mod attention;
mod conv;
mod conv_tiled;
mod gather;
mod map;
mod matmul;
mod matvec;
mod norm;
mod order;
mod packed;
mod pad;
mod program;
mod reduce;
mod resize;
mod rope;
mod scan;
mod scatter;
mod shader;
mod space;
mod split;
mod storage;
mod supports;
mod window;

#[cfg(all(test, not(target_arch = "wasm32")))]
pub(crate) mod tests;

pub use order::MAX_COUNTED;
pub use supports::supports;

use super::dispatch::{Caps, Dispatch};
use crate::error::Error;
use crate::plan::Plan;
use crate::step::{Kernel, Step};

/// What a step is lowered for: a device, and the bucket of symbol values in force.
pub struct LowerCx<'a> {
    /// Device.
    pub caps: &'a Caps,
    /// Upper bound of each symbol.
    pub max: &'a [i64],
    /// Lower bound of each symbol.
    pub min: &'a [i64],
}

/// Why a step has no dispatch as it is.
enum Fault {
    /// An operand (reads first, then writes) does not fit a binding.
    TooLarge { operand: usize, needed: u64 },
    /// The step contradicts its kernel's contract.
    Broken(String),
}

impl Fault {
    fn broken(reason: String) -> Fault {
        Fault::Broken(reason)
    }
}

/// Most parts a step is cut into when its operands exceed a binding.
const MAX_PARTS: usize = 4096;

/// The dispatches of a step, in order.
pub fn lower(plan: &Plan, step: usize, cx: &LowerCx<'_>) -> Result<Vec<Dispatch>, Error> {
    let mut done = vec![];
    let mut parts = vec![plan.steps[step].clone()];
    while let Some(part) = parts.pop() {
        match build(plan, cx, &part, step) {
            Ok(dispatches) => done.extend(dispatches),
            Err(Fault::Broken(reason)) => {
                return Err(Error::Program {
                    function: plan.function.clone(),
                    op: part.origin.op.to_string(),
                    source_line: part.origin.source.as_ref().map(ToString::to_string),
                    reason,
                });
            }
            Err(Fault::TooLarge { operand, needed }) => {
                if let Some(sums) = split::along_reduction(plan, cx, &part, operand)
                    && parts.len() + sums.len() <= MAX_PARTS
                {
                    parts.extend(sums.into_iter().rev());
                    continue;
                }
                let halves = split::split(plan, cx, &part, operand).filter(|_| parts.len() < MAX_PARTS);
                let Some((first, second)) = halves else {
                    return Err(Error::OutOfMemory {
                        what: "storage binding",
                        needed,
                        limit: cx.caps.max_binding_bytes,
                        advice: format!("{} reads or writes more than one binding holds", part.origin.op),
                    });
                };
                parts.push(second);
                parts.push(first);
            }
        }
    }
    Ok(done)
}

fn build(plan: &Plan, cx: &LowerCx<'_>, step: &Step, number: usize) -> Result<Vec<Dispatch>, Fault> {
    if step.writes.len() != 1 {
        return Err(Fault::broken(format!("{} results", step.writes.len())));
    }
    let shader = || shader::Shader::new(plan, cx, step, number);
    let one = match &step.kernel {
        Kernel::Map(prog) => map::build(shader(), prog),
        Kernel::MatMul { weights, norm, epilogue } => {
            matmul::build(shader(), *weights, *norm, epilogue.as_ref())
        }
        Kernel::Reduce { op, axes } => reduce::build(shader(), *op, *axes),
        Kernel::Softmax => norm::softmax(shader()),
        Kernel::Norm(norm) => norm::build(shader(), *norm),
        Kernel::Rope { rotated, interleaved, tables } => {
            rope::build(shader(), *rotated, *interleaved, *tables)
        }
        Kernel::Attention { scale, causal, window, mask, hidden, sinks } => {
            let options = attention::Options {
                scale: *scale,
                causal: *causal,
                window: *window,
                mask: *mask,
                hidden: *hidden,
                sinks: *sinks,
            };
            attention::build(shader(), &options)
        }
        Kernel::GatherNd => return gather::nd(plan, cx, step, number),
        Kernel::GatherAlong { axis } => gather::along(shader(), *axis),
        Kernel::ScatterAlong { axis, mode } => scatter::along(shader(), *axis, *mode),
        Kernel::ScatterNd => return scatter::nd(plan, cx, step, number),
        Kernel::Pad { mode, before, value } => pad::build(shader(), *mode, before, *value),
        Kernel::Conv { stride, dilation, padding, groups, transposed, epilogue } => {
            let geometry =
                conv::Geometry { stride, dilation, padding, groups: *groups, transposed: *transposed };
            conv::build(shader(), &geometry, epilogue.as_ref())
        }
        Kernel::Pool { op, kernel, stride, dilation } => conv::pool(shader(), *op, kernel, stride, dilation),
        Kernel::Resize { nearest, sampled } => resize::build(shader(), *nearest, sampled),
        Kernel::Sample { nearest } => resize::sample(shader(), *nearest),
        Kernel::Scan { op, reverse } => scan::build(shader(), *op, *reverse),
        Kernel::Sort { descending, indices }
            if step.writes[0].dims.last().is_some_and(|n| cx.bounds(n).max > order::MAX_COUNTED) =>
        {
            return order::sort_long(plan, cx, step, number, *descending, *indices);
        }
        Kernel::Sort { descending, indices } => order::sort(shader(), *descending, *indices),
        Kernel::ArgMax => order::arg_max(shader()),
    };
    one.map(|dispatch| vec![dispatch])
}
