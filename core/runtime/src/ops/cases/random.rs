//! Random numbers, and the elements that tensors are filled with.

use coreai_asset::ElementType;

use crate::facts::integer_range;
use crate::host::{Elements, encode};
use crate::ndarray::NDArray;

/// Deterministic random numbers (SplitMix64).
pub struct Rng(pub u64);

impl Rng {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.word() >> 33) as usize % n.max(1)
    }

    /// In `low..=high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = (i128::from(high) - i128::from(low) + 1) as u128;
        (i128::from(low) + (u128::from(self.word()) % span) as i128) as i64
    }

    /// In `low..high`.
    pub fn real(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// What kind of elements a draw has.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Spice {
    /// Floats in −4…4, integers in −8…8.
    Mild,
    /// Floats of every magnitude in 2^±12, integers of the whole range.
    Wide,
    /// Mild ones, and among them NaN, infinities, −0 and the ends of the range.
    Special,
}

/// Elements of a tensor.
pub fn array(rng: &mut Rng, element: ElementType, dims: &[usize], spice: Spice) -> NDArray {
    let count: usize = dims.iter().product();
    let elements = match (integer_range(element), element.complex_part()) {
        (Some((low, high)), _) => Elements::Int((0..count).map(|_| integer(rng, low, high, spice)).collect()),
        (None, Some(part)) => {
            let pair = |_| [float(rng, part, spice), float(rng, part, spice)];
            Elements::Complex((0..count).map(pair).collect())
        }
        (None, None) => Elements::Real((0..count).map(|_| float(rng, element, spice)).collect()),
    };
    encode(element, dims, &elements).unwrap()
}

fn integer(rng: &mut Rng, low: i64, high: i64, spice: Spice) -> i64 {
    match spice {
        Spice::Wide => rng.between(low, high),
        Spice::Special if rng.once_in(5) => rng.pick(&[low, high, 0, 1, low + 1, high - 1]),
        _ => rng.between(low.max(-8), high.min(if low < 0 { 8 } else { 16 })),
    }
}

fn float(rng: &mut Rng, element: ElementType, spice: Spice) -> f64 {
    let largest = match element {
        ElementType::F8E4M3FN => 448.0,
        ElementType::F8E5M2 => 57344.0,
        ElementType::F16 => 65504.0,
        ElementType::BF16 => f64::from(f32::from_bits(0x7f7f_0000)),
        _ => f64::from(f32::MAX),
    };
    match spice {
        Spice::Wide => {
            let magnitude = rng.real(-12.0, 12.0).exp2().min(largest);
            if rng.once_in(2) { magnitude } else { -magnitude }
        }
        Spice::Special if rng.once_in(6) => rng.pick(&[
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.0,
            0.0,
            1.0,
            -1.0,
            0.5,
            largest,
            -largest,
        ]),
        _ => rng.real(-4.0, 4.0),
    }
}
