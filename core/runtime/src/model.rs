//! Assets, and models specialized for a device.

use std::collections::BTreeMap;
#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::sync::{Arc, Mutex};

use coreai_asset::{Asset, ElementType, Function, ParamKind, Type};
use futures::lock::Mutex as AsyncMutex;

use crate::error::Error;
use crate::gpu::{AdapterInfo, DeviceBytes, GpuConstants, GpuDevice};
use crate::graph::{flatten, replay};
use crate::image::ImageDescriptor;
use crate::options::{ComputeUnitKind, SpecializationOptions};
use crate::planner::Planned;
use crate::program::{self, BuildCx, PlanStage, Program};
use crate::report::{Report, ReportEntry};
use crate::select;
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
    pub element: ElementType,
    /// Extents; `None` is dynamic.
    pub shape: Vec<Option<usize>>,
    /// The image that the tensor's bytes are, when the port is one.
    pub image: Option<ImageDescriptor>,
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
            let name = param.name.clone();
            if let Some(image) = ImageDescriptor::of(ty) {
                let shape = image.shape()?.into_iter().map(Some).collect();
                return Some(PortDescriptor { name, element: ElementType::UI8, shape, image: Some(image) });
            }
            let Type::Tensor(t) = ty else { return None };
            let shape = t.shape.iter().map(|d| d.and_then(|d| usize::try_from(d).ok())).collect();
            Some(PortDescriptor { name, element: t.element, shape, image: None })
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

/// Opens the device of a model, and another one after each loss.
#[cfg(not(target_arch = "wasm32"))]
pub type OpenDevice =
    Arc<dyn Fn() -> futures::future::BoxFuture<'static, Result<Arc<GpuDevice>, Error>> + Send + Sync>;
/// Opens the device of a model, and another one after each loss.
#[cfg(target_arch = "wasm32")]
pub type OpenDevice =
    Arc<dyn Fn() -> futures::future::LocalBoxFuture<'static, Result<Arc<GpuDevice>, Error>>>;

