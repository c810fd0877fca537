//! WebGPU of the browser under the names that wgpu gives it natively, so that the rest of `gpu` is
//! the same on both.
//!
//! wgpu's own web backend has neither subgroups nor pipelines that compile in the background, and
//! cannot take a device that the page made.
// Names and meanings are those of wgpu, whose documentation has them.
#![allow(missing_docs)]

mod binding;
mod buffer;
mod encoder;
mod js;
mod limits;

use std::future::Future;

use js_sys::{Array, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

pub use binding::*;
pub use buffer::{Buffer, BufferDescriptor, BufferUsages, BufferView, MapMode};
pub use encoder::*;
use js::{Gpu, GpuAdapter, JsDevice, JsQueue};
pub use limits::{AdapterInfo, Backend, DeviceType, Features, Limits};

/// A JavaScript object from keys and values.
fn object<const N: usize>(entries: [(&str, JsValue); N]) -> Object {
    let object = Object::new();
    for (key, value) in entries {
        // Setting a property of a plain object cannot fail.
        let _ = Reflect::set(&object, &key.into(), &value);
    }
    object
}

fn get(object: &JsValue, key: &str) -> JsValue {
    Reflect::get(object, &key.into()).unwrap_or(JsValue::UNDEFINED)
}

/// The message of a JavaScript error, or the value as text.
fn message(error: &JsValue) -> String {
    let found = get(error, "message").as_string().or_else(|| error.as_string());
    found.unwrap_or_else(|| format!("{error:?}"))
}

/// An adapter that the browser offers.
pub struct Adapter {
    raw: GpuAdapter,
}

/// The adapters of the browser: its best one, or its fallback; none without WebGPU.
pub(super) async fn adapters() -> Vec<Adapter> {
    let navigator = get(&js_sys::global(), "navigator");
    let gpu = get(&navigator, "gpu");
    if gpu.is_undefined() || gpu.is_null() {
        return vec![];
    }
    let gpu: Gpu = gpu.unchecked_into();
    let wishes = [("powerPreference", "high-performance".into()), ("forceFallbackAdapter", true.into())];
    for wish in wishes {
        let found = JsFuture::from(gpu.request_adapter(&object([wish]))).await;
        if let Ok(raw) = found
            && !raw.is_null()
        {
            return vec![Adapter { raw: raw.unchecked_into() }];
        }
    }
    vec![]
}

impl Adapter {
    pub fn get_info(&self) -> AdapterInfo {
        AdapterInfo::of(&self.raw.info())
    }

    pub fn features(&self) -> Features {
        Features::of(&self.raw.features())
    }

    pub fn limits(&self) -> Limits {
        Limits::of(&self.raw.limits())
    }

    pub async fn request_device(&self, descriptor: &DeviceDescriptor) -> Result<(Device, Queue), String> {
        let names: Array = descriptor.required_features.names().map(JsValue::from).collect();
        let wanted = object([
            ("requiredFeatures", names.into()),
            ("requiredLimits", descriptor.required_limits.object().into()),
        ]);
        let raw = JsFuture::from(self.raw.request_device(&wanted)).await.map_err(|e| message(&e))?;
        Ok(Device::from_js(raw))
    }
}

/// What a device is opened with.
#[derive(Default)]
pub struct DeviceDescriptor {
    pub label: Option<&'static str>,
    pub required_features: Features,
    pub required_limits: Limits,
    pub memory_hints: MemoryHints,
}

#[derive(Default)]
pub enum MemoryHints {
    #[default]
    MemoryUsage,
}

#[derive(Clone)]
pub struct Device {
    raw: JsDevice,
}

#[derive(Clone)]
pub struct Queue {
    raw: JsQueue,
}

/// Only the web's lack of it: submissions complete in order.
pub struct SubmissionIndex;

pub enum ErrorFilter {
    Validation,
    Internal,
    OutOfMemory,
}

/// What an error scope or the `uncapturederror` event reports.
pub enum Error {
    OutOfMemory { reason: String },
    Other(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::OutOfMemory { reason } | Error::Other(reason) => f.write_str(reason),
        }
    }
}

impl Error {
    fn of(error: &JsValue) -> Error {
        let reason = message(error);
        match get(&get(error, "constructor"), "name").as_string().as_deref() {
            Some("GPUOutOfMemoryError") => Error::OutOfMemory { reason },
            _ => Error::Other(reason),
        }
    }
}

const UNCAPTURED: &str = "uncapturederror";

/// Hears of errors that no scope caught.
pub struct Listener {
    raw: JsDevice,
    listener: Closure<dyn Fn(JsValue)>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.raw.remove_event_listener(UNCAPTURED, self.listener.as_ref());
    }
}

/// An open error scope.
pub struct ErrorScopeGuard<'a>(&'a JsDevice);

impl ErrorScopeGuard<'_> {
    /// Closes the scope now; the future tells what it caught.
    pub fn pop(self) -> impl Future<Output = Option<Error>> + use<> {
        let caught = JsFuture::from(self.0.pop_error_scope());
        async move {
            match caught.await {
                Ok(error) if error.is_null() => None,
                Ok(error) => Some(Error::of(&error)),
                // The device is lost, which its own callback reports.
                Err(_) => None,
            }
        }
    }
}

impl Device {
    /// A device that JavaScript made, and its queue.
    pub fn from_js(raw: JsValue) -> (Device, Queue) {
        let raw: JsDevice = raw.unchecked_into();
        let queue = Queue { raw: raw.queue() };
        (Device { raw }, queue)
    }

    /// The `GPUDevice`.
    pub fn js(&self) -> &JsValue {
        self.raw.as_ref()
    }

