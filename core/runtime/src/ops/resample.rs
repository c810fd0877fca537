//! Resampling.

use coreai_asset::Attribute;

#[cfg(test)]
use super::cases::{Call, Case, Spice, WIDE_FLOATS};
use super::{Fault, InferCx, Op};
use crate::facts::Fact;
use crate::lower::Lower;
use crate::step::Kernel;

/// The family's ops.
pub static OPS: &[&dyn Op] = &[&Resize, &Sample];

/// Whether node `node` wants the nearest neighbour.
fn nearest(cx: &Lower, node: usize) -> Result<bool, Fault> {
    match cx.graph.nodes[node].attrs.iter().find(|(n, _)| *n == "interpolation_mode") {
        Some((_, Attribute::Enum { value: 0, .. })) => Ok(false),
        Some((_, Attribute::Enum { value: 1, .. })) => Ok(true),
        other => Err(Fault::unsupported(format!("interpolation mode {other:?}"))),
    }
}

struct Resize;

impl Op for Resize {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.interpolate_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        let dims = cx.content(1)?.to_vec();
        if dims.len() != x.dims.len() {
            return Err(Fault::program("one output extent per axis expected"));
        }
        for i in [2, 3] {
            match cx.input(i)?.dims.as_slice() {
                [n] if n.is(dims.len() as i64) => {}
                other => {
                    return Err(Fault::program(format!("one factor per axis expected, found {other:?}")));
                }
            }
        }
        Ok(vec![Fact::new(x.element, dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let nearest = nearest(cx, node)?;
        let constants = cx.const_floats(inputs[2]).ok().zip(cx.const_floats(inputs[3]).ok());
        let (from, to) = (&cx.fact(inputs[0]).dims, &cx.fact(outputs[0]).dims);
        let sampled = (0..to.len())
            .map(|i| match &constants {
                Some((scale, offset)) => {
                    scale.get(i) != Some(&1.0)
                        || offset.get(i) != Some(&0.0)
                        || !cx.shapes.same(&from[i], &to[i])
                }
                None => true,
            })
            .collect();
        let reads = [0, 2, 3].into_iter().map(|i| cx.view(inputs[i])).collect::<Result<Vec<_>, _>>()?;
        cx.step(Kernel::Resize { nearest, sampled }, reads, outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(WIDE_FLOATS);
            d.at_most(Spice::Wide);
            let from = d.solid(1..=4);
            let to: Vec<usize> =
                from.iter().map(|n| if d.rng.once_in(2) { *n } else { 1 + d.rng.below(9) }).collect();
            let factors: Vec<f64> = from.iter().zip(&to).map(|(f, t)| *t as f64 / *f as f64).collect();
            let offsets: Vec<f64> = from.iter().map(|_| d.rng.pick(&[0.0, 0.0, -0.25, 0.5])).collect();
            let x = d.data(element, &from);
            let (sizes, scale, offset) = (d.sizes(&to), d.floats(&factors), d.floats(&offsets));
            let mode = d.rng.below(2) as u64;
            Call::new(vec![x, sizes, scale, offset], element).with("interpolation_mode", mode)
        })
    }
}

struct Sample;

impl Op for Sample {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.interpolate_coordinates_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let (x, points) = (cx.input(0)?, cx.input(1)?);
        match points.dims.as_slice() {
            [n, rank] if rank.is(x.dims.len() as i64) => Ok(vec![Fact::new(x.element, vec![n.clone()])]),
            other => Err(Fault::program(format!("coordinates {other:?} for data of rank {}", x.dims.len()))),
        }
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let nearest = nearest(cx, node)?;
        let reads = vec![cx.view(inputs[0])?, cx.view(inputs[1])?];
        cx.step(Kernel::Sample { nearest }, reads, outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(WIDE_FLOATS);
            d.at_most(Spice::Wide);
            let dims = d.solid(1..=3);
            let x = d.data(element, &dims);
            let points = 1 + d.rng.below(20);
            let points = d.reals(coreai_asset::ElementType::F32, &[points, dims.len()], -1.0, 12.0);
            let mode = d.rng.below(2) as u64;
            Call::new(vec![x, points], element).with("interpolation_mode", mode)
        })
    }
}
