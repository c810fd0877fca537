//! Speeds and amounts of one turn.

use coreai::Counters;
use serde::Serialize;
use web_time::Instant;

/// What a turn took. Rates are absent where nothing was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Tokens of the rendered conversation.
    pub prompt_tokens: usize,
    /// Of these, already in the cache.
    pub reused_tokens: usize,
    /// Time for the others, in seconds.
    pub prompt_seconds: f64,
    /// The others per second.
    pub prompt_tokens_per_second: Option<f64>,
    /// Tokens generated, the end-of-turn token included.
    pub generated_tokens: usize,
    /// Time from the first generated token to the last, in seconds.
    pub generated_seconds: f64,
    /// Tokens after the first, per second.
    pub generated_tokens_per_second: Option<f64>,
    /// Work of a decode step.
    #[serde(flatten)]
    pub step: Option<StepFigures>,
}

/// Means over decode steps of one token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StepFigures {
    /// Dispatches.
    pub dispatches_per_token: f64,
    /// Bytes of the operands that the last step reads: weights, caches, intermediates.
    pub bytes_read_per_token: f64,
    /// Bytes written to the device.
    pub bytes_written_per_token: f64,
    /// Host time for encoding, in milliseconds.
    pub encode_ms_per_token: f64,
}

/// Time and counters from a starting point.
pub(super) struct Meter {
    start: Instant,
    counters: Counters,
}

impl Meter {
    pub fn start(counters: Counters) -> Meter {
        Meter { start: Instant::now(), counters }
    }

    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Work since the start, spread over `steps`.
    pub fn step(&self, now: Counters, steps: usize) -> Option<StepFigures> {
        if steps == 0 {
            return None;
        }
        let mean = |now: u64, then: u64| now.saturating_sub(then) as f64 / steps as f64;
        let then = self.counters;
        let encode = now.encode.saturating_sub(then.encode);
        Some(StepFigures {
            dispatches_per_token: mean(now.device.dispatches, then.device.dispatches),
            bytes_read_per_token: now.memory_read as f64,
            bytes_written_per_token: mean(now.device.bytes_written, then.device.bytes_written),
            encode_ms_per_token: encode.as_secs_f64() * 1e3 / steps as f64,
        })
    }
}

/// `count` per second, if there was any and it took time.
pub(super) fn rate(count: usize, seconds: f64) -> Option<f64> {
    (count > 0 && seconds > 0.0).then(|| count as f64 / seconds)
}

/// Largest resident memory of this process so far, in bytes; known on Linux and Android.
pub fn peak_host_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_spread_over_steps() {
        let at = |n: u64| {
            let mut counters = Counters::default();
            counters.device.dispatches = 10 * n;
            counters.memory_read = 4 * n;
            counters.encode = std::time::Duration::from_millis(2 * n);
            counters
        };
        let step = Meter::start(at(2)).step(at(6), 4).unwrap();
        assert_eq!((step.dispatches_per_token, step.bytes_read_per_token), (10.0, 24.0));
        assert!((step.encode_ms_per_token - 2.0).abs() < 1e-9);
        assert_eq!(Meter::start(at(2)).step(at(6), 0), None);
        assert_eq!((rate(0, 1.0), rate(4, 2.0)), (None, Some(2.0)));
    }
}
