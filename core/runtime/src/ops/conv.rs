//! Convolution and pooling.

#[cfg(test)]
use super::cases::{Call, Case, Draw, SUMS, Spice, WIDE_FLOATS};
use super::{Fault, InferCx, Op};
use crate::expr::{Expr, Func};
use crate::facts::Fact;
use crate::lower::Lower;
use crate::step::{Kernel, ReduceOp};

/// The family's ops.
pub static OPS: &[&dyn Op] = &[&Conv, &ConvTranspose, &Pool];

fn counts(cx: &Lower, v: crate::graph::Val) -> Result<Vec<u32>, Fault> {
    let ints = cx.fact(v).const_ints().ok_or_else(|| Fault::unsupported("a computed window parameter"))?;
    ints.into_iter()
        .map(|i| u32::try_from(i).map_err(|_| Fault::program(format!("window parameter {i}"))))
        .collect()
}

/// `floor((size - dilation * (kernel - 1) - 1) / stride) + 1`
fn windows(size: &Expr, kernel: &Expr, stride: i64, dilation: i64) -> Expr {
    let reach = &(&(kernel - &Expr::one()) * &Expr::from(dilation)) + &Expr::one();
    &Expr::func(Func::FloorDiv, &(size - &reach), &Expr::from(stride)) + &Expr::one()
}

fn per_axis(cx: &InferCx, operand: usize, spatial: usize, least: i64) -> Result<Vec<i64>, Fault> {
    let ints = cx.ints(operand)?;
    if ints.len() != spatial || ints.iter().any(|i| *i < least) {
        return Err(Fault::program(format!(
            "operand {operand}: {spatial} numbers ≥ {least} expected, found {ints:?}"
        )));
    }
    Ok(ints)
}

fn single(cx: &InferCx, operand: usize) -> Result<i64, Fault> {
    match cx.ints(operand)?.as_slice() {
        [one] if *one >= 1 => Ok(*one),
        other => {
            Err(Fault::program(format!("operand {operand}: one positive number expected, found {other:?}")))
        }
    }
}

fn ranks(cx: &InferCx) -> Result<usize, Fault> {
    let (x, w) = (cx.input(0)?, cx.input(1)?);
    match x.dims.len() {
        n @ 3..=5 if w.dims.len() == n => Ok(n - 2),
        _ => Err(Fault::program(format!("operands {:?} and {:?} of a convolution", x.dims, w.dims))),
    }
}

/// Spatial axes of an op, and small numbers for each.
#[cfg(test)]
fn drawn(d: &mut Draw, low: usize, high: usize) -> Vec<usize> {
    let spatial = if d.name.contains("3d") { 3 } else { 2 };
    (0..spatial).map(|_| low + d.rng.below(high + 1 - low)).collect()
}

struct Conv;

