//! `coreai-run bench`.

use std::path::PathBuf;

use clap::Args;
use coreai_tasks::language::{self, BenchOptions, BenchReport, Decoder, Spread, peak_host_bytes};
use serde_json::json;

use super::device::Device;
use super::failure::Failure;
use super::figures::{self, SCHEMA_VERSION, megabytes};
use super::loading;
use super::prompt::print;

const EXAMPLES: &str = "\
Examples:
  coreai-run bench smollm2-135m-int4                        512 prompt, 128 generated tokens
  coreai-run bench model.aimodel -p 64 -g 16 -n 3           shorter
  coreai-run bench model.aimodel --max-seconds 60 --json    fewer trials where they take long
  coreai-run bench model.aimodel --compute-unit cpu         without a GPU";

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Bench {
    /// Bundle folder or .aimodel; no tokenizer is needed
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Prompt tokens
    #[arg(short, long, value_name = "N", default_value_t = 512)]
    prompt: usize,
    /// Generated tokens
    #[arg(short, long, value_name = "N", default_value_t = 128)]
    generate: usize,
    /// Trials; results are medians over them
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5)]
    trials: usize,
    /// Start no trial that would probably end later; lowers trials, never lengths
    #[arg(long, value_name = "S", value_parser = seconds)]
    max_seconds: Option<f64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: Device,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("expected a number of seconds above 0".into()),
    }
}

impl Bench {
    /// Measures and prints.
    pub fn run(self) -> Result<(), Failure> {
        let device = self.device.options()?;
        let decoder = loading::spin(format!("loading {}", self.model.display()), || {
            Decoder::open_blocking(&self.model, device)
        })?;
        let model = decoder.model().clone();
        let options = BenchOptions {
            prompt: self.prompt,
            generate: self.generate,
            trials: self.trials,
            max_seconds: self.max_seconds,
        };
        let mut bench = language::Bench::new(decoder, options)?;
        let results = loading::spin("measuring".into(), || bench.run_blocking(&mut |_, _| {}))?;
        let software = model.report().entries.iter().any(|entry| entry.code == "software_adapter");
        let device_bytes = model.device_bytes();
        if self.json {
            let all = json!({
                "schema_version": SCHEMA_VERSION,
                "adapter": model.adapter_name(),
                "software_adapter": software,
                "results": results,
                "device_bytes": figures::device_bytes(&device_bytes),
                "peak_host_bytes": peak_host_bytes(),
                "report": model.report(),
            });
            return print(&format!("{all:#}\n"));
        }
        let mut text = format!("adapter             {}", model.adapter_name());
        if software {
            text += "  (software: not comparable with GPUs)";
        }
        text += &table(&results);
        text += &format!("\ndevice memory       {}\n", megabytes(device_bytes.total()));
        print(&text)
    }
}

fn table(results: &BenchReport) -> String {
    let mut text = format!("\ntrials              {}", results.trials);
    if results.trials < results.trials_asked {
        text += &format!(" of {}: --max-seconds reached", results.trials_asked);
    }
    let mut speed = |name: &str, tokens: usize, spread: &Option<Spread>| {
        let value = spread
            .as_ref()
            .map_or("n/a".into(), |s| format!("{:.1} tokens/s  ({:.1} to {:.1})", s.median, s.min, s.max));
        text += &format!("\n{:<20}{value}", format!("{name} {tokens}"));
    };
    speed("prompt", results.prompt_tokens, &results.prompt_tokens_per_second);
    speed("generated", results.generated_tokens, &results.generated_tokens_per_second);
    if let Some(step) = &results.step {
        text += &format!("\ndispatches/token    {:.1}", step.dispatches_per_token);
        text += &format!("\nbytes read/token    {:.0}", step.bytes_read_per_token);
        text += &format!("\nbytes written/token {:.0}", step.bytes_written_per_token);
        text += &format!("\nhost encode/step    {:.3} ms", step.encode_ms_per_token);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lowered_number_of_trials_is_said() {
        let spread = Spread::of(&[2.0, 1.0, 4.0]);
        let mut results = BenchReport {
            prompt_tokens: 512,
            generated_tokens: 128,
            trials: 3,
            trials_asked: 5,
            prompt_tokens_per_second: spread,
            generated_tokens_per_second: spread,
            step: None,
        };
        assert!(table(&results).contains("trials              3 of 5: --max-seconds reached"));
        assert!(table(&results).contains("prompt 512          2.0 tokens/s  (1.0 to 4.0)"));
        results.trials_asked = 3;
        assert!(!table(&results).contains("reached"));
    }

    #[test]
    fn seconds_are_positive() {
        assert_eq!(seconds("1.5"), Ok(1.5));
        assert!(seconds("0").is_err() && seconds("nan").is_err() && seconds("x").is_err());
    }
}
