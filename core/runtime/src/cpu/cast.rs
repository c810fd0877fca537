//! Conversions between element types (`OPSET` §11) and rounding.

use coreai_asset::ElementType;

use crate::step::{Kind, Round};

use super::simd;

/// Least and greatest value of an integer type as its 32-bit kind holds them.
fn range(element: ElementType) -> Option<(i64, i64)> {
    use ElementType as E;
    Some(match element {
        E::SI64 | E::SI32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        E::SI16 => (-32768, 32767),
        E::SI8 => (-128, 127),
        E::SI4 => (-8, 7),
        E::SI2 => (-2, 1),
        E::UI64 | E::UI32 => (0, i64::from(u32::MAX)),
        E::UI16 => (0, 65535),
        E::UI8 => (0, 255),
        E::UI6 => (0, 63),
        E::UI4 => (0, 15),
        E::UI3 => (0, 7),
        E::UI2 => (0, 3),
        E::UI1 => (0, 1),
        _ => return None,
    })
}

/// Converts words of kind `from` to `to`.
pub(super) fn cast(from: Kind, to: ElementType, input: &[u32], out: &mut [u32]) {
    if to == ElementType::Bool {
        for (o, &x) in out.iter_mut().zip(input) {
            *o = u32::from(if from == Kind::F32 { f32::from_bits(x) != 0.0 } else { x != 0 });
        }
    } else if let Some((low, high)) = range(to) {
        for (o, &x) in out.iter_mut().zip(input) {
            let value = match from {
                // Float to integer conversion saturates and sends NaN to 0.
                Kind::F32 => f32::from_bits(x) as i64,
                Kind::I32 => i64::from(x as i32),
                Kind::U32 | Kind::Bool => i64::from(x),
            };
            *o = value.clamp(low, high) as u32;
        }
    } else {
        for (o, &x) in out.iter_mut().zip(input) {
            let value = match from {
                Kind::F32 => f32::from_bits(x),
                Kind::I32 => x as i32 as f32,
                Kind::U32 | Kind::Bool => x as f32,
            };
            *o = small_float(to, value).to_bits();
        }
    }
}

/// Wraps a 32-bit integer to a narrower type.
pub(super) fn wrap(to: ElementType, input: &[u32], out: &mut [u32]) {
    use ElementType as E;
    let (bits, signed) = match to {
        E::SI16 => (16, true),
        E::SI8 => (8, true),
        E::SI4 => (4, true),
        E::SI2 => (2, true),
        E::UI16 => (16, false),
        E::UI8 => (8, false),
        E::UI6 => (6, false),
        E::UI4 => (4, false),
        E::UI3 => (3, false),
        E::UI2 => (2, false),
        E::UI1 | E::Bool => (1, false),
        _ => (32, false),
    };
    let shift = 32 - bits;
    for (o, &x) in out.iter_mut().zip(input) {
        *o = if signed { (((x << shift) as i32) >> shift) as u32 } else { (x << shift) >> shift };
    }
}

/// Rounds to a float type of at most 8 bits; wider types keep the value, since results are rounded
/// where they are materialized.
fn small_float(to: ElementType, x: f32) -> f32 {
    match to {
        ElementType::F8E5M2 => round_to(x, 2, -14, 57344.0, f32::INFINITY),
        ElementType::F8E4M3FN => round_to(x, 3, -6, 448.0, f32::NAN),
        // Has no NaN.
        ElementType::F4E2M1FN if x.is_nan() => 0.0,
        ElementType::F4E2M1FN => round_to(x, 1, 0, 6.0, 6.0),
        ElementType::F8E8M0FN => power_of_two(x),
        _ => x,
    }
}

/// Nearest even with `mantissa` fraction bits and least normal exponent `least`; magnitudes above `max`
/// become `beyond`, also those that rounding would bring back to `max`.
fn round_to(x: f32, mantissa: i32, least: i32, max: f32, beyond: f32) -> f32 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.abs() > max {
        return beyond.copysign(x);
    }
    let exponent = ((x.to_bits() >> 23 & 0xff) as i32 - 127).max(least);
    let unit = 2f64.powi(exponent - mantissa);
    ((f64::from(x) / unit).round_ties_even() * unit) as f32
}

/// Nearest power of two, ties to the larger. Negative numbers and those below 2^-126 give 2^-127, the
/// least; zero and what is not finite give NaN.
fn power_of_two(x: f32) -> f32 {
    if x == 0.0 || !x.is_finite() {
        return f32::NAN;
    }
    let (bits, least) = (x.to_bits(), 0x40_0000);
    if x < f32::MIN_POSITIVE {
        return f32::from_bits(least);
    }
    f32::from_bits(((bits + 0x40_0000) & 0x7f80_0000).min(0x7f00_0000))
}

/// Rounds floats in place.
pub(super) fn round(values: &mut [u32], round: Round) {
    match round {
        Round::None => {}
        Round::F16 => simd::round_f16(bytemuck::cast_slice_mut(values)),
        Round::BF16 => {
            for value in values {
                *value = u32::from(half::bf16::from_f32(f32::from_bits(*value)).to_bits()) << 16;
            }
        }
    }
}
