//! Gathers.

#[cfg(test)]
use super::cases::{ANY, Call, Case};
use super::{Fault, InferCx, Op, wrap_axis};
use crate::expr::Expr;
use crate::facts::Fact;
use crate::lower::Lower;
use crate::step::Kernel;

/// The family's ops.
pub static OPS: &[&dyn Op] = &[&GatherNd, &GatherAlong];

struct GatherNd;

impl Op for GatherNd {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.gather_nd_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let (x, index) = (cx.input(0)?, cx.input(1)?);
        let q = index
            .dims
            .last()
            .and_then(Expr::as_const)
            .and_then(|q| usize::try_from(q).ok())
            .filter(|q| *q <= x.dims.len())
            .ok_or_else(|| Fault::program("the index's last axis must name leading axes of the data"))?;
        let dims = [&index.dims[..index.dims.len() - 1], &x.dims[q..]].concat();
        // A gather from known integers by known indices is shape arithmetic.
        let content = match (&x.content, index.const_ints(), x.dims.as_slice()) {
            (Some(content), Some(ints), [_]) if q == 1 => ints
                .iter()
                .map(|i| {
                    let i = if *i < 0 { *i + content.len() as i64 } else { *i };
                    content.get(usize::try_from(i).ok()?).cloned()
                })
                .collect::<Option<Vec<_>>>(),
            _ => None,
        };
        Ok(vec![Fact::new(x.element, dims).with_content(content)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let reads = vec![cx.view(inputs[0])?, cx.view(inputs[1])?];
        cx.step(Kernel::GatherNd, reads, outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(ANY);
            let dims = d.solid(1..=4);
            let x = d.data(element, &dims);
            let index = d.nd_index(&dims);
            Call::new(vec![x, index.0], element)
        })
    }
}

struct GatherAlong;

impl Op for GatherAlong {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.gather_along_axis_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let (x, index) = (cx.input(0)?.clone(), cx.input(1)?.clone());
        let axis = cx.axis(2, x.dims.len())?;
        if index.dims.len() != x.dims.len() {
            return Err(Fault::program("the index must have the rank of the data"));
        }
        for a in (0..x.dims.len()).filter(|a| *a != axis) {
            // The index may cover fewer elements than the data.
            let fits = cx.shapes.bounds(&(&x.dims[a] - &index.dims[a])).min >= 0;
            if !fits {
                cx.unify(&x.dims[a], &index.dims[a])?;
            }
        }
        Ok(vec![Fact::new(x.element, index.dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let rank = cx.fact(inputs[0]).dims.len();
        let axis = cx.fact(inputs[2]).const_ints().unwrap_or_default();
        let axis = wrap_axis(axis.first().copied().unwrap_or(0), rank)?;
        let reads = vec![cx.view(inputs[0])?, cx.view(inputs[1])?];
        cx.step(Kernel::GatherAlong { axis }, reads, outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(ANY);
            let dims = d.solid(1..=4);
            let x = d.data(element, &dims);
            let (at, axis) = d.axis(dims.len());
            let mut own = dims.clone();
            own[at] = 1 + d.rng.below(9);
            let index = d.positions(&own, dims[at]);
            Call::new(vec![x, index, axis], element)
        })
    }
}
