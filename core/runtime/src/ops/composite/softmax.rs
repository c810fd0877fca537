//! The logarithm of softmax.

use coreai_asset::Composite;

use super::super::{Fault, InferCx, Op, wrap_axis};
use super::{Rule, composite_of, like, real};
use crate::expr::Expr;
use crate::facts::Fact;
use crate::lower::Lower;
use crate::lower::expression::Term;
use crate::map::MapFn;
use crate::step::{Kernel, Kind, ReduceOp, View};

/// `x - max - log Σ e^(x - max)`.
pub(super) struct LogSoftmax;

fn axis_of(composite: &Composite, rank: usize) -> Option<usize> {
    wrap_axis(composite.i64("axis")?, rank).ok()
}

impl Rule for LogSoftmax {
    fn name(&self) -> &'static str {
        "log_softmax"
    }

    fn matches(&self, c: &Composite, inputs: &[&Fact]) -> bool {
        c.input_names == ["input"] && real(inputs[0]) && axis_of(c, inputs[0].dims.len()).is_some()
    }

    fn op(&'static self) -> &'static dyn Op {
        self
    }
}

/// Reduces one axis; the result keeps it with extent 1.
fn reduce(cx: &mut Lower, op: ReduceOp, x: &View, axis: usize) -> View {
    let kept: Vec<usize> = (0..x.dims.len()).filter(|i| *i != axis).collect();
    let mut dims = x.dims.clone();
    dims[axis] = Expr::one();
    let temp = cx.temp_of(Kind::F32, dims);
    let dest = temp.permute(&kept);
    cx.step_raw(Kernel::Reduce { op, axes: 1 }, vec![x.permute(&[kept, vec![axis]].concat())], dest);
    temp
}

impl Op for LogSoftmax {
    fn names(&self) -> &'static [&'static str] {
        &["log_softmax"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        like(cx, "input")
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let out = outputs[0];
        let x = cx.view(inputs[0])?;
        let axis = axis_of(composite_of(cx, node)?, x.dims.len()).ok_or_else(|| Fault::program("no axis"))?;
        let max = reduce(cx, ReduceOp::Max, &x, axis);
        let powers = cx.temp_of(Kind::F32, x.dims.clone());
        let operands = [Term::View(x.clone()), Term::View(max.clone())];
        cx.expression_into(&operands, &x.dims, powers.clone(), None, |body, args| {
            let shifted = body.float(MapFn::Sub, &[args[0], args[1]]);
            body.float(MapFn::Exp, &[shifted]);
        })?;
        let sum = reduce(cx, ReduceOp::Sum, &powers, axis);
        cx.expression(&[Term::View(x), Term::View(max), Term::View(sum)], out, |body, args| {
            let shifted = body.float(MapFn::Sub, &[args[0], args[1]]);
            let log = body.float(MapFn::Log, &[args[2]]);
            body.float(MapFn::Sub, &[shifted, log]);
        })
    }
}
