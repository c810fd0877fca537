//! Tensor elements as float64, 64-bit integers or complex pairs.

use coreai_asset::ElementType;
use half::{bf16, f16};

use super::Fault;
use crate::ndarray::NDArray;

/// Elements in the evaluator's number domains, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// Every real float type, exactly.
    Real(Vec<f64>),
    /// Integers and bool (0 or 1), sign- or zero-extended; `ui64` as its bit pattern.
    Int(Vec<i64>),
    /// Real and imaginary part.
    Complex(Vec<[f64; 2]>),
}

/// Magnitudes of 4-bit E2M1 codes.
pub const E2M1: [f64; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// All elements of a tensor.
pub fn decode(array: &NDArray) -> Result<Elements, Fault> {
    let d = &array.data;
    if let Some(part) = array.element.complex_part() {
        let flat = reals(part, d).ok_or_else(|| unsupported(array.element))?;
        return Ok(Elements::Complex(flat.chunks_exact(2).map(|p| [p[0], p[1]]).collect()));
    }
    if let Some(values) = reals(array.element, d) {
        return Ok(Elements::Real(values));
    }
    integers(array.element, d).map(Elements::Int).ok_or_else(|| unsupported(array.element))
}

fn unsupported(element: ElementType) -> Fault {
    Fault::Unsupported(format!("{} values", element.name()))
}

/// Dense little-endian real floats as float64; `None` for other types.
pub fn reals(element: ElementType, d: &[u8]) -> Option<Vec<f64>> {
    use ElementType::*;
    let two = |b: &[u8]| u16::from_le_bytes([b[0], b[1]]);
    Some(match element {
        F64 => d.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        F32 | TF32 => d.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        F16 => d.chunks_exact(2).map(|b| f16::from_bits(two(b)).to_f64()).collect(),
        BF16 => d.chunks_exact(2).map(|b| bf16::from_bits(two(b)).to_f64()).collect(),
        F8E5M2 => d.iter().map(|b| small_float(*b, 5, 2, false)).collect(),
        F8E4M3FN => d.iter().map(|b| small_float(*b, 4, 3, true)).collect(),
        F8E8M0FN => {
            d.iter().map(|b| if *b == 255 { f64::NAN } else { (f64::from(*b) - 127.0).exp2() }).collect()
        }
        F4E2M1FN => {
            let value = |b: &u8| {
                let m = E2M1[usize::from(b & 7)];
                if b & 8 != 0 { -m } else { m }
            };
            d.iter().map(value).collect()
        }
        _ => return None,
    })
}

fn integers(element: ElementType, d: &[u8]) -> Option<Vec<i64>> {
    use ElementType::*;
    let two = |b: &[u8]| u16::from_le_bytes([b[0], b[1]]);
    Some(match element {
        SI64 | UI64 => d.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
        SI32 => d.as_chunks::<4>().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect(),
        UI32 => d.as_chunks::<4>().0.iter().map(|b| i64::from(u32::from_le_bytes(*b))).collect(),
        SI16 => d.chunks_exact(2).map(|b| i64::from(two(b) as i16)).collect(),
        UI16 => d.chunks_exact(2).map(|b| i64::from(two(b))).collect(),
        SI8 => d.iter().map(|b| i64::from(*b as i8)).collect(),
        SI4 | SI2 => {
            let shift = 64 - element.bits();
            d.iter().map(|b| i64::from(*b) << shift >> shift).collect()
        }
        UI8 => d.iter().map(|b| i64::from(*b)).collect(),
        UI6 | UI4 | UI3 | UI2 | UI1 => {
            let mask = (1i64 << element.bits()) - 1;
            d.iter().map(|b| i64::from(*b) & mask).collect()
        }
        Bool => d.iter().map(|b| i64::from(*b != 0)).collect(),
        _ => return None,
    })
}

/// A tensor of `element` from elements of its domain: floats round to nearest even (once, from
/// float64), integers wrap to their width, bool is `!= 0`. Other domains are an error: casting is an op.
pub fn encode(element: ElementType, shape: &[usize], values: &Elements) -> Result<NDArray, Fault> {
    let data = match (values, element.complex_part()) {
        (Elements::Complex(pairs), Some(part)) => {
            float_bytes(part, pairs.iter().flatten().copied()).ok_or_else(|| unsupported(element))?
        }
        (Elements::Real(values), None) => {
            float_bytes(element, values.iter().copied()).ok_or_else(|| unsupported(element))?
        }
        (Elements::Int(values), None) => int_bytes(element, values).ok_or_else(|| unsupported(element))?,
        _ => return Err(Fault::Program(format!("values of another kind for a {} result", element.name()))),
    };
    NDArray::new(element, shape.to_vec(), data).map_err(|e| Fault::Program(e.to_string()))
}

/// Real floats rounded once to nearest even; `None` for other types.
pub fn float_bytes(element: ElementType, values: impl Iterator<Item = f64>) -> Option<Vec<u8>> {
    use ElementType::*;
    Some(match element {
        F64 => values.flat_map(f64::to_le_bytes).collect(),
        F32 | TF32 => values.flat_map(|v| (v as f32).to_le_bytes()).collect(),
        F16 => values.flat_map(|v| f16::from_f32(odd_f32(v)).to_le_bytes()).collect(),
        BF16 => values.flat_map(|v| bf16::from_f32(odd_f32(v)).to_le_bytes()).collect(),
        F8E5M2 => values.map(|v| small_code(v, 5, 2, 57344.0, 0x7c)).collect(),
        F8E4M3FN => values.map(|v| small_code(v, 4, 3, 448.0, 0x7f)).collect(),
        F8E8M0FN => values.map(power_code).collect(),
        F4E2M1FN => values.map(e2m1_code).collect(),
        _ => return None,
    })
}

/// A float32 that rounds to narrower types as `value` does: an inexact one is cut off and made odd,
/// so that it is never mistaken for a tie.
fn odd_f32(value: f64) -> f32 {
    let near = value as f32;
    if value.is_nan() || f64::from(near) == value {
        return near;
    }
    let beyond = f64::from(near).abs() > value.abs();
    f32::from_bits((near.to_bits() - u32::from(beyond)) | 1)
}

fn int_bytes(element: ElementType, values: &[i64]) -> Option<Vec<u8>> {
    use ElementType::*;
    Some(match element {
        SI64 | UI64 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        SI32 | UI32 => values.iter().flat_map(|v| (*v as u32).to_le_bytes()).collect(),
        SI16 | UI16 => values.iter().flat_map(|v| (*v as u16).to_le_bytes()).collect(),
        SI8 | UI8 => values.iter().map(|v| *v as u8).collect(),
        SI4 | SI2 => {
            let shift = 64 - element.bits();
            values.iter().map(|v| (v << shift >> shift) as u8).collect()
        }
        UI6 | UI4 | UI3 | UI2 | UI1 => {
            let mask = (1i64 << element.bits()) - 1;
            values.iter().map(|v| (v & mask) as u8).collect()
        }
        Bool => values.iter().map(|v| u8::from(*v != 0)).collect(),
        _ => return None,
    })
}

/// An 8-bit float: sign, exponent, mantissa. `finite`: no infinities, all-ones is NaN (E4M3FN).
pub fn small_float(byte: u8, exponent_bits: u32, mantissa_bits: u32, finite: bool) -> f64 {
    let bias = (1i32 << (exponent_bits - 1)) - 1;
    let sign = if byte & 0x80 != 0 { -1.0 } else { 1.0 };
    let e = i32::from(byte >> mantissa_bits) & ((1 << exponent_bits) - 1);
    let m = i32::from(byte) & ((1 << mantissa_bits) - 1);
    let top = e == (1 << exponent_bits) - 1;
    let scale = f64::from(1 << mantissa_bits);
    if top && finite && m == (1 << mantissa_bits) - 1 {
        f64::NAN
    } else if top && !finite {
        if m != 0 { f64::NAN } else { sign * f64::INFINITY }
    } else if e == 0 {
        sign * (f64::from(m) / scale) * f64::from(1 - bias).exp2()
    } else {
        sign * (1.0 + f64::from(m) / scale) * f64::from(e - bias).exp2()
    }
}

/// Nearest-even code of an 8-bit float. Whatever exceeds `max` becomes `beyond` (infinity or NaN), also
/// what would round down to it: so does the CPU runtime.
fn small_code(value: f64, exponent_bits: u32, mantissa_bits: u32, max: f64, beyond: u8) -> u8 {
    let sign = if value.is_sign_negative() { 0x80 } else { 0 };
    if value.is_nan() {
        return sign | 0x7f;
    }
    let bias = (1i32 << (exponent_bits - 1)) - 1;
    let magnitude = value.abs();
    if magnitude > max {
        return sign | beyond;
    }
    if magnitude == 0.0 {
        return sign;
    }
    let exponent = ((magnitude.to_bits() >> 52) as i32 - 1023).max(1 - bias);
    let unit = f64::from(exponent - mantissa_bits as i32).exp2();
    let steps = (magnitude / unit).round_ties_even();
    // Below the least normal the implicit one is absent; rounding up into the next binade carries.
    let steps = steps as i32;
    sign | (((exponent + bias - 1) << mantissa_bits) + steps) as u8
}

/// Nearest power of two, ties to the larger. 0 has none (NaN); negative numbers become the least, as on
/// the CPU runtime.
fn power_code(value: f64) -> u8 {
    if !value.is_finite() || value == 0.0 {
        return 255;
    }
    if value < 0.0 {
        return 0;
    }
    let exponent = value.log2().floor();
    let up = f64::from(u8::from(value >= 1.5 * exponent.exp2()));
    (exponent + up + 127.0).clamp(0.0, 254.0) as u8
}

/// Nearest-even 4-bit float, saturating.
fn e2m1_code(value: f64) -> u8 {
    // NaN becomes 0.
    let magnitude = if value.abs() > 6.0 { 6.0 } else { value.abs() };
    let mut best = 0;
    for (code, m) in E2M1.iter().enumerate() {
        let (d, b) = ((magnitude - m).abs(), (magnitude - E2M1[best]).abs());
        if d < b || d == b && code % 2 == 0 {
            best = code;
        }
    }
    best as u8 | if value.is_sign_negative() { 8 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_floats_round_trip() {
        for (element, codes) in [
            (ElementType::F8E5M2, 0..=0x7bu8),
            (ElementType::F8E4M3FN, 0..=0x7e),
            (ElementType::F8E8M0FN, 0..=254),
            (ElementType::F4E2M1FN, 0..=7),
        ] {
            let data: Vec<u8> = codes.collect();
            let array = NDArray::new(element, vec![data.len()], data).unwrap();
            let values = decode(&array).unwrap();
            assert_eq!(encode(element, &array.shape, &values).unwrap(), array, "{element}");
        }
    }

    #[test]
    fn halves_round_once() {
        // Just above the tie between 1 and the next float16; float32 would round it to the tie.
        let above = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        let halves = [above, -above, 1.0 + 2f64.powi(-11), 1e300, 2f64.powi(-25), 2f64.powi(-25) * 1.001];
        let array = encode(ElementType::F16, &[6], &Elements::Real(halves.to_vec())).unwrap();
        let codes: Vec<u16> = array.data.chunks(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        assert_eq!(codes, [0x3c01, 0xbc01, 0x3c00, 0x7c00, 0, 1]);
        let above = 1.0 + 2f64.powi(-8) + 2f64.powi(-40);
        let array = encode(ElementType::BF16, &[1], &Elements::Real(vec![above])).unwrap();
        assert_eq!(array.data, [0x81, 0x3f]);
    }

    #[test]
    fn integers_wrap_and_extend() {
        let four = encode(ElementType::SI4, &[3], &Elements::Int(vec![7, 8, -9])).unwrap();
        assert_eq!(decode(&four).unwrap(), Elements::Int(vec![7, -8, 7]));
        let pair = encode(ElementType::ComplexF32, &[1], &Elements::Complex(vec![[1.5, -2.0]])).unwrap();
        assert_eq!(pair.data.len(), 8);
        assert_eq!(decode(&pair).unwrap(), Elements::Complex(vec![[1.5, -2.0]]));
    }
}
