//! Buffers, mapped and not.

use std::ops::{Deref, Range};

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};

use super::js::JsBuffer;
use super::{message, settled};

#[derive(Clone)]
pub struct Buffer {
    pub(super) raw: JsBuffer,
    pub(super) size: u64,
}

impl Buffer {
    /// The `GPUBuffer`.
    pub fn js(&self) -> &JsValue {
        self.raw.as_ref()
    }

    /// A `GPUBuffer` that JavaScript made; `None` when the value is none.
    pub fn from_js(value: JsValue) -> Option<Buffer> {
        let raw: JsBuffer = value.dyn_into().ok()?;
        Some(Buffer { size: raw.size() as u64, raw })
    }

    /// The flags it was made with.
    pub fn usage(&self) -> BufferUsages {
        BufferUsages(self.raw.usage())
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Gives the memory back now; work that was submitted still ends.
    pub fn destroy(&self) {
        self.raw.destroy();
    }

    pub fn map_async(
        &self,
        mode: MapMode,
        range: Range<u64>,
        callback: impl FnOnce(Result<(), ()>) + 'static,
    ) {
        let MapMode::Read = mode;
        let bytes = (range.end - range.start) as f64;
        settled(&self.raw.map_async(1, range.start as f64, bytes), callback);
    }

    pub fn get_mapped_range(&self, range: Range<u64>) -> Result<BufferView, String> {
        let bytes = (range.end - range.start) as f64;
        let mapped = self.raw.mapped_range(range.start as f64, bytes).map_err(|e| message(&e))?;
        Ok(BufferView(Uint8Array::new(&mapped).to_vec()))
    }

    pub fn unmap(&self) {
        self.raw.unmap();
    }
}

/// A copy of mapped bytes: the mapping itself lies outside of the module's memory.
pub struct BufferView(Vec<u8>);

impl Deref for BufferView {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

pub enum MapMode {
    Read,
}

/// `GPUBufferUsage` flags.
#[derive(Clone, Copy)]
pub struct BufferUsages(pub(super) u32);

impl BufferUsages {
    pub const MAP_READ: BufferUsages = BufferUsages(0x1);
    pub const COPY_SRC: BufferUsages = BufferUsages(0x4);
    pub const COPY_DST: BufferUsages = BufferUsages(0x8);
    pub const UNIFORM: BufferUsages = BufferUsages(0x40);
    pub const STORAGE: BufferUsages = BufferUsages(0x80);
    pub const QUERY_RESOLVE: BufferUsages = BufferUsages(0x200);

    pub fn contains(self, other: BufferUsages) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for BufferUsages {
    type Output = BufferUsages;

    fn bitor(self, other: BufferUsages) -> BufferUsages {
        BufferUsages(self.0 | other.0)
    }
}

pub struct BufferDescriptor<'a> {
    pub label: Option<&'a str>,
    pub size: u64,
    pub usage: BufferUsages,
    pub mapped_at_creation: bool,
}
