//! What a tensor looks like at a glance.

use coreai::{Elements, NDArray};
use serde::Serialize;

use super::TensorError;

/// Elements shown.
const SHOWN: usize = 4;

/// Extremes, mean and first values. Of complex tensors: of the magnitudes.
#[derive(Clone, Debug, Serialize)]
pub struct Statistics {
    /// Smallest finite value.
    pub min: Option<f64>,
    /// Largest finite value.
    pub max: Option<f64>,
    /// Mean of the finite values.
    pub mean: Option<f64>,
    /// NaN and infinite elements.
    pub nonfinite: usize,
    /// The first elements as text.
    pub first: Vec<String>,
}

impl Statistics {
    /// Of a tensor.
    pub fn of(array: &NDArray) -> Result<Statistics, TensorError> {
        let elements = array.elements()?;
        let first = match &elements {
            Elements::Real(v) => v.iter().take(SHOWN).map(|x| short(*x)).collect(),
            Elements::Int(v) => v.iter().take(SHOWN).map(i64::to_string).collect(),
            Elements::Complex(v) => v
                .iter()
                .take(SHOWN)
                .map(|[re, im]| format!("{}{:+}i", short(*re), (im * 1e4).round() / 1e4))
                .collect(),
        };
        let values: Vec<f64> = match elements {
            Elements::Real(v) => v,
            Elements::Int(v) => v.iter().map(|x| *x as f64).collect(),
            Elements::Complex(v) => v.iter().map(|[re, im]| re.hypot(*im)).collect(),
        };
        let finite = || values.iter().copied().filter(|x| x.is_finite());
        let count = finite().count();
        Ok(Statistics {
            min: finite().reduce(f64::min),
            max: finite().reduce(f64::max),
            mean: (count > 0).then(|| finite().sum::<f64>() / count as f64),
            nonfinite: values.len() - count,
            first,
        })
    }
}

/// Four significant digits.
pub(crate) fn short(x: f64) -> String {
    if x == 0.0 || !x.is_finite() || (1e-3..1e6).contains(&x.abs()) {
        let digits =
            if x.fract() == 0.0 { 0 } else { (3 - x.abs().log10().floor() as i32).clamp(0, 6) as usize };
        format!("{x:.digits$}")
    } else {
        format!("{x:.3e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_finite_values() {
        let array = NDArray::from_f32(&[5], &[1.0, -2.0, f32::NAN, 4.0, f32::INFINITY]).unwrap();
        let s = Statistics::of(&array).unwrap();
        assert_eq!((s.min, s.max, s.mean, s.nonfinite), (Some(-2.0), Some(4.0), Some(1.0), 2));
        assert_eq!(s.first, ["1", "-2", "NaN", "4"]);
        let empty = Statistics::of(&NDArray::from_f32(&[0], &[]).unwrap()).unwrap();
        assert_eq!((empty.min, empty.mean), (None, None));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(0.123456), "0.1235");
        assert_eq!(short(1.0e-9), "1.000e-9");
        assert_eq!(short(1234.5678), "1235");
    }
}
