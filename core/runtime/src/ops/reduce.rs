//! Reductions, softmax, scans and sorting.

use coreai_asset::Attribute;

#[cfg(test)]
use super::cases::{Call, Case, NUMBERS, SUMS, Spice, WIDE_FLOATS};
use super::{Fault, InferCx, Op, wrap_axis};
use crate::expr::Expr;
use crate::facts::Fact;
use crate::lower::Lower;
use crate::step::{Kernel, ReduceOp, View};

struct Reduce(&'static [&'static str], ReduceOp);

/// The family's ops.
pub static OPS: &[&dyn Op] = &[
    &Reduce(&["reduce_sum_v1"], ReduceOp::Sum),
    &Reduce(&["reduce_mean_v1"], ReduceOp::Mean),
    &Reduce(&["reduce_max_v1"], ReduceOp::Max),
    &Reduce(&["reduce_min_v1"], ReduceOp::Min),
    &Reduce(&["reduce_product_v1"], ReduceOp::Product),
    &Reduce(&["all_v1"], ReduceOp::All),
    &Reduce(&["any_v1"], ReduceOp::Any),
    &Softmax,
    &ArgMax,
    &Sort,
    &Scan,
];

/// No axes named are all of them, as the CPU runtime has it.
fn all_if_none(axes: Vec<usize>, rank: usize) -> Vec<usize> {
    if axes.is_empty() { (0..rank).collect() } else { axes }
}

