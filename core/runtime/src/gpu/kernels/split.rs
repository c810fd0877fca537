//! Steps whose operands exceed a binding are cut in two along an output axis, until every part fits.

use super::LowerCx;
use super::window::element_bits;
use crate::expr::{Expr, Func};
use crate::gpu::segments::{BINDING_ALIGNMENT, segments};
use crate::map::{Instr, MapFn, MapOp, MapProg};
use crate::plan::Plan;
use crate::step::{Kernel, Kind, Round, Step, Storage, View};

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
        Kernel::Conv { groups, transposed, .. } => {
            let mut images = everywhere(0);
            images[1] = None;
            let mut channels = everywhere(1);
            (channels[0], channels[1]) = (None, Some(usize::from(*transposed)));
            // A group's output channels belong to its input channels.
            if *groups == 1 { vec![images, channels] } else { vec![images] }
        }
        Kernel::Pool { kernel, .. } => (0..rank.saturating_sub(kernel.len())).map(everywhere).collect(),
        Kernel::ScatterAlong { axis, .. } | Kernel::GatherAlong { axis } => {
            (0..rank).filter(|i| i != axis).map(everywhere).collect()
        }
        Kernel::Resize { sampled, .. } => (0..rank)
            .filter(|i| sampled.get(*i) == Some(&false))
            .map(|i| {
                let mut along = everywhere(i);
                along[1..3].fill(None);
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
            Kernel::MatMul { epilogue: Some(prog), .. } | Kernel::Conv { epilogue: Some(prog), .. } => {
                shift_index(prog, *axis, &at);
            }
            _ => {}
        }
    }
    out
}

/// Cuts a product of floats whose weight `operand` lies `[k, n]` along k: every part adds to the sums of
/// the one before in the result itself, the last one applies the epilogue. `None` for other steps.
pub(super) fn along_reduction(
    plan: &Plan,
    cx: &LowerCx<'_>,
    step: &Step,
    operand: usize,
) -> Option<Vec<Step>> {
    let Kernel::MatMul { weights: 1, norm: None, epilogue } = &step.kernel else { return None };
    let ([a, b, ..], [out]) = (step.reads.as_slice(), step.writes.as_slice()) else { return None };
    let result = plan.buffer(out);
    let sums =
        (result.kind, &result.storage) == (Kind::F32, &Storage::Word) && plan.buffer(a).kind == Kind::F32;
    let adds = step.reads.iter().any(|r| r.buffer == out.buffer);
    let rank = b.dims.len();
    let row = b.strides.get(rank.checked_sub(2)?)?.as_const()?;
    let matrices = b.strides[..rank - 2].iter().zip(&b.dims).any(|(s, d)| !s.is(0) && !d.is(1));
    if operand != 1 || !sums || adds || matrices || !b.strides[rank - 1].is(1) || row <= 1 {
        return None;
    }
    let (k, offset) = (b.dims[rank - 2].as_const()?, b.offset.as_const()?);
    let limit = cx.caps.max_binding_bytes;
    let ends: Vec<i64> = match &plan.buffer(b).storage {
        Storage::Quant(format) => segments(format, limit)
            .filter_map(|s| {
                let end = i64::try_from((s.first_row + s.rows).checked_mul(format.row_elements())?).ok()?;
                Some((end - offset).div_euclid(row))
            })
            .collect(),
        storage => {
            let bytes = u64::try_from(row).ok()?.checked_mul(element_bits(storage))?.div_ceil(8);
            let rows = limit.checked_sub(2 * BINDING_ALIGNMENT)? / bytes;
            let rows = i64::try_from(rows).ok().filter(|r| *r > 0)?;
            (1..=(k + rows - 1) / rows).map(|i| i * rows).collect()
        }
    };
    let mut parts: Vec<Step> = vec![];
    let mut first = 0;
    for end in ends.into_iter().map(|end| end.min(k)) {
        if end <= first {
            continue;
        }
        let mut part = step.clone();
        let (from, count) = (Expr::from(first), Expr::from(end - first));
        part.reads[0] = a.slice(a.dims.len() - 1, &from, &count, 1);
        part.reads[1] = b.slice(rank - 2, &from, &count, 1);
        let last = end == k;
        if !last {
            part.reads.truncate(2);
            part.round = Round::None;
        }
        let after = if last { epilogue.as_ref() } else { None };
        let sum = (first > 0).then_some(part.reads.len() - 1);
        let after = match sum {
            Some(load) => Some(added(after, u16::try_from(load).ok()?)),
            None => after.cloned(),
        };
        if sum.is_some() {
            part.reads.push(out.clone());
        }
        part.kernel = Kernel::MatMul { weights: 1, norm: None, epilogue: after };
        parts.push(part);
        first = end;
    }
    (first == k && parts.len() > 1).then_some(parts)
}

/// A program with load 0 replaced by the sum of loads 0 and `load`.
fn added(program: Option<&MapProg>, load: u16) -> MapProg {
    let instr = |op, args| Instr { op, args, kind: Kind::F32 };
    // One that ends in load 0 changes nothing.
    let program = program.filter(|p| p.instrs.last().is_some_and(|i| i.op != MapOp::Load(0)));
    let mut out = MapProg {
        instrs: vec![
            instr(MapOp::Load(0), [0; 3]),
            instr(MapOp::Load(load), [0; 3]),
            instr(MapOp::Fn(MapFn::Add), [0, 1, 0]),
        ],
        scalars: program.map(|p| p.scalars.clone()).unwrap_or_default(),
    };
    let mut moved = vec![];
    for instr in program.iter().flat_map(|p| &p.instrs) {
        if instr.op == MapOp::Load(0) {
            moved.push(2);
            continue;
        }
        let mut instr = *instr;
        for arg in instr.args.iter_mut().take(instr.op.arity()) {
            *arg = moved[usize::from(*arg)];
        }
        out.instrs.push(instr);
        moved.push(out.instrs.len() as u16 - 1);
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