impl Op for Conv {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.conv2d_v1", "primitive.conv3d_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let spatial = ranks(cx)?;
        let (x, w) = (cx.input(0)?.clone(), cx.input(1)?.clone());
        let (stride, dilation) = (per_axis(cx, 2, spatial, 1)?, per_axis(cx, 3, spatial, 1)?);
        let groups = single(cx, 4)?;
        cx.unify(&x.dims[1], &(&w.dims[1] * &Expr::from(groups)))?;
        let mut dims = vec![x.dims[0].clone(), w.dims[0].clone()];
        for a in 0..spatial {
            dims.push(windows(&x.dims[2 + a], &w.dims[2 + a], stride[a], dilation[a]));
        }
        Ok(vec![Fact::new(x.element, dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let reads = vec![cx.view(inputs[0])?, cx.view(inputs[1])?];
        let (stride, dilation) = (counts(cx, inputs[2])?, counts(cx, inputs[3])?);
        let groups = counts(cx, inputs[4])?.first().copied().unwrap_or(1);
        let padding = vec![0; stride.len()];
        let kernel = Kernel::Conv { stride, dilation, padding, groups, transposed: false, epilogue: None };
        let dims = cx.fact(outputs[0]).dims.clone();
        cx.anchored(kernel, reads, dims, outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(WIDE_FLOATS);
            d.at_most(Spice::Wide);
            let [batch, groups, each] = [2, 3, 5].map(|n| 1 + d.rng.below(n));
            let channels = d.rng.pick(&[1, 2, 3, 16, 17]);
            let (kernel, stride, dilation) = (drawn(d, 1, 3), drawn(d, 1, 3), drawn(d, 1, 2));
            let spare = drawn(d, 0, 6);
            let size = (0..kernel.len()).map(|i| (kernel[i] - 1) * dilation[i] + 1 + spare[i]);
            let x = d.data(element, &[vec![batch, groups * each], size.collect()].concat());
            let w = d.data(element, &[vec![groups * channels, each], kernel].concat());
            let (stride, dilation) = (d.sizes(&stride), d.sizes(&dilation));
            let groups = d.int(groups as i64);
            Call::new(vec![x, w, stride, dilation, groups], element)
        })
    }
}

struct ConvTranspose;

impl Op for ConvTranspose {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.conv_transpose2d_v1", "primitive.conv_transpose3d_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let spatial = ranks(cx)?;
        let (x, w) = (cx.input(0)?.clone(), cx.input(1)?.clone());
        let (stride, padding) = (per_axis(cx, 2, spatial, 1)?, per_axis(cx, 3, spatial, 0)?);
        let (dilation, extra) = (per_axis(cx, 4, spatial, 1)?, per_axis(cx, 5, spatial, 0)?);
        let groups = single(cx, 6)?;
        cx.unify(&x.dims[1], &w.dims[0])?;
        let mut dims = vec![x.dims[0].clone(), &w.dims[1] * &Expr::from(groups)];
        for a in 0..spatial {
            // (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1
            let reach = &(&w.dims[2 + a] - &Expr::one()) * &Expr::from(dilation[a]);
            let span = &(&x.dims[2 + a] - &Expr::one()) * &Expr::from(stride[a]);
            dims.push(&(&span + &reach) + &Expr::from(extra[a] + 1 - 2 * padding[a]));
        }
        Ok(vec![Fact::new(x.element, dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let reads = vec![cx.view(inputs[0])?, cx.view(inputs[1])?];
        let (stride, padding) = (counts(cx, inputs[2])?, counts(cx, inputs[3])?);
        let dilation = counts(cx, inputs[4])?;
        let groups = counts(cx, inputs[6])?.first().copied().unwrap_or(1);
        let kernel = Kernel::Conv { stride, dilation, padding, groups, transposed: true, epilogue: None };
        let dims = cx.fact(outputs[0]).dims.clone();
        cx.anchored(kernel, reads, dims, outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(WIDE_FLOATS);
            d.at_most(Spice::Wide);
            let [batch, groups, each] = [2, 3, 4].map(|n| 1 + d.rng.below(n));
            let channels = d.rng.pick(&[1, 2, 3, 16]);
            let (kernel, stride, dilation) = (drawn(d, 1, 3), drawn(d, 1, 3), drawn(d, 1, 2));
            let (size, padding, extra) = (drawn(d, 3, 6), drawn(d, 0, 1), drawn(d, 0, 1));
            let extra: Vec<usize> = extra.iter().zip(&stride).map(|(e, s)| *e.min(&(s - 1))).collect();
            let x = d.data(element, &[vec![batch, groups * each], size].concat());
            let w = d.data(element, &[vec![groups * each, channels], kernel].concat());
            let lists = [stride, padding, dilation, extra].map(|l| d.sizes(&l));
            let groups = d.int(groups as i64);
            Call::new([vec![x, w], lists.to_vec(), vec![groups]].concat(), element)
        })
    }
}

struct Pool;

impl Op for Pool {
    fn names(&self) -> &'static [&'static str] {
        &[
            "primitive.max_pool_2d_v1",
            "primitive.max_pool_3d_v1",
            "primitive.sum_pool_2d_v1",
            "primitive.sum_pool_3d_v1",
        ]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        let spatial = if cx.name.contains("3d") { 3 } else { 2 };
        if x.dims.len() != spatial + 2 {
            return Err(Fault::program(format!("pooling over {:?}", x.dims)));
        }
        let (kernel, stride) = (per_axis(cx, 1, spatial, 1)?, per_axis(cx, 2, spatial, 1)?);
        let dilation = per_axis(cx, 3, spatial, 1)?;
        let ceil = cx.inputs.len() > 4 && cx.ints(4)?.first() != Some(&0);
        let mut dims = x.dims[..2].to_vec();
        for a in 0..spatial {
            let size = &x.dims[2 + a];
            let floor = windows(size, &Expr::from(kernel[a]), stride[a], dilation[a]);
            dims.push(if ceil {
                // One more window when elements remain, if it starts inside the input.
                let up = windows(
                    &(size + &Expr::from(stride[a] - 1)),
                    &Expr::from(kernel[a]),
                    stride[a],
                    dilation[a],
                );
                let starts = &Expr::func(Func::FloorDiv, &(size - &Expr::one()), &Expr::from(stride[a]))
                    + &Expr::one();
                cx.shapes.min(&up, &starts)
            } else {
                floor
            });
        }
        Ok(vec![Fact::new(x.element, dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let x = cx.view(inputs[0])?;
        let op = if cx.graph.nodes[node].name.contains("max") { ReduceOp::Max } else { ReduceOp::Sum };
        let kernel = Kernel::Pool {
            op,
            kernel: counts(cx, inputs[1])?,
            stride: counts(cx, inputs[2])?,
            dilation: counts(cx, inputs[3])?,
        };
        let (out, _) = cx.temp(outputs[0])?;
        cx.step_into(kernel, vec![x], out.clone(), outputs[0]);
        match op {
            ReduceOp::Max => {
                cx.define(outputs[0], out);
                Ok(())
            }
            _ => cx.narrowed(outputs[0], out),
        }
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(SUMS);
            let max = d.name.contains("max");
            d.at_most(if max { Spice::Special } else { Spice::Wide });
            let (kernel, stride, dilation) = (drawn(d, 1, 3), drawn(d, 1, 3), drawn(d, 1, 2));
            // Farther steps may miss the input altogether, which is an error.
            let spans = kernel.iter().zip(&dilation).map(|(k, d)| (k - 1) * d + 1);
            let stride: Vec<usize> = stride.iter().zip(spans).map(|(s, span)| *s.min(&span)).collect();
            let spare = drawn(d, 0, 6);
            let size = (0..kernel.len()).map(|i| (kernel[i] - 1) * dilation[i] + 1 + spare[i]);
            let lead = [2, 5].map(|n| 1 + d.rng.below(n)).to_vec();
            let x = d.data(element, &[lead, size.collect()].concat());
            let mut inputs = vec![x];
            inputs.extend([kernel, stride, dilation].map(|l| d.sizes(&l)));
            if max {
                let ceil = d.rng.once_in(2);
                inputs.push(d.flag(ceil));
            }
            Call::new(inputs, element)
        })
    }
}
