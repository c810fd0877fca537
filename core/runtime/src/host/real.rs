//! Elementwise functions of real floats, in float64.

use coreai_asset::ElementType;

use super::{Elements, Fault, decode, encode};

/// A function of one real number, by the name between prefix and version.
pub(super) fn unary(stem: &str) -> Option<fn(f64) -> f64> {
    Some(match stem {
        "abs" => f64::abs,
        "acos" => f64::acos,
        // libm gives numbers for some below 1.
        "acosh" => |x| if x < 1.0 { f64::NAN } else { libm::acosh(x) },
        "asin" => f64::asin,
        "asinh" => libm::asinh,
        "atan" => f64::atan,
        "atanh" => libm::atanh,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        "erf" => libm::erf,
        "exp" => f64::exp,
        "log" => f64::ln,
        "sqrt" => f64::sqrt,
        // −0 gives −inf, as the CPU runtime does.
        "rsqrt" => |x| 1.0 / x.sqrt(),
        "round" => f64::round_ties_even,
        // −0 stays and NaN propagates.
        "relu" => |x| if x < 0.0 { 0.0 } else { x },
        "sigmoid" => sigmoid,
        "silu" => |x| x * sigmoid(x),
        _ => return None,
    })
}

/// GELU by the value of its `approximate` attribute.
pub(super) fn gelu(approximate: u64) -> Option<fn(f64) -> f64> {
    Some(match approximate {
        0 => |x| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        1 => |x| {
            let root = (2.0 / std::f64::consts::PI).sqrt();
            0.5 * x * (1.0 + (root * (x + 0.044715 * x * x * x)).tanh())
        },
        2 => |x| x * sigmoid(1.702 * x),
        _ => return None,
    })
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A function of two real numbers whose result has the operands' type `element`.
pub(super) fn binary(stem: &str, element: ElementType) -> Option<Box<dyn Fn(f64, f64) -> f64>> {
    let plain: fn(f64, f64) -> f64 = match stem {
        "add" => |x, y| x + y,
        "sub" => |x, y| x - y,
        "mul" => |x, y| x * y,
        "divide" => |x, y| x / y,
        "modulo" => |x, y| x % y,
        "pow" => f64::powf,
        "maximum" => maximum,
        "minimum" => minimum,
        // As the CPU runtime has it: the quotient is a number of the type (float32 for float16) before
        // it is rounded down, and an infinite dividend gives NaN unless the divisor is 0.
        "floor_divide" => {
            let quotient = if element == ElementType::F16 { ElementType::F32 } else { element };
            return Some(Box::new(move |x, y| {
                let odd = x.is_infinite() && y.is_finite() && y != 0.0;
                if odd { f64::NAN } else { rounded(quotient, x / y).floor() }
            }));
        }
        _ => return None,
    };
    Some(Box::new(plain))
}

fn maximum(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() {
        f64::NAN
    } else if y > x {
        y
    } else {
        x
    }
}

fn minimum(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() {
        f64::NAN
    } else if y < x {
        y
    } else {
        x
    }
}

/// A comparison of two real numbers.
pub(super) fn comparison(stem: &str) -> Option<fn(f64, f64) -> bool> {
    Some(match stem {
        "equal" => |x, y| x == y,
        "not_equal" => |x, y| x != y,
        "greater" => |x, y| x > y,
        _ => return None,
    })
}

/// The nearest value of a float type, ties to even.
pub(super) fn rounded(element: ElementType, value: f64) -> f64 {
    match element {
        ElementType::F64 => value,
        ElementType::F32 | ElementType::TF32 => f64::from(value as f32),
        _ => match encode(element, &[], &Elements::Real(vec![value])).and_then(|a| decode(&a)) {
            Ok(Elements::Real(values)) => values.first().copied().unwrap_or(value),
            _ => value,
        },
    }
}

/// The number of elements of a range.
pub(super) fn range(start: f64, stop: f64, step: f64) -> Result<usize, Fault> {
    let count = ((stop - start) / step).ceil();
    if step == 0.0 || !count.is_finite() {
        return Err(Fault::Program(format!("a range from {start} to {stop} by {step}")));
    }
    Ok(count.max(0.0) as usize)
}
