//! Assets, and models specialized for a device.

use std::path::Path;
use std::sync::{Arc, Mutex};

use coreai_asset::{Asset, Function, ParamKind, Type};
use futures::lock::Mutex as AsyncMutex;

use crate::error::Error;
use crate::gpu::{DeviceBytes, GpuConstants, GpuDevice};
use crate::options::{ComputeUnitKind, SpecializationOptions};
use crate::plan::Plan;
use crate::planner::{self, FunctionPlans, Planned, Variant};
use crate::report::{Report, ReportEntry};
use crate::session::Session;

/// Version of [`Report`]'s JSON form.
const REPORT_SCHEMA: u32 = 1;

/// An opened asset.
pub struct AIModelAsset {
    /// What the file says.
    pub asset: Arc<Asset>,
}

impl AIModelAsset {
    /// Opens an `.aimodel` directory or a `main.mlirb` file.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: &Path) -> Result<Arc<AIModelAsset>, Error> {
        Ok(Arc::new(AIModelAsset { asset: Arc::new(Asset::open(path)?) }))
    }

    /// Wraps an asset that was read from elsewhere.
    pub fn new(asset: Asset) -> Arc<AIModelAsset> {
        Arc::new(AIModelAsset { asset: Arc::new(asset) })
    }

    /// The entry points.
    pub fn functions(&self) -> Vec<FunctionDescriptor> {
        self.entry_points().map(|f| FunctionDescriptor::of(&self.asset, f)).collect()
    }

    fn entry_points(&self) -> impl Iterator<Item = &Function> {
        self.asset.functions.iter().filter(|f| !f.private)
    }
}

/// Name, dtype and declared shape of an input, output or state.
#[derive(Clone, Debug, PartialEq)]
pub struct PortDescriptor {
    /// I/O name.
    pub name: String,
    /// Element type.
    pub element: coreai_asset::ElementType,
    /// Extents; `None` is dynamic.
    pub shape: Vec<Option<usize>>,
}

/// Signature of an entry point.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionDescriptor {
    /// Name.
    pub name: String,
    /// Inputs, states excluded.
    pub inputs: Vec<PortDescriptor>,
    /// Outputs, tokens excluded.
    pub outputs: Vec<PortDescriptor>,
    /// States.
    pub states: Vec<PortDescriptor>,
}

impl FunctionDescriptor {
    fn of(asset: &Asset, function: &Function) -> FunctionDescriptor {
        let port = |param: &coreai_asset::Param| {
            let mut ty = asset.ty(param.ty);
            if let Type::Handle(inner) = ty {
                ty = asset.ty(*inner);
            }
            let Type::Tensor(t) = ty else { return None };
            let shape = t.shape.iter().map(|d| d.and_then(|d| usize::try_from(d).ok())).collect();
            Some(PortDescriptor { name: param.name.clone(), element: t.element, shape })
        };
        let of = |params: &[coreai_asset::Param], kind| {
            params.iter().filter(|p| p.kind == kind).filter_map(port).collect()
        };
        FunctionDescriptor {
            name: function.name.clone(),
            inputs: of(&function.inputs, ParamKind::Input),
            outputs: of(&function.outputs, ParamKind::Output),
            states: of(&function.inputs, ParamKind::State),
        }
    }
}

/// The device a model was specialized for.
pub(crate) enum Unit {
    Cpu,
    Gpu { device: Arc<GpuDevice>, constants: AsyncMutex<GpuConstants> },
}

/// An asset specialized for one device; shared by sessions.
pub struct AIModel {
    pub(crate) asset: Arc<AIModelAsset>,
    pub(crate) options: SpecializationOptions,
    pub(crate) unit: Unit,
    functions: Vec<FunctionPlans>,
    entries: Mutex<Vec<ReportEntry>>,
}

impl AIModel {
    /// Plans every entry point, opens the device and uploads the weights.
    pub async fn specialize(
        asset: Arc<AIModelAsset>,
        options: SpecializationOptions,
    ) -> Result<Arc<AIModel>, Error> {
        Self::specialize_with(asset, options, &mut |_| {}).await
    }

    /// As [`AIModel::specialize`]; `progress` gets the device bytes of each uploaded weight.
    pub async fn specialize_with(
        asset: Arc<AIModelAsset>,
        options: SpecializationOptions,
        progress: &mut impl FnMut(u64),
    ) -> Result<Arc<AIModel>, Error> {
        let device = match options.compute_unit {
            ComputeUnitKind::Cpu => None,
            ComputeUnitKind::Gpu => Some(GpuDevice::open(&options).await?),
        };
        Self::specialize_on(asset, options, device, progress).await
    }

