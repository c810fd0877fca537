//! `--trace`: where the time of a step goes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use coreai::TraceEntry;
use coreai_tasks::language::LanguageModel;

use super::failure::Failure;
use super::prompt;

/// Runs a prompt and one decode step with timestamps and prints both.
pub fn run(model: &LanguageModel, text: Option<&str>, json: bool) -> Result<(), Failure> {
    let tokens = model.tokenizer().encode(text.unwrap_or("Hello"), true)?;
    let mut decoder = model.decoder_blocking()?;
    let prefill = decoder.trace_blocking(&tokens)?;
    let next: Vec<u32> = tokens.last().copied().into_iter().collect();
    // The first step of a shape compiles its pipelines; the second is what a token costs.
    decoder.trace_blocking(&next)?;
    let step = decoder.trace_blocking(&next)?;
    if json {
        let value = serde_json::json!({ "schema_version": 1, "prefill": prefill, "decode": step });
        return prompt::print(&format!("{value}\n"));
    }
    if step.is_empty() {
        return Err(Failure::new("this device has no timestamps; --trace needs a GPU adapter that has them"));
    }
    let title = format!("prefill, {} tokens", tokens.len());
    prompt::print(&format!("{}{}", table(&title, &prefill), table("decode, 1 token", &step)))
}

/// Time by kernel and op, longest first.
fn table(title: &str, entries: &[TraceEntry]) -> String {
    let mut sums: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    for e in entries {
        let sum = sums.entry((e.kernel, e.op.as_str())).or_default();
        *sum = (sum.0 + 1, sum.1 + e.nanoseconds);
    }
    let total: u64 = entries.iter().map(|e| e.nanoseconds).sum();
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by_key(|(_, (_, time))| std::cmp::Reverse(*time));
    let mut text = format!("{title}: {} dispatches, {:.3} ms\n", entries.len(), total as f64 / 1e6);
    for ((kernel, op), (count, time)) in rows {
        let share = 100.0 * time as f64 / total.max(1) as f64;
        let _ = writeln!(text, "  {:9.3} ms {share:5.1} % {count:6} × {kernel}  {op}", time as f64 / 1e6);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_kernels_are_summed_and_sorted_by_time() {
        let entry =
            |kernel, nanoseconds| TraceEntry { kernel, op: "op".into(), node: 0, source: None, nanoseconds };
        let text = table("t", &[entry("a", 1_000), entry("b", 5_000), entry("a", 1_000)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("3 dispatches, 0.007 ms"), "{text}");
        assert!(lines[1].contains(" b  op") && lines[2].contains("2 × a"), "{text}");
    }
}
