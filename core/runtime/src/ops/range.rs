//! Ranges of integers and floats whose bounds the host knows.

use coreai_asset::ElementType;

#[cfg(test)]
use super::cases::{Call, Case};
use super::{Fault, InferCx, Op};
use crate::expr::{Expr, Func};
use crate::facts::{Dyadic, Fact, is_integer, kind_of};
use crate::lower::Lower;
use crate::map::{Instr, MapFn, MapOp, MapProg};
use crate::step::{Kernel, Kind};

/// The family's ops.
pub static OPS: &[&dyn Op] = &[&Range];

struct Range;

impl Op for Range {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.range_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let element = cx.element()?;
        let bounds = bounds(&[cx.input(0)?, cx.input(1)?, cx.input(2)?])?;
        let places = bounds.iter().map(|b| b.shift).max().unwrap_or(0);
        let [start, stop, step] = bounds.map(|b| b.over(places));
        let span = &stop - &start;
        let length = match (span.as_const(), step.as_const()) {
            (_, Some(0)) => return Err(Fault::program("a range step of 0")),
            (Some(n), Some(s)) => {
                Expr::from(if (n > 0) == (s > 0) { (n.abs() + s.abs() - 1) / s.abs() } else { 0 })
            }
            (None, Some(s)) => {
                let why = || format!("range from {start} to {stop} by {s}");
                let span = if s > 0 { span } else { &start - &stop };
                cx.shapes.require_nonnegative(&span, &why);
                let by = Expr::from(s.saturating_abs());
                Expr::func(Func::FloorDiv, &(&span + &(&by - &Expr::one())), &by)
            }
            _ => return Err(Fault::unsupported("a range with a computed step")),
        };
        let content = length
            .as_const()
            .filter(|n| *n <= crate::facts::MAX_CONTENT as i64 && is_integer(element))
            .map(|n| (0..n).map(|i| &start + &(&step * &Expr::from(i))).collect());
        Ok(vec![Fact::new(element, vec![length]).with_content(content)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let facts: Vec<Fact> = inputs.iter().map(|v| cx.fact(*v).clone()).collect();
        let [start, stop, step] = facts.as_slice() else {
            return Err(Fault::program("a range has three bounds"));
        };
        let [start, _, step] = bounds(&[start, stop, step])?;
        let element = cx.fact(outputs[0]).element;
        let kind =
            kind_of(element).ok_or_else(|| Fault::unsupported(format!("{} ranges", element.name())))?;
        let mut prog = MapProg { instrs: vec![], scalars: vec![] };
        let push = |prog: &mut MapProg, op, args: [u16; 3], kind| {
            prog.instrs.push(Instr { op, args, kind });
            (prog.instrs.len() - 1) as u16
        };
        let index = push(&mut prog, MapOp::Index(0), [0; 3], Kind::I32);
        if kind != Kind::F32 {
            prog.scalars = vec![start.value, step.value];
            let by = push(&mut prog, MapOp::Scalar(1), [0; 3], Kind::I32);
            let offset = push(&mut prog, MapOp::Fn(MapFn::Mul), [index, by, 0], Kind::I32);
            let first = push(&mut prog, MapOp::Scalar(0), [0; 3], Kind::I32);
            push(&mut prog, MapOp::Fn(MapFn::Add), [offset, first, 0], Kind::I32);
            return cx.step(Kernel::Map(prog), vec![], outputs[0]);
        }
        // start + i * step in float32
        let number = |prog: &mut MapProg, n: &Dyadic| {
            prog.scalars.push(n.value.clone());
            let at = (prog.scalars.len() - 1) as u16;
            let whole = push(prog, MapOp::Scalar(at), [0; 3], Kind::I32);
            let float = push(prog, MapOp::Cast(ElementType::F32), [whole, 0, 0], Kind::F32);
            let unit = (1.0 / f64::from(1u32 << n.shift)) as f32;
            let unit = push(prog, MapOp::Const(unit.to_bits()), [0; 3], Kind::F32);
            push(prog, MapOp::Fn(MapFn::Mul), [float, unit, 0], Kind::F32)
        };
        let first = number(&mut prog, &start);
        let by = number(&mut prog, &step);
        let i = push(&mut prog, MapOp::Cast(ElementType::F32), [index, 0, 0], Kind::F32);
        let offset = push(&mut prog, MapOp::Fn(MapFn::Mul), [i, by, 0], Kind::F32);
        push(&mut prog, MapOp::Fn(MapFn::Add), [offset, first, 0], Kind::F32);
        cx.step(Kernel::Map(prog), vec![], outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (start, step) = (d.rng.between(-20, 20), d.rng.pick(&[1, 2, 3, -1, -4]));
            let stop = start + step * d.rng.between(0, 300) + step.signum() * d.rng.between(0, 1);
            if d.rng.once_in(2) {
                return Call::new([start, stop, step].iter().map(|v| d.int(*v)).collect(), ElementType::SI32);
            }
            let bounds = [start, stop, step].map(|v| d.scalar(v as f64 / 4.0));
            Call::new(bounds.to_vec(), ElementType::F32)
        })
    }
}

/// The bounds of a range that the host knows, integers or floats.
fn bounds(facts: &[&Fact; 3]) -> Result<[Dyadic; 3], Fault> {
    let number = |f: &Fact| match f.content.as_deref().and_then(|c| c.first()) {
        Some(value) => Ok(Dyadic { value: value.clone(), shift: 0 }),
        None => f.number.clone().ok_or_else(|| Fault::unsupported("a range with computed bounds")),
    };
    Ok([number(facts[0])?, number(facts[1])?, number(facts[2])?])
}
