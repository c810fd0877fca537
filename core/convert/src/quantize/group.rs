//! One scale and the codes of the weights that share it.

use super::scheme::{Fit, Scheme};

/// 1.5 · 2²³. Its sum with `x`, |x| < 2²², is rounded to a whole number, ties to even, and the low byte of the
/// sum's bits is that number in two's complement. Unlike `round_ties_even` it is two instructions everywhere.
const WHOLE: f32 = 12_582_912.0;
/// 2⁻²³: the least scale that coreai-opt writes, whatever the type of its scales.
const LEAST_SCALE: f32 = f32::EPSILON;
/// 2⁻¹⁴: float16's least normal number, which bfloat16 and float32 hold as well.
const SCALE_OF_ZEROS: f32 = 6.103_515_6e-5;
/// Errors are exact where scales have at most 16 bits, and a sum of their squares is off by at most 7 roundings of
/// 2⁻²⁴: of two sums that differ by more than twice that, the lesser one belongs to the lesser error.
const MARGIN: f64 = 1.0 - 1e-6;
/// Weights summed in float32 before they go to a float64 sum.
const RUN: usize = 32;
const LANES: usize = 8;

/// What keeps weights from being coded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unfit {
    /// The first one that is infinite or not a number.
    NotFinite { at: usize, value: f32 },
    /// The scale of this largest magnitude is infinite in its type.
    TooLarge { largest: f32 },
}

/// Codes of a group, and its scale. Both slices have the same length.
pub(super) fn encode(weights: &[f32], scheme: Scheme, codes: &mut [u8]) -> Result<f32, Unfit> {
    let largest = largest(weights)?;
    if largest == 0.0 {
        codes.fill(0);
        return Ok(SCALE_OF_ZEROS);
    }
    let limit = scheme.width.limit();
    let scale = scheme.scale.round(largest / limit).max(LEAST_SCALE);
    if !scale.is_finite() {
        return Err(Unfit::TooLarge { largest });
    }
    let plain = Grid { scale, low: -limit, high: limit };
    let grid = match scheme.fit {
        Fit::Maximum => plain,
        Fit::LeastError => search(weights, largest, plain, scheme),
    };
    for (code, weight) in codes.iter_mut().zip(weights) {
        *code = (grid.level(*weight) + WHOLE).to_bits() as u8;
    }
    Ok(grid.scale)
}

/// `code · scale` of a group. Exact in float32 where the scale is a float16 or bfloat16.
pub(super) fn decode(codes: &[u8], scale: f32, out: &mut [f32]) {
    for (value, code) in out.iter_mut().zip(codes) {
        *value = f32::from(code.cast_signed()) * scale;
    }
}

/// The largest magnitude, found among bit patterns: those of magnitudes are ordered like them, and all finite
/// ones are below infinity's.
fn largest(weights: &[f32]) -> Result<f32, Unfit> {
    let bits = |weight: &f32| weight.abs().to_bits().cast_signed();
    let largest = weights.iter().map(bits).fold(0, |most, bits| if bits > most { bits } else { most });
    let largest = f32::from_bits(largest.cast_unsigned());
    if largest.is_finite() {
        return Ok(largest);
    }
    let at = weights.iter().position(|weight| !weight.is_finite()).unwrap_or_default();
    Err(Unfit::NotFinite { at, value: weights.get(at).copied().unwrap_or(largest) })
}

/// The best of the plain grid, the scheme's trials, and the scale that suits the best one's codes most: for codes
/// `q` it is `Σwq / Σq²`, where the derivative of `Σ(w − q·scale)²` is zero.
fn search(weights: &[f32], largest: f32, plain: Grid, scheme: Scheme) -> Grid {
    let mut best = (plain, plain.squared_error(weights));
    let consider = |best: &mut (Grid, f64), scale: f32| {
        let grid = Grid { scale, low: plain.low - 1.0, ..plain };
        // a scale below float16's smallest number is rounded to zero, one beyond its range to infinity
        if scale > 0.0 && scale.is_finite() {
            let error = grid.squared_error(weights);
            if error < best.1 * MARGIN {
                *best = (grid, error);
            }
        }
    };
    if best.1 == 0.0 {
        return plain;
    }
    for trial in scheme.width.trials() {
        consider(&mut best, scheme.scale.round(largest / trial));
    }
    let (products, squares) = best.0.projection(weights);
    if squares > 0.0 {
        consider(&mut best, scheme.scale.round((products / squares) as f32));
    }
    best.0
}

/// The values `low · scale … high · scale`.
#[derive(Clone, Copy, Debug)]
struct Grid {
    /// Positive.
    scale: f32,
    low: f32,
    high: f32,
}

impl Grid {
    /// The code of a weight as a float.
    #[inline(always)]
    fn level(self, weight: f32) -> f32 {
        let level = (weight / self.scale + WHOLE) - WHOLE;
        // comparisons, because `clamp` and `min` spend instructions on NaN
        let level = if level > self.low { level } else { self.low };
        if level < self.high { level } else { self.high }
    }

    fn squared_error(self, weights: &[f32]) -> f64 {
        sum(weights, |weight| {
            let error = weight - self.level(weight) * self.scale;
            error * error
        })
    }

    /// `(Σwq, Σq²)` for the codes `q` of the weights.
    fn projection(self, weights: &[f32]) -> (f64, f64) {
        let products = sum(weights, |weight| weight * self.level(weight));
        let squares = sum(weights, |weight| {
            let level = self.level(weight);
            level * level
        });
        (products, squares)
    }
}

/// Sum of a term of each weight: runs in float32, in lanes that vector instructions can hold, the rest in float64.
#[inline(always)]
fn sum(weights: &[f32], term: impl Fn(f32) -> f32) -> f64 {
    let (runs, rest) = weights.as_chunks::<RUN>();
    let mut total = 0.0;
    for run in runs {
        let mut lanes = [0f32; LANES];
        for eight in run.as_chunks::<LANES>().0 {
            for (lane, weight) in lanes.iter_mut().zip(eight) {
                *lane += term(*weight);
            }
        }
        let [a, b, c, d, e, f, g, h] = lanes;
        total += f64::from(((a + e) + (c + g)) + ((b + f) + (d + h)));
    }
    total + rest.iter().map(|weight| f64::from(term(*weight))).sum::<f64>()
}
