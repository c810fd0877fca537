//! Quantization of activations, and the statistics that give its parameters.

use coreai_asset::ElementType;
use half::{bf16, f16};

use super::blocks::Blocks;
use super::compress::{reals, stored};
use super::numbers::{greatest, key_range, larger, smaller};
use super::operands::{axis, exactly, integer, integers, result};
use super::{Call, Eval, Fault};
use crate::ndarray::NDArray;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] = &[
    (&["quantize_v2", "quantize_v1"], quantize),
    (&["dequantize_v2", "dequantize_v1"], dequantize),
    (&["symmetric_quantization_statistics_v1"], symmetric),
    (&["asymmetric_quantization_statistics_v1"], asymmetric),
];

/// Operands of both directions.
struct Parameters<'a> {
    x: &'a NDArray,
    scale: &'a NDArray,
    zero: &'a NDArray,
    bias: Option<&'a NDArray>,
    blocks: Blocks,
}

/// `(x, scale, offset1, offset2?, axis)`: parameters of one element hold everywhere, vectors along the axis.
fn parameters<'a>(call: &Call, inputs: &[&'a NDArray]) -> Result<Parameters<'a>, Fault> {
    let (x, scale, zero, bias, along) = match *inputs {
        [x, scale, zero, along] => (x, scale, zero, None, along),
        [x, scale, zero, bias, along] => (x, scale, zero, Some(bias), along),
        _ => return Err(Fault::Program(format!("{} with {} operands", call.name, inputs.len()))),
    };
    if zero.shape != scale.shape || bias.is_some_and(|bias| bias.shape != scale.shape) {
        let shapes = (&scale.shape, &zero.shape, bias.map(|bias| &bias.shape));
        return Err(Fault::Program(format!("scale and offsets of shapes {shapes:?}")));
    }
    let rank = x.shape.len();
    let axes = integers(along)?.iter().map(|a| axis(*a, rank)).collect::<Result<Vec<_>, _>>()?;
    let shape = if x.is_empty() { &[] } else { &x.shape[..] };
    let blocks = match (scale.len(), &axes[..]) {
        (1, _) => Blocks::new(shape, &[], 1)?,
        (n, &[axis]) if scale.shape.len() == 1 && n == x.shape[axis] && !shape.is_empty() => {
            Blocks::along(shape, axis)?
        }
        _ if x.is_empty() => Blocks::new(&[], &[], 1)?,
        _ => {
            let reason = format!("{:?} parameters along axes {axes:?} of {:?}", scale.shape, x.shape);
            return Err(Fault::Program(reason));
        }
    };
    Ok(Parameters { x, scale, zero, bias, blocks })
}

/// To the nearest value of the float type that arithmetic is done in.
fn rounded(element: ElementType, value: f64) -> f64 {
    match element {
        ElementType::F16 => f16::from_f64(value).to_f64(),
        ElementType::BF16 => bf16::from_f64(value).to_f64(),
        ElementType::F64 => value,
        _ => f64::from(value as f32),
    }
}

/// clip(round((x − offset2)/scale) + offset1) in offset1's type; only integer results round half to even.
/// Differences and quotients are float32 as in Apple's runtime, also of halves: it decides ties.
fn quantize(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let Parameters { x, scale, zero, bias, blocks } = parameters(call, inputs)?;
    let element = result(call, 0)?;
    let (low, high) = match element.is_float() {
        true => (-greatest(element), greatest(element)),
        false => (key_range(element).0 as f64, key_range(element).1 as f64),
    };
    let kind = if scale.element == ElementType::F64 { ElementType::F64 } else { ElementType::F32 };
    let mut values = reals(x)?;
    let (scale, zero, bias) = (reals(scale)?, reals(zero)?, bias.map(reals).transpose()?);
    let mut rest = values.iter_mut();
    blocks.each(|at| {
        if let Some(v) = rest.next() {
            let moved = rounded(kind, *v - bias.as_ref().map_or(0.0, |bias| bias[at]));
            let quotient = rounded(kind, moved / scale[at]);
            let steps = if element.is_float() { quotient } else { quotient.round_ties_even() };
            *v = (steps + zero[at]).clamp(low, high);
        }
    });
    stored(call, 0, &x.shape, values).map(|array| vec![array])
}