    /// As [`AIModel::specialize_with`], on a device that is open already; several models may share it.
    pub async fn specialize_on(
        asset: Arc<AIModelAsset>,
        options: SpecializationOptions,
        device: Option<Arc<GpuDevice>>,
        progress: &mut impl FnMut(u64),
    ) -> Result<Arc<AIModel>, Error> {
        let mut entries = vec![];
        let mut functions = vec![];
        for function in asset.entry_points() {
            let (plan, mut found) = planner::plan(&asset.asset, function, &options, &Variant::default())?;
            supported(&plan, device.is_some())?;
            for entry in found.drain(..) {
                note(&mut entries, entry, options.strict)?;
            }
            functions.push(FunctionPlans::new(function.name.clone(), Arc::new(plan)));
        }
        if device.is_none() && options.force_kernel.is_some() {
            let message = "a forced kernel variant has no effect on the CPU unit".into();
            note(
                &mut entries,
                ReportEntry { code: "force_kernel", message, fallback: true },
                options.strict,
            )?;
        }
        if let Some(device) = device.as_ref().filter(|d| d.info().software) {
            let message = format!("{} runs shaders on the processor", device.info().name);
            entries.push(ReportEntry { code: "software_adapter", message, fallback: false });
        }
        let unit = match device {
            None => Unit::Cpu,
            Some(device) => {
                let mut constants = GpuConstants::new(device.clone());
                for f in &functions {
                    constants.load(&f.generic, asset.asset.source().as_ref(), progress).await?;
                }
                Unit::Gpu { device, constants: AsyncMutex::new(constants) }
            }
        };
        Ok(Arc::new(AIModel { asset, options, unit, functions, entries: Mutex::new(entries) }))
    }

    /// Blocking twin of [`AIModel::specialize`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn specialize_blocking(
        asset: Arc<AIModelAsset>,
        options: SpecializationOptions,
    ) -> Result<Arc<AIModel>, Error> {
        pollster::block_on(Self::specialize(asset, options))
    }

    /// Signatures of the entry points.
    pub fn functions(&self) -> Vec<FunctionDescriptor> {
        self.asset.functions()
    }

    /// Every choice and fallback so far.
    pub fn report(&self) -> Report {
        Report {
            schema_version: REPORT_SCHEMA,
            compute_unit: self.options.compute_unit,
            device: self.adapter_name(),
            precision: self.options.precision,
            entries: self.lock().clone(),
        }
    }

    /// The adapter, or the processor for the CPU unit.
    pub fn adapter_name(&self) -> String {
        match &self.unit {
            Unit::Cpu => format!("CPU, {} threads", crate::cpu::threads::width()),
            Unit::Gpu { device, .. } => format!("{} ({})", device.info().name, device.info().backend),
        }
    }

    /// Whether shaders run on the processor.
    pub fn is_software(&self) -> bool {
        matches!(&self.unit, Unit::Gpu { device, .. } if device.info().software)
    }

    /// Bytes on the device; zero on the CPU unit, which reads weights in place.
    pub fn device_bytes(&self) -> DeviceBytes {
        match &self.unit {
            Unit::Cpu => DeviceBytes::default(),
            Unit::Gpu { device, .. } => device.device_bytes(),
        }
    }

    /// A session of an entry point. `shapes` gives the extents of states that have dynamic ones;
    /// states start as zeros.
    pub async fn session(
        self: &Arc<Self>,
        function: &str,
        shapes: &[(&str, &[usize])],
    ) -> Result<Session, Error> {
        Session::new(self.clone(), function, shapes).await
    }

    /// Blocking twin of [`AIModel::session`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn session_blocking(
        self: &Arc<Self>,
        function: &str,
        shapes: &[(&str, &[usize])],
    ) -> Result<Session, Error> {
        pollster::block_on(self.session(function, shapes))
    }

    /// Plans of a function, by position among the entry points.
    pub(crate) fn plans(&self, name: &str) -> Result<(usize, &FunctionPlans), Error> {
        self.functions.iter().enumerate().find(|(_, f)| f.name == name).ok_or_else(|| Error::NoFunction {
            name: name.into(),
            available: self.functions.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// The plan for symbol values, made when needed.
    pub(crate) fn plan_for(
        &self,
        function: usize,
        values: &[i64],
        rows: Option<(usize, usize)>,
    ) -> Result<Planned, Error> {
        let plans = &self.functions[function];
        let source = self
            .asset
            .asset
            .function(&plans.name)
            .ok_or_else(|| Error::NoFunction { name: plans.name.clone(), available: String::new() })?;
        plans.find(values, rows, &|variant| {
            let (plan, found) = planner::plan(&self.asset.asset, source, &self.options, variant)?;
            supported(&plan, matches!(self.unit, Unit::Gpu { .. }))?;
            let mut entries = self.lock();
            for entry in found {
                note(&mut entries, entry, self.options.strict)?;
            }
            Ok(plan)
        })
    }

    /// Adds to the report; under `strict` a fallback is an error.
    pub(crate) fn add_entry(&self, entry: ReportEntry) -> Result<(), Error> {
        note(&mut self.lock(), entry, self.options.strict)
    }

    /// Readable text of the generic plan of a function.
    pub fn dump_plan(&self, function: &str) -> Result<String, Error> {
        Ok(self.plans(function)?.1.generic.to_string())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<ReportEntry>> {
        self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Adds an entry once; under `strict` a fallback is an error.
fn note(entries: &mut Vec<ReportEntry>, entry: ReportEntry, strict: bool) -> Result<(), Error> {
    if strict && entry.fallback {
        return Err(Error::Strict(entry.message));
    }
    if !entries.contains(&entry) {
        entries.push(entry);
    }
    Ok(())
}

/// Refuses a plan with a step the GPU has no kernel for.
fn supported(plan: &Plan, gpu: bool) -> Result<(), Error> {
    if !gpu {
        return Ok(());
    }
    for step in &plan.steps {
        if let Err(reason) = crate::gpu::kernels::supports(plan, step) {
            return Err(Error::Unsupported {
                function: plan.function.clone(),
                op: step.origin.op.to_string(),
                source_line: step.origin.source.as_ref().map(|s| s.to_string()),
                reason: format!("{reason}; the CPU unit runs it"),
            });
        }
    }
    Ok(())
}
