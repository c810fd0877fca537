//! One GPU device: opening it, its capabilities, waiting for it, and what went wrong on it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::adapters::{AdapterInfo, choose, enumerate};
use super::counters::{ByteCounters, CounterValues, Counters, DeviceBytes, count};
use super::dispatch::Caps;
use super::pipelines::PipelineCache;
use super::seam::{Signal, lock, seam};
use super::wgpu;
use crate::error::Error;
use crate::options::{ForcedKernel, SpecializationOptions};

/// Longest time between a failure and the news that the device was lost.
#[cfg(target_arch = "wasm32")]
const LOSS_NEWS: std::time::Duration = std::time::Duration::from_millis(500);

/// An open device. Everything made on it keeps it alive.
pub struct GpuDevice {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) counters: Counters,
    pub(crate) bytes: ByteCounters,
    pub(crate) pipelines: PipelineCache,
    info: AdapterInfo,
    caps: Caps,
    /// Subgroup kernels gave wrong numbers on this device.
    plain: AtomicBool,
    trouble: Arc<Trouble>,
    #[cfg(not(target_arch = "wasm32"))]
    poller: std::sync::OnceLock<super::poller::Poller>,
    #[cfg(target_arch = "wasm32")]
    _listener: wgpu::Listener,
}

/// What an error scope will have caught; ready at once natively.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) type Caught = Pin<Box<dyn Future<Output = Option<Fault>> + Send>>;
#[cfg(target_arch = "wasm32")]
pub(crate) type Caught = Pin<Box<dyn Future<Output = Option<Fault>>>>;

/// What wgpu's callbacks reported.
#[derive(Default)]
struct Trouble {
    any: AtomicBool,
    lost: Mutex<Option<String>>,
    /// First error that no error scope caught.
    uncaught: Mutex<Option<Fault>>,
}

/// What wgpu refused to do.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No memory for it.
    Memory,
    /// Anything else, in wgpu's words.
    Refused(String),
}

impl From<wgpu::Error> for Fault {
    fn from(error: wgpu::Error) -> Fault {
        match error {
            wgpu::Error::OutOfMemory { .. } => Fault::Memory,
            other => Fault::Refused(other.to_string()),
        }
    }
}

