//! Speed of a model: fixed lengths, several trials, medians.

use serde::Serialize;

use super::decoder::{Decoder, Rows};
use super::error::LanguageError;
use super::figures::{Meter, StepFigures};
use super::model::PREFILL_CHUNK;
use super::sampler::{Sampler, SamplingOptions};

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BenchOptions {
    /// Prompt tokens.
    pub prompt: usize,
    /// Generated tokens.
    pub generate: usize,
    /// Trials, at least 1.
    pub trials: usize,
    /// No trial starts that would probably end later; the first always runs.
    pub max_seconds: Option<f64>,
}

impl Default for BenchOptions {
    fn default() -> Self {
        BenchOptions { prompt: 512, generate: 128, trials: 5, max_seconds: None }
    }
}

/// Median and range over trials.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Middle one, or the mean of the two middle ones.
    pub median: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// `None` without values.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let half = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted[half - 1] + sorted[half]) / 2.0,
            _ => sorted[half],
        };
        Some(Spread { median, min, max })
    }
}

/// Results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchReport {
    /// Prompt tokens.
    pub prompt_tokens: usize,
    /// Generated tokens.
    pub generated_tokens: usize,
    /// Trials run.
    pub trials: usize,
    /// Trials asked for; more than `trials` when the time limit lowered them.
    pub trials_asked: usize,
    /// Prompt tokens per second.
    pub prompt_tokens_per_second: Option<Spread>,
    /// Generated tokens per second.
    pub generated_tokens_per_second: Option<Spread>,
    /// Medians of a decode step's work.
    #[serde(flatten)]
    pub step: Option<StepFigures>,
}

/// One trial's measurements.
struct Trial {
    prompt_seconds: f64,
    generated_seconds: f64,
    step: Option<StepFigures>,
}

/// A measurement in progress.
pub struct Bench {
    decoder: Decoder,
    options: BenchOptions,
    tokens: Vec<u32>,
    sampler: Sampler,
}

impl Bench {
    /// Checks lengths against the context.
    pub fn new(decoder: Decoder, options: BenchOptions) -> Result<Bench, LanguageError> {
        for (name, value) in
            [("prompt", options.prompt), ("generate", options.generate), ("trials", options.trials)]
        {
            if value == 0 {
                let found = "0".into();
                return Err(LanguageError::Option { name, found, expected: "1 or more" });
            }
        }
        let total = options.prompt.saturating_add(options.generate);
        if total > decoder.limit() {
            return Err(LanguageError::Option {
                name: "prompt + generate",
                found: format!("{total} tokens, but the context holds {}", decoder.limit()),
                expected: "at most that",
            });
        }
        let vocabulary = decoder.signature().vocabulary.max(1) as u64;
        // Ids spread over the vocabulary, the same on every machine.
        let tokens = (0..options.prompt as u64)
            .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(12_345) % vocabulary) as u32)
            .collect();
        let sampler = Sampler::new(SamplingOptions::default())?;
        Ok(Bench { decoder, options, tokens, sampler })
    }

    /// Runs the trials; `progress` gets the number done and the number asked for.
    pub async fn run(
        &mut self,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<BenchReport, LanguageError> {
        let asked = self.options.trials;
        let clock = Meter::start(self.decoder.counters());
        let mut trials: Vec<Trial> = Vec::new();
        while trials.len() < asked && !self.too_late(clock.seconds(), &trials) {
            trials.push(self.trial().await?);
            progress(trials.len(), asked);
        }
        let spread = |value: &dyn Fn(&Trial) -> f64| {
            Spread::of(&trials.iter().map(value).filter(|v| v.is_finite()).collect::<Vec<_>>())
        };
        let (prompt, generate) = (self.options.prompt, self.options.generate);
        Ok(BenchReport {
            prompt_tokens: prompt,
            generated_tokens: generate,
            trials: trials.len(),
            trials_asked: asked,
            prompt_tokens_per_second: spread(&|t| prompt as f64 / t.prompt_seconds),
            generated_tokens_per_second: spread(&|t| generate as f64 / t.generated_seconds),
            step: median_step(&trials),
        })
    }

    fn too_late(&self, elapsed: f64, trials: &[Trial]) -> bool {
        let longest = trials.iter().map(|t| t.prompt_seconds + t.generated_seconds).reduce(f64::max);
        match (self.options.max_seconds, longest) {
            (Some(limit), Some(longest)) => elapsed + longest > limit,
            _ => false,
        }
    }

    async fn trial(&mut self) -> Result<Trial, LanguageError> {
        self.decoder.rewind(0).await?;
        let meter = Meter::start(self.decoder.counters());
        self.decoder.advance(&self.tokens, PREFILL_CHUNK).await?;
        let prompt_seconds = meter.seconds();
        let meter = Meter::start(self.decoder.counters());
        for _ in 0..self.options.generate {
            let position = self.decoder.cached().len();
            let id =
                self.sampler.sample(self.decoder.logits()).ok_or(LanguageError::NonFinite { position })?;
            self.decoder.append(&[id], Rows::Last).await?;
        }
        Ok(Trial {
            prompt_seconds,
            generated_seconds: meter.seconds(),
            step: meter.step(self.decoder.counters(), self.options.generate),
        })
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Bench {
    /// Blocking twin of [`Bench::run`].
    pub fn run_blocking(
        &mut self,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<BenchReport, LanguageError> {
        self.decoder.set_blocking(true);
        let report = pollster::block_on(self.run(progress));
        self.decoder.set_blocking(false);
        report
    }
}

fn median_step(trials: &[Trial]) -> Option<StepFigures> {
    let median = |value: fn(&StepFigures) -> f64| {
        let values: Vec<f64> = trials.iter().filter_map(|t| t.step.as_ref()).map(value).collect();
        Spread::of(&values).map(|spread| spread.median)
    };
    Some(StepFigures {
        dispatches_per_token: median(|s| s.dispatches_per_token)?,
        bytes_read_per_token: median(|s| s.bytes_read_per_token)?,
        bytes_written_per_token: median(|s| s.bytes_written_per_token)?,
        encode_ms_per_token: median(|s| s.encode_ms_per_token)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(Spread::of(&[]), None);
        let spread = Spread::of(&[3.0, 1.0, 2.0]);
        assert_eq!(spread, Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0]).map(|s| s.median), Some(2.5));
    }
}
