//! Normalizations.

use coreai_asset::Composite;

use super::super::{Fault, InferCx, Op};
use super::{Rule, composite_of, flattened, like, real};
use crate::expr::Expr;
use crate::facts::{Fact, product};
use crate::graph::Val;
use crate::lower::Lower;
use crate::lower::expression::Term;
use crate::map::MapFn;
use crate::step::{Kernel, Norm, View};

/// The number of trailing axes that `axes` (a number or a list) names, when it names just these.
fn trailing_axes(composite: &Composite, rank: usize) -> Option<usize> {
    let axes =
        composite.i64s("axes").or_else(|| composite.i64("axes").map(|a| vec![a])).unwrap_or_else(|| vec![-1]);
    let rank = i64::try_from(rank).ok()?;
    let mut axes: Vec<i64> = axes.into_iter().map(|a| if a < 0 { a + rank } else { a }).collect();
    axes.sort_unstable();
    let first = rank - i64::try_from(axes.len()).ok()?;
    (first >= 0 && axes.iter().copied().eq(first..rank)).then_some(axes.len()).filter(|n| *n > 0)
}

fn eps(cx: &Lower, node: usize) -> Result<f32, Fault> {
    Ok(composite_of(cx, node)?.f64("eps").unwrap_or(0.0) as f32)
}

/// Normalizes the trailing `axes` axes of `x` seen as one; the parameters have these axes.
fn normalize(
    cx: &mut Lower,
    norm: Norm,
    axes: usize,
    x: Val,
    parameters: &[View],
    out: Val,
) -> Result<(), Fault> {
    let x = cx.view(x)?;
    let lead = x.dims.len() - axes;
    if axes == 1 {
        let mut reads = vec![x.clone()];
        reads.extend(parameters.iter().map(|p| p.broadcast(&x.dims)));
        return cx.step(Kernel::Norm(norm), reads, out);
    }
    let row = product(&x.dims[lead..]);
    let dims = [&x.dims[..lead], std::slice::from_ref(&row)].concat();
    let mut reads = vec![flattened(cx, x, &dims)];
    for p in parameters {
        let p = if product(&p.dims).is(1) {
            p.clone()
        } else {
            flattened(cx, p.clone(), std::slice::from_ref(&row))
        };
        reads.push(p.broadcast(&dims));
    }
    let (temp, _) = cx.temp(out)?;
    cx.step_into(Kernel::Norm(norm), reads, View::whole(temp.buffer, dims), out);
    cx.define(out, temp);
    Ok(())
}

/// A number that every element reads.
fn splat(cx: &mut Lower, value: f32) -> View {
    cx.host_floats(&[value], vec![Expr::one()])
}

pub(super) struct RmsNorm;

impl Rule for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn matches(&self, c: &Composite, inputs: &[&Fact]) -> bool {
        let x = inputs[0];
        let Some(axes) = trailing_axes(c, x.dims.len()).filter(|n| *n <= x.dims.len()) else { return false };
        let scaled = match inputs {
            [_] => c.input_names == ["input"],
            [_, scale] if axes == 1 => {
                c.input_names == ["input", "scale"]
                    && !scale.dims.is_empty()
                    && scale.dims.len() <= x.dims.len()
                    && x.dims.last() == scale.dims.last()
            }
            [_, scale] => c.input_names == ["input", "scale"] && scale.dims == x.dims[x.dims.len() - axes..],
            _ => false,
        };
        scaled && c.f64("eps").is_some() && inputs.iter().all(|f| real(f))
    }

    fn op(&'static self) -> &'static dyn Op {
        self
    }
}

impl Op for RmsNorm {
    fn names(&self) -> &'static [&'static str] {
        &["rms_norm"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        like(cx, "input")
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let norm = Norm { center: false, eps: eps(cx, node)? };
        let dims = cx.fact(inputs[0]).dims.clone();
        let axes = trailing_axes(composite_of(cx, node)?, dims.len()).unwrap_or(1);
        let scale = match inputs.get(1) {
            Some(v) => cx.view(*v)?,
            None => splat(cx, 1.0),
        };
        // One row: matrix products can normalize it while they read it.
        let rows = product(&dims[..dims.len() - axes]);
        if cx.fuse
            && rows.is(1)
            && axes == 1
            && inputs.len() == 2
            && Lower::is_row_vector(&scale)
            && cx.only_multiplied(outputs[0])
        {
            let x = cx.view(inputs[0])?;
            let k = x.dims[x.dims.len() - 1].clone();
            let scale = scale.realign(&[k]).ok_or_else(|| Fault::program("the scale is not a vector"))?;
            cx.pending_norm(outputs[0], norm, x, scale);
            return Ok(());
        }
        normalize(cx, norm, axes, inputs[0], &[scale], outputs[0])
    }

    fn slice_through(&self, axis: usize, inputs: &[Fact], output: &Fact) -> Option<Vec<Option<usize>>> {
        let [_, scale] = inputs else { return None };
        let lead = output.dims.len() - scale.dims.len();
        let scaled = axis >= lead && !scale.dims[axis - lead].is(1);
        (axis + 1 < output.dims.len() && !scaled).then(|| vec![Some(axis), None])
    }
}

