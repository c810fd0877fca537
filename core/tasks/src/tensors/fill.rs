//! Made-up values for inputs that nobody gives.

use coreai::{ElementType, Elements, NDArray};

use super::TensorError;

/// Most elements of one made-up tensor.
const MAX_ELEMENTS: usize = 1 << 30;

/// Integers are below this: as indices they stay inside all but the smallest tensors.
const INTEGERS: u64 = 4;

/// SplitMix64 (Steele, Lea and Flood 2014): the same seed gives the same values on every machine.
pub struct Random(u64);

impl Random {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [−1, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// A tensor: floats in [−1, 1), int8 and uint8 over their whole range, other integers from 0 to 3,
    /// bool either.
    pub fn tensor(&mut self, element: ElementType, shape: &[usize]) -> Result<NDArray, TensorError> {
        let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n <= MAX_ELEMENTS);
        let count = count.ok_or_else(|| {
            TensorError::Content(format!(
                "shape {shape:?} has too many elements to make up; at most {MAX_ELEMENTS}"
            ))
        })?;
        let values = if element.is_complex() {
            Elements::Complex((0..count).map(|_| [self.unit(), self.unit()]).collect())
        } else if element == ElementType::F8E8M0FN {
            // Powers of two only: 1/4 to 2.
            Elements::Real((0..count).map(|_| ((self.next() % 4) as f64 - 2.0).exp2()).collect())
        } else if element.is_float() {
            Elements::Real((0..count).map(|_| self.unit()).collect())
        } else {
            let (range, least) = match element {
                ElementType::UI8 => (256, 0),
                ElementType::SI8 => (256, -128),
                ElementType::Bool | ElementType::UI1 | ElementType::SI2 => (2, 0),
                _ => (INTEGERS, 0),
            };
            Elements::Int((0..count).map(|_| (self.next() % range) as i64 + least).collect())
        };
        Ok(NDArray::from_elements(element, shape, &values)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_range_and_repeatable() {
        for element in ElementType::all() {
            let a = Random::new(7).tensor(element, &[40]).unwrap();
            assert_eq!(a, Random::new(7).tensor(element, &[40]).unwrap());
            match a.elements().unwrap() {
                Elements::Real(v) => assert!(v.iter().all(|x| x.abs() <= 2.0), "{element}"),
                Elements::Int(v) => assert!(v.iter().all(|x| (-128..256).contains(x)), "{element}"),
                Elements::Complex(v) => assert!(v.iter().flatten().all(|x| x.abs() <= 1.0), "{element}"),
            }
        }
        let a = Random::new(1).tensor(ElementType::F32, &[4]).unwrap();
        assert_ne!(a, Random::new(2).tensor(ElementType::F32, &[4]).unwrap());
        assert!(Random::new(1).tensor(ElementType::F32, &[1 << 40, 1 << 40]).is_err());
    }
}
