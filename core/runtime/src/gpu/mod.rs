//! The GPU unit: the only folder that names wgpu, or on the web the browser's WebGPU.

mod adapters;
mod buffers;
mod constants;
mod counters;
mod device;
pub mod dispatch;
mod execute;
pub mod kernels;
mod layout;
mod params;
mod pipelines;
#[cfg(not(target_arch = "wasm32"))]
mod poller;
mod readback;
mod seam;
pub mod segments;
mod states;
mod trace;
mod transcode;
mod upload;
#[cfg(target_arch = "wasm32")]
pub mod web;
mod work;

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;

pub use adapters::{AdapterFeatures, AdapterInfo, AdapterLimits, AdapterType, adapters};
pub use buffers::GpuBuffer;
pub use counters::{BufferClass, CounterValues, DeviceBytes};
pub use device::GpuDevice;
pub use execute::OutputWant;
pub use layout::GpuLayout;
pub use seam::inside_seam;
pub use states::GpuState;
pub use upload::GpuConstants;
pub use work::{MAX_DISPATCHES_PER_SUBMIT, MAX_WORK_PER_SUBMIT};

/// For callers that bring their own device.
#[cfg(target_arch = "wasm32")]
pub use web as wgpu;
#[cfg(not(target_arch = "wasm32"))]
pub use wgpu;
