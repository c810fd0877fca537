//! Which steps these kernels can do.

use super::{attention, resize};
use crate::plan::Plan;
use crate::step::{Kernel, Kind, ReduceOp, Step, Storage};

/// Most axes of an operand.
const MAX_RANK: usize = 8;
/// Most operands: 8 storage buffers less the result.
const MAX_READS: usize = 7;

/// Whether the GPU can execute a step; the reason when it cannot.
pub fn supports(plan: &Plan, step: &Step) -> Result<(), String> {
    let [write] = step.writes.as_slice() else {
        return Err("kernels write one result".into());
    };
    if let Some(view) = step.reads.iter().chain([write]).find(|v| v.dims.len() > MAX_RANK) {
        return Err(format!("rank {} exceeds {MAX_RANK}", view.dims.len()));
    }
    let limit = MAX_READS - usize::from(step.kernel.indexes());
    let mut buffers: Vec<_> = step.reads.iter().map(|r| r.buffer).collect();
    buffers.sort_unstable();
    buffers.dedup();
    if buffers.len() > limit {
        return Err(format!("{} operands exceed {limit}", buffers.len()));
    }
    let result = plan.buffer(write);
    match (&result.storage, &step.kernel) {
        (Storage::Word, _) | (Storage::F16 | Storage::BF16, Kernel::Map(_)) => {}
        (storage, _) => return Err(format!("a result in {storage:?} storage")),
    }
    let packed = result.storage != Storage::Word;
    if packed && write.strides.iter().any(|s| plan.bounds(s).min < 0) {
        return Err("a reversed result in half-word storage".into());
    }
    let floats = |what: &str| match step.reads.iter().all(|r| plan.buffer(r).kind == Kind::F32) {
        true => Ok(()),
        false => Err(format!("{what} of integers")),
    };
    match &step.kernel {
        Kernel::MatMul { weights, norm, .. } => {
            if !(1..=3).contains(weights) {
                return Err(format!("{weights} weights"));
            }
            if norm.is_some_and(|n| n.center) {
                return Err("a centred norm fused with a product".into());
            }
            if norm.is_some() { floats("a norm") } else { Ok(()) }
        }
        Kernel::Softmax => floats("softmax"),
        Kernel::Norm(_) => floats("a norm"),
        Kernel::Attention { .. } => {
            let heads = step.reads.iter().take(3).filter_map(|r| r.dims.last());
            match heads.map(|d| plan.bounds(d).max).max() {
                Some(d) if d > attention::MAX_HEAD => Err(format!("attention heads of {d} elements")),
                _ => Ok(()),
            }
        }
        Kernel::Resize { nearest: false, sampled } => match sampled.iter().filter(|s| **s).count() {
            axes if axes > resize::MAX_AXES => Err(format!("interpolation over {axes} axes")),
            _ => Ok(()),
        },
        Kernel::Sample { nearest: false } => match step.reads.first().map_or(0, |x| x.dims.len()) {
            axes if axes > resize::MAX_AXES => Err(format!("interpolation over {axes} axes")),
            _ => Ok(()),
        },
        Kernel::Pool { op, .. } | Kernel::Scan { op, .. } => match op {
            ReduceOp::Sum | ReduceOp::Max | ReduceOp::Min | ReduceOp::Product => Ok(()),
            other => Err(format!("{other:?} over windows")),
        },
        _ => Ok(()),
    }
}
