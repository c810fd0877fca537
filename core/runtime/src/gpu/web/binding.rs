//! What pipelines are bound to: layouts, groups, compiled pipelines.

use js_sys::Object;
use wasm_bindgen::JsValue;

use super::{Buffer, object};

#[derive(Clone)]
pub struct BindGroupLayout(pub(super) JsValue);

#[derive(Clone)]
pub struct PipelineLayout(pub(super) JsValue);

#[derive(Clone)]
pub struct ComputePipeline(pub(super) JsValue);

#[derive(Clone)]
pub struct BindGroup(pub(super) JsValue);

pub struct ShaderStages(pub(super) u32);

impl ShaderStages {
    pub const COMPUTE: ShaderStages = ShaderStages(4);
}

pub enum BufferBindingType {
    Uniform,
    Storage { read_only: bool },
}

pub enum BindingType {
    Buffer { ty: BufferBindingType, has_dynamic_offset: bool, min_binding_size: Option<std::num::NonZeroU64> },
}

pub struct BindGroupLayoutEntry {
    pub binding: u32,
    pub visibility: ShaderStages,
    pub ty: BindingType,
    pub count: Option<std::num::NonZeroU32>,
}

impl BindGroupLayoutEntry {
    pub(super) fn object(&self) -> Object {
        let BindingType::Buffer { ty, has_dynamic_offset, min_binding_size } = &self.ty;
        let ty = match ty {
            BufferBindingType::Uniform => "uniform",
            BufferBindingType::Storage { read_only: true } => "read-only-storage",
            BufferBindingType::Storage { read_only: false } => "storage",
        };
        let buffer = object([
            ("type", ty.into()),
            ("hasDynamicOffset", (*has_dynamic_offset).into()),
            ("minBindingSize", (min_binding_size.map_or(0, |n| n.get()) as f64).into()),
        ]);
        object([
            ("binding", self.binding.into()),
            ("visibility", self.visibility.0.into()),
            ("buffer", buffer.into()),
        ])
    }
}

pub struct BindGroupLayoutDescriptor<'a> {
    pub label: Option<&'a str>,
    pub entries: &'a [BindGroupLayoutEntry],
}

pub struct PipelineLayoutDescriptor<'a> {
    pub label: Option<&'a str>,
    pub bind_group_layouts: &'a [Option<&'a BindGroupLayout>],
    pub immediate_size: u32,
}

pub struct BufferBinding<'a> {
    pub buffer: &'a Buffer,
    pub offset: u64,
    pub size: Option<std::num::NonZeroU64>,
}

pub enum BindingResource<'a> {
    Buffer(BufferBinding<'a>),
}

pub struct BindGroupEntry<'a> {
    pub binding: u32,
    pub resource: BindingResource<'a>,
}

impl BindGroupEntry<'_> {
    pub(super) fn object(&self) -> Object {
        let BindingResource::Buffer(bound) = &self.resource;
        let resource = object([
            ("buffer", bound.buffer.js().clone()),
            ("offset", (bound.offset as f64).into()),
            ("size", bound.size.map_or(JsValue::UNDEFINED, |n| (n.get() as f64).into())),
        ]);
        object([("binding", self.binding.into()), ("resource", resource.into())])
    }
}

pub struct BindGroupDescriptor<'a> {
    pub label: Option<&'a str>,
    pub layout: &'a BindGroupLayout,
    pub entries: &'a [BindGroupEntry<'a>],
}
