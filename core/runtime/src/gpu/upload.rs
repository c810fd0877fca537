//! Constants of the asset on the device: uploaded once per program, a chunk at a time.

use std::collections::HashMap;
use std::sync::Arc;

use coreai_asset::{AssetError, ByteSource};

use super::buffers::GpuBuffer;
use super::constants::{ConstantKey, Piece, device_bytes, pieces};
use super::counters::BufferClass;
use super::device::GpuDevice;
use crate::error::Error;
use crate::plan::Plan;
use crate::step::Buffer;

/// Bytes of one chunk, in the asset or on the device, whichever is more.
const CHUNK_BYTES: u64 = 4 << 20;

/// Bytes written before the device is waited for, so that wgpu frees its staging memory.
const IN_FLIGHT_BYTES: u64 = 32 << 20;

/// The constants of a program on one device, shared by its plans, variants and sessions.
pub struct GpuConstants {
    device: Arc<GpuDevice>,
    buffers: HashMap<ConstantKey, Arc<GpuBuffer>>,
    /// One converted chunk.
    scratch: Vec<u8>,
    in_flight: u64,
}

impl GpuConstants {
    /// No constants yet.
    pub fn new(device: Arc<GpuDevice>) -> GpuConstants {
        GpuConstants { device, buffers: HashMap::new(), scratch: vec![], in_flight: 0 }
    }

    /// Uploads the constants that `plan` uses and that are not there yet. `progress` is called with
    /// the device bytes of each finished constant.
    pub async fn load(
        &mut self,
        plan: &Plan,
        source: &dyn ByteSource,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), Error> {
        let limit = self.device.caps().max_binding_bytes;
        let used = plan.used();
        let used = plan.buffers.iter().zip(used).filter(|(_, used)| *used);
        let mut wanted: Vec<_> =
            used.filter_map(|(buffer, _)| Some((buffer, ConstantKey::of(buffer)?))).collect();
        // In the order of the file, which may come over a network.
        wanted.sort_by_key(|(_, key)| key.start());
        for (buffer, key) in wanted {
            if self.buffers.contains_key(&key) {
                continue;
            }
            let named = |reason: String| Error::Program {
                function: plan.function.clone(),
                op: "constant".into(),
                source_line: None,
                reason,
            };
            let bytes = device_bytes(buffer, limit);
            let target = self.device.buffer("constant", bytes, BufferClass::Weights).await?;
            if let ConstantKey::Host(data) = &key {
                self.copy_host(&target, data).await?;
            }
            for piece in pieces(buffer, limit).map_err(named)? {
                self.copy(&target, &piece, source).await?;
            }
            progress(target.bytes());
            self.buffers.insert(key, Arc::new(target));
        }
        self.flush().await?;
        self.scratch = vec![];
        Ok(())
    }

    /// Blocking twin of [`GpuConstants::load`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load_blocking(&mut self, plan: &Plan, source: &dyn ByteSource) -> Result<(), Error> {
        pollster::block_on(self.load(plan, source, &mut |_| {}))
    }

    /// The device buffer of a constant of a plan that was loaded.
    pub fn get(&self, buffer: &Buffer) -> Option<&Arc<GpuBuffer>> {
        self.buffers.get(&ConstantKey::of(buffer)?)
    }

    async fn copy_host(&mut self, target: &GpuBuffer, data: &[u8]) -> Result<(), Error> {
        for (i, chunk) in data.chunks(CHUNK_BYTES as usize).enumerate() {
            self.put(target, i as u64 * CHUNK_BYTES, chunk).await?;
        }
        Ok(())
    }

    async fn copy(
        &mut self,
        target: &GpuBuffer,
        piece: &Piece<'_>,
        source: &dyn ByteSource,
    ) -> Result<(), Error> {
        let transcode = piece.transcode;
        let widest = u64::from(transcode.stored.max(transcode.device));
        // A multiple of 32 elements ends at a word on the device, whatever the width.
        let step = CHUNK_BYTES * 8 / widest / 32 * 32;
        let mut first = 0;
        while first < piece.count {
            let count = step.min(piece.count - first);
            let range = piece.source_range(first, count)?;
            let bytes = &*source.read(range.clone()).await?;
            let (start, end) = (range.start, range.end);
            if bytes.len() as u64 != end - start {
                let reason = format!("the source returned {} bytes", bytes.len());
                return Err(AssetError::Source { start, end, reason }.into());
            }
            let offset = piece.offset + first * u64::from(transcode.device) / 8;
            let at_byte = ((piece.first + first) * u64::from(transcode.stored)).is_multiple_of(8);
            let as_is = transcode.is_raw() && at_byte && !piece.constant.splat;
            if as_is && bytes.len().is_multiple_of(4) {
                self.put(target, offset, bytes).await?;
            } else {
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.clear();
                scratch.resize((count * u64::from(transcode.device)).div_ceil(8) as usize, 0);
                if piece.constant.splat {
                    transcode.repeat(bytes, &mut scratch, count as usize);
                } else {
                    transcode.convert(bytes, piece.first + first, &mut scratch, count as usize);
                }
                self.put(target, offset, &scratch).await?;
                self.scratch = scratch;
            }
            first += count;
        }
        Ok(())
    }

    /// Writes a chunk, padded to whole words.
    async fn put(&mut self, target: &GpuBuffer, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let whole = bytes.len() & !3;
        if whole > 0 {
            self.device.write(&target.raw, offset, &bytes[..whole]);
        }
        if whole < bytes.len() {
            let mut last = [0; 4];
            last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
            self.device.write(&target.raw, offset + whole as u64, &last);
        }
        self.in_flight += bytes.len() as u64;
        if self.in_flight >= IN_FLIGHT_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if self.in_flight > 0 {
            self.device.submit(None);
            self.device.idle().await?;
            self.in_flight = 0;
        }
        self.device.check("uploading constants")
    }
}
