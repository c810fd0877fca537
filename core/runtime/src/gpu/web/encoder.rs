//! Commands: passes, dispatches, copies, timestamps.

use std::marker::PhantomData;
use std::ops::Range;

use js_sys::Object;
use wasm_bindgen::JsValue;

use super::js::{JsEncoder, JsPass};
use super::{BindGroup, Buffer, ComputePipeline, object};

pub enum QueryType {
    Timestamp,
}

pub struct QuerySetDescriptor {
    pub label: Option<&'static str>,
    pub ty: QueryType,
    pub count: u32,
}

pub struct QuerySet(pub(super) JsValue);

#[derive(Default)]
pub struct CommandEncoderDescriptor;

pub struct CommandEncoder(pub(super) JsEncoder);

pub struct CommandBuffer(pub(super) JsValue);

pub struct ComputePassTimestampWrites<'a> {
    pub query_set: &'a QuerySet,
    pub beginning_of_pass_write_index: Option<u32>,
    pub end_of_pass_write_index: Option<u32>,
}

#[derive(Default)]
pub struct ComputePassDescriptor<'a> {
    pub label: Option<&'a str>,
    pub timestamp_writes: Option<ComputePassTimestampWrites<'a>>,
}

impl CommandEncoder {
    pub fn begin_compute_pass(&mut self, descriptor: &ComputePassDescriptor) -> ComputePass<'_> {
        let wanted = match &descriptor.timestamp_writes {
            None => Object::new(),
            Some(writes) => {
                let index = |at: Option<u32>| at.map_or(JsValue::UNDEFINED, JsValue::from);
                let writes = object([
                    ("querySet", writes.query_set.0.clone()),
                    ("beginningOfPassWriteIndex", index(writes.beginning_of_pass_write_index)),
                    ("endOfPassWriteIndex", index(writes.end_of_pass_write_index)),
                ]);
                object([("timestampWrites", writes.into())])
            }
        };
        ComputePass(self.0.begin_compute_pass(&wanted), PhantomData)
    }

    pub fn copy_buffer_to_buffer(&mut self, from: &Buffer, at: u64, to: &Buffer, to_at: u64, bytes: u64) {
        self.0.copy(&from.raw, at as f64, &to.raw, to_at as f64, bytes as f64);
    }

    /// Zeroes from `offset` to the end.
    pub fn clear_buffer(&mut self, buffer: &Buffer, offset: u64, _: Option<u64>) {
        self.0.clear_buffer(&buffer.raw, offset as f64);
    }

    pub fn resolve_query_set(&mut self, set: &QuerySet, range: Range<u32>, to: &Buffer, at: u64) {
        self.0.resolve_query_set(&set.0, range.start, range.end - range.start, &to.raw, at as f64);
    }

    pub fn finish(self) -> CommandBuffer {
        CommandBuffer(self.0.finish())
    }
}

/// Ends when dropped.
pub struct ComputePass<'a>(JsPass, PhantomData<&'a mut CommandEncoder>);

impl ComputePass<'_> {
    pub fn set_pipeline(&mut self, pipeline: &ComputePipeline) {
        self.0.set_pipeline(&pipeline.0);
    }

    pub fn set_bind_group(&mut self, at: u32, group: &BindGroup, offsets: &[u32]) {
        self.0.set_bind_group(at, &group.0, offsets, 0.0, offsets.len() as u32);
    }

    pub fn dispatch_workgroups(&mut self, x: u32, y: u32, z: u32) {
        self.0.dispatch_workgroups(x, y, z);
    }
}

impl Drop for ComputePass<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
