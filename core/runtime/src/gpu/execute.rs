//! Runs of a layout. Inside a bucket a run creates nothing on the device and, outside of wgpu,
//! allocates nothing on the heap.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::counters::count;
use super::layout::{GpuLayout, STATUS_BYTES};
use super::seam::seam;
use super::wgpu;
use std::time::Duration;

use web_time::Instant;

use crate::error::Error;
use crate::plan::Plan;
use crate::step::Role;

/// Submissions of one run that may be queued before the oldest is waited for; few, so that a
/// cancelled run stops soon.
const SUBMISSIONS_IN_FLIGHT: usize = 2;

/// An output to bring to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputWant {
    /// Number of the function's output.
    pub output: usize,
    /// Range of words of the output's buffer; all of them when `None`.
    pub words: Option<Range<u64>>,
}

impl OutputWant {
    /// All words of an output.
    pub fn all(output: usize) -> OutputWant {
        OutputWant { output, words: None }
    }
}

impl GpuLayout {
    /// Runs the plan. `values` are the symbols', inside the bucket; `inputs` the words of each
    /// input. Afterwards [`GpuLayout::output`] gives the words of each wanted output.
    pub async fn run(
        &mut self,
        values: &[i64],
        inputs: &[&[u32]],
        wants: &[OutputWant],
    ) -> Result<(), Error> {
        let bytes = self.readback_bytes(values, wants)?;
        self.staging.reserve(&self.device, bytes).await?;
        let mut clock = Instant::now();
        self.begin(values, inputs)?;
        self.encode = clock.elapsed();
        for n in 0..self.submissions.len() {
            self.check_cancelled()?;
            if n >= SUBMISSIONS_IN_FLIGHT {
                self.device.idle().await?;
            }
            clock = Instant::now();
            self.submit(n, values, wants)?;
            self.encode += clock.elapsed();
        }
        self.staging.map(bytes)?;
        self.device.completed(self.staging.signal(), "running").await?;
        self.finish(values, wants)
    }

