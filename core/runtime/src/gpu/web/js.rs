//! The browser's WebGPU objects, as far as they are used (W3C WebGPU, §§ 4–18).
//!
//! The file has unsafe code only as far as the macro's expansion does.
#![allow(unsafe_code)]

use js_sys::{ArrayBuffer, Object, Promise};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[derive(Clone)]
    pub type Gpu;
    #[wasm_bindgen(method, js_name = requestAdapter)]
    pub fn request_adapter(this: &Gpu, options: &Object) -> Promise;

    #[derive(Clone)]
    pub type GpuAdapter;
    #[wasm_bindgen(method, getter)]
    pub fn features(this: &GpuAdapter) -> SupportedFeatures;
    #[wasm_bindgen(method, getter)]
    pub fn limits(this: &GpuAdapter) -> Object;
    #[wasm_bindgen(method, getter)]
    pub fn info(this: &GpuAdapter) -> Object;
    #[wasm_bindgen(method, js_name = requestDevice)]
    pub fn request_device(this: &GpuAdapter, descriptor: &Object) -> Promise;

    pub type SupportedFeatures;
    #[wasm_bindgen(method)]
    pub fn has(this: &SupportedFeatures, name: &str) -> bool;

    /// The interface's own name is seen by `instanceof` checks.
    #[derive(Clone)]
    #[wasm_bindgen(js_name = GPUDevice)]
    pub type JsDevice;
    #[wasm_bindgen(method, getter)]
    pub fn features(this: &JsDevice) -> SupportedFeatures;
    #[wasm_bindgen(method, getter)]
    pub fn limits(this: &JsDevice) -> Object;
    #[wasm_bindgen(method, getter, js_name = adapterInfo)]
    pub fn adapter_info(this: &JsDevice) -> JsValue;
    #[wasm_bindgen(method, getter)]
    pub fn queue(this: &JsDevice) -> JsQueue;
    #[wasm_bindgen(method, getter)]
    pub fn lost(this: &JsDevice) -> Promise;
    #[wasm_bindgen(method, js_name = addEventListener)]
    pub fn add_event_listener(this: &JsDevice, kind: &str, listener: &JsValue);
    #[wasm_bindgen(method, js_name = removeEventListener)]
    pub fn remove_event_listener(this: &JsDevice, kind: &str, listener: &JsValue);
    #[wasm_bindgen(method, catch, js_name = createBuffer)]
    pub fn create_buffer(this: &JsDevice, descriptor: &Object) -> Result<JsBuffer, JsValue>;
    #[wasm_bindgen(method, js_name = createBindGroupLayout)]
    pub fn create_bind_group_layout(this: &JsDevice, descriptor: &Object) -> JsValue;
    #[wasm_bindgen(method, js_name = createPipelineLayout)]
    pub fn create_pipeline_layout(this: &JsDevice, descriptor: &Object) -> JsValue;
    #[wasm_bindgen(method, js_name = createBindGroup)]
    pub fn create_bind_group(this: &JsDevice, descriptor: &Object) -> JsValue;
    #[wasm_bindgen(method, js_name = createShaderModule)]
    pub fn create_shader_module(this: &JsDevice, descriptor: &Object) -> JsValue;
    #[wasm_bindgen(method, js_name = createComputePipelineAsync)]
    pub fn create_compute_pipeline_async(this: &JsDevice, descriptor: &Object) -> Promise;
    #[wasm_bindgen(method, catch, js_name = createQuerySet)]
    pub fn create_query_set(this: &JsDevice, descriptor: &Object) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, js_name = createCommandEncoder)]
    pub fn create_command_encoder(this: &JsDevice) -> JsEncoder;
    #[wasm_bindgen(method, js_name = pushErrorScope)]
    pub fn push_error_scope(this: &JsDevice, filter: &str);
    #[wasm_bindgen(method, js_name = popErrorScope)]
    pub fn pop_error_scope(this: &JsDevice) -> Promise;
    #[wasm_bindgen(method)]
    pub fn destroy(this: &JsDevice);

    #[derive(Clone)]
    pub type JsQueue;
    #[wasm_bindgen(method, catch, js_name = writeBuffer)]
    pub fn write_buffer(this: &JsQueue, buffer: &JsBuffer, offset: f64, data: &[u8]) -> Result<(), JsValue>;
    #[wasm_bindgen(method)]
    pub fn submit(this: &JsQueue, commands: &js_sys::Array);
    #[wasm_bindgen(method, js_name = onSubmittedWorkDone)]
    pub fn on_submitted_work_done(this: &JsQueue) -> Promise;

    #[derive(Clone)]
    #[wasm_bindgen(js_name = GPUBuffer)]
    pub type JsBuffer;
    #[wasm_bindgen(method, getter)]
    pub fn size(this: &JsBuffer) -> f64;
    #[wasm_bindgen(method, getter)]
    pub fn usage(this: &JsBuffer) -> u32;
    #[wasm_bindgen(method, js_name = mapAsync)]
    pub fn map_async(this: &JsBuffer, mode: u32, offset: f64, size: f64) -> Promise;
    #[wasm_bindgen(method, catch, js_name = getMappedRange)]
    pub fn mapped_range(this: &JsBuffer, offset: f64, size: f64) -> Result<ArrayBuffer, JsValue>;
    #[wasm_bindgen(method)]
    pub fn unmap(this: &JsBuffer);
    #[wasm_bindgen(method)]
    pub fn destroy(this: &JsBuffer);

    pub type JsEncoder;
    #[wasm_bindgen(method, js_name = beginComputePass)]
    pub fn begin_compute_pass(this: &JsEncoder, descriptor: &Object) -> JsPass;
    #[wasm_bindgen(method, js_name = copyBufferToBuffer)]
    pub fn copy(this: &JsEncoder, from: &JsBuffer, at: f64, to: &JsBuffer, to_at: f64, bytes: f64);
    #[wasm_bindgen(method, js_name = clearBuffer)]
    pub fn clear_buffer(this: &JsEncoder, buffer: &JsBuffer, offset: f64);
    #[wasm_bindgen(method, js_name = resolveQuerySet)]
    pub fn resolve_query_set(this: &JsEncoder, set: &JsValue, first: u32, n: u32, to: &JsBuffer, at: f64);
    #[wasm_bindgen(method)]
    pub fn finish(this: &JsEncoder) -> JsValue;

    pub type JsPass;
    #[wasm_bindgen(method, js_name = setPipeline)]
    pub fn set_pipeline(this: &JsPass, pipeline: &JsValue);
    #[wasm_bindgen(method, js_name = setBindGroup)]
    pub fn set_bind_group(this: &JsPass, at: u32, group: &JsValue, offsets: &[u32], first: f64, n: u32);
    #[wasm_bindgen(method, js_name = dispatchWorkgroups)]
    pub fn dispatch_workgroups(this: &JsPass, x: u32, y: u32, z: u32);
    #[wasm_bindgen(method)]
    pub fn end(this: &JsPass);
}
