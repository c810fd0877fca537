//! `blockwise_shift_scale`: `scale * (data - offset1) + offset2` per block.

use coreai_asset::{ConstantRef, ElementType};

#[cfg(test)]
use super::super::cases::{Call, Case, Spice};
use super::super::{Fault, InferCx, Op, constant};
use super::{Axis, axes, count, extents, join, split, spread};
use crate::expr::Expr;
use crate::facts::{Fact, is_integer, kind_of};
use crate::graph::Val;
use crate::lower::Lower;
use crate::lower::expression::{Body, Term};
use crate::map::{MapFn, MapOp};
use crate::step::{Kind, QuantFormat, QuantSource, View};

/// Largest weight that is packed on the host: what every device binds in one piece.
const MAX_PACKED_BYTES: u64 = 128 << 20;

pub(super) struct ShiftScale;

impl Op for ShiftScale {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.blockwise_shift_scale_v2", "primitive.blockwise_shift_scale_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        // scale and zero points
        cx.input(2)?;
        for parameter in &cx.inputs[1..] {
            axes(cx.shapes, &x.dims, &parameter.dims)?;
        }
        Ok(vec![Fact::new(cx.element()?, x.dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        Operands::new(cx, &inputs)?.lower(cx, outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let code = d.element(super::CODES);
            let result = d.element(&[ElementType::F32, ElementType::F16, ElementType::BF16]);
            d.at_most(Spice::Wide);
            let (dims, blocks) = super::blocked(d);
            let known = d.rng.once_in(2);
            let mut inputs = match known {
                true => {
                    vec![d.parameter(code, &dims), d.parameter(result, &blocks), d.parameter(code, &blocks)]
                }
                false => vec![d.data(code, &dims), d.data(result, &blocks), d.data(code, &blocks)],
            };
            if d.name.ends_with("_v2") {
                inputs.push(if known { d.parameter(result, &blocks) } else { d.data(result, &blocks) });
            }
            Call::new(inputs, result)
        })
    }
}

/// One of scale, zero point, minimum.
#[derive(Clone)]
pub(super) struct Parameter {
    pub value: Val,
    /// Its extents over the axes of the data; none when it is one number.
    pub dims: Vec<Expr>,
}

/// What a dequantization works on; offsets that are zero are absent.
pub(super) struct Operands {
    pub data: Val,
    pub scale: Parameter,
    pub zero: Option<Parameter>,
    pub min: Option<Parameter>,
}

impl Operands {
    fn new(cx: &Lower, inputs: &[Val]) -> Result<Operands, Fault> {
        let [data, scale, zero, rest @ ..] = inputs else {
            return Err(Fault::program("data, scale and offset are needed"));
        };
        let parameter = |v: Val| Parameter { value: v, dims: cx.fact(v).dims.clone() };
        let min = rest.first().map(|v| parameter(*v));
        Operands { data: *data, scale: parameter(*scale), zero: Some(parameter(*zero)), min }.simplified(cx)
    }

    /// Without offsets that are constantly zero.
    pub fn simplified(mut self, cx: &Lower) -> Result<Operands, Fault> {
        for offset in [&mut self.zero, &mut self.min] {
            if let Some(p) = offset
                && is_zero(cx, p.value)?
            {
                *offset = None;
            }
        }
        Ok(self)
    }

    fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        [Some(&self.scale), self.zero.as_ref(), self.min.as_ref()].into_iter().flatten()
    }

    /// Emits the dequantization: packed codes, expanded data, or an expression.
    pub fn lower(&self, cx: &mut Lower, out: Val) -> Result<(), Fault> {
        if let Some((format, source)) = stored(cx, self)? {
            cx.define_quant(out, format, source);
            return Ok(());
        }
        if let Some(known) = Known::new(cx, self)? {
            return known.define(cx, self, out);
        }
        computed(cx, self, out)
    }
}

/// Whether a constant is zero everywhere; −0 does not count.
pub(super) fn is_zero(cx: &Lower, v: Val) -> Result<bool, Fault> {
    let fact = cx.fact(v);
    if let Some(ints) = fact.const_ints() {
        return Ok(ints.iter().all(|i| *i == 0));
    }
    let Some(data) = &fact.constant else { return Ok(false) };
    Ok(constant::bytes(cx.asset, data)?.iter().all(|b| *b == 0))
}

