//! Arithmetic of the evaluator's number domains, and the ranges of element types.

use coreai_asset::ElementType;

use super::Fault;
use super::operands::count;

/// An element of one domain: float64, 64-bit integers (they wrap) or a complex pair.
pub(super) trait Number: Copy {
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Sum.
    fn plus(self, other: Self) -> Self;
    /// Product.
    fn times(self, other: Self) -> Self;
}

impl Number for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;

    fn plus(self, other: f64) -> f64 {
        self + other
    }

    fn times(self, other: f64) -> f64 {
        self * other
    }
}

impl Number for i64 {
    const ZERO: i64 = 0;
    const ONE: i64 = 1;

    fn plus(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }

    fn times(self, other: i64) -> i64 {
        self.wrapping_mul(other)
    }
}

impl Number for [f64; 2] {
    const ZERO: [f64; 2] = [0.0; 2];
    const ONE: [f64; 2] = [1.0, 0.0];

    fn plus(self, other: [f64; 2]) -> [f64; 2] {
        [self[0] + other[0], self[1] + other[1]]
    }

    fn times(self, other: [f64; 2]) -> [f64; 2] {
        [self[0] * other[0] - self[1] * other[1], self[0] * other[1] + self[1] * other[0]]
    }
}

/// Runs one generic expression over two operands of the same domain: `both!(x, y, |a, b| …)`, where
/// the expression gives a `Result<Vec<_>, Fault>` of that domain.
macro_rules! both {
    ($x:expr, $y:expr, |$a:ident, $b:ident| $body:expr) => {
        match ($crate::host::decode($x)?, $crate::host::decode($y)?) {
            (Elements::Real($a), Elements::Real($b)) => Ok(Elements::Real($body?)),
            (Elements::Int($a), Elements::Int($b)) => Ok(Elements::Int($body?)),
            (Elements::Complex($a), Elements::Complex($b)) => Ok(Elements::Complex($body?)),
            _ => Err($crate::host::numbers::mixed($x.element, $y.element)),
        }
    };
}
pub(super) use both;

/// Operands of different domains.
pub(super) fn mixed(x: ElementType, y: ElementType) -> Fault {
    Fault::Program(format!("{} with {} operands", x.name(), y.name()))
}

/// Number of elements of a result whose decoded elements must not exceed the cap on results either.
pub(super) fn room(element: ElementType, shape: &[usize]) -> Result<usize, Fault> {
    let wide = if element.is_complex() { ElementType::ComplexF64 } else { ElementType::F64 };
    count(wide, shape)
}

/// Integers in an order that `i64` comparison keeps: `ui64` patterns with the top bit flipped, and
/// the same again to go back.
pub(super) fn keys(element: ElementType, mut values: Vec<i64>) -> Vec<i64> {
    if element == ElementType::UI64 {
        values.iter_mut().for_each(|v| *v ^= i64::MIN);
    }
    values
}

/// Least and greatest value of an integer type or bool, as [`keys`]; of `i64` for other types.
pub(super) fn key_range(element: ElementType) -> (i64, i64) {
    if element.bits() >= 64 || !(element.is_integer() || element == ElementType::Bool) {
        return (i64::MIN, i64::MAX);
    }
    if element == ElementType::Bool {
        return (0, 1);
    }
    match element.is_signed_integer() {
        true => (-(1 << (element.bits() - 1)), (1 << (element.bits() - 1)) - 1),
        false => (0, (1 << element.bits()) - 1),
    }
}

/// The greatest finite value of a real float type.
pub(super) fn greatest(element: ElementType) -> f64 {
    use ElementType::*;
    match element {
        F64 => f64::MAX,
        F16 => 65504.0,
        BF16 => f64::from(half::bf16::MAX),
        F8E5M2 => 57344.0,
        F8E4M3FN => 448.0,
        F8E8M0FN => 127f64.exp2(),
        F4E2M1FN => 6.0,
        _ => f64::from(f32::MAX),
    }
}

/// The greatest value of a real float type: infinity where it has one.
pub(super) fn supremum(element: ElementType) -> f64 {
    use ElementType::*;
    match element {
        F8E4M3FN | F8E8M0FN | F4E2M1FN => greatest(element),
        _ => f64::INFINITY,
    }
}

/// The larger one; NaN if either is.
pub(super) fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b || a == b { a } else { b }
}

/// The smaller one; NaN if either is.
pub(super) fn smaller(a: f64, b: f64) -> f64 {
    if a.is_nan() || a < b || a == b { a } else { b }
}

/// Integers as float64; `ui64` patterns as unsigned.
pub(super) fn real(element: ElementType, value: i64) -> f64 {
    if element == ElementType::UI64 { value as u64 as f64 } else { value as f64 }
}

/// Truncated and saturated to an integer type (NaN is 0); `ui64` as its pattern.
pub(super) fn truncated(element: ElementType, value: f64) -> i64 {
    if element == ElementType::UI64 {
        return value as u64 as i64;
    }
    let (low, high) = key_range(element);
    (value as i64).clamp(low, high)
}
