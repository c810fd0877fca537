//! What is known beforehand: elements where we follow PyTorch and not a slip of Apple's runtime, what
//! cases without recorded results do, and which cases are skipped.

use std::path::Path;

use coreai::ComputeUnitKind;
use serde::{Deserialize, Serialize};

use super::error::VerifyError;
use super::runner::{Outcome, Verdict, unit_name};

/// The reviewed list for the conformance corpus.
const OWN: &str = include_str!("expected.json");
const SCHEMA: u32 = 1;

/// Elements of an output that may differ from the recorded ones.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// Case ids; `*` stands for any text.
    pub case: String,
    /// Output or state.
    pub output: String,
    /// Step; without it every step.
    pub step: Option<usize>,
    /// Indices of the elements.
    #[serde(default)]
    pub elements: Vec<Vec<usize>>,
    /// At most so many elements, wherever they are; used where `elements` is empty.
    #[serde(default)]
    pub at_most: usize,
    /// Where we follow PyTorch, and what the runtime did.
    pub why: String,
}

/// What a case without recorded results does.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Unrecorded {
    /// Case ids; `*` stands for any text.
    pub case: String,
    /// `runs`, `loads`, or the code of the error.
    pub result: ExpectedResult,
    /// Why nothing was recorded.
    pub why: String,
}

/// How far a case without recorded results goes.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedResult {
    /// Runs on its inputs; the results are compared with nothing.
    Runs,
    /// Is planned for the unit.
    Loads,
    /// Ends in an error with this code.
    Error(String),
}

/// A recorded case that need not run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SkipRow {
    /// Case ids; `*` stands for any text.
    pub case: String,
    /// Only on this unit: `cpu` or `gpu`.
    pub unit: Option<String>,
    /// Code of the error it ends in.
    pub code: String,
    /// Why.
    pub why: String,
}

/// The list.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    schema_version: u32,
    /// Elements that may differ.
    #[serde(default)]
    pub differences: Vec<Difference>,
    /// Cases without recorded results.
    #[serde(default)]
    pub unrecorded: Vec<Unrecorded>,
    /// Cases that are skipped.
    #[serde(default)]
    pub skips: Vec<SkipRow>,
}

impl Expected {
    /// The list that the repository holds for the conformance corpus.
    pub fn own() -> Result<Expected, VerifyError> {
        Self::parse(OWN, "the built-in list")
    }

    /// Reads a list of the same layout.
    pub fn read(path: &Path) -> Result<Expected, VerifyError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|e| VerifyError::File { path: name.clone(), reason: e.to_string() })?;
        Self::parse(&text, &name)
    }

    fn parse(text: &str, path: &str) -> Result<Expected, VerifyError> {
        let wrong = |reason: String| VerifyError::Layout { path: path.into(), reason };
        let list: Expected = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
        if list.schema_version != SCHEMA {
            return Err(wrong(format!("schema_version {}; expected {SCHEMA}", list.schema_version)));
        }
        if let Some(d) = list.differences.iter().find(|d| d.elements.is_empty() == (d.at_most == 0)) {
            return Err(wrong(format!("{}: expected either elements or at_most", d.case)));
        }
        Ok(list)
    }

    /// The rows for an output of a step.
    pub fn differences(&self, case: &str, output: &str, step: usize) -> Vec<&Difference> {
        let of = |d: &&Difference| {
            d.output == output && d.step.is_none_or(|s| s == step) && matches(&d.case, case)
        };
        self.differences.iter().filter(of).collect()
    }

    /// What a case without recorded results does; the first row that matches.
    pub fn unrecorded(&self, case: &str) -> Option<&Unrecorded> {
        self.unrecorded.iter().find(|u| matches(&u.case, case))
    }

    /// Whether a skip with this error code is on the list.
    pub fn skips(&self, case: &str, unit: &str, code: &str) -> bool {
        let of = |s: &SkipRow| {
            s.code == code && s.unit.as_deref().is_none_or(|u| u == unit) && matches(&s.case, case)
        };
        self.skips.iter().any(of)
    }

    /// Rows for cases that ran on `unit`, and of which none was needed: text of kind and case. Rows whose
    /// cases did not run or failed are not told.
    pub fn unused(&self, unit: ComputeUnitKind, outcomes: &[Outcome]) -> Vec<String> {
        let idle = |pattern: &str, effect: &dyn Fn(&Outcome) -> bool| {
            let ran: Vec<&Outcome> = outcomes.iter().filter(|o| matches(pattern, &o.case)).collect();
            !ran.is_empty() && ran.iter().all(|o| !effect(o) && !matches!(o.verdict, Verdict::Failed(_)))
        };
        let listed = |o: &Outcome| matches!(o.verdict, Verdict::Skipped { listed: true, .. });
        let row = |kind: &str, case: &str| format!("{kind} {case}");
        let differences = self.differences.iter().filter(|d| idle(&d.case, &|o| o.expected_differences > 0));
        let unrecorded = self.unrecorded.iter().filter(|u| idle(&u.case, &listed));
        let here = |s: &&SkipRow| s.unit.as_deref().is_none_or(|u| u == unit_name(unit));
        let skips = self.skips.iter().filter(here).filter(|s| idle(&s.case, &listed));
        let mut rows: Vec<String> = differences.map(|d| row("difference", &d.case)).collect();
        rows.extend(unrecorded.map(|u| row("unrecorded", &u.case)));
        rows.extend(skips.map(|s| row("skip", &s.case)));
        rows
    }
}

/// Whether `pattern`, in which `*` stands for any text, is `text`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    match last {
        None => rest.is_empty(),
        // Each part was taken at its first place; the last one must end the text.
        Some(part) => text.ends_with(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("*b", "abb", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_own_list_is_well_formed() {
        let list = Expected::own().unwrap();
        assert!(list.differences.iter().all(|d| !d.why.is_empty()));
        assert!(list.unrecorded.iter().all(|d| !d.why.is_empty()));
        assert!(list.skips.iter().all(|d| !d.why.is_empty()));
    }

    #[test]
    fn wrong_lists_are_refused() {
        for text in [
            "{}",
            r#"{"schema_version": 2}"#,
            r#"{"schema_version": 1, "other": []}"#,
            r#"{"schema_version": 1, "differences": [{"case": "a", "output": "y", "why": "w"}]}"#,
        ] {
            assert!(Expected::parse(text, "list").is_err(), "{text}");
        }
        let text = r#"{"schema_version": 1,
            "differences": [{"case": "a-*", "output": "y", "elements": [[0, 1]], "why": "w"}],
            "unrecorded": [{"case": "b", "result": {"error": "unsupported"}, "why": "w"},
                           {"case": "c", "result": "loads", "why": "w"}]}"#;
        let list = Expected::parse(text, "list").unwrap();
        assert_eq!(list.differences("a-1", "y", 3).len(), 1);
        assert!(list.differences("b", "y", 0).is_empty() && list.differences("a-1", "z", 0).is_empty());
        let result = list.unrecorded("b").map(|u| u.result.clone());
        assert_eq!(result, Some(ExpectedResult::Error("unsupported".into())));
    }
}
