//! Elementwise ops: a domain's function over whole tensors, with and without broadcasting.

use coreai_asset::ElementType;

use super::movement::broadcast_to;
use super::operands::{broadcast, choice, count, exactly, made, result, width};
use super::{Call, Elements, Eval, Fault, cast, complex, decode, encode, real, whole};
use crate::ndarray::NDArray;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] = &[
    (
        &[
            "primitive.abs_v1",
            "primitive.acos_v1",
            "primitive.acosh_v1",
            "primitive.asin_v1",
            "primitive.asinh_v1",
            "primitive.atan_v1",
            "primitive.atanh_v1",
            "primitive.cos_v1",
            "primitive.cosh_v1",
            "primitive.sin_v1",
            "primitive.sinh_v1",
            "primitive.tan_v1",
            "primitive.tanh_v1",
            "primitive.erf_v1",
            "primitive.exp_v1",
            "primitive.log_v1",
            "primitive.sqrt_v1",
            "primitive.rsqrt_v1",
            "primitive.round_v1",
            "primitive.not_v1",
            "primitive.gelu_v1",
            "relu_v1",
            "sigmoid_v1",
            "silu_v1",
        ],
        unary,
    ),
    (
        &[
            "primitive.add_v1",
            "primitive.sub_v1",
            "primitive.mul_v1",
            "primitive.divide_v1",
            "primitive.floor_divide_v1",
            "primitive.modulo_v1",
            "primitive.pow_v1",
            "primitive.maximum_v1",
            "primitive.minimum_v1",
            "primitive.equal_v1",
            "primitive.not_equal_v1",
            "primitive.greater_v1",
            "primitive.bitwise_and_v1",
            "primitive.bitwise_or_v1",
            "primitive.bitwise_xor_v1",
            "primitive.logical_and_v1",
            "primitive.logical_or_v1",
            "primitive.logical_xor_v1",
        ],
        binary,
    ),
    (
        &[
            "broadcasting_add_v1",
            "broadcasting_sub_v1",
            "broadcasting_mul_v1",
            "broadcasting_divide_v1",
            "broadcasting_floor_divide_v1",
            "broadcasting_modulo_v1",
            "broadcasting_pow_v1",
            "broadcasting_maximum_v1",
            "broadcasting_minimum_v1",
            "broadcasting_equal_v1",
            "broadcasting_not_equal_v1",
            "broadcasting_greater_v1",
            "broadcasting_bitwise_and_v1",
            "broadcasting_bitwise_or_v1",
            "broadcasting_bitwise_xor_v1",
            "broadcasting_logical_and_v1",
            "broadcasting_logical_or_v1",
            "broadcasting_logical_xor_v1",
        ],
        broadcasting_binary,
    ),
    (&["primitive.where_v1"], choose),
    (&["broadcasting_where_v1"], broadcasting_choose),
    (&["primitive.cast_v1"], cast::cast),
    (&["primitive.create_complex_v1"], complex::create),
    (&["primitive.real_part_v1", "primitive.imaginary_part_v1"], complex::part),
];

/// `add` of `primitive.add_v1` and of `broadcasting_add_v1`.
fn stem(name: &str) -> &str {
    let name = name.strip_prefix("primitive.").or_else(|| name.strip_prefix("broadcasting_")).unwrap_or(name);
    name.rsplit_once("_v").map_or(name, |(stem, _)| stem)
}

fn lacking(call: &Call, element: ElementType) -> Fault {
    Fault::Unsupported(format!("{} of {element}", call.name))
}

fn unary(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x] = exactly(call, inputs)?;
    let (element, name) = (x.element, stem(call.name));
    let lacking = || lacking(call, element);
    if result(call, 0)? != element {
        return Err(lacking());
    }
    count(element, &x.shape)?;
    let elements = match decode(x)? {
        Elements::Real(mut values) => {
            let function = match name {
                "gelu" => real::gelu(choice(call, "approximate", 0)?),
                _ => real::unary(name),
            };
            let function = function.ok_or_else(lacking)?;
            values.iter_mut().for_each(|v| *v = function(*v));
            Elements::Real(values)
        }
        Elements::Int(mut values) => {
            let function = whole::unary(name, element).ok_or_else(lacking)?;
            values.iter_mut().for_each(|v| *v = function(*v));
            Elements::Int(values)
        }
        Elements::Complex(mut values) => {
            let function = complex::unary(name).ok_or_else(lacking)?;
            values.iter_mut().for_each(|v| *v = function(*v));
            Elements::Complex(values)
        }
    };
    Ok(vec![encode(element, &x.shape, &elements)?])
}