/// An asset specialized for one device; shared by sessions.
pub struct AIModel {
    pub(crate) asset: Arc<AIModelAsset>,
    pub(crate) options: SpecializationOptions,
    pub(crate) unit: Unit,
    functions: Vec<Arc<Program>>,
    entries: Mutex<Vec<ReportEntry>>,
    /// Where a device comes from after a loss; `None` for a device that the caller opened.
    open: Option<OpenDevice>,
    /// The model that took over after the loss of the device.
    successor: AsyncMutex<Option<Arc<AIModel>>>,
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
        match options.compute_unit {
            ComputeUnitKind::Cpu => Self::build(asset, options, None, None, progress).await,
            ComputeUnitKind::Gpu => {
                let how = options.clone();
                let open: OpenDevice = Arc::new(move || {
                    let how = how.clone();
                    Box::pin(async move { GpuDevice::open(&how).await })
                });
                Self::specialize_from(asset, options, open, progress).await
            }
        }
    }

    /// As [`AIModel::specialize_with`], on the GPU unit with devices that `open` gives.
    pub async fn specialize_from(
        asset: Arc<AIModelAsset>,
        options: SpecializationOptions,
        open: OpenDevice,
        progress: &mut impl FnMut(u64),
    ) -> Result<Arc<AIModel>, Error> {
        let device = open().await?;
        Self::build(asset, options, Some(device), Some(open), progress).await
    }

    /// As [`AIModel::specialize_with`], on a device that is open already; several models may share it.
    pub async fn specialize_on(
        asset: Arc<AIModelAsset>,
        options: SpecializationOptions,
        device: Option<Arc<GpuDevice>>,
        progress: &mut impl FnMut(u64),
    ) -> Result<Arc<AIModel>, Error> {
        Self::build(asset, options, device, None, progress).await
    }

    async fn build(
        asset: Arc<AIModelAsset>,
        options: SpecializationOptions,
        device: Option<Arc<GpuDevice>>,
        open: Option<OpenDevice>,
        progress: &mut impl FnMut(u64),
    ) -> Result<Arc<AIModel>, Error> {
        let mut entries = vec![];
        let (mut functions, mut refused) = (vec![], vec![]);
        let cx = BuildCx { asset: &asset.asset, options: &options, gpu: device.is_some() };
        for function in asset.entry_points() {
            let mut found = vec![];
            let built = loop {
                found.clear();
                let built = program::function(&cx, function, &mut found);
                if !asset.asset.source().bring_missed().await? {
                    break built;
                }
            };
            match built {
                Ok(built) => {
                    found.extend(placed(&built, device.is_some()));
                    functions.push(Arc::new(built));
                }
                // The others may be usable; calling this one gives the error.
                Err(e) => {
                    let message = format!("{} cannot be called: {e}", function.name);
                    found.push(ReportEntry { code: "function_refused", message, fallback: true });
                    refused.push(e);
                }
            }
            for entry in found {
                note(&mut entries, entry, options.strict)?;
            }
        }
        if functions.is_empty() && !refused.is_empty() {
            return Err(refused.remove(0));
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
                for stage in functions.iter().flat_map(|f| f.plan_stages()) {
                    let plan = &stage.plans.generic;
                    constants.load(plan, asset.asset.source().as_ref(), progress).await?;
                }
                Unit::Gpu { device, constants: AsyncMutex::new(constants) }
            }
        };
        let (entries, successor) = (Mutex::new(entries), AsyncMutex::new(None));
        Ok(Arc::new(AIModel { asset, options, unit, functions, entries, open, successor }))
    }

    /// The error with its cause.
    pub(crate) async fn explained(&self, error: Error) -> Error {
        match &self.unit {
            Unit::Cpu => error,
            Unit::Gpu { device, .. } => device.explained(error).await,
        }
    }

    /// Whether the device was lost. Sessions fail from then on; see [`AIModel::rebuilt`].
    pub fn is_lost(&self) -> bool {
        matches!(&self.unit, Unit::Gpu { device, .. } if device.is_lost())
    }

    /// The newest of the models that took over, without waiting for one that is being made.
    pub fn latest(self: &Arc<Self>) -> Arc<AIModel> {
        let mut model = self.clone();
        while let Some(next) = model.successor.try_lock().and_then(|s| s.clone()) {
            model = next;
        }
        model
    }

    /// This model; after a loss of its device the one that takes over, made from the same asset and
    /// options on a new device, once for all who ask. States of sessions are not carried over.
    /// [`Error::DeviceLost`] when the device was the caller's.
    pub async fn rebuilt(self: &Arc<Self>) -> Result<Arc<AIModel>, Error> {
        let mut model = self.clone();
        while model.is_lost() {
            let mut successor = model.successor.lock().await;
            let next = match &*successor {
                Some(next) => next.clone(),
                None => {
                    let Some(open) = &model.open else {
                        let reason = "it was the caller's; make the model again on another one";
                        return Err(Error::DeviceLost(reason.into()));
                    };
                    let (asset, options) = (model.asset.clone(), model.options.clone());
                    let next = Self::specialize_from(asset, options, open.clone(), &mut |_| {}).await?;
                    let message = "the device was lost; the model was built again on another one";
                    next.add_entry(ReportEntry {
                        code: "device_replaced",
                        message: message.into(),
                        fallback: false,
                    })?;
                    successor.insert(next).clone()
                }
            };
            drop(successor);
            model = next;
        }
        Ok(model)
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

    /// The device; `None` on the CPU unit.
    pub fn device(&self) -> Option<&Arc<GpuDevice>> {
        match &self.unit {
            Unit::Cpu => None,
            Unit::Gpu { device, .. } => Some(device),
        }
    }

    /// The adapter; `None` on the CPU unit.
    pub fn adapter(&self) -> Option<&AdapterInfo> {
        match &self.unit {
            Unit::Cpu => None,
            Unit::Gpu { device, .. } => Some(device.info()),
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

    /// The program of an entry point; for one that cannot be planned, why.
    pub(crate) fn program(&self, name: &str) -> Result<&Arc<Program>, Error> {
        if let Some(found) = self.functions.iter().find(|f| f.graph.function == name) {
            return Ok(found);
        }
        if let Some(function) = self.asset.entry_points().find(|f| f.name == name) {
            let gpu = matches!(self.unit, Unit::Gpu { .. });
            let cx = BuildCx { asset: &self.asset.asset, options: &self.options, gpu };
            program::function(&cx, function, &mut vec![])?;
        }
        let available = self.asset.entry_points().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", ");
        Err(Error::NoFunction { name: name.into(), available })
    }

    /// The plan of a stage for symbol values, made when needed.
    pub(crate) fn plan_for(
        &self,
        program: &Program,
        stage: &PlanStage,
        values: &[i64],
        rows: Option<(usize, usize)>,
    ) -> Result<Planned, Error> {
        let asset = &self.asset.asset;
        let cx = BuildCx { asset, options: &self.options, gpu: matches!(self.unit, Unit::Gpu { .. }) };
        stage.plans.find(values, rows, &|variant| {
            let mut graph = if program.whole {
                let name = &program.graph.function;
                let function = asset
                    .function(name)
                    .ok_or_else(|| Error::NoFunction { name: name.clone(), available: String::new() })?;
                flatten(asset, function, &program.options, &variant.fixed)?
            } else {
                replay(&program.graph, &stage.segment, &variant.fixed)?
            };
            if let Some((output, rows)) = variant.rows {
                select::last_rows(&mut graph, output, rows)?;
            }
            let mut made = program::plan(&cx, &graph).map_err(|f| *f.error)?;
            let mut entries = self.lock();
            for entry in made.entries.drain(..) {
                note(&mut entries, entry, self.options.strict)?;
            }
            Ok(made)
        })
    }

    /// Adds to the report; under `strict` a fallback is an error.
    pub fn add_entry(&self, entry: ReportEntry) -> Result<(), Error> {
        note(&mut self.lock(), entry, self.options.strict)
    }

    /// Readable text of the stages and generic plans of a function.
    pub fn dump_plan(&self, function: &str) -> Result<String, Error> {
        Ok(self.program(function)?.to_string())
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

/// What the host evaluates between the plans, for the report.
fn placed(program: &Program, gpu: bool) -> Vec<ReportEntry> {
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for (node, why) in program.host_nodes() {
        *counts.entry((node.name.to_string(), why)).or_default() += 1;
    }
    let name = &program.graph.function;
    let entry = |((op, why), n): ((String, &str), usize)| ReportEntry {
        code: "host_op",
        message: format!("{name}: {op} × {n} between plans, one at a time on the processor: {why}"),
        // The processor is where the CPU unit computes anyway.
        fallback: gpu,
    };
    counts.into_iter().map(entry).collect()
}
