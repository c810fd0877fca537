//! Complex numbers: elementwise functions, parts.

use super::operands::{count, exactly, made, result, width};
use super::{Call, Fault};
use crate::ndarray::NDArray;

/// Real and imaginary part.
pub(super) type Pair = [f64; 2];

/// A function of one complex number.
pub(super) fn unary(stem: &str) -> Option<fn(Pair) -> Pair> {
    Some(match stem {
        "exp" => exp,
        "log" => log,
        "sin" => |z| over_i(sinh(times_i(z))),
        "cos" => |z| cosh(times_i(z)),
        "tan" => |z| over_i(tanh(times_i(z))),
        "sinh" => sinh,
        "cosh" => cosh,
        "sigmoid" => sigmoid,
        "silu" => |z| mul(z, sigmoid(z)),
        _ => return None,
    })
}

/// A function of two complex numbers.
pub(super) fn binary(stem: &str) -> Option<fn(Pair, Pair) -> Pair> {
    Some(match stem {
        "add" => |x, y| [x[0] + y[0], x[1] + y[1]],
        "sub" => |x, y| [x[0] - y[0], x[1] - y[1]],
        "mul" => mul,
        "divide" => divide,
        "pow" => pow,
        _ => return None,
    })
}

fn times_i(z: Pair) -> Pair {
    [-z[1], z[0]]
}

fn over_i(z: Pair) -> Pair {
    [z[1], -z[0]]
}

fn mul(x: Pair, y: Pair) -> Pair {
    [x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]]
}

/// x·ȳ / |y|². Parts of float32 do not overflow here; division by 0 gives NaN, as on the CPU runtime.
fn divide(x: Pair, y: Pair) -> Pair {
    let size = y[0] * y[0] + y[1] * y[1];
    [(x[0] * y[0] + x[1] * y[1]) / size, (x[1] * y[0] - x[0] * y[1]) / size]
}

/// A real factor times the direction of `angle`; an angle of 0 keeps the imaginary part 0.
fn polar(radius: f64, angle: f64) -> Pair {
    if angle == 0.0 { [radius, angle] } else { [radius * angle.cos(), radius * angle.sin()] }
}

fn exp(z: Pair) -> Pair {
    polar(z[0].exp(), z[1])
}

/// The angle of 0 is NaN, as on the CPU runtime.
fn log(z: Pair) -> Pair {
    let angle = if z == [0.0, 0.0] { f64::NAN } else { z[1].atan2(z[0]) };
    [z[0].hypot(z[1]).ln(), angle]
}

fn sinh(z: Pair) -> Pair {
    if z[1] == 0.0 {
        return [z[0].sinh(), z[1]];
    }
    [z[0].sinh() * z[1].cos(), z[0].cosh() * z[1].sin()]
}

fn cosh(z: Pair) -> Pair {
    if z[1] == 0.0 {
        return [z[0].cosh(), if z[0] == 0.0 || z[0].is_nan() { 0.0 } else { z[1] * z[0].signum() }];
    }
    [z[0].cosh() * z[1].cos(), z[0].sinh() * z[1].sin()]
}

/// (sinh 2x + i·sin 2y) / (cosh 2x + cos 2y), which tends to ±1 for large x.
fn tanh(z: Pair) -> Pair {
    let (x, y) = (2.0 * z[0], 2.0 * z[1]);
    if x.abs() > 700.0 {
        return [x.signum(), 0.0_f64.copysign(y.sin())];
    }
    let d = x.cosh() + y.cos();
    [x.sinh() / d, y.sin() / d]
}

fn sigmoid(z: Pair) -> Pair {
    let e = exp([-z[0], -z[1]]);
    divide([1.0, 0.0], [1.0 + e[0], e[1]])
}

/// e^(y·ln x); powers of 0 are NaN with its logarithm.
fn pow(x: Pair, y: Pair) -> Pair {
    exp(mul(log(x), y))
}

/// `create_complex`: real and imaginary parts side by side.
pub(super) fn create(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [re, im] = exactly(call, inputs)?;
    let element = result(call, 0)?;
    if re.shape != im.shape || element.complex_part() != Some(re.element) || re.element != im.element {
        let reason = format!(
            "{} {:?} from {} {:?} and {} {:?}",
            element, re.shape, re.element, re.shape, im.element, im.shape
        );
        return Err(Fault::Program(reason));
    }
    count(element, &re.shape)?;
    let w = width(re.element);
    let data =
        re.data.chunks_exact(w).zip(im.data.chunks_exact(w)).flat_map(|(r, i)| [r, i].concat()).collect();
    made(element, re.shape.clone(), data)
}

/// `real_part` and `imaginary_part`.
pub(super) fn part(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [z] = exactly(call, inputs)?;
    let element = result(call, 0)?;
    if z.element.complex_part() != Some(element) {
        return Err(Fault::Program(format!("a {element} part of {}", z.element)));
    }
    let w = width(element);
    let skip = if call.name.contains("imaginary") { w } else { 0 };
    let data = z.data.chunks_exact(2 * w).flat_map(|p| p[skip..skip + w].iter().copied()).collect();
    made(element, z.shape.clone(), data)
}
