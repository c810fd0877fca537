//! Whole models against recorded outputs: every step, both units, several device shapes.

use coreai::{ComputeUnitKind, SpecializationOptions};
use coreai_tests::case::Case;
use coreai_tests::{places, runner};

/// Decoders of the list and the other recorded architectures.
const DECODERS: &[&str] = &["model-decoder-", "model-llama-prefill-"];

/// Cases that need ops beyond this milestone: none may be added without a reason.
const SKIPPED: &[(&str, &str)] = &[];

fn run_all(cases: &[std::path::PathBuf], options: &SpecializationOptions) {
    let gpu = options.compute_unit == ComputeUnitKind::Gpu;
    let device = if gpu {
        match runner::device(options) {
            Some(device) => Some(device),
            None => return,
        }
    } else {
        None
    };
    let mut failures = vec![];
    let mut passed = 0;
    for folder in cases {
        let case = Case::read(folder);
        if let Some((_, why)) = SKIPPED.iter().find(|(name, _)| case.id.starts_with(name)) {
            println!("skipped {}: {why}", case.id);
            continue;
        }
        match runner::run(&case, options, device.clone()) {
            Ok(()) => passed += 1,
            Err(e) => failures.push(format!("{}: {e}", case.id)),
        }
    }
    println!("{passed} of {} passed", cases.len());
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

fn decoders() -> Vec<std::path::PathBuf> {
    [places::shared_cases(DECODERS), places::own_cases()].concat()
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
