//! Conversion between element types: saturating, NaN to 0, rounding once to nearest even.

use coreai_asset::ElementType;

use super::operands::{count, exactly, result};
use super::whole::{limits, value};
use super::{Call, Elements, Fault, decode, encode};
use crate::ndarray::NDArray;

/// `cast`.
pub(super) fn cast(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x] = exactly(call, inputs)?;
    let to = result(call, 0)?;
    count(to, &x.shape)?;
    if to == x.element {
        return Ok(vec![x.clone()]);
    }
    // A complex number becomes its real part; as a bool it is whether it is not 0.
    let elements = match decode(x)? {
        Elements::Complex(pairs) if to.is_complex() => Elements::Complex(pairs),
        Elements::Complex(pairs) if to == ElementType::Bool => {
            Elements::Int(pairs.iter().map(|p| i64::from(*p != [0.0, 0.0])).collect())
        }
        Elements::Complex(pairs) => Elements::Real(pairs.iter().map(|p| p[0]).collect()),
        other => other,
    };
    let elements = match elements {
        Elements::Real(values) if to.is_complex() => {
            Elements::Complex(values.into_iter().map(|v| [v, 0.0]).collect())
        }
        Elements::Real(values) if to.is_float() => Elements::Real(values),
        Elements::Real(values) if to == ElementType::Bool => {
            Elements::Int(values.iter().map(|v| i64::from(*v != 0.0)).collect())
        }
        Elements::Real(values) => Elements::Int(values.iter().map(|v| saturated(*v, to)).collect()),
        Elements::Int(values) if to == ElementType::Bool => {
            Elements::Int(values.iter().map(|v| i64::from(*v != 0)).collect())
        }
        Elements::Int(values) if to.is_integer() => {
            let (min, max) = limits(to);
            Elements::Int(values.iter().map(|v| value(x.element, *v).clamp(min, max) as i64).collect())
        }
        Elements::Int(values) => {
            let part = to.complex_part();
            let reals = values.iter().map(|v| float(value(x.element, *v), part.unwrap_or(to)));
            match part {
                Some(_) => Elements::Complex(reals.map(|v| [v, 0.0]).collect()),
                None => Elements::Real(reals.collect()),
            }
        }
        complex => complex,
    };
    Ok(vec![encode(to, &x.shape, &elements)?])
}

/// The float cut off towards zero and held to the type's limits; NaN is 0.
fn saturated(v: f64, to: ElementType) -> i64 {
    let (min, max) = limits(to);
    // `as` cuts off, saturates and takes NaN to 0.
    (v as i128).clamp(min, max) as i64
}

/// A float64 that `encode` takes to the value of the integer in a float type. The small types differ from
/// casts of floats on the CPU runtime: E4M3 saturates, E5M2 rounds before it overflows, E8M0 drops the
/// sign.
fn float(v: i128, to: ElementType) -> f64 {
    match to {
        ElementType::F64 => v as f64,
        ElementType::F8E4M3FN => v.clamp(-448, 448) as f64,
        ElementType::F8E5M2 if v.unsigned_abs() < 61440 => v.clamp(-57344, 57344) as f64,
        ElementType::F8E8M0FN => odd_f64(v.saturating_abs()),
        _ => odd_f64(v),
    }
}

/// A float64 that rounds to narrower types as the integer does: beyond 53 bits it is cut off and
/// made odd, so that it is never mistaken for a tie.
fn odd_f64(v: i128) -> f64 {
    let magnitude = v.unsigned_abs();
    let extra = (128 - magnitude.leading_zeros()).saturating_sub(53);
    let kept = magnitude >> extra;
    let lost = u128::from(kept << extra != magnitude);
    let exact = (kept | lost) as f64 * f64::from(extra).exp2();
    if v < 0 { -exact } else { exact }
}
