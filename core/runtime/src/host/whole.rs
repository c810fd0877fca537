//! Elementwise functions of integers and bool. 64-bit ones are the widest: narrower results wrap
//! when they are encoded.

use coreai_asset::ElementType;

/// A function of one integer of type `element`.
pub(super) fn unary(stem: &str, element: ElementType) -> Option<fn(i64) -> i64> {
    Some(match stem {
        // The most negative number has no opposite and stays.
        "abs" if element.is_signed_integer() => i64::wrapping_abs,
        "relu" if element.is_signed_integer() => |x| x.max(0),
        "abs" | "relu" | "round" if element.is_integer() => |x| x,
        "not" => |x| i64::from(x == 0),
        _ => return None,
    })
}

/// A function of two integers of type `element` with a result of that type. Division by zero gives 0.
pub(super) fn binary(stem: &str, element: ElementType) -> Option<fn(i64, i64) -> i64> {
    if element == ElementType::Bool {
        return Some(match stem {
            "add" | "bitwise_or" | "logical_or" => |x, y| x | y,
            "mul" | "bitwise_and" | "logical_and" => |x, y| x & y,
            "bitwise_xor" | "logical_xor" => |x, y| x ^ y,
            "maximum" => i64::max,
            "minimum" => i64::min,
            _ => return None,
        });
    }
    // Narrower unsigned types are non-negative as i64; the signed functions serve them too.
    let wide = element == ElementType::UI64;
    Some(match stem {
        "add" => i64::wrapping_add,
        "sub" => i64::wrapping_sub,
        "mul" => i64::wrapping_mul,
        "divide" | "floor_divide" if wide => |x, y| (x as u64).checked_div(y as u64).unwrap_or(0) as i64,
        "divide" => |x, y| if y == 0 { 0 } else { x.wrapping_div(y) },
        "floor_divide" => |x, y| match y {
            0 => 0,
            _ => x.wrapping_div(y).wrapping_sub(i64::from(x.wrapping_rem(y) != 0 && (x < 0) != (y < 0))),
        },
        "modulo" if wide => |x, y| (x as u64).checked_rem(y as u64).unwrap_or(0) as i64,
        "modulo" => |x, y| if y == 0 { 0 } else { x.wrapping_rem(y) },
        "pow" if wide => |x, y| power(x, y as u64),
        "pow" => |x, y| u64::try_from(y).map_or(0, |y| power(x, y)),
        "maximum" if wide => |x, y| (x as u64).max(y as u64) as i64,
        "minimum" if wide => |x, y| (x as u64).min(y as u64) as i64,
        "maximum" => i64::max,
        "minimum" => i64::min,
        "bitwise_and" => |x, y| x & y,
        "bitwise_or" => |x, y| x | y,
        "bitwise_xor" => |x, y| x ^ y,
        _ => return None,
    })
}

/// A comparison of two integers of type `element`.
pub(super) fn comparison(stem: &str, element: ElementType) -> Option<fn(i64, i64) -> bool> {
    Some(match stem {
        "equal" => |x, y| x == y,
        "not_equal" => |x, y| x != y,
        "greater" if element == ElementType::UI64 => |x, y| x as u64 > y as u64,
        "greater" => |x, y| x > y,
        _ => return None,
    })
}

/// Power modulo 2^64, by squaring.
fn power(base: i64, mut exponent: u64) -> i64 {
    let (mut square, mut result) = (base, 1i64);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        exponent >>= 1;
    }
    result
}

/// The value that an element of type `element` has after the result wrapped.
pub(super) fn wrapped(element: ElementType, v: i64) -> i64 {
    let spare = 64u32.saturating_sub(element.bits());
    match element {
        ElementType::Bool => i64::from(v != 0),
        e if e.is_signed_integer() => v << spare >> spare,
        _ => ((v as u64) << spare >> spare) as i64,
    }
}

/// Least and greatest value of an integer type or bool.
pub(super) fn limits(element: ElementType) -> (i128, i128) {
    let bits = element.bits();
    match element {
        ElementType::Bool => (0, 1),
        e if e.is_signed_integer() => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        _ => (0, (1 << bits) - 1),
    }
}

/// The number that an element of type `element` stands for.
pub(super) fn value(element: ElementType, bits: i64) -> i128 {
    if element == ElementType::UI64 { i128::from(bits as u64) } else { i128::from(bits) }
}
