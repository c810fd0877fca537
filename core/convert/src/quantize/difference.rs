//! How far an approximation is from a tensor.

/// How far an approximation is from a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Mean of the squared differences.
    pub mse: f64,
    /// Peak signal-to-noise ratio in dB, `10 · log₁₀(peak² / mse)`, where the peak is the tensor's own largest
    /// magnitude. +∞ for no difference at all; −∞ for a difference to a tensor of zeros.
    pub psnr_db: f64,
    /// Largest absolute difference.
    pub max_abs: f32,
}

/// Sums of a [`Difference`] while its tensor streams by. Squares are summed in float64.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Values so far.
    pub count: u64,
    squares: f64,
    peak: f32,
    max_abs: f32,
}

impl Tally {
    /// Adds values and what they are approximated by, pair by pair; what one slice has more is left out. Values
    /// are finite.
    pub fn add(&mut self, original: &[f32], approximation: &[f32]) {
        let count = original.len().min(approximation.len());
        let (original, approximation) = (&original[..count], &approximation[..count]);
        let (peak, max_abs) = (&mut self.peak, &mut self.max_abs);
        let mut squares = [0f64; 4];
        let (left, left_rest) = original.as_chunks::<4>();
        let (right, right_rest) = approximation.as_chunks::<4>();
        for (left, right) in left.iter().zip(right) {
            for ((square, left), right) in squares.iter_mut().zip(left).zip(right) {
                let error = f64::from(*left) - f64::from(*right);
                *square += error * error;
            }
        }
        for (left, right) in left_rest.iter().zip(right_rest) {
            let error = f64::from(*left) - f64::from(*right);
            squares[0] += error * error;
        }
        for (left, right) in original.iter().zip(approximation) {
            let (magnitude, error) = (left.abs(), (left - right).abs());
            *peak = if magnitude > *peak { magnitude } else { *peak };
            *max_abs = if error > *max_abs { error } else { *max_abs };
        }
        self.squares += squares.iter().sum::<f64>();
        self.count += count as u64;
    }

    /// Adds what another one has seen, such as another tensor of the model.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.squares += other.squares;
        self.peak = self.peak.max(other.peak);
        self.max_abs = self.max_abs.max(other.max_abs);
    }

    /// The difference so far; none before the first value.
    pub fn difference(&self) -> Option<Difference> {
        if self.count == 0 {
            return None;
        }
        let mse = self.squares / self.count as f64;
        let psnr_db = match mse {
            0.0 => f64::INFINITY,
            _ => 10.0 * (f64::from(self.peak).powi(2) / mse).log10(),
        };
        Some(Difference { mse, psnr_db, max_abs: self.max_abs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions() {
        let mut tally = Tally::default();
        assert_eq!(tally.difference(), None);
        tally.add(&[1.0, -4.0, 2.0, 0.0, 0.5], &[1.0, -3.0, 2.0, 0.0, 0.0]);
        let all = tally.difference().unwrap();
        assert_eq!((all.mse, all.max_abs), (0.25, 1.0));
        assert!((all.psnr_db - 10.0 * 64f64.log10()).abs() < 1e-12, "{all:?}");

        let mut parts = Tally::default();
        parts.add(&[1.0, -4.0], &[1.0, -3.0]);
        let mut rest = Tally::default();
        rest.add(&[2.0, 0.0, 0.5], &[2.0, 0.0, 0.0]);
        parts.merge(&rest);
        assert_eq!(parts, tally);
    }

    #[test]
    fn edges() {
        let of = |left: &[f32], right: &[f32]| {
            let mut tally = Tally::default();
            tally.add(left, right);
            tally.difference().unwrap().psnr_db
        };
        assert_eq!(of(&[1.0, 2.0], &[1.0, 2.0]), f64::INFINITY);
        assert_eq!(of(&[0.0], &[0.0]), f64::INFINITY);
        assert_eq!(of(&[0.0], &[1.0]), f64::NEG_INFINITY);
    }
}