fn broadcasting_binary(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, y] = exactly(call, inputs)?;
    let shape = broadcast(&x.shape, &y.shape)?;
    let stretched = [broadcast_to(x, &shape)?, broadcast_to(y, &shape)?];
    binary(call, &[&stretched[0], &stretched[1]])
}

fn binary(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, y] = exactly(call, inputs)?;
    if x.shape != y.shape {
        return Err(Fault::Program(format!("{} of shapes {:?} and {:?}", call.name, x.shape, y.shape)));
    }
    if x.element != y.element {
        return Err(Fault::Program(format!("{} of {} and {}", call.name, x.element, y.element)));
    }
    let to = result(call, 0)?;
    count(to, &x.shape)?;
    Ok(vec![encode(to, &x.shape, &combined(call, x.element, to, decode(x)?, decode(y)?)?)?])
}

/// The op on two equally long lists of elements of type `element`.
fn combined(
    call: &Call,
    element: ElementType,
    to: ElementType,
    x: Elements,
    y: Elements,
) -> Result<Elements, Fault> {
    let name = stem(call.name);
    let lacking = || lacking(call, element);
    if matches!(name, "equal" | "not_equal" | "greater") {
        if to != ElementType::Bool {
            return Err(Fault::Program(format!("{} with a {to} result", call.name)));
        }
        return Ok(Elements::Int(match (x, y) {
            (Elements::Real(x), Elements::Real(y)) => {
                let function = real::comparison(name).ok_or_else(lacking)?;
                x.iter().zip(&y).map(|(x, y)| i64::from(function(*x, *y))).collect()
            }
            (Elements::Int(x), Elements::Int(y)) => {
                let function = whole::comparison(name, element).ok_or_else(lacking)?;
                x.iter().zip(&y).map(|(x, y)| i64::from(function(*x, *y))).collect()
            }
            (Elements::Complex(x), Elements::Complex(y)) if name != "greater" => {
                x.iter().zip(&y).map(|(x, y)| i64::from((x == y) == (name == "equal"))).collect()
            }
            _ => return Err(lacking()),
        }));
    }
    if to != element {
        return Err(Fault::Program(format!("{} of {element} with a {to} result", call.name)));
    }
    Ok(match (x, y) {
        (Elements::Real(mut x), Elements::Real(y)) => {
            let function = real::binary(name, element).ok_or_else(lacking)?;
            x.iter_mut().zip(&y).for_each(|(x, y)| *x = function(*x, *y));
            Elements::Real(x)
        }
        (Elements::Int(mut x), Elements::Int(y)) => {
            let function = whole::binary(name, element).ok_or_else(lacking)?;
            x.iter_mut().zip(&y).for_each(|(x, y)| *x = function(*x, *y));
            Elements::Int(x)
        }
        (Elements::Complex(mut x), Elements::Complex(y)) => {
            let function = complex::binary(name).ok_or_else(lacking)?;
            x.iter_mut().zip(&y).for_each(|(x, y)| *x = function(*x, *y));
            Elements::Complex(x)
        }
        _ => return Err(lacking()),
    })
}

fn broadcasting_choose(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [condition, a, b] = exactly(call, inputs)?;
    let shape = broadcast(&broadcast(&condition.shape, &a.shape)?, &b.shape)?;
    let stretched = [broadcast_to(condition, &shape)?, broadcast_to(a, &shape)?, broadcast_to(b, &shape)?];
    choose(call, &stretched.each_ref())
}

/// `where`, on bytes.
fn choose(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [condition, a, b] = exactly(call, inputs)?;
    if condition.shape != a.shape || a.shape != b.shape {
        let shapes = [&condition.shape, &a.shape, &b.shape];
        return Err(Fault::Program(format!("{} of shapes {shapes:?}", call.name)));
    }
    let element = result(call, 0)?;
    if condition.element != ElementType::Bool || a.element != element || b.element != element {
        let reason =
            format!("{} of {}, {} and {} as {element}", call.name, condition.element, a.element, b.element);
        return Err(Fault::Program(reason));
    }
    let w = width(element);
    let pairs = a.data.chunks_exact(w).zip(b.data.chunks_exact(w));
    let mut data = Vec::with_capacity(a.data.len());
    for (c, (a, b)) in condition.data.iter().zip(pairs) {
        data.extend_from_slice(if *c != 0 { a } else { b });
    }
    made(element, a.shape.clone(), data)
}
