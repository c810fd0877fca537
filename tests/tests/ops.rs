//! Single ops that the conformance set lacks, against what Apple's CPU runtime computed.

use std::sync::Arc;

use coreai::ComputeUnitKind;
use coreai::gpu::GpuDevice;
use coreai_tests::case::Case;
use coreai_tests::{places, runner};

fn check(unit: ComputeUnitKind, device: Option<Arc<GpuDevice>>) {
    let cases = places::op_cases();
    assert!(cases.len() >= 18, "only {} cases are here", cases.len());
    let run = |folder| {
        let case = Case::read(folder);
        runner::run(&case, &runner::options(unit), device.clone())
            .map_err(|e| format!("{}: {e}", case.id))
            .err()
    };
    let failed: Vec<String> = cases.iter().filter_map(|folder| run(folder)).collect();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn cpu_single_ops() {
    check(ComputeUnitKind::Cpu, None);
}

#[test]
fn gpu_single_ops() {
    if let Some(device) = runner::device(&runner::options(ComputeUnitKind::Gpu)) {
        check(ComputeUnitKind::Gpu, Some(device));
    }
}