    /// Blocking twin of [`GpuLayout::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_blocking(
        &mut self,
        values: &[i64],
        inputs: &[&[u32]],
        wants: &[OutputWant],
    ) -> Result<(), Error> {
        let bytes = self.readback_bytes(values, wants)?;
        if !self.staging.is_ready(bytes) {
            pollster::block_on(self.staging.reserve(&self.device, bytes))?;
        }
        let mut clock = Instant::now();
        self.begin(values, inputs)?;
        self.encode = clock.elapsed();
        let mut last: Option<wgpu::SubmissionIndex> = None;
        for n in 0..self.submissions.len() {
            self.check_cancelled()?;
            clock = Instant::now();
            let submitted = self.submit(n, values, wants)?;
            self.encode += clock.elapsed();
            // The one before: this one keeps the device busy meanwhile.
            if let Some(before) = last.replace(submitted)
                && n + 1 < self.submissions.len()
            {
                let wait = wgpu::PollType::Wait { submission_index: Some(before), timeout: None };
                if let Err(e) = seam(|| self.device.device.poll(wait)) {
                    self.device.check("running")?;
                    return Err(Error::Gpu { context: "running".into(), message: e.to_string() });
                }
            }
        }
        self.staging.map(bytes)?;
        if let Some(last) = last {
            self.device.completed_blocking(self.staging.signal(), last, "running")?;
        }
        self.finish(values, wants)
    }

    /// Host time of the last run spent on parameters, inputs, encoding and submitting.
    pub fn encode_time(&self) -> Duration {
        self.encode
    }

    /// Words of want number `want` of the last run, in the storage of the output's buffer.
    pub fn output(&self, want: usize) -> &[u32] {
        self.outputs.get(want).map_or(&[], Vec::as_slice)
    }

    /// Copies an input of the next run from a buffer of the device, one word per element.
    pub(crate) fn give(&mut self, input: usize, words: u64, source: &wgpu::Buffer) -> Result<(), Error> {
        let port = self.plan.inputs.get(input);
        let buffer = port.and_then(|p| self.buffers.get(p.buffer?.0 as usize)?.as_ref());
        if let Some(buffer) = buffer {
            if words * 4 > buffer.bytes() {
                return Err(self.refused(format!("input {input} is larger than its buffer")));
            }
            self.device.copy(source, &buffer.raw, words * 4);
            self.given.push(input);
        }
        Ok(())
    }

    /// The buffer of an output and how many bytes of it the last run wrote.
    pub(crate) fn output_buffer(&self, output: usize, values: &[i64]) -> Result<(&wgpu::Buffer, u64), Error> {
        let words = self.wanted_words(values, &OutputWant::all(output))?;
        let id = self.plan.outputs.get(output).and_then(|p| p.buffer);
        let buffer = id.and_then(|id| self.buffers.get(id.0 as usize)?.as_ref());
        let missing = || self.refused(format!("output {output} has no buffer"));
        buffer.map(|b| (&b.raw, (words.end - words.start) * 4)).ok_or_else(missing)
    }

    /// Checks symbols and inputs, writes inputs and parameters.
    pub(crate) fn begin(&mut self, values: &[i64], inputs: &[&[u32]]) -> Result<(), Error> {
        self.device.check("before the run")?;
        if !self.covers(values) {
            return Err(self.refused(format!(
                "symbols {values:?} are outside of the layout's bucket {:?}..={:?}",
                self.min, self.max
            )));
        }
        if inputs.len() != self.plan.inputs.len() {
            return Err(self.refused(format!(
                "{} inputs, expected {}",
                inputs.len(),
                self.plan.inputs.len()
            )));
        }
        for (i, (port, words)) in self.plan.inputs.iter().zip(inputs).enumerate() {
            if port.buffer.is_none() || self.given.contains(&i) {
                continue;
            }
            let expected = port.dims.iter().fold(1i64, |n, d| n.saturating_mul(d.eval(values)));
            if i64::try_from(words.len()).ok() != Some(expected) {
                return Err(Error::Input {
                    name: port.name.clone(),
                    reason: format!("{} elements, expected {expected}", words.len()),
                });
            }
            let buffer = port.buffer.and_then(|id| self.buffers.get(id.0 as usize)?.as_ref());
            let Some(buffer) = buffer else { continue };
            if words.len() as u64 * 4 > buffer.bytes() {
                return Err(self.refused(format!("input {:?} is larger than its buffer", port.name)));
            }
            let part = port.part.as_ref().map(|(first, n)| (first.eval(values), n.eval(values)));
            let (first, read) = match part.map(|(first, n)| (usize::try_from(first), usize::try_from(n))) {
                None => (0, *words),
                Some((Ok(first), Ok(n))) if first <= words.len() => {
                    (first, &words[first..first.saturating_add(n).min(words.len())])
                }
                Some(_) => (0, &words[..0]),
            };
            if !read.is_empty() {
                self.device.write(&buffer.raw, first as u64 * 4, bytemuck::cast_slice(read));
            }
        }
        if self.status_stale {
            self.device.write(&self.status.raw, 0, &[0; STATUS_BYTES as usize]);
        }
        self.status_stale = true;
        self.params.update(&self.device, values)
    }

    /// Encodes and submits submission `n`; the last one also copies results out.
    fn submit(&self, n: usize, values: &[i64], wants: &[OutputWant]) -> Result<wgpu::SubmissionIndex, Error> {
        let mut encoder = seam(|| self.device.device.create_command_encoder(&Default::default()));
        let mut pass = seam(|| encoder.begin_compute_pass(&Default::default()));
        let mut encoded = 0;
        for i in self.submissions[n].clone() {
            encoded += u64::from(self.encode(&mut pass, i));
        }
        seam(|| drop(pass));
        count(&self.device.counters.dispatches, encoded);
        if n + 1 == self.submissions.len() {
            self.copy_out(&mut encoder, values, wants)?;
        }
        let commands = seam(|| encoder.finish());
        Ok(self.device.submit(Some(commands)))
    }

    /// Encodes dispatch `i`; false when it has nothing to do in this run.
    pub(crate) fn encode(&self, pass: &mut wgpu::ComputePass<'_>, i: usize) -> bool {
        let (Some(call), Some([x, y, z])) = (self.calls.get(i), self.params.workgroups(i)) else {
            return false;
        };
        let offset = self.params.offset(i);
        seam(|| {
            pass.set_pipeline(&call.pipeline);
            pass.set_bind_group(0, &call.group, &[offset]);
            pass.dispatch_workgroups(x, y, z);
        });
        true
    }

    /// Copies status and wanted outputs to the staging buffer, then clears the status.
    pub(crate) fn copy_out(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        values: &[i64],
        wants: &[OutputWant],
    ) -> Result<(), Error> {
        let target = self.staging.raw()?;
        seam(|| {
            encoder.copy_buffer_to_buffer(&self.status.raw, 0, target, 0, STATUS_BYTES);
            encoder.clear_buffer(&self.status.raw, 0, None);
        });
        let mut at = STATUS_BYTES;
        for want in wants {
            let words = self.wanted_words(values, want)?;
            let bytes = (words.end - words.start) * 4;
            let id = self.plan.outputs.get(want.output).and_then(|p| p.buffer);
            let buffer = id.and_then(|id| self.buffers.get(id.0 as usize)?.as_ref());
            if let (Some(buffer), 1..) = (buffer, bytes) {
                seam(|| encoder.copy_buffer_to_buffer(&buffer.raw, words.start * 4, target, at, bytes));
            }
            at += bytes;
        }
        Ok(())
    }

    /// Takes the mapped results and checks the status words.
    pub(crate) fn finish(&mut self, values: &[i64], wants: &[OutputWant]) -> Result<(), Error> {
        while self.outputs.len() < wants.len() {
            self.outputs.push(vec![]);
        }
        self.outputs.truncate(wants.len());
        let mut total = STATUS_BYTES;
        for (i, want) in wants.iter().enumerate() {
            let words = self.wanted_words(values, want)?;
            let n = words.end - words.start;
            self.outputs[i].resize(n as usize, 0);
            total += n * 4;
        }
        let mut status = [0u32; 4];
        let outputs = &mut self.outputs;
        self.staging.take(|mapped| {
            let mut rest = mapped;
            for target in std::iter::once(&mut status[..]).chain(outputs.iter_mut().map(Vec::as_mut_slice)) {
                let target: &mut [u8] = bytemuck::cast_slice_mut(target);
                if let Some((bytes, after)) = rest.split_at_checked(target.len()) {
                    target.copy_from_slice(bytes);
                    rest = after;
                }
            }
        })?;
        count(&self.device.counters.bytes_read, total);
        self.status_stale = false;
        match status[0] {
            0 => Ok(()),
            failed => Err(self.index_error(failed - 1, status[1], status[2])),
        }
    }

    fn index_error(&self, node: u32, index: u32, extent: u32) -> Error {
        let step = self.plan.steps.iter().find(|s| s.origin.node == node);
        let op = step.map_or_else(
            || format!("{}: node {node}", self.plan.function),
            |s| match &s.origin.source {
                Some(source) => format!("{} ({source})", s.origin.op),
                None => s.origin.op.to_string(),
            },
        );
        Error::IndexOutOfRange { op, index: i64::from(index.cast_signed()), extent: i64::from(extent) }
    }

    /// Bytes of status and wanted outputs; an error when an output does not have the words.
    pub(crate) fn readback_bytes(&self, values: &[i64], wants: &[OutputWant]) -> Result<u64, Error> {
        let mut bytes = STATUS_BYTES;
        for want in wants {
            let words = self.wanted_words(values, want)?;
            bytes += (words.end - words.start) * 4;
        }
        Ok(bytes)
    }

    fn wanted_words(&self, values: &[i64], want: &OutputWant) -> Result<Range<u64>, Error> {
        let port = self.plan.outputs.get(want.output);
        let found = port.and_then(|port| {
            let id = port.buffer?.0 as usize;
            let (buffer, device) = (self.plan.buffers.get(id)?, self.buffers.get(id)?.as_ref()?);
            // A temporary's slot may hold something else at the end of the run.
            if buffer.role == Role::Temp {
                return None;
            }
            let elements = u64::try_from(buffer.elements.eval(values)).unwrap_or(0);
            let held = Plan::storage_bytes(&buffer.storage, elements).min(device.bytes()) / 4;
            let words = want.words.clone().unwrap_or(0..held);
            (words.start <= words.end && words.end <= held).then_some(words)
        });
        found.ok_or_else(|| self.refused(format!("there is no output for {want:?}")))
    }

    pub(crate) fn check_cancelled(&self) -> Result<(), Error> {
        match &self.cancel {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }

    fn refused(&self, reason: String) -> Error {
        Error::Program { function: self.plan.function.clone(), op: "run".into(), source_line: None, reason }
    }
}
