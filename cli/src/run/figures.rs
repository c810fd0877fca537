//! Figures of an answer: one line, or JSON.

use coreai::{ComputeUnitKind, DeviceBytes, Report};
use coreai_tasks::language::{StopReason, Turn, peak_host_bytes};
use serde_json::{Value, json};

use super::talk::Setup;

/// Version of the JSON that `coreai-run` prints.
pub const SCHEMA_VERSION: u32 = 1;

/// `adapter | load | prompt | generated | dispatches | peak host memory | device memory`.
pub fn line(setup: &Setup, turn: &Turn) -> String {
    let model = setup.model.model();
    let figures = &turn.figures;
    let new = figures.prompt_tokens - figures.reused_tokens;
    let mut parts = vec![
        model.adapter_name(),
        format!("load {:.2} s", setup.model.load_time().as_secs_f64()),
        format!("prompt {new} tokens, {}", rate(figures.prompt_tokens_per_second)),
        format!(
            "generated {} tokens, {}",
            figures.generated_tokens,
            rate(figures.generated_tokens_per_second)
        ),
        match &figures.step {
            Some(step) => format!("{:.0} dispatches/token", step.dispatches_per_token),
            None => "n/a dispatches/token".into(),
        },
        format!("peak host {}", peak_host_bytes().map_or("n/a".into(), megabytes)),
        format!("device {}", megabytes(model.device_bytes().total())),
    ];
    if let Some(reason) = ending(&turn.stop_reason, setup.options.max_tokens) {
        parts.push(reason);
    }
    parts.join(" | ")
}

/// Said only when the model did not end its turn itself.
fn ending(reason: &StopReason, max_tokens: usize) -> Option<String> {
    match reason {
        StopReason::EndOfTurn => None,
        StopReason::StopString(text) => Some(format!("stopped at {text:?}")),
        StopReason::MaxTokens => Some(format!("stopped at --max-tokens {max_tokens}")),
        StopReason::ContextFull => Some("stopped: the context is full".into()),
        StopReason::Cancelled => Some("cancelled".into()),
    }
}

/// Everything about an answer.
pub fn json(setup: &Setup, turn: &Turn) -> Value {
    let model = setup.model.model();
    let mut figures = json!(turn.figures);
    figures["adapter"] = json!(model.adapter_name());
    figures["load_seconds"] = json!(setup.model.load_time().as_secs_f64());
    figures["peak_host_bytes"] = json!(peak_host_bytes());
    figures["device_bytes"] = device_bytes(&model.device_bytes());
    json!({
        "schema_version": SCHEMA_VERSION,
        "model": setup.model.name(),
        "text": turn.text,
        "token_ids": turn.token_ids,
        "stop_reason": turn.stop_reason,
        "seed": setup.options.sampling.seed,
        "figures": figures,
        "report": model.report(),
    })
}

/// Device memory by use.
pub fn device_bytes(bytes: &DeviceBytes) -> Value {
    json!({
        "weights": bytes.weights,
        "states": bytes.states,
        "arena": bytes.arena,
        "other": bytes.other,
        "total": bytes.total(),
    })
}

/// Choices and fallbacks, one line each, on stderr.
pub fn print_report(report: &Report) {
    let unit = match report.compute_unit {
        ComputeUnitKind::Gpu => "GPU unit",
        ComputeUnitKind::Cpu => "CPU unit",
    };
    let precision = format!("{:?}", report.precision).to_lowercase();
    eprintln!("{unit}, {}, {precision} precision", report.device);
    for entry in &report.entries {
        let kind = if entry.fallback { "fallback" } else { "choice" };
        eprintln!("  {kind} {}: {}", entry.code, entry.message);
    }
}

/// Decimal megabytes.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn rate(per_second: Option<f64>) -> String {
    per_second.map_or("n/a tokens/s".into(), |rate| format!("{rate:.1} tokens/s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(megabytes(75_904_727), "75.9 MB");
        assert_eq!(rate(Some(12.34)), "12.3 tokens/s");
        assert_eq!(rate(None), "n/a tokens/s");
        assert_eq!(ending(&StopReason::EndOfTurn, 5), None);
        assert!(ending(&StopReason::MaxTokens, 5).is_some_and(|s| s.contains("--max-tokens 5")));
    }
}
