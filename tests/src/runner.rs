//! Runs a recorded case on a unit.

use std::sync::{Arc, OnceLock};

use coreai::gpu::GpuDevice;
use coreai::{
    AIModel, AIModelAsset, ComputeUnitKind, ElementType, Error, NDArray, OutputWant, Precision, Session,
    SpecializationOptions,
};

use crate::case::Case;
use crate::compare::check;

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
    path: &std::path::Path,
    options: &SpecializationOptions,
    device: Option<Arc<GpuDevice>>,
) -> Result<Arc<AIModel>, Error> {
    let asset = AIModelAsset::open(path)?;
    pollster::block_on(AIModel::specialize_on(asset, options.clone(), device, &mut |_| {}))
}

/// The coarsest float type among the weights and ports of a case.
fn rounding(case: &Case) -> ElementType {
    let mut coarsest = ElementType::F32;
    let tensors = case.steps.iter().flat_map(|s| s.inputs.values().chain(s.outputs.values()));
    for t in tensors {
        match t.dtype.as_str() {
            "bfloat16" => return ElementType::BF16,
            "float16" => coarsest = ElementType::F16,
            _ => {}
        }
    }
    coarsest
}

/// Runs every step and compares outputs and states with the recorded ones.
pub fn run(
    case: &Case,
    options: &SpecializationOptions,
    device: Option<Arc<GpuDevice>>,
) -> Result<(), String> {
    let model = specialize(&case.asset, options, device).map_err(|e| e.to_string())?;
    let say = |e: Error| e.to_string();
    let mut session: Option<Session> = None;
    for (number, step) in case.steps.iter().enumerate() {
        let at = |e: String| format!("step {number}: {e}");
        if session.is_none() {
            let shapes: Vec<(&str, &[usize])> =
                step.state_before.iter().map(|(n, t)| (n.as_str(), t.shape.as_slice())).collect();
            session = Some(model.session_blocking(&case.function, &shapes).map_err(say)?);
        }
        let Some(session) = session.as_mut() else { return Err("no session".into()) };
        for (name, tensor) in &step.state_before {
            if let Some(array) = case.tensor("states", tensor) {
                session.write_state(name, &array).map_err(say).map_err(at)?;
            }
        }
        for (name, tensor) in &step.inputs {
            let array = case.tensor("inputs", tensor).ok_or_else(|| at(format!("no input {name}")))?;
            session.set_array(name, &array).map_err(say).map_err(at)?;
        }
        let wants: Vec<OutputWant> = step
            .outputs
            .keys()
            .map(|n| session.output_index(n).map(OutputWant::all).ok_or_else(|| at(format!("no output {n}"))))
            .collect::<Result<_, _>>()?;
        session.run_blocking(&wants).map_err(say).map_err(at)?;
        for (name, tensor) in &step.outputs {
            let expected = case.tensor("outputs", tensor).ok_or_else(|| at(format!("no recorded {name}")))?;
            let index = session.output_index(name).unwrap_or(usize::MAX);
            let found = session.output_array(index).map_err(say).map_err(at)?;
            check(case, name, &found, &expected, rounding(case)).map_err(at)?;
        }
        for (name, tensor) in &step.state_after {
            if let Some(expected) = case.tensor("states", tensor) {
                let found: NDArray = session.read_state_blocking(name).map_err(say).map_err(at)?;
                check(case, name, &found, &expected, rounding(case)).map_err(at)?;
            }
        }
    }
    Ok(())
}
