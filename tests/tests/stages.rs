//! What a model says of functions that are not one plan, and of those that cannot be planned.

use std::path::PathBuf;
use std::sync::Arc;

use coreai::{AIModel, ComputeUnitKind, Error, NDArray, OutputWant, ReportEntry, SpecializationOptions};
use coreai_tests::{places, runner};

fn asset(relative: &str) -> PathBuf {
    places::root().join("tests/assets").join(relative)
}

fn entries(model: &AIModel, code: &str) -> Vec<ReportEntry> {
    model.report().entries.into_iter().filter(|e| e.code == code).collect()
}

/// Products of 64-bit integers lie between float32 values.
const WIDE: &str = "staged-wide-types/model.aimodel";

#[test]
fn ops_on_the_host_are_reported_and_strict_refuses_them() {
    let cpu = runner::specialize(&asset(WIDE), &runner::options(ComputeUnitKind::Cpu), None).expect("plans");
    let told = entries(&cpu, "host_op");
    assert!(told.iter().any(|e| e.message.contains("broadcasting_mul_v1")), "{told:?}");
    assert!(told.iter().all(|e| !e.fallback), "the processor is the CPU unit: {told:?}");

    let options = runner::options(ComputeUnitKind::Gpu);
    let Some(device) = runner::device(&options) else { return };
    let gpu = runner::specialize(&asset(WIDE), &options, Some(device.clone())).expect("plans");
    let told = entries(&gpu, "host_op");
    assert!(!told.is_empty() && told.iter().all(|e| e.fallback), "{told:?}");
    let strict = SpecializationOptions { strict: true, ..options };
    let refused = runner::specialize(&asset(WIDE), &strict, Some(device)).map(|_| ());
    assert!(matches!(refused, Err(Error::Strict(_))), "{refused:?}");
}

#[test]
fn a_function_that_cannot_be_planned_leaves_the_others_usable() {
    let path = asset("functions/partly-refused.aimodel");
    let options = runner::options(ComputeUnitKind::Cpu);
    let model: Arc<AIModel> = runner::specialize(&path, &options, None).expect("one function can be planned");
    let told = entries(&model, "function_refused");
    assert!(told.len() == 1 && told[0].fallback && told[0].message.contains("strange"), "{told:?}");
    let mut session = model.session_blocking("main", &[]).expect("the other one can be called");
    session.set_array("x", &NDArray::from_f32(&[3], &[1.0, 2.0, 3.0]).expect("three numbers")).expect("fits");
    session.run_blocking(&[OutputWant::all(0)]).expect("runs");
    assert_eq!(session.output_f32(0), [2.0, 4.0, 6.0]);
    let refused = model.session_blocking("strange", &[]).map(|_| ());
    assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    let strict = SpecializationOptions { strict: true, ..options };
    let refused = runner::specialize(&path, &strict, None).map(|_| ());
    assert!(matches!(refused, Err(Error::Strict(_))), "{refused:?}");
}
