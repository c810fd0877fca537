//! Comparing a result with the recorded one.

use coreai::{Elements, NDArray};
use serde::Serialize;

use super::tolerance::Allowed;

/// An element that differs too much.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bad {
    /// Index along every axis.
    pub index: Vec<usize>,
    /// What was computed.
    pub found: String,
    /// What was recorded.
    pub expected: String,
    /// Largest difference allowed there; 0 asks for equality.
    pub allowed: f64,
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}, expected {}", self.index, self.found, self.expected)?;
        if self.allowed > 0.0 { write!(f, " (±{:.2e})", self.allowed) } else { Ok(()) }
    }
}

/// How two tensors differ. Of complex tensors each part counts as a value.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Largest difference of finite values.
    pub max_abs: f64,
    /// The same, relative to the largest finite recorded magnitude.
    pub max_rel: f64,
    /// Peak signal-to-noise ratio in dB; infinite for equal tensors.
    pub psnr: f64,
    /// Elements out of bounds, less the excused ones.
    pub bad: usize,
    /// Elements out of bounds that are excused.
    pub excused: usize,
    /// The first one that is not excused.
    pub first: Option<Bad>,
}

/// Elements as float64; integers beyond 53 bits are rounded, complex ones become two values.
pub fn values(array: &NDArray) -> Vec<f64> {
    match array.elements() {
        Ok(Elements::Real(values)) => values,
        Ok(Elements::Int(values)) => values.into_iter().map(|x| x as f64).collect(),
        Ok(Elements::Complex(values)) => values.into_flattened(),
        Err(_) => vec![],
    }
}

/// Largest finite magnitude.
pub(super) fn peak(values: &[f64]) -> f64 {
    values.iter().filter(|x| x.is_finite()).fold(0.0, |m, x| m.max(x.abs()))
}

/// Largest difference of two tensors; infinite where only one side is finite, 0 where both are the
/// same non-finite value.
pub(super) fn distance(a: &[f64], b: &[f64]) -> f64 {
    let differ = |(x, y): (&f64, &f64)| if same(*x, *y) { 0.0 } else { finite((x - y).abs()) };
    a.iter().zip(b).map(differ).fold(0.0, f64::max)
}

fn finite(x: f64) -> f64 {
    if x.is_nan() { f64::INFINITY } else { x }
}

fn same(x: f64, y: f64) -> bool {
    x == y || x.is_nan() && y.is_nan()
}

/// Peak signal-to-noise ratio in dB: peak is the reference's largest magnitude. Pairs that are the
/// same without being finite count as equal.
pub fn psnr(found: &[f64], expected: &[f64]) -> f64 {
    let square = |(a, b): (&f64, &f64)| if same(*a, *b) { 0.0 } else { (a - b) * (a - b) };
    let sum: f64 = found.iter().zip(expected).map(square).sum();
    let mse = sum / expected.len().max(1) as f64;
    let peak = peak(expected);
    if mse == 0.0 {
        f64::INFINITY
    } else if mse.is_finite() {
        10.0 * (peak * peak / mse).log10()
    } else {
        f64::NEG_INFINITY
    }
}

/// Compares tensors of equal type and shape. `excused` tells which indices may differ.
pub fn compare(
    found: &NDArray,
    expected: &NDArray,
    allowed: &Allowed,
    excused: &dyn Fn(&[usize]) -> bool,
) -> Comparison {
    let (a, b) = (values(found), values(expected));
    let width = if expected.element.is_complex() { 2 } else { 1 };
    // float64 cannot tell large integers apart.
    let wide = matches!(expected.element.bits(), 64) && expected.element.is_integer();
    let equal_bytes = |i: usize| found.data.get(8 * i..8 * i + 8) == expected.data.get(8 * i..8 * i + 8);
    let mut result =
        Comparison { max_abs: 0.0, max_rel: 0.0, psnr: psnr(&a, &b), bad: 0, excused: 0, first: None };
    // Elements that cannot be told are not equal.
    let count = expected.len() * width;
    if a.len() != count || b.len() != count {
        return Comparison { psnr: f64::NEG_INFINITY, bad: count.max(1), ..result };
    }
    let mut last = None;
    for (i, (x, y)) in a.iter().zip(&b).enumerate() {
        let difference = (x - y).abs();
        if difference.is_finite() {
            result.max_abs = result.max_abs.max(difference);
        }
        let limit = allowed.absolute + allowed.relative * y.abs();
        let equal = if wide { equal_bytes(i) } else { same(*x, *y) };
        // Beside a recorded infinity the relative bound is infinite as well.
        let near = limit > 0.0 && difference.is_finite() && difference <= limit;
        if equal || near || last == Some(i / width) {
            continue;
        }
        last = Some(i / width);
        let index = unravel(i / width, &expected.shape);
        if excused(&index) {
            result.excused += 1;
            continue;
        }
        result.bad += 1;
        if result.first.is_none() {
            let at = i / width * width;
            let (found, expected) = (text(&a, at, width), text(&b, at, width));
            result.first = Some(Bad { index, found, expected, allowed: limit });
        }
    }
    let peak = peak(&b);
    result.max_rel = if peak > 0.0 { result.max_abs / peak } else { result.max_abs };
    result
}

