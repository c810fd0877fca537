//! Session states on the device: written in place by runs, grown, forked and moved by the host.

use std::sync::Arc;

use super::buffers::GpuBuffer;
use super::counters::{BufferClass, count};
use super::device::GpuDevice;
use super::wgpu;
use crate::error::Error;
use crate::plan::Plan;
use crate::step::Storage;

/// One state of a session.
#[derive(Debug)]
pub struct GpuState {
    pub(crate) buffer: Arc<GpuBuffer>,
    device: Arc<GpuDevice>,
    storage: Storage,
    /// Bytes of the elements, a multiple of 4; the buffer may be a little larger.
    bytes: u64,
}

impl std::fmt::Debug for GpuDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GpuDevice({})", self.info().name)
    }
}

impl GpuState {
    /// A state of `elements` zeros.
    pub async fn new(device: &Arc<GpuDevice>, storage: Storage, elements: u64) -> Result<GpuState, Error> {
        let bytes = Plan::storage_bytes(&storage, elements);
        let buffer = Arc::new(device.buffer("state", bytes, BufferClass::States).await?);
        Ok(GpuState { buffer, device: device.clone(), storage, bytes })
    }

    /// Bytes of the elements.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How the elements lie.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Replaces words from word `first` on.
    pub fn write(&self, first: u64, words: &[u32]) -> Result<(), Error> {
        let bytes: &[u8] = bytemuck::cast_slice(words);
        let end = first.checked_mul(4).and_then(|at| at.checked_add(bytes.len() as u64));
        if end.is_none_or(|end| end > self.bytes) {
            return Err(Error::Input {
                name: "state".into(),
                reason: format!("{} words at {first} do not fit {} bytes", words.len(), self.bytes),
            });
        }
        if !bytes.is_empty() {
            self.device.write(&self.buffer.raw, first * 4, bytes);
        }
        Ok(())
    }

    /// The words of the state, after everything submitted so far.
    pub async fn read(&self) -> Result<Vec<u32>, Error> {
        self.device.read(&self.buffer, self.bytes).await
    }

    /// Blocking twin of [`GpuState::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_blocking(&self) -> Result<Vec<u32>, Error> {
        pollster::block_on(self.read())
    }

    /// A copy that changes independently.
    pub async fn fork(&self) -> Result<GpuState, Error> {
        let copy = self.sized(self.bytes).await?;
        self.device.copy_rows(&self.buffer, &copy.buffer, 1, self.bytes, self.bytes);
        self.device.check("copying a state").map(|()| copy)
    }

    /// A state of extents `new` that holds this one's elements, of extents `old`, at the same
    /// indices, and zeros elsewhere. One axis may grow.
    pub async fn grow(&self, old: &[u64], new: &[u64]) -> Result<GpuState, Error> {
        let refused = || Error::Input {
            name: "state".into(),
            reason: format!("extents {old:?} cannot grow to {new:?}: one axis may grow"),
        };
        let changed: Vec<usize> =
            (0..old.len().min(new.len())).filter(|&axis| old[axis] != new[axis]).collect();
        if old.len() != new.len() || changed.len() > 1 || changed.iter().any(|&a| new[a] < old[a]) {
            return Err(refused());
        }
        let product = |dims: &[u64]| dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).ok_or_else(refused);
        if Plan::storage_bytes(&self.storage, product(old)?) != self.bytes {
            return Err(refused());
        }
        let grown = self.sized(Plan::storage_bytes(&self.storage, product(new)?)).await?;
        let Some(&axis) = changed.first() else {
            self.device.copy_rows(&self.buffer, &grown.buffer, 1, self.bytes, self.bytes);
            return Ok(grown);
        };
        let (rows, from, to) = (product(&old[..axis])?, product(&old[axis..])?, product(&new[axis..])?);
        if from == 0 || rows == 0 {
            return Ok(grown);
        }
        let width = match self.storage {
            Storage::Word => 4,
            Storage::F16 | Storage::BF16 => 2,
            Storage::Byte { .. } => 1,
            Storage::Quant(_) => return Err(refused()),
        };
        if rows == 1 {
            self.device.copy_rows(&self.buffer, &grown.buffer, 1, self.bytes, self.bytes);
        } else if (from * width).is_multiple_of(4) && (to * width).is_multiple_of(4) {
            self.device.copy_rows(&self.buffer, &grown.buffer, rows, from * width, to * width);
        } else {
            // Rows that end inside a word: device copies move whole words.
            let words = self.read().await?;
            let mut moved = vec![0u32; (grown.bytes / 4) as usize];
            let source: &[u8] = bytemuck::cast_slice(&words);
            let target: &mut [u8] = bytemuck::cast_slice_mut(&mut moved);
            let (from, to) = ((from * width) as usize, (to * width) as usize);
            for (row, target) in source.chunks_exact(from).zip(target.chunks_exact_mut(to)) {
                target[..from].copy_from_slice(row);
            }
            grown.write(0, &moved)?;
        }
        self.device.check("growing a state").map(|()| grown)
    }

    async fn sized(&self, bytes: u64) -> Result<GpuState, Error> {
        let buffer = Arc::new(self.device.buffer("state", bytes, BufferClass::States).await?);
        Ok(GpuState { buffer, device: self.device.clone(), storage: self.storage.clone(), bytes })
    }
}

