//! The whole recorded set on both units, as `coreai-run verify` runs it: every case passes or does
//! what the list of expected results says. A fixed tenth runs under every forced variant; with
//! `COREAI_WHOLE_SET` set, as `make verify-all` does, all of it.

use std::path::PathBuf;

use coreai::{ComputeUnitKind, ForcedKernel, Precision, SpecializationOptions};
use coreai_tasks::verify::{Expected, Summary, Verdict};
use coreai_tests::{places, runner};

/// Cases of the set that have recorded outputs.
const RECORDED: usize = 2769;
/// Its result is the difference of two equal products: in `fast` mode one is rounded to float16 where it is
/// materialized and the other is fused unrounded, so that rounding is all that is left.
const CANCELS: &str = "gather-mm-in-moe-with-fused-proj";
/// Binding limit of the variant with small limits.
const SMALL_BINDING: u64 = 4 << 20;

fn check(cases: &[PathBuf], options: &SpecializationOptions) -> Option<Summary> {
    let outcomes = runner::verify(cases, options)?;
    let summary = Summary::of(&outcomes);
    println!(
        "{:?}: {} of {} passed; {:?}",
        options.compute_unit,
        summary.total.passed,
        cases.len(),
        summary.skips
    );
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|o| match &o.verdict {
            Verdict::Failed(failure) => Some(format!("{}: {failure}", o.case)),
            _ => None,
        })
        .collect();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    assert!(summary.good(), "unlisted skips: {:?}", summary.skips);
    let unused = Expected::own().expect("well formed").unused(options.compute_unit, &outcomes);
    assert!(unused.is_empty(), "rows without effect: {unused:?}");
    Some(summary)
}

fn all(unit: ComputeUnitKind) {
    let cases = places::shared_cases(&["c", "m"]);
    if cases.is_empty() {
        return;
    }
    if let Some(summary) = check(&cases, &runner::options(unit)) {
        assert_eq!(summary.total.passed, RECORDED);
    }
}

fn tenth(options: SpecializationOptions) {
    let step = if std::env::var_os("COREAI_WHOLE_SET").is_some() { 1 } else { 10 };
    let fast = options.precision == Precision::Fast && options.rules;
    let cancels = |folder: &PathBuf| folder.to_string_lossy().contains(CANCELS);
    let cases = places::shared_cases(&["c", "m"]).into_iter().step_by(step);
    let cases: Vec<PathBuf> = cases.filter(|folder| !(fast && cancels(folder))).collect();
    if !cases.is_empty() {
        check(&cases, &options);
    }
}

fn gpu() -> SpecializationOptions {
    runner::options(ComputeUnitKind::Gpu)
}

#[test]
fn own_cases_pass() {
    let cases = [places::own_cases(), places::op_cases()].concat();
    assert!(cases.len() >= 38, "only {} cases are here", cases.len());
    for unit in [ComputeUnitKind::Cpu, ComputeUnitKind::Gpu] {
        check(&cases, &runner::options(unit));
    }
}

#[test]
fn cpu_all() {
    all(ComputeUnitKind::Cpu);
}

#[test]
fn gpu_all() {
    all(ComputeUnitKind::Gpu);
}

#[test]
fn cpu_bodies() {
    tenth(SpecializationOptions { rules: false, ..runner::options(ComputeUnitKind::Cpu) });
}

#[test]
fn gpu_bodies() {
    tenth(SpecializationOptions { rules: false, ..gpu() });
}

#[test]
fn cpu_fast() {
    tenth(SpecializationOptions { precision: Precision::Fast, ..runner::options(ComputeUnitKind::Cpu) });
}

#[test]
fn gpu_fast() {
    tenth(SpecializationOptions { precision: Precision::Fast, ..gpu() });
}

#[test]
fn cpu_fast_bodies() {
    let options = runner::options(ComputeUnitKind::Cpu);
    tenth(SpecializationOptions { rules: false, precision: Precision::Fast, ..options });
}

#[test]
fn gpu_fast_bodies() {
    tenth(SpecializationOptions { rules: false, precision: Precision::Fast, ..gpu() });
}

#[test]
fn gpu_without_subgroups() {
    tenth(SpecializationOptions { subgroups: false, ..gpu() });
}

#[test]
fn gpu_small_bindings() {
    tenth(SpecializationOptions { max_binding_bytes: Some(SMALL_BINDING), ..gpu() });
}

#[test]
fn gpu_plain_kernels() {
    tenth(SpecializationOptions { force_kernel: Some(ForcedKernel::Plain), ..gpu() });
}

#[test]
fn gpu_tiled_kernels() {
    tenth(SpecializationOptions { force_kernel: Some(ForcedKernel::Tiled), ..gpu() });
}
