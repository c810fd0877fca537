//! Convolution and pooling.

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
}
