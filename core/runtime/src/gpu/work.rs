//! Estimated work of steps, and where a run is cut into submissions.
//!
//! A submission that runs for seconds is killed by the watchdogs of desktop systems, and a run can
//! only be cancelled between two.

use std::ops::Range;

use super::dispatch::Dispatch;
use super::kernels::MAX_COUNTED;
use crate::expr::{Bounds, Expr, Sym};
use crate::plan::Plan;
use crate::step::{Kernel, Step, View};

/// Dispatches of one submission.
pub const MAX_DISPATCHES_PER_SUBMIT: usize = 512;

/// Estimated work of one submission, in multiply-adds: about a second on a slow integrated GPU.
pub const MAX_WORK_PER_SUBMIT: f64 = 5e10;

/// Cuts dispatches into submissions at the upper bounds of the symbols. At least one range.
pub(crate) fn submissions(
    plan: &Plan,
    dispatches: &[Dispatch],
    max: &dyn Fn(&Expr) -> i64,
) -> Vec<Range<usize>> {
    let mut per_step = vec![0usize; plan.steps.len()];
    for dispatch in dispatches {
        if let Some(n) = per_step.get_mut(dispatch.step as usize) {
            *n += 1;
        }
    }
    let mut cuts = vec![];
    let (mut start, mut work) = (0, 0.0);
    for (i, dispatch) in dispatches.iter().enumerate() {
        let at = dispatch.step as usize;
        let own = plan.steps.get(at).map_or(0.0, |step| step_work(step, max) / per_step[at] as f64);
        if i > start && (work + own > MAX_WORK_PER_SUBMIT || i - start >= MAX_DISPATCHES_PER_SUBMIT) {
            cuts.push(start..i);
            (start, work) = (i, 0.0);
        }
        work += own;
    }
    cuts.push(start..dispatches.len());
    cuts
}

/// Multiply-adds of a step; for steps bound by memory, the elements that it moves.
fn step_work(step: &Step, max: &dyn Fn(&Expr) -> i64) -> f64 {
    let extent = |expr: Option<&Expr>| expr.map_or(1.0, |e| max(e).max(0) as f64);
    let size = |view: Option<&View>| {
        view.map_or(0.0, |v| v.dims.iter().map(|d| max(d).max(0) as f64).product::<f64>())
    };
    let (result, first, second) = (step.writes.first(), step.reads.first(), step.reads.get(1));
    match &step.kernel {
        Kernel::MatMul { weights, .. } => {
            size(result) * extent(first.and_then(|a| a.dims.last())) * *weights as f64
        }
        // Scores and weighted sum: t · s · (d + dv) per head.
        Kernel::Attention { .. } => {
            (size(first) + size(result)) * extent(second.and_then(|key| key.dims.get(2)))
        }
        Kernel::Conv { .. } => {
            size(result) * size(second) / extent(second.and_then(|w| w.dims.first())).max(1.0)
        }
        Kernel::Pool { kernel, .. } => size(result) * kernel.iter().map(|k| f64::from(*k)).product::<f64>(),
        // Every element with every other, or log²(n) passes of a bitonic network.
        Kernel::Sort { .. } => {
            let n = extent(first.and_then(|x| x.dims.last())).max(2.0);
            size(first) * if n <= MAX_COUNTED as f64 { n } else { n.log2() * n.log2() }
        }
        // Few updates of a line are walked by every result, many by every tile of 256.
        Kernel::ScatterAlong { axis, .. } => {
            size(result) * (1.0 + extent(second.and_then(|index| index.dims.get(*axis))) / 32.0)
        }
        _ => step.reads.iter().chain(&step.writes).map(|v| size(Some(v))).sum(),
    }
}

/// The upper bound of an expression when symbol `s` lies in `min[s]..=max[s]`.
pub(crate) fn upper(expr: &Expr, min: &[i64], max: &[i64]) -> i64 {
    let of = |Sym(s): Sym| Bounds {
        min: min.get(s as usize).copied().unwrap_or(0),
        max: max.get(s as usize).copied().unwrap_or(i64::MAX),
    };
    expr.bounds(&of).max
}