/// Block extents of a constant parameter over constant data.
fn blocks(cx: &mut Lower, data: Val, parameter: &Parameter) -> Result<Vec<u64>, Fault> {
    let x = cx.fact(data).clone();
    let own = axes(&mut cx.shapes, &x.dims, &parameter.dims)?;
    let dims = extents(&x)?;
    let block = |(d, a): (&u64, &Axis)| match a {
        Axis::One => Some((*d).max(1)),
        Axis::Each => Some(1),
        Axis::Blocks(n) => n.as_const().and_then(|n| u64::try_from(n).ok()).map(|n| d / n),
    };
    let blocks = dims.iter().zip(&own).map(block).collect::<Option<_>>();
    blocks.ok_or_else(|| Fault::unsupported("blocks of dynamic extents"))
}

/// The packed form, when the device can dequantize the stored codes on load.
fn stored(cx: &mut Lower, operands: &Operands) -> Result<Option<(QuantFormat, QuantSource)>, Fault> {
    use ElementType::*;
    let (x, scale) = (cx.fact(operands.data).clone(), cx.fact(operands.scale.value).clone());
    let (Some(codes), Some(scale_data)) = (&x.constant, &scale.constant) else {
        return Ok(None);
    };
    let integer = matches!(x.element, SI8 | UI8 | SI4 | UI4 | SI2 | UI2 | UI1);
    if !integer || !matches!(scale.element, F16 | BF16 | F32) || codes.splat || x.dims.is_empty() {
        return Ok(None);
    }
    let (dims, sizes) = (extents(&x)?, blocks(cx, operands.data, &operands.scale)?);
    // The offsets must be cut like the scale.
    let constant_like = |cx: &mut Lower, p: &Parameter, element: ElementType| {
        let same = blocks(cx, operands.data, p)? == sizes && cx.fact(p.value).element == element;
        Ok::<Option<ConstantRef>, Fault>(cx.fact(p.value).constant.clone().filter(|_| same))
    };
    let bits = u64::from(x.element.bits());
    let zero = match &operands.zero {
        None => None,
        Some(p) => match constant_like(cx, p, x.element)? {
            Some(data) => {
                let zeros: u64 = dims.iter().zip(&sizes).map(|(d, b)| d / b).product();
                let bytes = data.range.end - data.range.start;
                let unpacked =
                    bits < 8 && !data.splat && bytes == zeros && bytes != (zeros * bits).div_ceil(8);
                Some((data, unpacked))
            }
            None => return Ok(None),
        },
    };
    let min = match &operands.min {
        None => None,
        Some(p) => match constant_like(cx, p, scale.element)? {
            Some(data) => Some(data),
            None => return Ok(None),
        },
    };
    let stored = codes.range.end - codes.range.start;
    let total = count(&dims);
    let format = QuantFormat {
        code: x.element,
        dims,
        blocks: sizes,
        scale: scale.element,
        zero: zero.is_some(),
        min: min.is_some(),
    };
    let source = QuantSource {
        codes: codes.clone(),
        codes_unpacked: bits < 8 && stored == total && stored != total.saturating_mul(bits).div_ceil(8),
        scale: scale_data.clone(),
        zero,
        min,
    };
    Ok(Some((format, source)))
}

/// Operands that the host knows: float and palette codes.
struct Known {
    dims: Vec<u64>,
    data: Vec<f32>,
    scale: Vec<f32>,
    zero: Option<Vec<f32>>,
    min: Option<Vec<f32>>,
}

impl Known {
    fn new(cx: &Lower, operands: &Operands) -> Result<Option<Known>, Fault> {
        let Ok(dims) = extents(cx.fact(operands.data)) else { return Ok(None) };
        let (Some(data), Some(scale)) =
            (cx.known_floats(operands.data)?, cx.known_floats(operands.scale.value)?)
        else {
            return Ok(None);
        };
        let mut known = Known { dims, data, scale, zero: None, min: None };
        for (p, slot) in [(&operands.zero, &mut known.zero), (&operands.min, &mut known.min)] {
            if let Some(p) = p {
                match cx.known_floats(p.value)? {
                    Some(values) => *slot = Some(values),
                    None => return Ok(None),
                }
            }
        }
        Ok(Some(known))
    }

