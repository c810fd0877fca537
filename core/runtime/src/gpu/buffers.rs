//! Device buffers: allocated inside error scopes, accounted by class.

use std::sync::Arc;

use super::counters::{BufferClass, count};
use super::device::GpuDevice;
use super::wgpu;
use crate::error::Error;

/// Granularity of a buffer's size, bytes: a `vec4<f32>`.
pub(crate) const GRANULE: u64 = 16;

/// A buffer of a device. Dropping it gives the memory back.
pub struct GpuBuffer {
    pub(crate) raw: wgpu::Buffer,
    device: Arc<GpuDevice>,
    class: BufferClass,
}

impl GpuBuffer {
    /// Size in bytes, a multiple of 16.
    pub fn bytes(&self) -> u64 {
        self.raw.size()
    }
}

impl Drop for GpuBuffer {
    fn drop(&mut self) {
        // A browser would keep the memory until it collects garbage.
        #[cfg(target_arch = "wasm32")]
        self.raw.destroy();
        self.device.bytes.remove(self.class, self.raw.size());
    }
}

impl std::fmt::Debug for GpuBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GpuBuffer({:?}, {} bytes)", self.class, self.bytes())
    }
}

impl GpuDevice {
    /// A zeroed storage buffer of at least `bytes` bytes that can be copied from and to.
    pub async fn buffer(
        self: &Arc<Self>,
        label: &str,
        bytes: u64,
        class: BufferClass,
    ) -> Result<GpuBuffer, Error> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        self.buffer_with(label, bytes, class, usage).await
    }

    pub(crate) async fn buffer_with(
        self: &Arc<Self>,
        label: &str,
        bytes: u64,
        class: BufferClass,
        usage: wgpu::BufferUsages,
    ) -> Result<GpuBuffer, Error> {
        let raw = self.raw_buffer(label, bytes, usage).await?;
        self.bytes.add(class, raw.size());
        Ok(GpuBuffer { raw, device: self.clone(), class })
    }

    /// A buffer that is not accounted.
    pub(super) async fn raw_buffer(
        &self,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, Error> {
        let limit = self.info().limits.buffer_bytes;
        let size = bytes.max(1).checked_next_multiple_of(GRANULE).filter(|size| *size <= limit);
        let Some(size) = size else {
            return Err(Error::OutOfMemory {
                what: "device buffer size",
                needed: bytes,
                limit,
                advice: format!(
                    "{label} must be smaller on this adapter: lower the context or the input's size"
                ),
            });
        };
        let (raw, caught) = self.scoped(|| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: false,
            })
        });
        if let Some(error) = caught.await {
            return Err(self.error(label, size, &error));
        }
        count(&self.counters.buffers, 1);
        Ok(raw)
    }
}