impl Op for Reduce {
    fn names(&self) -> &'static [&'static str] {
        self.0
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        let axes = all_if_none(cx.axes(1, x.dims.len())?, x.dims.len());
        let dims = x.dims.iter().enumerate();
        let dims = dims.map(|(i, d)| if axes.contains(&i) { Expr::one() } else { d.clone() }).collect();
        // Products of extents are shape arithmetic.
        let content = match (&x.content, self.1, x.dims.len()) {
            (Some(c), ReduceOp::Product, 1) if axes == [0] => {
                Some(vec![c.iter().fold(Expr::one(), |a, b| &a * b)])
            }
            (Some(c), ReduceOp::Sum, 1) if axes == [0] => {
                Some(vec![c.iter().fold(Expr::zero(), |a, b| &a + b)])
            }
            _ => None,
        };
        Ok(vec![Fact::new(x.element, dims).with_content(content)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let x = cx.view(inputs[0])?;
        let rank = x.dims.len();
        let ints = cx.fact(inputs[1]).const_ints().ok_or_else(|| Fault::unsupported("computed axes"))?;
        let axes = ints.iter().map(|a| wrap_axis(*a, rank)).collect::<Result<Vec<_>, _>>()?;
        let axes = all_if_none(axes, rank);
        let kept: Vec<usize> = (0..rank).filter(|i| !axes.contains(i)).collect();
        let read = x.permute(&[kept.as_slice(), axes.as_slice()].concat());
        let (out, _) = cx.temp(outputs[0])?;
        let dims = kept.iter().map(|i| x.dims[*i].clone()).collect();
        let dest = View::whole(out.buffer, dims);
        cx.step_into(Kernel::Reduce { op: self.1, axes: axes.len() }, vec![read], dest, outputs[0]);
        cx.narrowed(outputs[0], out)
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        let op = self.1;
        Case::each(self.0, move |d| {
            let element = match op {
                ReduceOp::All | ReduceOp::Any => coreai_asset::ElementType::Bool,
                ReduceOp::Max | ReduceOp::Min => d.element(NUMBERS),
                _ => d.element(SUMS),
            };
            let dims = d.solid(1..=5);
            if matches!(op, ReduceOp::Sum | ReduceOp::Mean) {
                d.at_most(Spice::Wide);
            }
            let x = match op {
                ReduceOp::Product if crate::facts::is_integer(element) => d.integers(element, &dims, 0, 3),
                ReduceOp::Product => d.reals(element, &dims, 0.9, 1.1),
                _ => d.data(element, &dims),
            };
            let axes = d.axes(dims.len());
            let axes = d.ints(&axes);
            Call::new(vec![x, axes], element)
        })
    }
}

/// The permutation that moves `axis` last, and its inverse.
fn axis_last(axis: usize, rank: usize) -> (Vec<usize>, Vec<usize>) {
    let mut perm: Vec<usize> = (0..rank).filter(|i| *i != axis).collect();
    perm.push(axis);
    let mut inverse = vec![0; rank];
    for (to, from) in perm.iter().enumerate() {
        inverse[*from] = to;
    }
    (perm, inverse)
}

fn axis_of(cx: &Lower, v: crate::graph::Val, rank: usize) -> Result<usize, Fault> {
    let ints = cx.fact(v).const_ints().ok_or_else(|| Fault::unsupported("a computed axis"))?;
    wrap_axis(ints.first().copied().unwrap_or(0), rank)
}

/// Emits a kernel that works along the last axis of same-shaped operand and result.
fn along_axis(
    cx: &mut Lower,
    kernel: Kernel,
    axis: usize,
    x: crate::graph::Val,
    out: crate::graph::Val,
) -> Result<(), Fault> {
    let view = cx.view(x)?;
    let (perm, _) = axis_last(axis, view.dims.len());
    let (temp, _) = cx.temp(out)?;
    let exact = matches!(kernel, Kernel::Sort { .. });
    cx.step_into(kernel, vec![view.permute(&perm)], temp.permute(&perm), out);
    if exact {
        cx.define(out, temp);
        return Ok(());
    }
    cx.narrowed(out, temp)
}

struct Softmax;

impl Op for Softmax {
    fn names(&self) -> &'static [&'static str] {
        &["softmax_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        cx.axis(1, x.dims.len())?;
        Ok(vec![Fact::new(x.element, x.dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let axis = axis_of(cx, inputs[1], cx.fact(inputs[0]).dims.len())?;
        along_axis(cx, Kernel::Softmax, axis, inputs[0], outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(WIDE_FLOATS);
            let dims = d.solid(1..=4);
            let x = d.data(element, &dims);
            let (_, axis) = d.axis(dims.len());
            Call::new(vec![x, axis], element)
        })
    }
}

struct ArgMax;

impl Op for ArgMax {
    fn names(&self) -> &'static [&'static str] {
        &["argmax_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        let axis = cx.axis(1, x.dims.len())?;
        let mut dims = x.dims;
        dims[axis] = Expr::one();
        Ok(vec![Fact::new(cx.element()?, dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let axis = axis_of(cx, inputs[1], cx.fact(inputs[0]).dims.len())?;
        let x = cx.view(inputs[0])?;
        let (perm, _) = axis_last(axis, x.dims.len());
        let (out, _) = cx.temp(outputs[0])?;
        let dims = perm[..perm.len() - 1].iter().map(|i| x.dims[*i].clone()).collect();
        let dest = View::whole(out.buffer, dims);
        cx.step_into(Kernel::ArgMax, vec![x.permute(&perm)], dest, outputs[0]);
        cx.define(outputs[0], out);
        Ok(())
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(NUMBERS);
            let dims = d.solid(1..=4);
            let x = d.data(element, &dims);
            let (_, axis) = d.axis(dims.len());
            Call::new(vec![x, axis], coreai_asset::ElementType::SI32)
        })
    }
}

struct Sort;

impl Op for Sort {
    fn names(&self) -> &'static [&'static str] {
        &["sort_v1", "primitive.argsort_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        cx.axis(1, x.dims.len())?;
        cx.ints(2)?;
        Ok(vec![Fact::new(cx.element()?, x.dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let axis = axis_of(cx, inputs[1], cx.fact(inputs[0]).dims.len())?;
        let descending = cx.fact(inputs[2]).const_ints().is_some_and(|d| d.first() != Some(&0));
        let indices = cx.graph.nodes[node].name.contains("argsort");
        along_axis(cx, Kernel::Sort { descending, indices }, axis, inputs[0], outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(NUMBERS);
            let dims = d.solid(1..=4);
            let x = d.data(element, &dims);
            let (_, axis) = d.axis(dims.len());
            let descending = d.rng.once_in(2);
            let flags = [descending, true].map(|f| d.flag(f));
            let result = if d.name.contains("arg") { coreai_asset::ElementType::SI32 } else { element };
            Call::new(vec![x, axis, flags[0], flags[1]], result)
        })
    }
}

struct Scan;

impl Op for Scan {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.scan_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        cx.axis(1, x.dims.len())?;
        cx.ints(2)?;
        Ok(vec![Fact::new(x.element, x.dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let axis = axis_of(cx, inputs[1], cx.fact(inputs[0]).dims.len())?;
        let reverse = cx.fact(inputs[2]).const_ints().is_some_and(|d| d.first() != Some(&0));
        let op = match cx.graph.nodes[node].attrs.iter().find(|(n, _)| *n == "combiner") {
            Some((_, Attribute::Enum { value: 0, .. })) => ReduceOp::Sum,
            Some((_, Attribute::Enum { value: 1, .. })) => ReduceOp::Product,
            Some((_, Attribute::Enum { value: 2, .. })) => ReduceOp::Min,
            Some((_, Attribute::Enum { value: 3, .. })) => ReduceOp::Max,
            other => return Err(Fault::unsupported(format!("scan combiner {other:?}"))),
        };
        along_axis(cx, Kernel::Scan { op, reverse }, axis, inputs[0], outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(SUMS);
            let dims = d.solid(1..=4);
            let combiner = d.rng.below(4) as u64;
            if combiner < 2 {
                d.at_most(Spice::Wide);
            }
            let x = match combiner {
                1 if crate::facts::is_integer(element) => d.integers(element, &dims, 1, 2),
                1 => d.reals(element, &dims, 0.9, 1.1),
                _ => d.data(element, &dims),
            };
            let (_, axis) = d.axis(dims.len());
            let reverse = d.rng.once_in(2);
            let reverse = d.flag(reverse);
            Call::new(vec![x, axis, reverse], element).with("combiner", combiner)
        })
    }
}