/// (q − offset1)·scale + offset2.
fn dequantize(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let Parameters { x, scale, zero, bias, blocks } = parameters(call, inputs)?;
    let mut values = reals(x)?;
    let (scale, zero, bias) = (reals(scale)?, reals(zero)?, bias.map(reals).transpose()?);
    let mut rest = values.iter_mut();
    blocks.each(|at| {
        if let Some(v) = rest.next() {
            *v = (*v - zero[at]) * scale[at] + bias.as_ref().map_or(0.0, |bias| bias[at]);
        }
    });
    stored(call, 0, &x.shape, values).map(|array| vec![array])
}

/// Least and greatest element of every channel along an axis, and the bounds of the target range.
struct Channels {
    least: Vec<f64>,
    greatest: Vec<f64>,
    range: [f64; 2],
}

/// `(x, range[2], axis)`.
fn channels(call: &Call, inputs: &[&NDArray]) -> Result<Channels, Fault> {
    let [x, range, operand] = exactly(call, inputs)?;
    let axis = axis(integer(operand)?, x.shape.len())?;
    let &[low, high] = &reals(range)?[..] else {
        return Err(Fault::Program(format!("a range of shape {:?}", range.shape)));
    };
    if x.is_empty() {
        return Err(Fault::Program(format!("{} of {:?}", call.name, x.shape)));
    }
    let values = reals(x)?;
    let n = x.shape[axis];
    let (mut least, mut greatest) = (vec![f64::INFINITY; n], vec![f64::NEG_INFINITY; n]);
    let mut rest = values.iter();
    Blocks::along(&x.shape, axis)?.each(|at| {
        if let Some(v) = rest.next() {
            least[at] = smaller(least[at], *v);
            greatest[at] = larger(greatest[at], *v);
        }
    });
    Ok(Channels { least, greatest, range: [low, high] })
}

/// 2·max|x| / (r1 − r0) per channel.
fn symmetric(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let Channels { least, greatest, range: [low, high] } = channels(call, inputs)?;
    let width = rounded(result(call, 0)?, high - low);
    let scale = least.iter().zip(&greatest).map(|(a, b)| 2.0 * larger(a.abs(), b.abs()) / width);
    stored(call, 0, &[least.len()], scale.collect()).map(|array| vec![array])
}

/// Scale (max − min)/(r1 − r0) of the channel with 0, and zero point clip(r0 − round(min/scale)); only
/// integer ranges round. The range's width is taken in float64: Apple's runtime overflows for int8.
fn asymmetric(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let Channels { least, greatest, range: [low, high] } = channels(call, inputs)?;
    let integer = !result(call, 1)?.is_float();
    let count = [least.len()];
    let least: Vec<f64> = least.iter().map(|v| smaller(*v, 0.0)).collect();
    // Every step is in the scale's type, as in the op's body: it decides ties.
    let kind = result(call, 0)?;
    let width = rounded(kind, high - low);
    let spans = greatest.iter().zip(&least).map(|(b, a)| rounded(kind, larger(*b, 0.0) - a) / width);
    let scale = stored(call, 0, &count, spans.collect())?;
    let scales = reals(&scale)?;
    let zero = scales.iter().zip(&least).map(|(scale, a)| {
        let steps = rounded(kind, a / scale);
        let steps = if integer { steps.round_ties_even() } else { steps };
        let zero = low - steps;
        // Not `clamp`, which panics on bounds that are not in order.
        if zero < low {
            low
        } else if zero > high {
            high
        } else {
            zero
        }
    });
    let zero = zero.collect();
    Ok(vec![scale, stored(call, 1, &count, zero)?])
}