    /// Whether a value is a `GPUDevice`.
    pub fn is_device(value: &JsValue) -> bool {
        value.is_instance_of::<JsDevice>()
    }

    pub fn adapter_info(&self) -> AdapterInfo {
        AdapterInfo::of(&self.raw.adapter_info())
    }

    pub fn features(&self) -> Features {
        Features::of(&self.raw.features())
    }

    pub fn limits(&self) -> Limits {
        Limits::of(&self.raw.limits())
    }

    pub fn set_device_lost_callback(&self, callback: impl FnOnce(String, String) + 'static) {
        let lost = JsFuture::from(self.raw.lost());
        spawn_local(async move {
            if let Ok(info) = lost.await {
                callback(get(&info, "reason").as_string().unwrap_or_default(), message(&info));
            }
        });
    }

    /// Calls back as long as the result lives: the device may be the page's.
    pub fn on_uncaptured_error(&self, callback: std::sync::Arc<dyn Fn(Error)>) -> Listener {
        let listener = Closure::<dyn Fn(JsValue)>::new(move |event: JsValue| {
            callback(Error::of(&get(&event, "error")));
        });
        self.raw.add_event_listener(UNCAPTURED, listener.as_ref());
        Listener { raw: self.raw.clone(), listener }
    }

    /// Waits until the device is known to be lost, at most so long.
    pub async fn lost_within(&self, time: std::time::Duration) {
        crate::turn::within(self.raw.lost(), time).await;
    }

    pub fn push_error_scope(&self, filter: ErrorFilter) -> ErrorScopeGuard<'_> {
        self.raw.push_error_scope(match filter {
            ErrorFilter::Validation => "validation",
            ErrorFilter::Internal => "internal",
            ErrorFilter::OutOfMemory => "out-of-memory",
        });
        ErrorScopeGuard(&self.raw)
    }

    pub fn create_buffer(&self, descriptor: &BufferDescriptor) -> Buffer {
        let size = descriptor.size as f64;
        let made = self.raw.create_buffer(&object([
            ("label", descriptor.label.into()),
            ("size", size.into()),
            ("usage", descriptor.usage.0.into()),
        ]));
        // It throws only for a mapping at creation, which is never asked for.
        Buffer { raw: made.unwrap_or_else(JsCast::unchecked_into), size: descriptor.size }
    }

    pub fn create_bind_group_layout(&self, descriptor: &BindGroupLayoutDescriptor) -> BindGroupLayout {
        let entries: Array = descriptor.entries.iter().map(BindGroupLayoutEntry::object).collect();
        BindGroupLayout(self.raw.create_bind_group_layout(&object([("entries", entries.into())])))
    }

    pub fn create_pipeline_layout(&self, descriptor: &PipelineLayoutDescriptor) -> PipelineLayout {
        let groups: Array = descriptor.bind_group_layouts.iter().flatten().map(|g| &g.0).collect();
        PipelineLayout(self.raw.create_pipeline_layout(&object([("bindGroupLayouts", groups.into())])))
    }

    pub fn create_bind_group(&self, descriptor: &BindGroupDescriptor) -> BindGroup {
        let entries: Array = descriptor.entries.iter().map(BindGroupEntry::object).collect();
        let wanted = object([("layout", descriptor.layout.0.clone()), ("entries", entries.into())]);
        BindGroup(self.raw.create_bind_group(&wanted))
    }

    /// Compiles in the background. The shader module's own errors are part of the pipeline's.
    pub fn compile(
        &self,
        label: &str,
        layout: &PipelineLayout,
        source: &str,
    ) -> impl Future<Output = Result<ComputePipeline, String>> + use<> {
        let module =
            self.raw.create_shader_module(&object([("label", label.into()), ("code", source.into())]));
        let stage = object([("module", module), ("entryPoint", "main".into())]);
        let wanted =
            object([("label", label.into()), ("layout", layout.0.clone()), ("compute", stage.into())]);
        let made = JsFuture::from(self.raw.create_compute_pipeline_async(&wanted));
        async move { made.await.map(ComputePipeline).map_err(|e| message(&e)) }
    }

    pub fn create_query_set(&self, descriptor: &QuerySetDescriptor) -> QuerySet {
        let QueryType::Timestamp = descriptor.ty;
        let made = self
            .raw
            .create_query_set(&object([("type", "timestamp".into()), ("count", descriptor.count.into())]));
        QuerySet(made.unwrap_or_default())
    }

    pub fn create_command_encoder(&self, _: &CommandEncoderDescriptor) -> CommandEncoder {
        CommandEncoder(self.raw.create_command_encoder())
    }
}

impl Queue {
    pub fn write_buffer(&self, buffer: &Buffer, offset: u64, bytes: &[u8]) {
        // It throws for misaligned ranges, which callers never pass.
        let _ = self.raw.write_buffer(&buffer.raw, offset as f64, bytes);
    }

    pub fn submit(&self, commands: Option<CommandBuffer>) -> SubmissionIndex {
        let list: Array = commands.into_iter().map(|c| c.0).collect();
        self.raw.submit(&list);
        SubmissionIndex
    }

    pub fn on_submitted_work_done(&self, callback: impl FnOnce() + 'static) {
        settled(&self.raw.on_submitted_work_done(), move |_| callback());
    }

    /// Nanoseconds of a tick of the timestamps.
    pub fn get_timestamp_period(&self) -> f32 {
        1.0
    }
}

/// Calls back when a promise is settled, with whether it was fulfilled.
fn settled(promise: &Promise, callback: impl FnOnce(Result<(), ()>) + 'static) {
    let promise = JsFuture::from(promise.clone());
    spawn_local(async move { callback(promise.await.map(drop).map_err(drop)) });
}
