//! Runs Core AI `.aimodel` assets: graph, plan, and two compute units that execute it.
// In a browser everything is on one thread.
#![cfg_attr(target_arch = "wasm32", allow(clippy::arc_with_non_send_sync))]
// wgpu's types nest deeply, and futures over them have to be shown to be `Send`.
#![recursion_limit = "256"]

pub mod arena;
pub mod cpu;
pub mod error;
pub mod expr;
mod facts;
pub mod gpu;
mod graph;
mod host;
mod image;
mod lower;
pub mod map;
mod model;
pub mod ndarray;
mod ops;
pub mod options;
pub mod plan;
mod planner;
mod program;
mod quant;
pub mod report;
mod select;
mod selfcheck;
mod session;
mod states;
pub mod step;
#[cfg(target_arch = "wasm32")]
mod turn;
mod view;
mod words;

pub use coreai_asset::ElementType;
pub use error::Error;
pub use gpu::{AdapterInfo, DeviceBytes, adapters};
pub use host::Elements;
pub use image::{ImageDescriptor, PixelFormat};
pub use model::{AIModel, AIModelAsset, FunctionDescriptor, OpenDevice, PortDescriptor};
pub use ndarray::NDArray;
pub use ops::table::{OpRow, Support, table as ops_table};
pub use options::{ComputeUnitKind, ForcedKernel, Precision, SpecializationOptions};
pub use report::{Report, ReportEntry};
pub use session::{Counters, InputData, OutputWant, Session, TraceEntry};

/// Blocking twin of [`adapters`].
#[cfg(not(target_arch = "wasm32"))]
pub fn adapters_blocking() -> Vec<AdapterInfo> {
    pollster::block_on(adapters())
}
