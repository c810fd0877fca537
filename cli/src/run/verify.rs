//! `coreai-run verify`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use coreai::gpu::GpuDevice;
use coreai::{ComputeUnitKind, Precision, SpecializationOptions};
use coreai_tasks::verify::{Expected, FamilyRow, Outcome, Settings, Summary, Verdict, find_cases, run_all};
use indicatif::{ProgressBar, ProgressStyle};
use regex::Regex;
use serde_json::{Value, json};

use super::failure::{Failure, one_line};
use super::figures::SCHEMA_VERSION;
use super::prompt::print;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  coreai-run verify conformance                          every case of a folder, on the GPU
  coreai-run verify conformance --compute-unit all       on both units
  coreai-run verify conformance --filter '^ct-ops-'      cases whose id matches
  coreai-run verify cases/ct-ops-where --mode fast       one case, as declared precision
  coreai-run verify conformance --json > report.json     for programs

A case is a folder with case.json, inputs.safetensors, outputs.safetensors and model.aimodel. Bounds are
one table (core/tasks/src/verify/tolerance.rs): integers and bool must be equal. The exit code is 0 when
every case passes or is skipped as the list of expected results says. Rows of the list whose cases ran
without needing them are told; they do not fail the run.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Units {
    Cpu,
    Gpu,
    /// One after the other
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// float32 intermediates
    Exact,
    /// Rounded to the declared type where a value is stored
    Fast,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Verify {
    /// A case, a folder of cases, or a folder with cases/
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
    /// Only cases whose id matches this regular expression, or contains it as text
    #[arg(long, value_name = "PATTERN")]
    filter: Option<String>,
    /// List of expected differences, unrecorded results and skips [default: the built-in one]
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Compare results that were computed elsewhere, in the layout of core/tasks/src/verify/results.rs
    #[arg(long, value_name = "DIR", conflicts_with = "adapter")]
    results: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Unit that runs the cases
    #[arg(long, value_enum, default_value = "gpu", help_heading = "Device")]
    compute_unit: Units,
    /// Part of an adapter's name; see `coreai-run adapters`. Without a GPU a software adapter is taken
    #[arg(long, value_name = "NAME", help_heading = "Device")]
    adapter: Option<String>,
    /// Precision of intermediates
    #[arg(long, visible_alias = "precision", value_enum, default_value = "exact", help_heading = "Device")]
    mode: Mode,
    /// Run composites as written, without fused kernels
    #[arg(long, help_heading = "Debugging")]
    no_rules: bool,
}

impl Verify {
    /// Runs the cases and prints what came out.
    pub fn run(self) -> Result<(), Failure> {
        if self.compute_unit == Units::Cpu && self.adapter.is_some() {
            return Err(Failure::new(
                "--adapter names a GPU adapter and does not go with --compute-unit cpu",
            ));
        }
        let cases = self.cases()?;
        let expected = match &self.list {
            Some(path) => Expected::read(path),
            None => Expected::own(),
        };
        let expected = Arc::new(expected.map_err(|e| Failure::new(e.to_string()))?);
        let mut runs = vec![];
        for unit in self.units() {
            let options = self.options(unit);
            let device = match unit {
                _ if self.results.is_some() => None,
                ComputeUnitKind::Cpu => None,
                ComputeUnitKind::Gpu => Some(GpuDevice::open_blocking(&options)?),
            };
            let name = match (&self.results, &device) {
                (Some(folder), _) => format!("results of {}", folder.display()),
                (None, Some(device)) => device.info().name.clone(),
                (None, None) => "CPU".into(),
            };
            let results = self.results.as_deref().map(Arc::from);
            let settings = Settings { options, device, expected: expected.clone(), results };
            let outcomes = with_progress(&cases, &settings);
            let summary = Summary::of(&outcomes);
            let unused = expected.unused(unit, &outcomes);
            if !self.json {
                print(&report(unit, &name, &outcomes, &summary)?)?;
                let lines = unused.iter().map(|row| format!("list: {row} has no effect\n"));
                print(&lines.collect::<String>())?;
            }
            runs.push((unit, name, outcomes, summary, unused));
        }
        if self.json {
            let runs: Vec<Value> = runs
                .iter()
                .map(|(unit, device, cases, summary, unused)| {
                    json!({
                        "compute_unit": unit,
                        "device": device,
                        "summary": summary,
                        "unused": unused,
                        "cases": cases,
                    })
                })
                .collect();
            let all = json!({
                "schema_version": SCHEMA_VERSION,
                "mode": format!("{:?}", self.mode).to_lowercase(),
                "rules": !self.no_rules,
                "runs": runs,
            });
            print(&format!("{all:#}\n"))?;
        }
        let failed: usize = runs.iter().map(|(.., summary, _)| summary.total.failed).sum();
        let unlisted: usize = runs.iter().map(|(.., summary, _)| summary.unlisted).sum();
        match runs.iter().all(|(.., summary, _)| summary.good()) {
            true => Ok(()),
            false => Err(Failure::new(format!(
                "{failed} cases failed and {unlisted} were skipped without being listed"
            ))),
        }
    }

    fn cases(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut cases = vec![];
        for folder in &self.folders {
            cases.extend(find_cases(folder).map_err(|e| Failure::new(e.to_string()))?);
        }
        let Some(pattern) = &self.filter else { return Ok(cases) };
        let expression = Regex::new(pattern).ok();
        cases.retain(|path| {
            let id = id(path);
            id.contains(pattern) || expression.as_ref().is_some_and(|e| e.is_match(&id))
        });
        match cases.is_empty() {
            true => Err(Failure::new(format!("no case matches --filter {pattern:?}"))),
            false => Ok(cases),
        }
    }

    fn units(&self) -> Vec<ComputeUnitKind> {
        match self.compute_unit {
            Units::Cpu => vec![ComputeUnitKind::Cpu],
            Units::Gpu => vec![ComputeUnitKind::Gpu],
            Units::All => vec![ComputeUnitKind::Cpu, ComputeUnitKind::Gpu],
        }
    }

    fn options(&self, unit: ComputeUnitKind) -> SpecializationOptions {
        SpecializationOptions {
            compute_unit: unit,
            adapter: self.adapter.clone(),
            // Numbers are checked here and not speed; the table names the adapter.
            allow_software_adapter: true,
            precision: match self.mode {
                Mode::Exact => Precision::Exact,
                Mode::Fast => Precision::Fast,
            },
            rules: !self.no_rules,
            ..Default::default()
        }
    }
}

fn id(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Shows a bar on stderr; indicatif draws none where stderr is no terminal.
pub fn with_progress(cases: &[PathBuf], settings: &Settings) -> Vec<Outcome> {
    let bar = ProgressBar::new(cases.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {elapsed} {msg}") {
        bar.set_style(style);
    }
    let outcomes = run_all(cases, settings, &|outcome| {
        bar.inc(1);
        if matches!(outcome.verdict, Verdict::Failed(_)) {
            bar.set_message(outcome.case.clone());
        }
    });
    bar.finish_and_clear();
    outcomes
}

fn report(
    unit: ComputeUnitKind,
    device: &str,
    outcomes: &[Outcome],
    summary: &Summary,
) -> Result<String, Failure> {
    let unit = match unit {
        ComputeUnitKind::Cpu => "CPU unit".to_string(),
        ComputeUnitKind::Gpu => format!("GPU unit, {device}"),
    };
    let mut table = Table::new("").right(&[1, 2, 3, 4, 5, 6]);
    table.row(["family", "cases", "passed", "skipped", "failed", "worst PSNR", "worst error"]);
    for row in summary.families.iter().chain([&summary.total]) {
        table.row(cells(row));
    }
    let mut rows = vec![];
    table.write(&mut rows)?;
    let mut text = format!("{unit}\n{}", String::from_utf8_lossy(&rows));
    for outcome in outcomes {
        match &outcome.verdict {
            Verdict::Failed(failure) => {
                text += &format!("FAILED {}: {}\n", outcome.case, one_line(&failure.to_string()));
            }
            Verdict::Skipped { reason, listed: false } => {
                text += &format!("SKIPPED, not listed {}: {}\n", outcome.case, one_line(&reason.to_string()));
            }
            _ => {}
        }
    }
    for (reason, count) in &summary.skips {
        let more =
            if count.unlisted > 0 { format!(", {} not listed", count.unlisted) } else { String::new() };
        text += &format!("skipped {:5}  {reason}{more}\n", count.listed + count.unlisted);
    }
    if summary.expected_differences > 0 {
        text += &format!("{} elements differ as the list says\n", summary.expected_differences);
    }
    if summary.by_wide > 0 {
        text += &format!(
            "{} tensors pass because they are as close to float64 arithmetic as the recorded ones\n",
            summary.by_wide
        );
    }
    Ok(text)
}

fn cells(row: &FamilyRow) -> [String; 7] {
    let psnr = match row.worst_psnr {
        Some(psnr) if psnr.is_infinite() => "equal".into(),
        Some(psnr) => format!("{psnr:.1} dB"),
        None => "".into(),
    };
    let error = match row.worst_error {
        Some(0.0) => "0".into(),
        Some(error) => format!("{error:.1e}"),
        None => "".into(),
    };
    let count = |n: usize| n.to_string();
    [
        row.family.clone(),
        count(row.cases),
        count(row.passed),
        count(row.skipped),
        count(row.failed),
        psnr,
        error,
    ]
}
