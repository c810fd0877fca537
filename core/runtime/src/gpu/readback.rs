//! Results on their way to the host: one mappable buffer, reused from run to run.

use std::sync::Arc;

use super::buffers::{GRANULE, GpuBuffer};
use super::counters::BufferClass;
use super::device::GpuDevice;
use super::seam::{Signal, seam};
use super::wgpu;
use crate::error::Error;

/// A mappable buffer that copies are directed to.
#[derive(Default)]
pub(crate) struct Staging {
    buffer: Option<GpuBuffer>,
    signal: Arc<Signal>,
    /// Bytes of a mapping that was asked for and not taken yet; left behind by a run that was
    /// dropped or failed.
    mapped: u64,
}

impl Staging {
    /// Makes room for `bytes` bytes, and takes back a mapping that nobody waited for.
    pub async fn reserve(&mut self, device: &Arc<GpuDevice>, bytes: u64) -> Result<(), Error> {
        if self.mapped > 0 {
            if let Some(buffer) = &self.buffer {
                seam(|| buffer.raw.unmap());
            }
            // The old callback may still come; it must not complete the next mapping.
            self.signal = Arc::default();
            self.mapped = 0;
        }
        if !self.has_room(bytes) {
            let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
            let bytes = bytes.checked_next_power_of_two().unwrap_or(bytes).max(256);
            self.buffer = None;
            self.buffer = Some(device.buffer_with("readback", bytes, BufferClass::Other, usage).await?);
        }
        Ok(())
    }

    /// Whether [`Staging::reserve`] has nothing to do.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn is_ready(&self, bytes: u64) -> bool {
        self.mapped == 0 && self.has_room(bytes)
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.buffer.as_ref().is_some_and(|b| b.bytes() >= bytes)
    }

    /// The buffer, to copy into.
    pub fn raw(&self) -> Result<&wgpu::Buffer, Error> {
        self.buffer.as_ref().map(|b| &b.raw).ok_or_else(|| failed("no buffer was reserved"))
    }

    /// Completed when the mapping is there.
    pub fn signal(&self) -> &Signal {
        &self.signal
    }

    /// Asks for the first `bytes` bytes, after what was submitted so far.
    pub fn map(&mut self, bytes: u64) -> Result<(), Error> {
        let end = bytes.max(1).next_multiple_of(GRANULE);
        self.signal.reset();
        self.mapped = end;
        let signal = self.signal.clone();
        let raw = self.raw()?;
        seam(|| {
            raw.map_async(wgpu::MapMode::Read, 0..end, move |result| signal.complete(result.is_ok()));
        });
        Ok(())
    }

    /// Hands the mapped bytes to `read` and ends the mapping.
    pub fn take(&mut self, read: impl FnOnce(&[u8])) -> Result<(), Error> {
        let raw = self.raw()?;
        let taken = seam(|| raw.get_mapped_range(0..self.mapped)).map(|view| {
            read(&view);
            seam(|| drop(view));
        });
        seam(|| raw.unmap());
        self.mapped = 0;
        taken.map_err(|e| failed(&e.to_string()))
    }
}

fn failed(message: &str) -> Error {
    Error::Gpu { context: "reading results".into(), message: message.to_owned() }
}