fn text(values: &[f64], at: usize, width: usize) -> String {
    match values.get(at..at + width) {
        Some([re, im]) => format!("{re}{im:+}i"),
        Some([x]) => x.to_string(),
        _ => String::new(),
    }
}

fn unravel(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (i, extent) in index.iter_mut().zip(shape).rev() {
        *i = flat % (*extent).max(1);
        flat /= (*extent).max(1);
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use coreai::ElementType;

    const EXACT: Allowed = Allowed { absolute: 0.0, relative: 0.0, wide: false };

    fn floats(values: &[f32]) -> NDArray {
        NDArray::from_f32(&[1, values.len()], values).unwrap()
    }

    fn near(absolute: f64) -> Allowed {
        Allowed { absolute, ..EXACT }
    }

    #[test]
    fn the_first_bad_element_is_named() {
        let c = compare(&floats(&[1.0, 2.5, 4.0]), &floats(&[1.0, 2.0, 3.0]), &near(0.1), &|_| false);
        assert_eq!((c.bad, c.max_abs, c.max_rel), (2, 1.0, 1.0 / 3.0));
        assert_eq!(c.first.unwrap().to_string(), "[0, 1]: 2.5, expected 2 (±1.00e-1)");
        let c = compare(&floats(&[1.05, 2.0]), &floats(&[1.0, 2.0]), &near(0.1), &|_| false);
        assert_eq!((c.bad, c.first), (0, None));
        assert!((c.psnr - 10.0 * (4.0f64 / (0.05f64 * 0.05 / 2.0)).log10()).abs() < 0.01);
    }

    #[test]
    fn excused_elements_are_counted_apart() {
        let excuse = |index: &[usize]| index == [0, 0];
        let c = compare(&floats(&[9.0, 9.0]), &floats(&[1.0, 2.0]), &EXACT, &excuse);
        assert_eq!((c.bad, c.excused, c.first.unwrap().index), (1, 1, vec![0, 1]));
    }

    #[test]
    fn what_is_not_finite_must_be_the_same() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let c = compare(&floats(&[nan, inf, -inf]), &floats(&[nan, inf, -inf]), &near(1.0), &|_| false);
        assert_eq!((c.bad, c.psnr), (0, f64::INFINITY));
        for (x, y) in [(nan, 1.0), (1.0, nan), (inf, -inf), (inf, 1.0), (1.0, inf)] {
            let c = compare(&floats(&[x]), &floats(&[y]), &near(1e9), &|_| false);
            assert_eq!(c.bad, 1, "{x} {y}");
        }
        let c = compare(&floats(&[1.0]), &floats(&[inf]), &Allowed { relative: 0.1, ..EXACT }, &|_| false);
        assert_eq!(c.bad, 1);
    }

    #[test]
    fn integers_are_compared_exactly() {
        let large = |x: i64| NDArray::new(ElementType::SI64, vec![1], x.to_le_bytes().to_vec()).unwrap();
        let c = compare(&large((1 << 60) + 1), &large(1 << 60), &EXACT, &|_| false);
        assert_eq!(c.bad, 1);
    }

    #[test]
    fn complex_elements_count_once() {
        let pair = |re: f64, im: f64| {
            NDArray::from_elements(ElementType::ComplexF32, &[1], &Elements::Complex(vec![[re, im]])).unwrap()
        };
        let c = compare(&pair(1.0, 2.0), &pair(3.0, 4.0), &EXACT, &|_| false);
        assert_eq!((c.bad, c.first.unwrap().found.as_str()), (1, "1+2i"));
    }
}