impl GpuDevice {
    /// Opens the adapter that `options` asks for.
    // wgpu has more fields than the browser's bindings.
    #[cfg_attr(target_arch = "wasm32", allow(clippy::needless_update))]
    pub async fn open(options: &SpecializationOptions) -> Result<Arc<GpuDevice>, Error> {
        let mut found = enumerate().await;
        let infos: Vec<AdapterInfo> = found.iter().map(|(_, info)| info.clone()).collect();
        let (adapter, info) = found.swap_remove(choose(&infos, options)?);
        let wanted = wgpu::Features::SUBGROUP
            | wgpu::Features::SUBGROUP_BARRIER
            | wgpu::Features::SHADER_F16
            | wgpu::Features::TIMESTAMP_QUERY;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("coreai"),
            required_features: adapter.features() & wanted,
            required_limits: required_limits(&adapter.limits(), options),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|e| Error::NoAdapter {
            wanted: options.adapter.clone(),
            reason: format!("{:?} ({}) does not open: {e}", info.name, info.backend),
        })?;
        Ok(Self::wrap(device, queue, info, options))
    }

    /// Blocking twin of [`GpuDevice::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_blocking(options: &SpecializationOptions) -> Result<Arc<GpuDevice>, Error> {
        pollster::block_on(Self::open(options))
    }

    /// Takes a device that the caller made. Its features and limits are used as they are. Natively the
    /// device's callbacks for loss and for uncaptured errors are replaced.
    pub fn from_existing(
        device: wgpu::Device,
        queue: wgpu::Queue,
        options: &SpecializationOptions,
    ) -> Arc<GpuDevice> {
        let info = AdapterInfo::new(&device.adapter_info(), device.features(), &device.limits());
        Self::wrap(device, queue, info, options)
    }

    fn wrap(
        device: wgpu::Device,
        queue: wgpu::Queue,
        info: AdapterInfo,
        options: &SpecializationOptions,
    ) -> Arc<GpuDevice> {
        let trouble = Arc::new(Trouble::default());
        let on_loss = trouble.clone();
        device.set_device_lost_callback(move |reason, message| {
            *lock(&on_loss.lost) = Some(format!("{reason:?}: {message}"));
            on_loss.any.store(true, Ordering::Release);
        });
        let on_error = trouble.clone();
        let hear = Arc::new(move |error| {
            lock(&on_error.uncaught).get_or_insert_with(|| Fault::from(error));
            on_error.any.store(true, Ordering::Release);
        });
        #[cfg(not(target_arch = "wasm32"))]
        device.on_uncaptured_error(hear);
        #[cfg(target_arch = "wasm32")]
        let listener = device.on_uncaptured_error(hear);
        let (features, limits) = (device.features(), device.limits());
        let binding = limits.max_storage_buffer_binding_size;
        let caps = Caps {
            // A multiple of every element size and of the binding alignment.
            max_binding_bytes: options.max_binding_bytes.map_or(binding, |b| b.min(binding)) & !255,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            subgroups: options.subgroups
                && options.force_kernel != Some(ForcedKernel::Plain)
                && features.contains(wgpu::Features::SUBGROUP),
            subgroup_size: info.subgroup_sizes.1,
            shader_f16: options.shader_f16 && features.contains(wgpu::Features::SHADER_F16),
            tiled_only: options.force_kernel == Some(ForcedKernel::Tiled),
            plain_only: options.force_kernel == Some(ForcedKernel::Plain),
        };
        Arc::new(GpuDevice {
            device,
            queue,
            counters: Counters::default(),
            bytes: ByteCounters::default(),
            pipelines: PipelineCache::default(),
            info,
            caps,
            plain: AtomicBool::new(false),
            trouble,
            #[cfg(not(target_arch = "wasm32"))]
            poller: std::sync::OnceLock::new(),
            #[cfg(target_arch = "wasm32")]
            _listener: listener,
        })
    }

    /// The error with its cause: in a browser operations fail before the page hears that the device
    /// was lost.
    pub(crate) async fn explained(&self, error: Error) -> Error {
        #[cfg(target_arch = "wasm32")]
        if matches!(error, Error::Gpu { .. }) {
            self.device.lost_within(LOSS_NEWS).await;
            if let Some(message) = &*lock(&self.trouble.lost) {
                return Error::DeviceLost(message.clone());
            }
        }
        error
    }

    /// Whether the device was lost.
    pub fn is_lost(&self) -> bool {
        self.trouble.any.load(Ordering::Acquire) && lock(&self.trouble.lost).is_some()
    }

    /// The device itself, for callers that share it.
    pub fn raw(&self) -> &wgpu::Device {
        &self.device
    }

    /// What the kernels may use.
    pub fn caps(&self) -> Caps {
        let plain = self.plain.load(Ordering::Relaxed);
        Caps {
            subgroups: self.caps.subgroups && !plain,
            plain_only: self.caps.plain_only || plain,
            ..self.caps
        }
    }

    /// Kernels made from now on do without subgroups and are the plain ones where there is a choice.
    pub(crate) fn prefer_plain(&self) {
        self.plain.store(true, Ordering::Relaxed);
    }

    /// The adapter.
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// Everything done so far.
    pub fn counters(&self) -> CounterValues {
        self.counters.values()
    }

    /// Bytes held now.
    pub fn device_bytes(&self) -> DeviceBytes {
        self.bytes.values()
    }

    /// Whether dispatches can be timed on the device.
    pub fn has_timestamps(&self) -> bool {
        self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// Fails when the device was lost, or with the first error that was reported since the last
    /// check. `context` says what was being done.
    pub fn check(&self, context: &str) -> Result<(), Error> {
        if !self.trouble.any.load(Ordering::Acquire) {
            return Ok(());
        }
        if let Some(message) = &*lock(&self.trouble.lost) {
            return Err(Error::DeviceLost(message.clone()));
        }
        self.trouble.any.store(false, Ordering::Release);
        match lock(&self.trouble.uncaught).take() {
            Some(error) => Err(self.error(context, 0, &error)),
            None => Ok(()),
        }
    }

    /// The typed error for what an error scope or the callback caught; `needed` bytes were asked for.
    pub(crate) fn error(&self, context: &str, needed: u64, fault: &Fault) -> Error {
        if let Some(message) = &*lock(&self.trouble.lost) {
            return Error::DeviceLost(message.clone());
        }
        match fault {
            Fault::Memory => Error::OutOfMemory {
                what: "device memory",
                needed,
                limit: 0,
                advice: format!(
                    "the driver refused while {} bytes are in use ({context}); take a smaller context or a \
                     more compressed model, or the CPU unit",
                    self.device_bytes().total()
                ),
            },
            Fault::Refused(message) => Error::Gpu { context: context.to_owned(), message: message.clone() },
        }
    }

    /// Runs calls into wgpu inside error scopes. The future gives the error, if there was one.
    pub(crate) fn scoped<T>(&self, work: impl FnOnce() -> T) -> (T, Caught) {
        seam(|| {
            let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
            let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
            let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
            let value = work();
            let (memory, internal, validation) = (memory.pop(), internal.pop(), validation.pop());
            let caught = async move {
                let (memory, internal) = (memory.await, internal.await);
                memory.or(internal).or(validation.await).map(Fault::from)
            };
            (value, Box::pin(caught) as Caught)
        })
    }

    /// Writes words to a buffer. Takes effect before the next submission.
    pub(crate) fn write(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) {
        count(&self.counters.bytes_written, bytes.len() as u64);
        seam(|| self.queue.write_buffer(buffer, offset, bytes));
    }

    /// Submits.
    pub(crate) fn submit(&self, commands: Option<wgpu::CommandBuffer>) -> wgpu::SubmissionIndex {
        count(&self.counters.submits, 1);
        seam(|| self.queue.submit(commands))
    }

    /// Waits until `signal` is completed by a callback of this device.
    pub(crate) async fn completed(&self, signal: &Signal, context: &str) -> Result<(), Error> {
        #[cfg(not(target_arch = "wasm32"))]
        self.poller.get_or_init(|| super::poller::Poller::new(self.device.clone())).request();
        let success = signal.wait().await;
        self.outcome(success, context)
    }

    /// Blocking twin of [`GpuDevice::completed`]; `after` is the submission that completes it.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn completed_blocking(
        &self,
        signal: &Signal,
        after: wgpu::SubmissionIndex,
        context: &str,
    ) -> Result<(), Error> {
        let wait = wgpu::PollType::Wait { submission_index: Some(after), timeout: None };
        let polled = seam(|| self.device.poll(wait));
        self.check(context)?;
        if signal.result().is_none() && polled.is_ok() {
            // Another session's thread polled first and is about to run our callback.
            pollster::block_on(signal.wait());
        }
        match signal.result() {
            Some(success) => self.outcome(success, context),
            None => {
                let message = format!("waiting for the device gave {polled:?} and no result");
                Err(Error::Gpu { context: context.to_owned(), message })
            }
        }
    }

    fn outcome(&self, success: bool, context: &str) -> Result<(), Error> {
        self.check(context)?;
        if success {
            return Ok(());
        }
        Err(Error::Gpu { context: context.to_owned(), message: "the result could not be mapped".into() })
    }

    /// Waits until everything submitted so far is done. Ends wgpu's hold on its staging memory.
    pub async fn idle(&self) -> Result<(), Error> {
        let signal = Arc::new(Signal::default());
        let done = signal.clone();
        seam(|| self.queue.on_submitted_work_done(move || done.complete(true)));
        self.completed(&signal, "waiting for the device").await
    }
}