pub(super) struct LayerNorm;

impl Rule for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn matches(&self, c: &Composite, inputs: &[&Fact]) -> bool {
        let x = inputs[0];
        let Some(axes) = trailing_axes(c, x.dims.len()).filter(|n| *n <= x.dims.len()) else { return false };
        c.input_names == ["input", "gamma", "beta"]
            && c.f64("eps").is_some()
            && inputs.iter().all(|f| real(f))
            && inputs[1..].iter().all(|f| f.dims == x.dims[x.dims.len() - axes..])
    }

    fn op(&'static self) -> &'static dyn Op {
        self
    }
}

impl Op for LayerNorm {
    fn names(&self) -> &'static [&'static str] {
        &["layer_norm"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        like(cx, "input")
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let norm = Norm { center: true, eps: eps(cx, node)? };
        let parameters = [cx.view(inputs[1])?, cx.view(inputs[2])?];
        let axes = parameters[0].dims.len();
        normalize(cx, norm, axes, inputs[0], &parameters, outputs[0])
    }

    fn slice_through(&self, axis: usize, inputs: &[Fact], output: &Fact) -> Option<Vec<Option<usize>>> {
        (axis + inputs[1].dims.len() < output.dims.len()).then(|| vec![Some(axis), None, None])
    }
}

/// `[n, c, spatial..]` with one parameter for each channel.
fn channels(x: &Fact, parameters: &[&Fact]) -> Option<i64> {
    let c = x.dims.get(1)?.as_const().filter(|c| *c > 0)?;
    parameters.iter().all(|p| real(p) && product(&p.dims).is(c)).then_some(c)
}

/// A parameter of `c` elements as `[c]`.
fn per_channel(cx: &mut Lower, v: Val) -> Result<View, Fault> {
    let view = cx.view(v)?;
    let c = product(&view.dims);
    Ok(flattened(cx, view, &[c]))
}

/// `[c]` as `[c, 1, ..]`, to broadcast over `spatial` axes.
fn over_spatial(view: &View, spatial: usize) -> View {
    (0..spatial).fold(view.clone(), |v, _| v.expand(1))
}

/// Normalizes each of `groups` groups of channels: `[n, c, spatial..]` as `[n, groups, rest]`.
/// Parameters per channel apply within the step when each group is one channel, else after it.
fn grouped(cx: &mut Lower, eps: f32, groups: i64, inputs: &[Val], out: Val) -> Result<(), Fault> {
    let norm = Norm { center: true, eps };
    let x = cx.view(inputs[0])?;
    let (batch, c) = (x.dims[0].clone(), x.dims[1].as_const().unwrap_or(groups));
    let spatial = x.dims.len() - 2;
    let rest = &Expr::from(c / groups.max(1)) * &product(&x.dims[2..]);
    let dims = vec![batch, Expr::from(groups), rest];
    let (scale, bias) = (per_channel(cx, inputs[1])?, per_channel(cx, inputs[2])?);
    let x = flattened(cx, x, &dims);
    let (temp, _) = cx.temp(out)?;
    let dest = View::whole(temp.buffer, dims.clone());
    if groups == c {
        let row = |v: View| v.expand(1).broadcast(&dims);
        cx.step_into(Kernel::Norm(norm), vec![x, row(scale), row(bias)], dest, out);
        cx.define(out, temp);
        return Ok(());
    }
    let (one, zero) = (splat(cx, 1.0).broadcast(&dims), splat(cx, 0.0).broadcast(&dims));
    cx.step_raw(Kernel::Norm(norm), vec![x, one, zero], dest);
    let parameter = |v: &View| Term::View(over_spatial(v, spatial));
    cx.expression(&[Term::View(temp), parameter(&scale), parameter(&bias)], out, |body, args| {
        let scaled = body.float(MapFn::Mul, &[args[0], args[1]]);
        body.float(MapFn::Add, &[scaled, args[2]]);
    })
}

