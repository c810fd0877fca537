//! The one table of tolerances, and comparison by it.

use coreai::{ElementType, NDArray};

use crate::case::Case;

/// How far a result may be from the recorded one, relative to the largest recorded magnitude.
/// float32: rounding order of sums. float16, bfloat16: the bounds of the corpus' README.
pub fn relative_bound(element: ElementType) -> f64 {
    match element {
        ElementType::F32 => 2e-5,
        ElementType::F16 => 1e-2,
        ElementType::BF16 => 4e-2,
        _ => 0.0,
    }
}

/// Elements as f64.
pub fn values(array: &NDArray) -> Vec<f64> {
    let d = &array.data;
    let two = |b: &[u8]| u16::from_le_bytes([b[0], b[1]]);
    let four = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    match array.element {
        ElementType::F32 => d.chunks_exact(4).map(|b| f64::from(f32::from_bits(four(b)))).collect(),
        ElementType::F16 => d.chunks_exact(2).map(|b| half::f16::from_bits(two(b)).to_f64()).collect(),
        ElementType::BF16 => d.chunks_exact(2).map(|b| half::bf16::from_bits(two(b)).to_f64()).collect(),
        ElementType::SI32 => d.chunks_exact(4).map(|b| f64::from(four(b) as i32)).collect(),
        ElementType::UI32 => d.chunks_exact(4).map(|b| f64::from(four(b))).collect(),
        ElementType::SI16 => d.chunks_exact(2).map(|b| f64::from(two(b) as i16)).collect(),
        ElementType::UI16 => d.chunks_exact(2).map(|b| f64::from(two(b))).collect(),
        ElementType::SI8 => d.iter().map(|b| f64::from(*b as i8)).collect(),
        _ => d.iter().map(|b| f64::from(*b)).collect(),
    }
}

/// Peak signal-to-noise ratio in dB: peak is the reference's largest magnitude.
pub fn psnr(found: &[f64], expected: &[f64]) -> f64 {
    let peak = expected.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let square: f64 = found.iter().zip(expected).map(|(a, b)| (a - b) * (a - b)).sum();
    let mse = square / expected.len().max(1) as f64;
    if mse == 0.0 { f64::INFINITY } else { 10.0 * (peak * peak / mse).log10() }
}

/// Compares a result with the recorded one. `rounding` is the coarsest float type of the program:
/// a float32 output of a float16 program is float16-exact.
pub fn check(
    case: &Case,
    name: &str,
    found: &NDArray,
    expected: &NDArray,
    rounding: ElementType,
) -> Result<(), String> {
    if found.element != expected.element || found.shape != expected.shape {
        return Err(format!(
            "{name}: {} {:?}, expected {} {:?}",
            found.element.name(),
            found.shape,
            expected.element.name(),
            expected.shape
        ));
    }
    let (a, b) = (values(found), values(expected));
    let own = b.iter().filter(|x| x.is_finite()).fold(0.0f64, |m, x| m.max(x.abs()));
    let peak = case.deviation.as_ref().and_then(|d| d.ref_max).unwrap_or(0.0).max(own);
    let bound = relative_bound(expected.element).max(if expected.element == ElementType::F32 {
        relative_bound(rounding)
    } else {
        0.0
    });
    let test = case.tolerance.as_ref();
    let atol = test.and_then(|t| t.atol).unwrap_or(0.0).max(bound * peak);
    let rtol = test.and_then(|t| t.rtol).unwrap_or(0.0);
    for (i, (x, y)) in a.iter().zip(&b).enumerate() {
        let same = x == y || (x.is_nan() && y.is_nan());
        let float = matches!(expected.element, ElementType::F32 | ElementType::F16 | ElementType::BF16);
        let near = float && (x - y).abs() <= atol + rtol * y.abs();
        if !same && !near {
            return Err(format!(
                "{name}[{i}]: {x}, expected {y} (allowed {:.3e}; {:.1} dB over all)",
                atol + rtol * y.abs(),
                psnr(&a, &b)
            ));
        }
    }
    Ok(())
}
