//! From logits to one token.
//!
//! Order, as in `transformers`: repetition penalty → top-k → temperature → top-p → min-p. At
//! temperature 0 the most likely token wins, ties going to the lowest id.

use super::error::LanguageError;

/// How tokens are chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingOptions {
    /// 0 is greedy.
    pub temperature: f32,
    /// Only the k most likely tokens; 0 is all.
    pub top_k: usize,
    /// Only the most likely tokens that together reach this probability; 1 is all.
    pub top_p: f32,
    /// Only tokens at least this likely relative to the most likely one; 0 is all.
    pub min_p: f32,
    /// Divides the score of every token that the context already has; 1 is none.
    pub repetition_penalty: f32,
    /// Same seed, same text.
    pub seed: u64,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        SamplingOptions {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

impl SamplingOptions {
    /// Refuses options out of range.
    pub fn check(&self) -> Result<(), LanguageError> {
        let rows: [(&'static str, f32, bool, &'static str); 4] = [
            ("temperature", self.temperature, self.temperature >= 0.0, "0 or more"),
            ("top-p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0, up to 1"),
            ("min-p", self.min_p, (0.0..=1.0).contains(&self.min_p), "0 to 1"),
            (
                "repetition-penalty",
                self.repetition_penalty,
                self.repetition_penalty > 0.0,
                "a number above 0",
            ),
        ];
        for (name, value, fits, expected) in rows {
            if !fits || !value.is_finite() {
                return Err(LanguageError::Option { name, found: value.to_string(), expected });
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u32,
    /// Logit, later probability.
    score: f32,
}

/// Best first, ties by id: a total order, so results do not depend on a sort's internals.
fn rank(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.score.total_cmp(&a.score).then(a.id.cmp(&b.id))
}

/// Chooses tokens for one conversation. After the first step it allocates nothing.
#[derive(Clone, Debug)]
pub struct Sampler {
    options: SamplingOptions,
    random: Random,
    candidates: Vec<Candidate>,
    /// Ids in the context, for the repetition penalty.
    seen: Vec<bool>,
}

impl Sampler {
    /// Checks the options.
    pub fn new(options: SamplingOptions) -> Result<Sampler, LanguageError> {
        options.check()?;
        let random = Random::new(options.seed);
        Ok(Sampler { options, random, candidates: Vec::new(), seen: Vec::new() })
    }

    /// Adds tokens to what the repetition penalty looks at.
    pub fn observe(&mut self, ids: &[u32]) {
        if self.options.repetition_penalty == 1.0 {
            return;
        }
        for id in ids {
            let id = *id as usize;
            if self.seen.len() <= id {
                self.seen.resize(id + 1, false);
            }
            self.seen[id] = true;
        }
    }

    /// The next token, or `None` when no logit is a number above minus infinity.
    pub fn sample(&mut self, logits: &[f32]) -> Option<u32> {
        let greedy = self.options.temperature == 0.0;
        if greedy && self.options.repetition_penalty == 1.0 {
            return best(logits.iter().copied());
        }
        let penalty = self.options.repetition_penalty;
        let seen = &self.seen;
        let penalized =
            logits.iter().enumerate().map(|(id, logit)| match seen.get(id).copied().unwrap_or(false) {
                true if *logit < 0.0 => logit * penalty,
                true => logit / penalty,
                false => *logit,
            });
        if greedy {
            return best(penalized);
        }
        self.candidates.clear();
        self.candidates.extend(
            (0u32..)
                .zip(penalized)
                .filter(|(_, score)| *score > f32::NEG_INFINITY)
                .map(|(id, score)| Candidate { id, score: score.min(f32::MAX) }),
        );
        let k = self.options.top_k;
        if k > 0 && k < self.candidates.len() {
            self.candidates.select_nth_unstable_by(k - 1, rank);
            self.candidates.truncate(k);
        }
        self.normalize()?;
        if self.options.top_p < 1.0 {
            self.keep_top_p();
        }
        if self.options.min_p > 0.0 {
            let top = self.candidates.iter().map(|c| c.score).fold(0.0, f32::max);
            let least = top * self.options.min_p;
            self.candidates.retain(|c| c.score >= least);
        }
        self.candidates.sort_unstable_by_key(|c| c.id);
        self.draw()
    }

    /// Logits become probabilities at the temperature. `None` without candidates.
    fn normalize(&mut self) -> Option<()> {
        let top = self.candidates.iter().map(|c| c.score).reduce(f32::max)?;
        let temperature = self.options.temperature;
        let mut sum = 0.0f64;
        for candidate in &mut self.candidates {
            candidate.score = ((candidate.score - top) / temperature).exp();
            sum += f64::from(candidate.score);
        }
        for candidate in &mut self.candidates {
            candidate.score = (f64::from(candidate.score) / sum) as f32;
        }
        Some(())
    }

    /// Keeps the smallest set of most likely tokens that reaches `top_p`; sorts no more than it
    /// needs.
    fn keep_top_p(&mut self) {
        let (mut sum, mut sorted, mut batch) = (0.0f64, 0, 64);
        while sorted < self.candidates.len() {
            let rest = &mut self.candidates[sorted..];
            let count = batch.min(rest.len());
            if count < rest.len() {
                rest.select_nth_unstable_by(count - 1, rank);
            }
            rest[..count].sort_unstable_by(rank);
            for (index, candidate) in rest[..count].iter().enumerate() {
                sum += f64::from(candidate.score);
                if sum >= f64::from(self.options.top_p) {
                    self.candidates.truncate(sorted + index + 1);
                    return;
                }
            }
            sorted += count;
            batch *= 4;
        }
    }

    fn draw(&mut self) -> Option<u32> {
        let total: f64 = self.candidates.iter().map(|c| f64::from(c.score)).sum();
        let mut left = self.random.unit() * total;
        for candidate in &self.candidates {
            left -= f64::from(candidate.score);
            if left < 0.0 {
                return Some(candidate.id);
            }
        }
        self.candidates.last().map(|c| c.id)
    }
}

/// Index of the largest number, the lowest on ties. NaN and minus infinity never win.
fn best(logits: impl Iterator<Item = f32>) -> Option<u32> {
    let mut winner = None;
    let mut top = f32::NEG_INFINITY;
    for (id, logit) in (0u32..).zip(logits) {
        if logit > top {
            (winner, top) = (Some(id), logit);
        }
    }
    winner
}

/// xoshiro256++, seeded through SplitMix64 as its authors advise.
#[derive(Clone, Debug)]
struct Random([u64; 4]);

impl Random {
    fn new(seed: u64) -> Random {
        let mut state = seed;
        Random(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }))
    }

    fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// In [0, 1), 53 bits.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 6] = [1.0, 3.0, -2.0, 2.5, 3.0, 0.0];

    fn counts(options: SamplingOptions, logits: &[f32], n: usize) -> Vec<usize> {
        let mut sampler = Sampler::new(options).unwrap();
        let mut counts = vec![0; logits.len()];
        for _ in 0..n {
            counts[sampler.sample(logits).unwrap() as usize] += 1;
        }
        counts
    }

    fn warm() -> SamplingOptions {
        SamplingOptions { temperature: 1.0, seed: 7, ..Default::default() }
    }

    #[test]
    fn greedy_takes_the_first_of_the_best() {
        let mut sampler = Sampler::new(SamplingOptions::default()).unwrap();
        assert_eq!(sampler.sample(&LOGITS), Some(1));
        assert_eq!(sampler.sample(&[f32::NAN, -1.0, f32::NEG_INFINITY]), Some(1));
        assert_eq!(sampler.sample(&[f32::NAN, f32::NEG_INFINITY]), None);
        assert_eq!(sampler.sample(&[]), None);
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let counts = counts(warm(), &LOGITS, 20_000);
        let sum: f64 = LOGITS.iter().map(|l| f64::from(*l).exp()).sum();
        for (count, logit) in counts.iter().zip(LOGITS) {
            let expected = f64::from(logit).exp() / sum * 20_000.0;
            assert!((*count as f64 - expected).abs() < 5.0 * expected.sqrt() + 5.0, "{counts:?}");
        }
    }

    #[test]
    fn filters_keep_what_they_say() {
        let kept = |options: SamplingOptions| -> Vec<usize> {
            let counts = counts(options, &LOGITS, 5000);
            (0..LOGITS.len()).filter(|i| counts[*i] > 0).collect()
        };
        assert_eq!(kept(SamplingOptions { top_k: 1, ..warm() }), [1]);
        assert_eq!(kept(SamplingOptions { top_k: 3, ..warm() }), [1, 3, 4]);
        // Probabilities: 0.36, 0.36, 0.22, 0.05, 0.02, 0.002.
        assert_eq!(kept(SamplingOptions { top_p: 0.5, ..warm() }), [1, 4]);
        assert_eq!(kept(SamplingOptions { top_p: 0.8, ..warm() }), [1, 3, 4]);
        assert_eq!(kept(SamplingOptions { top_p: 1e-9, ..warm() }), [1]);
        assert_eq!(kept(SamplingOptions { min_p: 0.5, ..warm() }), [1, 3, 4]);
        assert_eq!(kept(SamplingOptions { min_p: 1.0, ..warm() }), [1, 4]);
    }

    #[test]
    fn top_p_agrees_with_a_full_sort_on_a_large_vocabulary() {
        let logits: Vec<f32> = (0..5000u32).map(|i| (i * 7919 % 5000) as f32 / 900.0).collect();
        let mut sampler = Sampler::new(SamplingOptions { top_p: 0.7, ..warm() }).unwrap();
        sampler.sample(&logits).unwrap();
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        let mut reached = 0.0;
        let count = order
            .iter()
            .position(|i| {
                reached += f64::from(logits[*i]).exp() / sum;
                reached >= 0.7
            })
            .unwrap();
        assert!(sampler.candidates.len().abs_diff(count + 1) <= 1);
    }

    #[test]
    fn the_penalty_pushes_seen_tokens_down() {
        let options = SamplingOptions { repetition_penalty: 1.5, ..Default::default() };
        let mut sampler = Sampler::new(options).unwrap();
        sampler.observe(&[1, 4]);
        assert_eq!(sampler.sample(&LOGITS), Some(3));
        sampler.observe(&[0]);
        assert_eq!(sampler.sample(&[-1.0, -9.0, -1.2]), Some(2));
    }

    #[test]
    fn same_seed_same_tokens() {
        let draw = |seed| -> Vec<u32> {
            let mut sampler = Sampler::new(SamplingOptions { seed, ..warm() }).unwrap();
            (0..50).map(|_| sampler.sample(&LOGITS).unwrap()).collect()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn extreme_values_do_not_panic() {
        for temperature in [1e-30, 1.0, 1e30] {
            let options = SamplingOptions { temperature, top_p: 0.9, min_p: 0.1, ..warm() };
            let mut sampler = Sampler::new(options).unwrap();
            assert_eq!(sampler.sample(&[f32::NAN, f32::NEG_INFINITY]), None);
            assert_eq!(sampler.sample(&[f32::NAN, 1.0]), Some(1));
            assert!(sampler.sample(&[f32::INFINITY, 1.0, f32::NAN, f32::MIN]).is_some());
        }
        for bad in [
            SamplingOptions { temperature: f32::NAN, ..warm() },
            SamplingOptions { temperature: -1.0, ..warm() },
            SamplingOptions { top_p: 0.0, ..warm() },
            SamplingOptions { min_p: 2.0, ..warm() },
            SamplingOptions { repetition_penalty: 0.0, ..warm() },
        ] {
            assert_eq!(Sampler::new(bad).unwrap_err().code(), "option");
        }
    }

    #[test]
    fn buffers_are_reused() {
        let mut sampler = Sampler::new(SamplingOptions { top_p: 0.9, ..warm() }).unwrap();
        sampler.sample(&LOGITS);
        let at = sampler.candidates.as_ptr();
        for _ in 0..100 {
            sampler.sample(&LOGITS);
        }
        assert_eq!(sampler.candidates.as_ptr(), at);
    }
}
