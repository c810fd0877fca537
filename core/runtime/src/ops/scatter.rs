//! Scatters.

use coreai_asset::{Attribute, ElementType};

#[cfg(test)]
use super::cases::{ANY, Call, Case, SUMS, Spice};
use super::{Fault, InferCx, Op, wrap_axis};
use crate::expr::Expr;
use crate::facts::{Fact, is_integer};
use crate::lower::Lower;
use crate::map::{Instr, MapOp, MapProg};
use crate::step::{Kernel, ScatterMode};

/// The family's ops.
pub static OPS: &[&dyn Op] = &[&ScatterAlong, &ScatterNd];

struct ScatterAlong;

impl Op for ScatterAlong {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.scatter_along_axis_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let (x, index, updates) = (cx.input(0)?.clone(), cx.input(1)?.clone(), cx.input(2)?.clone());
        let axis = cx.axis(3, x.dims.len())?;
        if index.dims.len() != x.dims.len() || updates.dims.len() != x.dims.len() {
            return Err(Fault::program("data, index and updates must have the same rank"));
        }
        for a in 0..x.dims.len() {
            cx.unify(&index.dims[a], &updates.dims[a])?;
            if a != axis {
                cx.unify(&x.dims[a], &index.dims[a])?;
            }
        }
        Ok(vec![Fact::new(x.element, x.dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let (rank, element) = (cx.fact(inputs[0]).dims.len(), cx.fact(inputs[0]).element);
        let axis = cx.fact(inputs[3]).const_ints().unwrap_or_default();
        let axis = wrap_axis(axis.first().copied().unwrap_or(0), rank)?;
        let mode = match cx.graph.nodes[node].attrs.iter().find(|(n, _)| *n == "scatter_mode") {
            Some((_, Attribute::Enum { value: 0, .. })) | None => ScatterMode::Update,
            Some((_, Attribute::Enum { value: 1, .. })) => ScatterMode::Add,
            Some((_, Attribute::Enum { value: 2, .. })) => ScatterMode::Sub,
            Some((_, Attribute::Enum { value: 3, .. })) => ScatterMode::Mul,
            Some((_, Attribute::Enum { value: 4, .. })) => ScatterMode::Div,
            Some((_, Attribute::Enum { value: 5, .. })) => ScatterMode::Max,
            Some((_, Attribute::Enum { value: 6, .. })) => ScatterMode::Min,
            other => return Err(Fault::unsupported(format!("scatter mode {other:?}"))),
        };
        let reads = (0..3).map(|i| cx.view(inputs[i])).collect::<Result<Vec<_>, _>>()?;
        let kernel = Kernel::ScatterAlong { axis, mode };
        let leaves =
            matches!(mode, ScatterMode::Add | ScatterMode::Sub | ScatterMode::Mul | ScatterMode::Div);
        if !leaves || !narrow(element) {
            return cx.step(kernel, reads, outputs[0]);
        }
        // Registers have 32 bits: results beyond the type's range wrap afterwards.
        let (sums, _) = cx.temp(outputs[0])?;
        cx.step_into(kernel, reads, sums.clone(), outputs[0]);
        let kind = crate::facts::kind_of(element)
            .ok_or_else(|| Fault::unsupported(format!("{} tensors", element.name())))?;
        let instrs = vec![
            Instr { op: MapOp::Load(0), args: [0; 3], kind },
            Instr { op: MapOp::Wrap(element), args: [0; 3], kind },
        ];
        cx.step(Kernel::Map(MapProg { instrs, scalars: vec![] }), vec![sums], outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let mode = d.rng.below(7) as u64;
            let element = if mode == 0 { d.element(ANY) } else { d.element(SUMS) };
            d.at_most(if mode == 0 { Spice::Special } else { Spice::Mild });
            let dims = d.solid(1..=4);
            let x = d.data(element, &dims);
            let (at, axis) = d.axis(dims.len());
            let mut own = dims.clone();
            own[at] = 1 + d.rng.below(9);
            let index = d.positions(&own, dims[at]);
            let updates = d.data(element, &own);
            Call::new(vec![x, index, updates, axis], element).with("scatter_mode", mode)
        })
    }
}

/// Whether registers are wider than an integer type.
fn narrow(element: ElementType) -> bool {
    is_integer(element) && element.bits() < 32
}

struct ScatterNd;

impl Op for ScatterNd {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.scatter_nd_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        if !cx.region.is_some_and(|r| r.nodes.is_empty() && r.result == 1) {
            return Err(Fault::unsupported("a scatter that combines old and new values"));
        }
        let (x, index, updates) = (cx.input(0)?.clone(), cx.input(1)?.clone(), cx.input(2)?.clone());
        let q = index
            .dims
            .last()
            .and_then(Expr::as_const)
            .and_then(|q| usize::try_from(q).ok())
            .filter(|q| *q <= x.dims.len())
            .ok_or_else(|| Fault::program("the index's last axis must name leading axes of the data"))?;
        let expected = [&index.dims[..index.dims.len() - 1], &x.dims[q..]].concat();
        if updates.dims.len() != expected.len() {
            return Err(Fault::program(format!("updates {:?} where {expected:?} is expected", updates.dims)));
        }
        for (a, b) in updates.dims.iter().zip(&expected) {
            cx.unify(a, b)?;
        }
        Ok(vec![Fact::new(x.element, x.dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let reads = (0..3).map(|i| cx.view(inputs[i])).collect::<Result<Vec<_>, _>>()?;
        cx.step(Kernel::ScatterNd, reads, outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(ANY);
            let dims = d.solid(1..=4);
            let x = d.data(element, &dims);
            let (index, result) = d.nd_index(&dims);
            let updates = d.data(element, &result);
            let region = crate::host::Region { nodes: vec![], result: 1 };
            Call::new(vec![x, index, updates], element).region(region)
        })
    }
}
