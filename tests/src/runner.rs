//! Models and recorded cases on a unit.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use coreai::gpu::GpuDevice;
use coreai::{
    AIModel, AIModelAsset, ComputeUnitKind, Error, OutputWant, Precision, Session, SpecializationOptions,
};
use coreai_tasks::verify::{Case, Expected, Outcome, Settings, Step, run_all};

/// Options for tests: exact, on the unit, software adapters welcome.
pub fn options(unit: ComputeUnitKind) -> SpecializationOptions {
    SpecializationOptions {
        compute_unit: unit,
        allow_software_adapter: true,
        precision: Precision::Exact,
        ..SpecializationOptions::default()
    }
}

/// One device for the process and these options; `None`, with a message, where there is no adapter.
pub fn device(options: &SpecializationOptions) -> Option<Arc<GpuDevice>> {
    match GpuDevice::open_blocking(options) {
        Ok(device) => Some(device),
        Err(e) => {
            static SAID: OnceLock<()> = OnceLock::new();
            SAID.get_or_init(|| eprintln!("skipped: {e}"));
            None
        }
    }
}

/// Specializes an asset, on `device` for the GPU unit.
pub fn specialize(
    path: &Path,
    options: &SpecializationOptions,
    device: Option<Arc<GpuDevice>>,
) -> Result<Arc<AIModel>, Error> {
    let asset = AIModelAsset::open(path)?;
    pollster::block_on(AIModel::specialize_on(asset, options.clone(), device, &mut |_| {}))
}

/// Runs recorded cases; `None`, with a message, where the unit is not there.
pub fn verify(cases: &[PathBuf], options: &SpecializationOptions) -> Option<Vec<Outcome>> {
    let device = match options.compute_unit {
        ComputeUnitKind::Cpu => None,
        ComputeUnitKind::Gpu => Some(device(options)?),
    };
    let expected = Arc::new(Expected::own().expect("the built-in list is well formed"));
    Some(run_all(cases, &Settings { options: options.clone(), device, expected, results: None }, &|_| {}))
}

/// A session for a recorded case, with the extents that its states have before the first step.
pub fn session(case: &Case, model: &Arc<AIModel>) -> Result<Session, String> {
    let states = case.steps.iter().take(1).flat_map(|s| &s.state_before);
    let shapes: Vec<(&str, &[usize])> = states.map(|(n, t)| (n.as_str(), t.shape.as_slice())).collect();
    model.session_blocking(&case.function, &shapes).map_err(|e| e.to_string())
}

/// Runs a recorded step; returns the numbers of the recorded outputs.
pub fn step(case: &Case, step: &Step, session: &mut Session) -> Result<Vec<usize>, String> {
    for (name, tensor) in &step.state_before {
        if let Some(array) = case.tensor("states", tensor).map_err(|e| e.to_string())? {
            session.write_state(name, &array).map_err(|e| e.to_string())?;
        }
    }
    for (name, tensor) in &step.inputs {
        let array = case.tensor("inputs", tensor).map_err(|e| e.to_string())?;
        let array = array.ok_or("an input is not recorded")?;
        session.set_array(name, &array).map_err(|e| e.to_string())?;
    }
    let outputs: Vec<usize> = step.outputs.keys().filter_map(|n| session.output_index(n)).collect();
    let wants: Vec<OutputWant> = outputs.iter().map(|i| OutputWant::all(*i)).collect();
    session.run_blocking(&wants).map_err(|e| e.to_string())?;
    Ok(outputs)
}