/// The adapter's own limits where kernels and buffers depend on them, WebGPU's least elsewhere.
#[cfg_attr(target_arch = "wasm32", allow(clippy::needless_update))]
fn required_limits(adapter: &wgpu::Limits, options: &SpecializationOptions) -> wgpu::Limits {
    let binding = adapter.max_storage_buffer_binding_size;
    wgpu::Limits {
        max_buffer_size: adapter.max_buffer_size,
        max_storage_buffer_binding_size: options.max_binding_bytes.map_or(binding, |b| b.min(binding)),
        max_uniform_buffer_binding_size: adapter.max_uniform_buffer_binding_size.min(65536),
        max_storage_buffers_per_shader_stage: adapter.max_storage_buffers_per_shader_stage.min(64),
        max_compute_invocations_per_workgroup: adapter.max_compute_invocations_per_workgroup,
        max_compute_workgroup_size_x: adapter.max_compute_workgroup_size_x,
        max_compute_workgroup_size_y: adapter.max_compute_workgroup_size_y,
        max_compute_workgroup_size_z: adapter.max_compute_workgroup_size_z,
        max_compute_workgroup_storage_size: adapter.max_compute_workgroup_storage_size,
        max_compute_workgroups_per_dimension: adapter.max_compute_workgroups_per_dimension,
        min_storage_buffer_offset_alignment: adapter.min_storage_buffer_offset_alignment,
        min_uniform_buffer_offset_alignment: adapter.min_uniform_buffer_offset_alignment,
        ..wgpu::Limits::downlevel_defaults()
    }
}