pub(super) struct GroupNorm;

impl Rule for GroupNorm {
    fn name(&self) -> &'static str {
        "group_norm"
    }

    fn matches(&self, c: &Composite, inputs: &[&Fact]) -> bool {
        let [x, parameters @ ..] = inputs else { return false };
        let groups = c.i64("num_groups").unwrap_or(0);
        c.input_names == ["input", "weight", "bias"]
            && c.f64("eps").is_some()
            && real(x)
            && channels(x, parameters).is_some_and(|c| groups > 0 && c % groups == 0)
    }

    fn op(&'static self) -> &'static dyn Op {
        self
    }
}

impl Op for GroupNorm {
    fn names(&self) -> &'static [&'static str] {
        &["group_norm"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        like(cx, "input")
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let groups = composite_of(cx, node)?.i64("num_groups").unwrap_or(1);
        let eps = eps(cx, node)?;
        grouped(cx, eps, groups, &inputs, outputs[0])
    }
}

pub(super) struct InstanceNorm;

impl Rule for InstanceNorm {
    fn name(&self) -> &'static str {
        "instance_norm"
    }

    fn matches(&self, c: &Composite, inputs: &[&Fact]) -> bool {
        let [x, parameters @ ..] = inputs else { return false };
        c.input_names == ["input", "gamma", "beta"]
            && c.f64("eps").is_some()
            && real(x)
            && x.dims.len() > 2
            && channels(x, parameters).is_some()
    }

    fn op(&'static self) -> &'static dyn Op {
        self
    }
}

impl Op for InstanceNorm {
    fn names(&self) -> &'static [&'static str] {
        &["instance_norm"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        like(cx, "input")
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let groups = cx.fact(inputs[0]).dims[1].as_const().unwrap_or(1);
        let eps = eps(cx, node)?;
        grouped(cx, eps, groups, &inputs, outputs[0])
    }
}

/// The inference form, with constant parameters: `(x - mean) * (gamma / √(variance + eps)) + beta`.
pub(super) struct BatchNorm;

impl Rule for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn matches(&self, c: &Composite, inputs: &[&Fact]) -> bool {
        let [x, parameters @ ..] = inputs else { return false };
        c.input_names == ["input", "gamma", "beta", "mean", "variance"]
            && c.f64("eps").is_some()
            && real(x)
            && channels(x, parameters).is_some()
            && parameters.iter().all(|p| p.constant.is_some())
    }

    fn op(&'static self) -> &'static dyn Op {
        self
    }
}

impl Op for BatchNorm {
    fn names(&self) -> &'static [&'static str] {
        &["batch_norm"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        like(cx, "input")
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let eps = f64::from(eps(cx, node)?);
        let known = |cx: &Lower, v: Val| {
            cx.known_floats(v)?.ok_or_else(|| Fault::program("a parameter of batch_norm is not constant"))
        };
        let (gamma, beta) = (known(cx, inputs[1])?, known(cx, inputs[2])?);
        let (mean, variance) = (known(cx, inputs[3])?, known(cx, inputs[4])?);
        let scale: Vec<f32> = gamma
            .iter()
            .zip(&variance)
            .map(|(g, v)| (f64::from(*g) / (f64::from(*v) + eps).sqrt()) as f32)
            .collect();
        let spatial = cx.fact(inputs[0]).dims.len() - 2;
        let mut terms = vec![Term::Value(inputs[0])];
        let zero = |values: &[f32]| values.iter().all(|v| *v == 0.0);
        let (centered, shifted) = (!zero(&mean), !zero(&beta));
        let needed = [(&mean, centered), (&scale, true), (&beta, shifted)];
        for (values, _) in needed.into_iter().filter(|(_, needed)| *needed) {
            let view = cx.host_floats(values, vec![Expr::from(values.len())]);
            terms.push(Term::View(over_spatial(&view, spatial)));
        }
        cx.expression(&terms, outputs[0], |body, args| {
            let mut rest = args[1..].iter().copied();
            let mut value = args[0];
            for (function, _) in [(MapFn::Sub, centered), (MapFn::Mul, true), (MapFn::Add, shifted)]
                .into_iter()
                .filter(|(_, n)| *n)
            {
                if let Some(parameter) = rest.next() {
                    value = body.float(function, &[value, parameter]);
                }
            }
        })
    }
}
