//! Runs with a device timestamp around every dispatch.

use super::buffers::GpuBuffer;
use super::counters::{BufferClass, count};
use super::execute::OutputWant;
use super::layout::GpuLayout;
use super::seam::seam;
use super::wgpu;
use crate::error::Error;

/// Dispatches timed by one query set of 4096 queries, WebGPU's limit.
const PER_QUERY_SET: usize = 2048;

/// Bytes of a timestamp.
const STAMP_BYTES: u64 = 8;

impl GpuLayout {
    /// As [`GpuLayout::run`], but every dispatch is a pass of its own between two timestamps. Gives
    /// the dispatches that ran, each with its nanoseconds; dispatches do not overlap as they may in
    /// a plain run. `None` when the device has no timestamps: use `run`.
    pub async fn run_traced(
        &mut self,
        values: &[i64],
        inputs: &[&[u32]],
        wants: &[OutputWant],
    ) -> Result<Option<Vec<(usize, u64)>>, Error> {
        if !self.device.has_timestamps() {
            return Ok(None);
        }
        let bytes = self.readback_bytes(values, wants)?;
        self.staging.reserve(&self.device, bytes).await?;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let size = 2 * PER_QUERY_SET as u64 * STAMP_BYTES;
        let resolved = self.device.buffer_with("timestamps", size, BufferClass::Other, usage).await?;
        self.begin(values, inputs)?;
        let mut times = vec![];
        for first in (0..self.calls.len()).step_by(PER_QUERY_SET) {
            self.check_cancelled()?;
            let end = (first + PER_QUERY_SET).min(self.calls.len());
            self.time(first..end, &resolved, &mut times).await?;
        }
        let mut encoder = seam(|| self.device.device.create_command_encoder(&Default::default()));
        self.copy_out(&mut encoder, values, wants)?;
        self.device.submit(Some(seam(|| encoder.finish())));
        self.staging.map(bytes)?;
        self.device.completed(self.staging.signal(), "tracing").await?;
        self.finish(values, wants)?;
        Ok(Some(times))
    }

    /// Blocking twin of [`GpuLayout::run_traced`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_traced_blocking(
        &mut self,
        values: &[i64],
        inputs: &[&[u32]],
        wants: &[OutputWant],
    ) -> Result<Option<Vec<(usize, u64)>>, Error> {
        pollster::block_on(self.run_traced(values, inputs, wants))
    }

    async fn time(
        &self,
        range: std::ops::Range<usize>,
        resolved: &GpuBuffer,
        times: &mut Vec<(usize, u64)>,
    ) -> Result<(), Error> {
        let mut ran = vec![];
        let commands = seam(|| {
            let queries = self.device.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: None,
                ty: wgpu::QueryType::Timestamp,
                count: 2 * range.len() as u32,
            });
            let mut encoder = self.device.device.create_command_encoder(&Default::default());
            for i in range.filter(|i| self.params.workgroups(*i).is_some()) {
                let at = 2 * ran.len() as u32;
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: None,
                    timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                        query_set: &queries,
                        beginning_of_pass_write_index: Some(at),
                        end_of_pass_write_index: Some(at + 1),
                    }),
                });
                self.encode(&mut pass, i);
                ran.push(i);
            }
            let written = 2 * ran.len() as u32;
            if written > 0 {
                encoder.resolve_query_set(&queries, 0..written, &resolved.raw, 0);
            }
            encoder.finish()
        });
        self.device.submit(Some(commands));
        count(&self.device.counters.dispatches, ran.len() as u64);
        let words = self.device.read(resolved, 2 * ran.len() as u64 * STAMP_BYTES).await?;
        let period = f64::from(self.device.queue.get_timestamp_period());
        let stamp = |words: &[u32]| u64::from(words[0]) | u64::from(words[1]) << 32;
        for (i, pair) in ran.into_iter().zip(words.chunks_exact(4)) {
            let ticks = stamp(&pair[2..]).saturating_sub(stamp(&pair[..2]));
            times.push((i, (ticks as f64 * period) as u64));
        }
        Ok(())
    }
}