impl GpuDevice {
    /// Copies `rows` rows of `from` bytes to rows of `to` ≥ `from` bytes; both multiples of 4.
    fn copy_rows(&self, source: &GpuBuffer, target: &GpuBuffer, rows: u64, from: u64, to: u64) {
        use super::seam::seam;
        if from == 0 {
            return;
        }
        let commands = seam(|| {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            for row in 0..rows {
                encoder.copy_buffer_to_buffer(&source.raw, row * from, &target.raw, row * to, from);
            }
            encoder.finish()
        });
        self.submit(Some(commands));
    }

    /// Copies the first `bytes` bytes, a multiple of 4, of one buffer to another.
    pub(crate) fn copy(&self, source: &wgpu::Buffer, target: &wgpu::Buffer, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let commands = super::seam::seam(|| {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(source, 0, target, 0, bytes);
            encoder.finish()
        });
        self.submit(Some(commands));
    }

    /// A buffer of `bytes` bytes for the caller to own, after `fill` has written it.
    pub(crate) async fn foreign(
        self: &Arc<Self>,
        bytes: u64,
        fill: impl FnOnce(&wgpu::Buffer),
    ) -> Result<wgpu::Buffer, Error> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = self.raw_buffer("result", bytes, usage).await?;
        fill(&buffer);
        self.check("taking a result").map(|()| buffer)
    }

    /// Reads the first `bytes` bytes of a buffer.
    pub(crate) async fn read(self: &Arc<Self>, source: &GpuBuffer, bytes: u64) -> Result<Vec<u32>, Error> {
        self.read_raw(&source.raw, bytes).await
    }

    /// As [`GpuDevice::read`], of a buffer that may be the caller's.
    pub(crate) async fn read_raw(
        self: &Arc<Self>,
        source: &wgpu::Buffer,
        bytes: u64,
    ) -> Result<Vec<u32>, Error> {
        use super::readback::Staging;
        let mut staging = Staging::default();
        staging.reserve(self, bytes).await?;
        let target = staging.raw()?.clone();
        let commands = super::seam::seam(|| {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            if bytes > 0 {
                encoder.copy_buffer_to_buffer(source, 0, &target, 0, bytes);
            }
            encoder.finish()
        });
        self.submit(Some(commands));
        staging.map(bytes)?;
        self.completed(staging.signal(), "reading a buffer").await?;
        let mut words = vec![0u32; (bytes / 4) as usize];
        staging
            .take(|mapped| bytemuck::cast_slice_mut(&mut words).copy_from_slice(&mapped[..bytes as usize]))?;
        count(&self.counters.bytes_read, bytes);
        Ok(words)
    }
}
