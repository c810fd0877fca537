//! Models and recorded cases on a unit.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use coreai::gpu::GpuDevice;
use coreai::{AIModel, AIModelAsset, ComputeUnitKind, Error, Precision, SpecializationOptions};
use coreai_tasks::verify::{Expected, Outcome, Settings, run_all};

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
    Some(run_all(cases, &Settings { options: options.clone(), device, expected }, &|_| {}))
}
