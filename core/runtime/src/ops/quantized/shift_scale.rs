//! `blockwise_shift_scale`: `scale * (data - offset1) + offset2` per block.

use coreai_asset::{ConstantRef, ElementType};

#[cfg(test)]
use super::super::cases::{Call, Case, Draw, Spice};
use super::super::{Fault, InferCx, Op, constant};
use super::{Axis, axes, count, extents, join, palette, split, spread};
use crate::expr::Expr;
use crate::facts::{Fact, is_integer, kind_of};
use crate::graph::Val;
use crate::host::E2M1;
#[cfg(test)]
use crate::host::{Elements, encode};
use crate::lower::Lower;
use crate::lower::expression::{Body, Term};
use crate::map::{MapFn, MapOp};
use crate::step::{Kind, Meaning, QuantFormat, QuantSource, View};

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
            if !d.probes() && d.rng.once_in(2) {
                return Call::new(weight(d, result), result);
            }
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

/// Operands as of the weights of a language model: rows of dense codes, perhaps of a palette, and of the
/// parameters some are one number, in the shape of the others.
#[cfg(test)]
fn weight(d: &mut Draw, result: ElementType) -> Vec<Val> {
    use ElementType::*;
    let (block, n) = (d.rng.pick(&[16, 16, 32, 32, 64, 24]), 1 + d.rng.below(3));
    let rows = 1 + d.rng.below(6);
    let (dims, blocks) = ([rows, n * block], [rows, n]);
    let palette = d.rng.once_in(2);
    let code = d.rng.pick(if palette {
        &[UI6, UI6, UI4, UI3, UI2, UI1]
    } else {
        &[UI4, SI4, SI8, UI8, UI2, F4E2M1FN]
    });
    let mut data = d.codes(code, &dims);
    let mut number = code;
    if palette {
        number = SI8;
        let count = 1i64 << code.bits();
        let first = d.rng.between(-64, 0);
        let entries: Vec<i64> = match d.rng.below(3) {
            0 => (0..count).map(|_| d.rng.between(-128, 127)).collect(),
            1 => (0..count).map(|i| i - count / 2).collect(),
            _ => (0..count).map(|i| first + i).collect(),
        };
        data = d.looked_up(data, SI8, &entries, 2);
    }
    let mut scale_type = result;
    let scale = match d.rng.below(4) {
        0 => d.splat(result, &blocks, 0.25),
        1 if code == F4E2M1FN => {
            scale_type = F8E8M0FN;
            let powers = (0..rows * n).map(|_| (d.rng.between(-6, 2) as f64).exp2()).collect();
            d.constant(encode(scale_type, &blocks, &Elements::Real(powers)).unwrap())
        }
        _ => d.parameter(result, &blocks),
    };
    let zero_type = if code == F4E2M1FN { scale_type } else { number };
    let zero = match d.rng.below(3) {
        _ if zero_type == F8E8M0FN => d.splat(result, &blocks, 0.0),
        0 => d.parameter(zero_type, &blocks),
        1 => d.splat(zero_type, &blocks, 1.0),
        _ => d.splat(zero_type, &blocks, 0.0),
    };
    let mut operands = vec![data, scale, zero];
    if d.name.ends_with("_v2") {
        operands.push(match d.rng.below(3) {
            0 => d.parameter(result, &blocks),
            1 => d.splat(result, &blocks, -1.5),
            _ => d.splat(result, &blocks, 0.0),
        });
    }
    operands
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

/// The one number that a constant parameter holds, if it is one.
fn single(cx: &Lower, v: Val) -> Result<Option<f32>, Fault> {
    let fact = cx.fact(v);
    if let Some(ints) = fact.const_ints() {
        let first = ints.first().filter(|first| ints.iter().all(|i| i == *first));
        return Ok(first.map(|first| *first as f32));
    }
    match &fact.constant {
        Some(data) if data.splat || fact.elements().is(1) => {
            let one = Fact::new(fact.element, vec![]);
            Ok(constant::floats(cx.asset, &one, data)?.first().copied())
        }
        _ => Ok(None),
    }
}

/// Whether node `node` reads `data` as what it dequantizes only, and leaves it packed.
pub(super) fn packs_data(cx: &mut Lower, node: usize, data: Val) -> bool {
    let reader = &cx.graph.nodes[node];
    let inputs = reader.inputs.clone();
    if !ShiftScale.names().contains(&&*reader.name) || inputs.iter().filter(|v| **v == data).count() != 1 {
        return false;
    }
    match Operands::new(cx, &inputs) {
        Ok(operands) => operands.data == data && matches!(stored(cx, &operands), Ok(Some(_))),
        Err(_) => false,
    }
}

/// The packed form, when the device can dequantize the stored codes on load.
fn stored(cx: &mut Lower, operands: &Operands) -> Result<Option<(QuantFormat, QuantSource)>, Fault> {
    use ElementType::*;
    let scale = cx.fact(operands.scale.value).clone();
    let (Some(coded), Some(scale_data)) = (Coded::new(cx, operands.data)?, scale.constant.clone()) else {
        return Ok(None);
    };
    let x = cx.fact(operands.data).clone();
    let floats = matches!(scale.element, F16 | BF16 | F32);
    if !(floats || scale.element == F8E8M0FN) || x.dims.is_empty() {
        return Ok(None);
    }
    let dims = extents(&x)?;
    // A parameter that is one number has no say in how the others cut the data.
    let own = match single(cx, operands.scale.value)? {
        None => Some(&operands.scale),
        Some(_) => None,
    };
    let mut meaning = coded.meaning;
    let mut zero = None;
    if let Some(p) = &operands.zero {
        match single(cx, p.value)? {
            Some(number) => match less(&meaning, number) {
                Some(shifted) => meaning = shifted,
                None => return Ok(None),
            },
            None => zero = Some(p),
        }
    }
    let mut min = None;
    if let Some(p) = &operands.min {
        let Some(data) = cx.fact(p.value).constant.clone() else { return Ok(None) };
        // Minimums are stored in the scale's type.
        if !floats || cx.fact(p.value).element != scale.element {
            return Ok(None);
        }
        min = Some((p, data, single(cx, p.value)?.is_some()));
    }
    let each = min.as_ref().filter(|(.., one)| !one).map(|(p, ..)| *p);
    let sizes = match own.or(zero).or(each) {
        Some(p) => blocks(cx, operands.data, p)?,
        None => dims.clone(),
    };
    for p in [own, zero, each].into_iter().flatten() {
        if blocks(cx, operands.data, p)? != sizes {
            return Ok(None);
        }
    }
    let bits = u64::from(coded.element.bits());
    let zero = match zero {
        None => None,
        // Zero points are stored as the codes are.
        Some(p) => match &cx.fact(p.value).constant {
            Some(data) if cx.fact(p.value).element == coded.element && x.element == coded.element => {
                let zeros: u64 = dims.iter().zip(&sizes).map(|(d, b)| d / b).product();
                let bytes = data.range.end - data.range.start;
                let unpacked = bits < 8 && bytes == zeros && bytes != (zeros * bits).div_ceil(8);
                Some((data.clone(), unpacked))
            }
            _ => return Ok(None),
        },
    };
    let stored = coded.constant.range.end - coded.constant.range.start;
    let total = count(&dims);
    let format = QuantFormat {
        code: coded.element,
        meaning,
        dims,
        blocks: sizes,
        scale: scale.element,
        zero: zero.is_some(),
        min: min.is_some(),
    };
    let source = QuantSource {
        codes: coded.constant,
        codes_unpacked: bits < 8 && stored == total && stored != total.saturating_mul(bits).div_ceil(8),
        scale: ConstantRef { splat: own.is_none(), ..scale_data },
        zero,
        min: min.map(|(_, data, one)| ConstantRef { splat: one, ..data }),
    };
    Ok(Some((format, source)))
}

/// Constant codes of at most 8 bits.
struct Coded {
    element: ElementType,
    constant: ConstantRef,
    meaning: Meaning,
}

impl Coded {
    /// The codes of a constant, or of a palette's indices.
    fn new(cx: &Lower, data: Val) -> Result<Option<Coded>, Fault> {
        use ElementType::*;
        let fact = cx.fact(data);
        let (fact, meaning) = match (&fact.constant, fact.element) {
            (Some(_), SI8 | UI8 | SI4 | UI4 | SI2 | UI2 | UI1) => (fact, Meaning::Plain),
            (Some(_), F4E2M1FN) => {
                let halves = (0..16).map(|code: i16| {
                    let half = (E2M1[usize::from(code.unsigned_abs() & 7)] * 2.0) as i16;
                    if code & 8 != 0 { -half } else { half }
                });
                (fact, Meaning::Table(halves.collect()))
            }
            (None, _) => match palette::entries(cx, data)? {
                Some((indices, entries)) => (cx.fact(indices), meaning_of(&entries)),
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(fact.constant.clone().filter(|data| !data.splat).map(|constant| Coded {
            element: fact.element,
            constant,
            meaning,
        }))
    }
}

/// What codes stand for that are looked up in these entries: often nothing but their numbers less one.
fn meaning_of(entries: &[i16]) -> Meaning {
    let zero = entries.first().map_or(0, |first| -first);
    let counts = entries.iter().enumerate().all(|(code, entry)| code as i16 - zero == *entry);
    match (counts, zero) {
        (true, 0) => Meaning::Plain,
        (true, _) => Meaning::Less(zero),
        (false, _) => Meaning::Table(entries.iter().map(|entry| entry * 2).collect()),
    }
}

/// The same less a zero point, where that is an integer of at most 8 bits.
fn less(meaning: &Meaning, zero: f32) -> Option<Meaning> {
    let zero = ((-128.0..256.0).contains(&zero) && zero.fract() == 0.0).then_some(zero as i16)?;
    Some(match meaning {
        _ if zero == 0 => meaning.clone(),
        Meaning::Plain => Meaning::Less(zero),
        Meaning::Less(before) => Meaning::Less(before + zero),
        Meaning::Table(halves) => Meaning::Table(halves.iter().map(|half| half - 2 * zero).collect()),
    })
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
            meaning: Meaning::Plain,
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