    fn define(self, cx: &mut Lower, operands: &Operands, out: Val) -> Result<(), Fault> {
        if let Some((format, bytes)) = self.pack(cx, operands)? {
            cx.define_host_quant(out, format, bytes);
            return Ok(());
        }
        let values = self.values(cx, operands)?;
        let element = cx.fact(operands.data).element.name().to_string();
        let to = cx.fact(out).element.name().to_string();
        cx.note("expanded_weight", format!("{element} weights are expanded to {to}"));
        cx.define_host(out, &values)
    }

    fn values(&self, cx: &mut Lower, operands: &Operands) -> Result<Vec<f32>, Fault> {
        let mut cells = |p: &Parameter| Cells::new(cx, &self.dims, operands.data, p);
        let scale = cells(&operands.scale)?;
        let zero = operands.zero.as_ref().map(&mut cells).transpose()?;
        let min = operands.min.as_ref().map(&mut cells).transpose()?;
        let get = |values: &Option<Vec<f32>>, cells: &Option<Cells>, flat: u64| match (values, cells) {
            (Some(values), Some(cells)) => cells.of(values, flat),
            _ => 0.0,
        };
        let each = self.data.iter().enumerate().map(|(flat, x)| {
            let flat = flat as u64;
            scale.of(&self.scale, flat) * (x - get(&self.zero, &zero, flat)) + get(&self.min, &min, flat)
        });
        Ok(each.collect())
    }

    /// Codes that are small integers, such as those of a palette, stay one byte each.
    fn pack(&self, cx: &mut Lower, operands: &Operands) -> Result<Option<(QuantFormat, Vec<u8>)>, Fault> {
        use ElementType::*;
        let scale_type = cx.fact(operands.scale.value).element;
        let within = |low: f32, high: f32| {
            let codes = self.data.iter().chain(self.zero.iter().flatten());
            codes.into_iter().all(|v| v.fract() == 0.0 && (low..=high).contains(v))
        };
        let code = if within(-128.0, 127.0) {
            SI8
        } else if within(0.0, 255.0) {
            UI8
        } else {
            return Ok(None);
        };
        let sizes = blocks(cx, operands.data, &operands.scale)?;
        for p in operands.parameters() {
            if blocks(cx, operands.data, p)? != sizes {
                return Ok(None);
            }
        }
        let min_type = operands.min.as_ref().map_or(scale_type, |p| cx.fact(p.value).element);
        if !matches!(scale_type, F16 | BF16 | F32) || min_type != scale_type || self.dims.is_empty() {
            return Ok(None);
        }
        let format = QuantFormat {
            code,
            dims: self.dims.clone(),
            blocks: sizes,
            scale: scale_type,
            zero: self.zero.is_some(),
            min: self.min.is_some(),
        };
        if format.device_bytes() > MAX_PACKED_BYTES {
            return Ok(None);
        }
        let mut bytes: Vec<u8> = self.data.iter().map(|v| *v as i32 as u8).collect();
        let pad = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(4), 0);
        pad(&mut bytes);
        let float = |bytes: &mut Vec<u8>, values: &[f32]| {
            for v in values {
                match scale_type {
                    F16 => bytes.extend(half::f16::from_f32(*v).to_le_bytes()),
                    BF16 => bytes.extend(half::bf16::from_f32(*v).to_le_bytes()),
                    _ => bytes.extend(v.to_le_bytes()),
                }
            }
            pad(bytes);
        };
        float(&mut bytes, &self.scale);
        if let Some(zero) = &self.zero {
            bytes.extend(zero.iter().map(|v| *v as i32 as u8));
            pad(&mut bytes);
        }
        if let Some(min) = &self.min {
            float(&mut bytes, min);
        }
        Ok((bytes.len() as u64 == format.device_bytes()).then_some((format, bytes)))
    }
}

/// Which element of a parameter belongs to an element of the data.
struct Cells<'a> {
    dims: &'a [u64],
    /// Block extents and numbers of blocks.
    blocks: Vec<u64>,
    counts: Vec<u64>,
}

