//! Whole models against recorded outputs: every step, both units, several device shapes.

use coreai::{ComputeUnitKind, SpecializationOptions};
use coreai_tasks::verify::Verdict;
use coreai_tests::{places, runner};

/// Decoders of the list and the other recorded architectures.
const DECODERS: &[&str] = &["model-decoder-", "model-llama-prefill-"];

fn run_all(cases: &[std::path::PathBuf], options: &SpecializationOptions) {
    let Some(outcomes) = runner::verify(cases, options) else { return };
    let wrong = outcomes.iter().filter(|o| o.verdict != Verdict::Passed);
    let wrong: Vec<String> = wrong.map(|o| format!("{}: {:?}", o.case, o.verdict)).collect();
    println!("{} of {} passed", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{} did not pass:\n{}", wrong.len(), wrong.join("\n"));
}

/// Recorded decoders of the conformance set, and the repository's own (one is bfloat16).
fn decoders() -> Vec<std::path::PathBuf> {
    let own = places::own_cases().into_iter().filter(|p| p.to_string_lossy().contains("decoder"));
    let cases = [places::shared_cases(DECODERS), own.collect()].concat();
    assert!(!cases.is_empty(), "the repository holds decoders of its own");
    cases
}

/// The decoders that must run on the GPU without any fallback.
fn strict_decoders() -> Vec<std::path::PathBuf> {
    let expanded = ["fp8", "pal4"];
    let named =
        |p: &std::path::PathBuf| p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    decoders().into_iter().filter(|p| !expanded.iter().any(|e| named(p).contains(e))).collect()
}

#[test]
fn cpu() {
    run_all(&decoders(), &runner::options(ComputeUnitKind::Cpu));
}

#[test]
fn cpu_without_rules() {
    run_all(&decoders(), &SpecializationOptions { rules: false, ..runner::options(ComputeUnitKind::Cpu) });
}

#[test]
fn gpu() {
    run_all(&decoders(), &runner::options(ComputeUnitKind::Gpu));
}

#[test]
fn gpu_strict() {
    run_all(
        &strict_decoders(),
        &SpecializationOptions { strict: true, ..runner::options(ComputeUnitKind::Gpu) },
    );
}

#[test]
fn gpu_with_forced_kernels() {
    for forced in [coreai::ForcedKernel::Tiled, coreai::ForcedKernel::Plain] {
        let options =
            SpecializationOptions { force_kernel: Some(forced), ..runner::options(ComputeUnitKind::Gpu) };
        run_all(&decoders(), &options);
    }
}

#[test]
fn gpu_without_rules() {
    run_all(&decoders(), &SpecializationOptions { rules: false, ..runner::options(ComputeUnitKind::Gpu) });
}

#[test]
fn gpu_without_subgroups_and_f16() {
    let options = SpecializationOptions {
        subgroups: false,
        shader_f16: false,
        ..runner::options(ComputeUnitKind::Gpu)
    };
    run_all(&decoders(), &options);
}

#[test]
fn gpu_with_4_mib_bindings() {
    let options =
        SpecializationOptions { max_binding_bytes: Some(4 << 20), ..runner::options(ComputeUnitKind::Gpu) };
    run_all(&decoders(), &options);
}
