//! Slices and their updates, in place where they are of a state.

#[cfg(test)]
use super::cases::{ANY, Call, Case};
use super::{Fault, InferCx, Op};
use crate::expr::{Expr, Func};
use crate::facts::Fact;
use crate::lower::Lower;
use crate::step::View;

/// The family's ops.
pub static OPS: &[&dyn Op] = &[&Slice, &SliceUpdate];

/// One axis of a slice: first element, number of elements, step.
struct Range1 {
    start: Expr,
    length: Expr,
    step: i64,
}

/// NumPy slicing of an axis of extent `dim`: negative bounds wrap once, then clamp. Bounds that are
/// not known to be in range are assumed so, with a guard.
fn range(cx: &mut InferCx, dim: &Expr, start: &Expr, end: &Expr, step: i64) -> Result<Range1, Fault> {
    if step == 0 {
        return Err(Fault::program("a slice step of 0"));
    }
    let wrap = |e: &Expr| match e.as_const() {
        Some(c) if c < 0 => &Expr::from(c) + dim,
        _ => e.clone(),
    };
    let low = if step > 0 { 0 } else { -1 };
    let top = if step > 0 { dim.clone() } else { dim - &Expr::one() };
    let name = cx.name.to_string();
    let mut clamp = |e: &Expr, raw: &Expr| -> Result<Expr, Fault> {
        let e = wrap(e);
        if let (Some(v), Some(t)) = (e.as_const(), top.as_const()) {
            return Ok(Expr::from(v.clamp(low, t.max(low))));
        }
        // Constants at the ends of the int32 range mean "to the end".
        if raw.as_const().is_some_and(|c| c >= i64::from(i32::MAX)) {
            return Ok(top.clone());
        }
        if raw.as_const().is_some_and(|c| c <= i64::from(i32::MIN)) {
            return Ok(Expr::from(low));
        }
        let why = || format!("{name}: bound {e} of an axis of extent {dim}");
        let above = cx.shapes.bounds(&(&e - &Expr::from(low)));
        if above.max < 0 {
            return Ok(Expr::from(low));
        }
        cx.shapes.require_nonnegative(&(&e - &Expr::from(low)), &why);
        let below = cx.shapes.bounds(&(&top - &e));
        if below.max < 0 {
            return Ok(top.clone());
        }
        cx.shapes.require_nonnegative(&(&top - &e), &why);
        Ok(e)
    };
    let first = clamp(start, start)?;
    let last = clamp(end, end)?;
    let span = if step > 0 { &last - &first } else { &first - &last };
    let magnitude = Expr::from(step.abs());
    let bounds = cx.shapes.bounds(&span);
    let length = if bounds.max <= 0 {
        Expr::zero()
    } else {
        if bounds.min < 0 {
            let why = || format!("{}: slice from {first} to {last}", cx.name);
            cx.shapes.require_nonnegative(&span, &why);
        }
        Expr::func(Func::FloorDiv, &(&span + &(&magnitude - &Expr::one())), &magnitude)
    };
    Ok(Range1 { start: first, length, step })
}

fn ranges(cx: &mut InferCx, x: &Fact) -> Result<Vec<Range1>, Fault> {
    let (start, end, step) = (cx.content(1)?, cx.content(2)?, cx.ints(3)?);
    if start.len() != x.dims.len() || end.len() != x.dims.len() || step.len() != x.dims.len() {
        return Err(Fault::program("a slice needs one bound per axis"));
    }
    (0..x.dims.len()).map(|a| range(cx, &x.dims[a], &start[a], &end[a], step[a])).collect()
}

/// The ranges again while lowering: the guards they need were added by the type rule.
fn lowered_ranges(cx: &mut Lower, node: usize) -> Result<Vec<Range1>, Fault> {
    let (inputs, _) = cx.node_values(node);
    let facts: Vec<Fact> = inputs.iter().map(|v| cx.fact(*v).clone()).collect();
    let name = cx.graph.nodes[node].name.clone();
    let mut infer = InferCx {
        name: &name,
        inputs: &facts,
        region: None,
        composite: None,
        declared: &[],
        shapes: &mut cx.shapes,
    };
    ranges(&mut infer, &facts[0])
}

fn apply(view: &View, ranges: &[Range1]) -> View {
    ranges.iter().enumerate().fold(view.clone(), |v, (axis, r)| v.slice(axis, &r.start, &r.length, r.step))
}

struct Slice;

impl Op for Slice {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.slice_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        let ranges = ranges(cx, &x)?;
        let content = match (&x.content, ranges.as_slice()) {
            (Some(content), [r]) => {
                let (start, length) = (r.start.as_const(), r.length.as_const());
                start.zip(length).and_then(|(s, n)| {
                    (0..n).map(|i| content.get(usize::try_from(s + i * r.step).ok()?).cloned()).collect()
                })
            }
            _ => None,
        };
        let dims = ranges.into_iter().map(|r| r.length).collect();
        Ok(vec![Fact::new(x.element, dims).with_content(content)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let ranges = lowered_ranges(cx, node)?;
        cx.reinterpret(inputs[0], outputs[0], &|v, _| Some(apply(v, &ranges)))
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(ANY);
            let dims = d.dims(1..=5);
            let x = d.data(element, &dims);
            let (bounds, _) = d.bounds(&dims);
            Call::new([vec![x], bounds].concat(), element)
        })
    }
}

struct SliceUpdate;

impl Op for SliceUpdate {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.slice_update_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let (x, update) = (cx.input(0)?.clone(), cx.input(4)?.clone());
        let ranges = ranges(cx, &x)?;
        if update.dims.len() != x.dims.len() {
            return Err(Fault::program("the update has another rank"));
        }
        for (r, d) in ranges.iter().zip(&update.dims) {
            cx.unify(&r.length, d)?;
        }
        Ok(vec![Fact::new(x.element, x.dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let ranges = lowered_ranges(cx, node)?;
        let base = match cx.states().in_place.get(&node).copied() {
            Some(state) => {
                let view = cx.state_view(state).ok_or_else(|| Fault::program("unknown state"))?;
                cx.settle_readers(view.buffer)?;
                view
            }
            None => {
                let view = cx.view(inputs[0])?;
                if cx.is_state(&view) {
                    cx.note(
                        "state_copy",
                        "a state update cannot be done in place and copies the state".into(),
                    );
                }
                cx.copy_to_temp(view)
            }
        };
        let mut dest = apply(&base, &ranges);
        dest.dims = cx.fact(inputs[4]).dims.clone();
        cx.write_into(inputs[4], dest)?;
        cx.define(outputs[0], base);
        Ok(())
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(ANY);
            let dims = d.dims(1..=5);
            let x = d.data(element, &dims);
            let (bounds, result) = d.bounds(&dims);
            let update = d.data(element, &result);
            Call::new([vec![x], bounds, vec![update]].concat(), element)
        })
    }
}
