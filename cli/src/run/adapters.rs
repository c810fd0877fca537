//! `coreai-run adapters`.

use std::fmt::Write;

use clap::Args;
use serde_json::{Value, json};

use super::failure::Failure;
use super::figures::SCHEMA_VERSION;
use super::prompt::print;

const EXAMPLES: &str = "\
Examples:
  coreai-run adapters           what models can run on
  coreai-run adapters --json    the same for programs";

/// Arguments of `adapters`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Adapters {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Adapters {
    /// Lists what the drivers offer.
    pub fn run(self) -> Result<(), Failure> {
        let adapters = json!(coreai::adapters_blocking());
        if self.json {
            let all = json!({ "schema_version": SCHEMA_VERSION, "adapters": adapters });
            return print(&format!("{all:#}\n"));
        }
        match adapters.as_array() {
            Some(list) if !list.is_empty() => {
                print(&list.iter().map(describe).collect::<Vec<_>>().join("\n"))
            }
            _ => {
                eprintln!("no GPU adapter found; models run with --compute-unit cpu");
                Ok(())
            }
        }
    }
}

/// The name, then a line per property.
fn describe(adapter: &Value) -> String {
    let mut text = format!("{}\n", plain(&adapter["name"]));
    for (key, value) in adapter.as_object().into_iter().flatten() {
        if key == "name" {
            continue;
        }
        let note = match key.as_str() {
            "software" if value == true => " (used only when named with --adapter, and by verify)",
            _ => "",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}: {}{note}", key.replace('_', " "), plain(value));
    }
    text
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| format!("\n    {} {}", key.replace('_', " "), plain(value)))
            .collect(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_readable() {
        let text = describe(&json!({
            "name": "llvmpipe", "software": true, "features": ["f16", "subgroups"],
            "limits": {"max_binding_bytes": 128}
        }));
        assert!(text.starts_with("llvmpipe\n"), "{text}");
        assert!(text.contains("  features: f16, subgroups\n"), "{text}");
        assert!(text.contains("    max binding bytes 128\n"), "{text}");
        assert!(text.contains("software: yes (used only when named"), "{text}");
    }
}
