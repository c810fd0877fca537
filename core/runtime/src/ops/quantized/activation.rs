//! `quantize` and `dequantize`: one scale and two offsets for the tensor or for each element of an axis.

use coreai_asset::ElementType;

#[cfg(test)]
use super::super::cases::{Call, Case, Draw, Spice};
use super::super::{Fault, InferCx, Op, wrap_axis};
use super::shift_scale::{Operands, Parameter, is_zero};
use crate::expr::Expr;
use crate::facts::{Fact, is_integer, kind_of};
use crate::graph::Val;
use crate::lower::Lower;
use crate::lower::expression::Term;
use crate::map::{MapFn, MapOp};

/// Extents of a parameter over `rank` axes: one number, or a vector along the named axis.
fn lain(dims: &[Expr], axis: &[i64], rank: usize) -> Result<Vec<Expr>, Fault> {
    let one = dims.iter().all(|d| d.is(1));
    match (dims, axis) {
        _ if one => Ok(vec![]),
        ([n], [axis]) => {
            let mut out = vec![Expr::one(); rank];
            out[wrap_axis(*axis, rank)?] = n.clone();
            Ok(out)
        }
        _ => Err(Fault::program(format!("parameters {dims:?} do not lie along axes {axis:?}"))),
    }
}

/// Type rule of both: the data's extents, which vectors of parameters must fit.
fn infer(cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
    let x = cx.input(0)?.clone();
    let last = cx.inputs.len().checked_sub(1).filter(|n| *n >= 3);
    let last = last.ok_or_else(|| Fault::program("data, scale, offset and axis are needed"))?;
    let axis = cx.ints(last)?;
    for parameter in &cx.inputs[1..last] {
        let dims = lain(&parameter.dims, &axis, x.dims.len())?;
        for (d, p) in x.dims.iter().zip(&dims).filter(|(_, p)| !p.is(1)) {
            if !cx.shapes.unify(d, p, &|| format!("extents {d} and {p} of data and scale")) {
                return Err(Fault::program(format!("{p} parameters for an axis of extent {d}")));
            }
        }
    }
    Ok(vec![Fact::new(cx.element()?, x.dims)])
}

/// The parameters between data and axis, over the axes of the data.
fn parameters(cx: &Lower, inputs: &[Val]) -> Result<Vec<Parameter>, Fault> {
    let rank = cx.fact(inputs[0]).dims.len();
    let last = inputs.len() - 1;
    let axis = cx.fact(inputs[last]).const_ints().ok_or_else(|| Fault::unsupported("a computed axis"))?;
    let each = inputs[1..last].iter().map(|v| {
        let dims = lain(&cx.fact(*v).dims, &axis, rank)?;
        Ok(Parameter { value: *v, dims })
    });
    each.collect()
}

/// Scale and offsets for the tensor or along an axis, in that axis, of codes of type `code`.
#[cfg(test)]
fn drawn(d: &mut Draw, code: ElementType, dims: &[usize]) -> Vec<Val> {
    let (at, _) = d.axis(dims.len());
    let own: &[usize] = if d.rng.once_in(2) { &dims[at..=at] } else { &[] };
    let mut out = vec![d.reals(ElementType::F32, own, 0.05, 0.5)];
    out.push(if is_integer(code) { d.integers(code, own, 0, 1) } else { d.reals(code, own, -1.0, 1.0) });
    if d.name.ends_with("_v2") {
        out.push(d.reals(ElementType::F32, own, -1.0, 1.0));
    }
    out.push(d.int(at as i64));
    out
}

pub(super) struct Dequantize;

impl Op for Dequantize {
    fn names(&self) -> &'static [&'static str] {
        &["dequantize_v2", "dequantize_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        infer(cx)
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let mut list = parameters(cx, &inputs)?.into_iter();
        let (Some(scale), zero, min) = (list.next(), list.next(), list.next()) else {
            return Err(Fault::program("a scale is needed"));
        };
        Operands { data: inputs[0], scale, zero, min }.simplified(cx)?.lower(cx, outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let code = d.element(super::CODES);
            let dims = d.solid(1..=4);
            let x = d.data(code, &dims);
            let inputs = [vec![x], drawn(d, code, &dims)].concat();
            Call::new(inputs, ElementType::F32)
        })
    }
}

/// `clip(round((x - offset2) / scale) + offset1)`; floats of 8 bits and less are not rounded to integers.
pub(super) struct Quantize;

/// Largest magnitude of a float type that results are clipped to.
fn largest(element: ElementType) -> Result<Option<f32>, Fault> {
    Ok(match element {
        ElementType::F32 => None,
        ElementType::F16 => Some(65504.0),
        ElementType::BF16 => Some(f32::from_bits(0x7f7f_0000)),
        ElementType::F8E5M2 => Some(57344.0),
        ElementType::F8E4M3FN => Some(448.0),
        ElementType::F4E2M1FN => Some(6.0),
        other if is_integer(other) => None,
        other => return Err(Fault::unsupported(format!("quantization to {}", other.name()))),
    })
}

impl Op for Quantize {
    fn names(&self) -> &'static [&'static str] {
        &["quantize_v2", "quantize_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        infer(cx)
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let element = cx.fact(outputs[0]).element;
        let kind = kind_of(element).ok_or_else(|| Fault::unsupported(format!("{} codes", element.name())))?;
        let largest = largest(element)?;
        let mut terms = vec![Term::Value(inputs[0])];
        let mut there = [false; 3];
        for (n, p) in parameters(cx, &inputs)?.into_iter().enumerate().take(3) {
            if n > 0 && is_zero(cx, p.value)? {
                continue;
            }
            there[n] = true;
            terms.push(if p.dims.is_empty() {
                Term::Value(p.value)
            } else {
                let view = cx.view(p.value)?.realign(&p.dims);
                Term::View(view.ok_or_else(|| Fault::program("a parameter that is not a vector"))?)
            });
        }
        let [_, code_offset, offset] = there;
        cx.expression(&terms, outputs[0], |body, args| {
            let args: Vec<u16> = args.iter().map(|a| body.as_float(*a)).collect();
            let mut value = args[0];
            if offset && let Some(last) = args.last() {
                value = body.float(MapFn::Sub, &[value, *last]);
            }
            value = body.float(MapFn::Div, &[value, args[1]]);
            if is_integer(element) {
                value = body.float(MapFn::Round, &[value]);
            }
            if code_offset {
                value = body.float(MapFn::Add, &[value, args[2]]);
            }
            if let Some(largest) = largest {
                let (low, high) = (body.constant(-largest), body.constant(largest));
                value = body.float(MapFn::Max, &[value, low]);
                value = body.float(MapFn::Min, &[value, high]);
            }
            // Integers saturate.
            if element.bits() <= 8 || is_integer(element) {
                body.push(MapOp::Cast(element), &[value], kind);
            }
        })
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let code = d.element(super::CODES);
            d.at_most(Spice::Mild);
            let dims = d.solid(1..=4);
            let x = d.data(ElementType::F32, &dims);
            let inputs = [vec![x], drawn(d, code, &dims)].concat();
            Call::new(inputs, code)
        })
    }
}