impl Cells<'_> {
    fn new<'a>(
        cx: &mut Lower,
        dims: &'a [u64],
        data: Val,
        parameter: &Parameter,
    ) -> Result<Cells<'a>, Fault> {
        let blocks = blocks(cx, data, parameter)?;
        let counts = dims.iter().zip(&blocks).map(|(d, b)| d / b).collect();
        Ok(Cells { dims, blocks, counts })
    }

    fn of(&self, values: &[f32], flat: u64) -> f32 {
        let (mut rest, mut at, mut step) = (flat, 0u64, 1u64);
        for axis in (0..self.dims.len()).rev() {
            at += rest % self.dims[axis] / self.blocks[axis] * step;
            step *= self.counts[axis];
            rest /= self.dims[axis];
        }
        values.get(at as usize).copied().unwrap_or(0.0)
    }
}

/// Operands that only the device knows: an elementwise expression, over the data seen in blocks.
fn computed(cx: &mut Lower, operands: &Operands, out: Val) -> Result<(), Fault> {
    let dims = cx.fact(operands.data).dims.clone();
    let element = cx.fact(out).element;
    let mut cuts = vec![Axis::Each; dims.len()];
    let mut lain = vec![];
    for p in operands.parameters() {
        let own = axes(&mut cx.shapes, &dims, &p.dims)?;
        cuts = join(cuts, own.clone())?;
        lain.push((p.clone(), own));
    }
    let whole = !cuts.iter().any(|c| matches!(c, Axis::Blocks(_)));
    let mut terms = vec![];
    if whole {
        terms.push(Term::Value(operands.data));
    } else {
        let view = cx.view(operands.data)?;
        terms.push(Term::View(spread(&view, &vec![Axis::Each; dims.len()], &cuts, &dims, 0)));
    }
    for (p, own) in &lain {
        if p.dims == cx.fact(p.value).dims && whole {
            terms.push(Term::Value(p.value));
            continue;
        }
        let view = cx.view(p.value)?.realign(&p.dims);
        let view = view.ok_or_else(|| Fault::program("a parameter does not lie along the data's axes"))?;
        terms.push(Term::View(spread(&view, own, &cuts, &dims, 0)));
    }
    let (zero, min) = (operands.zero.is_some(), operands.min.is_some());
    let kind = kind_of(element).ok_or_else(|| Fault::unsupported(format!("{} weights", element.name())))?;
    let body = |body: &mut Body, args: &[u16]| shift_scale(body, args, zero, min, element, kind);
    if whole {
        return cx.expression(&terms, out, body);
    }
    let cut: Vec<Expr> = split(&dims, &cuts);
    let (temp, _) = cx.temp(out)?;
    cx.expression_into(&terms, &cut, View::whole(temp.buffer, cut.clone()), Some(out), body)?;
    cx.define(out, temp);
    Ok(())
}

/// `args`: data, scale, and the offsets that are there.
fn shift_scale(body: &mut Body, args: &[u16], zero: bool, min: bool, element: ElementType, kind: Kind) {
    let wide = if kind == Kind::F32 { ElementType::F32 } else { ElementType::SI32 };
    let register = if kind == Kind::F32 { Kind::F32 } else { Kind::I32 };
    let args: Vec<u16> = args
        .iter()
        .map(|a| if body.kind(*a) == register { *a } else { body.push(MapOp::Cast(wide), &[*a], register) })
        .collect();
    let mut offsets = args[2..].iter().copied();
    let mut value = args[0];
    if zero && let Some(at) = offsets.next() {
        value = body.push(MapOp::Fn(MapFn::Sub), &[value, at], register);
    }
    value = body.push(MapOp::Fn(MapFn::Mul), &[value, args[1]], register);
    if min && let Some(at) = offsets.next() {
        value = body.push(MapOp::Fn(MapFn::Add), &[value, at], register);
    }
    if is_integer(element) {
        body.push(MapOp::Wrap(element), &[value], kind);
    } else if element.bits() <= 8 {
        body.push(MapOp::Cast(element), &[value], kind);
    }
}
