//! Steps whose operands exceed a binding are cut in two along an output axis, until every part fits.

use super::LowerCx;
use crate::expr::{Expr, Func};
use crate::gpu::segments::segments;
use crate::map::{Instr, MapFn, MapOp, MapProg};
use crate::plan::Plan;
use crate::step::{Kernel, Kind, Step, Storage, View};

/// For an output axis, the axis of every operand (reads, then writes) that moves with it.
type Along = Vec<Option<usize>>;

/// The two parts of `step`, cut so that `operand` needs smaller windows; `None` when it cannot be.
pub(super) fn split(plan: &Plan, cx: &LowerCx<'_>, step: &Step, operand: usize) -> Option<(Step, Step)> {
    let view = step.reads.iter().chain(&step.writes).nth(operand)?;
    let reach = |along: &Along| {
        let axis = along[operand]?;
        let dim = cx.bounds(&view.dims[axis]).max;
        let stride = cx.bounds(&view.strides[axis]);
        let stride = stride.min.abs().max(stride.max.abs());
        (dim > 1 && stride > 0).then(|| stride.saturating_mul(dim))
    };
    let along = axes(step).into_iter().filter(|a| reach(a).is_some()).max_by_key(reach)?;
    let axis = along[operand]?;
    let extent = cx.bounds(&view.dims[axis]).max;
    let at = match &plan.buffer(view).storage {
        Storage::Quant(format) => {
            // At the end of the segment that the first element lies in.
            let (stride, offset) = (view.strides[axis].as_const()?, view.offset.as_const()?);
            let row = i64::try_from(format.row_elements()).ok()?;
            let ends = segments(format, cx.caps.max_binding_bytes)
                .filter_map(|s| i64::try_from(s.first_row + s.rows).ok()?.checked_mul(row));
            let end = ends.into_iter().find(|end| *end > offset)?;
            (stride > 0).then(|| (end - offset).div_euclid(stride))?
        }
        _ => (extent + 1) / 2,
    };
    if at <= 0 || at >= extent {
        return None;
    }
    Some((part(step, &along, at, false), part(step, &along, at, true)))
}

/// The output axes along which the kernel computes independently.
fn axes(step: &Step) -> Vec<Along> {
    let rank = step.writes[0].dims.len();
    let operands = step.reads.len() + 1;
    let everywhere = |i: usize| vec![Some(i); operands];
    match &step.kernel {
        Kernel::Map(_) => (0..rank).map(everywhere).collect(),
        Kernel::Norm(_) | Kernel::Softmax | Kernel::Scan { .. } | Kernel::Sort { .. } => {
            (0..rank.saturating_sub(1)).map(everywhere).collect()
        }
        Kernel::Reduce { .. } | Kernel::ArgMax => (0..rank).map(everywhere).collect(),
        Kernel::MatMul { weights, norm, .. } => {
            let scale = norm.map(|_| weights + 1);
            (0..rank)
                .map(|i| {
                    let mut along = everywhere(i);
                    if i + 1 == rank {
                        along[0] = None;
                    }
                    if i + 2 == rank {
                        along[1..=*weights].fill(None);
                    }
                    if let Some(scale) = scale {
                        along[scale] = None;
                    }
                    along
                })
                .collect()
        }
        Kernel::Attention { mask, sinks, .. } => (0..2.min(rank))
            .map(|i| {
                let mut along = everywhere(i);
                if i == 1 {
                    // Key heads are shared by groups of query heads.
                    return vec![None; operands];
                }
                if *sinks {
                    along[3 + usize::from(*mask)] = None;
                }
                along
            })
            .collect(),
        Kernel::Rope { tables, .. } => (0..3)
            .map(|i| {
                let mut along = everywhere(i);
                if !tables {
                    along[2] = None;
                }
                along
            })
            .collect(),
        _ => vec![],
    }
}

/// One side of a cut at `at`.
fn part(step: &Step, along: &Along, at: i64, second: bool) -> Step {
    let at = Expr::from(at);
    let cut = |view: &View, axis: Option<usize>| {
        let Some(axis) = axis else { return view.clone() };
        let dim = &view.dims[axis];
        let first = Expr::func(Func::Min, dim, &at);
        match second {
            false => view.slice(axis, &Expr::zero(), &first, 1),
            // Not `dim - first`: its bounds would forget that both contain the same symbol.
            true => view.slice(axis, &at, &Expr::func(Func::Max, &(dim - &at), &Expr::zero()), 1),
        }
    };
    let mut out = step.clone();
    let views = out.reads.iter_mut().chain(&mut out.writes);
    for (view, axis) in views.zip(along) {
        *view = cut(view, *axis);
    }
    if let (Some(Some(axis)), true) = (along.last(), second) {
        match &mut out.kernel {
            Kernel::Map(prog) => shift_index(prog, *axis, &at),
            Kernel::MatMul { epilogue: Some(prog), .. } => shift_index(prog, *axis, &at),
            _ => {}
        }
    }
    out
}

/// Adds `at` to every index along `axis`.
fn shift_index(prog: &mut MapProg, axis: usize, at: &Expr) {
    let indexed = |i: &Instr| matches!(i.op, MapOp::Index(n) if usize::from(n) == axis);
    if !prog.instrs.iter().any(indexed) {
        return;
    }
    let scalar = prog.scalars.len() as u16;
    prog.scalars.push(at.clone());
    let mut moved = vec![];
    let mut instrs: Vec<Instr> = vec![];
    for mut instr in prog.instrs.drain(..) {
        let shift = indexed(&instr);
        for arg in instr.args.iter_mut().take(instr.op.arity()) {
            *arg = moved[usize::from(*arg)];
        }
        instrs.push(instr);
        if shift {
            let here = instrs.len() as u16;
            instrs.push(Instr { op: MapOp::Scalar(scalar), args: [0; 3], kind: Kind::I32 });
            instrs.push(Instr { op: MapOp::Fn(MapFn::Add), args: [here - 1, here, 0], kind: Kind::I32 });
        }
        moved.push(instrs.len() as u16 - 1);
    }
    prog.instrs = instrs;
}
