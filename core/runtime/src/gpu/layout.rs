//! A plan laid out on a device for one bucket of symbol values: arena, buffers, pipelines and bind
//! groups. Runs inside the bucket change parameter words only.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::buffers::{GRANULE, GpuBuffer};
use super::counters::{BufferClass, count};
use super::device::GpuDevice;
use super::dispatch::{Binding, Dispatch, Target};
use super::kernels::{LowerCx, lower};
use super::params::{Params, SLOT_BYTES};
use super::pipelines::Signature;
use super::readback::Staging;
use super::segments::BINDING_ALIGNMENT;
use super::states::GpuState;
use super::upload::GpuConstants;
use super::wgpu;
use super::work::{submissions, upper};
use crate::arena;
use crate::error::Error;
use crate::plan::Plan;
use crate::step::{BufferId, Role};

/// Bytes of the status words: flag, index, extent, unused.
pub(crate) const STATUS_BYTES: u64 = 16;

/// See the module.
pub struct GpuLayout {
    pub(crate) device: Arc<GpuDevice>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) min: Vec<i64>,
    pub(crate) max: Vec<i64>,
    /// Device buffer of each buffer of the plan that a run touches. Slots of the arena repeat.
    pub(crate) buffers: Vec<Option<Arc<GpuBuffer>>>,
    pub(crate) status: GpuBuffer,
    /// The last run did not come to the end that clears the status words.
    pub(crate) status_stale: bool,
    pub(crate) params: Params,
    pub(crate) calls: Vec<Call>,
    /// Ranges of `calls`, one submission each; at least one.
    pub(crate) submissions: Vec<Range<usize>>,
    pub(crate) cancel: Option<Arc<AtomicBool>>,
    /// Inputs that are not to be written in the next run: their buffers hold them.
    pub(crate) given: Vec<usize>,
    pub(crate) staging: Staging,
    /// Words of each wanted output of the last run.
    pub(crate) outputs: Vec<Vec<u32>>,
    /// Host time of the last run before waiting for the device.
    pub(crate) encode: std::time::Duration,
    arena_bytes: u64,
}

/// One dispatch, ready to encode.
pub(crate) struct Call {
    pub pipeline: wgpu::ComputePipeline,
    pub group: wgpu::BindGroup,
    pub kernel: &'static str,
    pub step: u32,
}

impl GpuLayout {
    /// Lays `plan` out for symbol values in `min[s]..=max[s]`. `constants` must have loaded the
    /// plan; `states` are the session's, in the plan's order, large enough for `max`.
    pub async fn new(
        device: &Arc<GpuDevice>,
        constants: &GpuConstants,
        plan: Arc<Plan>,
        states: &[GpuState],
        max: &[i64],
        min: &[i64],
    ) -> Result<GpuLayout, Error> {
        let caps = device.caps();
        let cx = LowerCx { caps: &caps, max, min };
        let mut dispatches = vec![];
        for step in 0..plan.steps.len() {
            dispatches.extend(lower(&plan, step, &cx)?);
        }
        Self::with_dispatches(device, constants, plan, states, max, min, &dispatches).await
    }

    /// Blocking twin of [`GpuLayout::new`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new_blocking(
        device: &Arc<GpuDevice>,
        constants: &GpuConstants,
        plan: Arc<Plan>,
        states: &[GpuState],
        max: &[i64],
        min: &[i64],
    ) -> Result<GpuLayout, Error> {
        pollster::block_on(Self::new(device, constants, plan, states, max, min))
    }

    pub(crate) async fn with_dispatches(
        device: &Arc<GpuDevice>,
        constants: &GpuConstants,
        plan: Arc<Plan>,
        states: &[GpuState],
        max: &[i64],
        min: &[i64],
        dispatches: &[Dispatch],
    ) -> Result<GpuLayout, Error> {
        if min.len() != plan.symbols.len() || max.len() != plan.symbols.len() {
            return Err(broken(&plan, format!("{} symbols, bounds for {}", plan.symbols.len(), max.len())));
        }
        let pipelines = device.pipelines_of(dispatches).await?;
        let placed = place(device, constants, &plan, states, max, min).await?;
        let status = device.buffer("status", STATUS_BYTES, BufferClass::Other).await?;
        let params = Params::new(device, dispatches, &plan.function).await?;
        let groups = Groups { device, plan: &plan, placed: &placed, status: &status, params: &params };
        let groups = groups.make(dispatches).await?;
        let calls = dispatches.iter().zip(pipelines).zip(groups);
        let calls: Vec<Call> = calls
            .map(|((d, pipeline), group)| Call { pipeline, group, kernel: d.kernel, step: d.step })
            .collect();
        count(&device.counters.layouts, 1);
        Ok(GpuLayout {
            device: device.clone(),
            submissions: submissions(&plan, dispatches, &|e| upper(e, min, max)),
            plan,
            min: min.to_vec(),
            max: max.to_vec(),
            buffers: placed.buffers,
            status,
            status_stale: false,
            params,
            calls,
            cancel: None,
            given: vec![],
            staging: Staging::default(),
            outputs: vec![],
            encode: std::time::Duration::ZERO,
            arena_bytes: placed.arena_bytes,
        })
    }

    /// Number of dispatches of a run.
    pub fn dispatches(&self) -> usize {
        self.calls.len()
    }

    /// Kernel variant and step of a dispatch.
    pub fn dispatch(&self, index: usize) -> Option<(&'static str, usize)> {
        self.calls.get(index).map(|c| (c.kernel, c.step as usize))
    }

    /// Number of submissions that a run is cut into.
    pub fn submissions(&self) -> usize {
        self.submissions.len()
    }

    /// Bytes of the temporaries.
    pub fn arena_bytes(&self) -> u64 {
        self.arena_bytes
    }

    /// Whether a run with these symbol values is inside the bucket.
    pub fn covers(&self, values: &[i64]) -> bool {
        let bounds = self.min.iter().zip(&self.max);
        values.len() == self.min.len()
            && values.iter().zip(bounds).all(|(v, (min, max))| (min..=max).contains(&v))
    }

    /// Runs stop between two submissions once `flag` is set.
    pub fn cancel_with(&mut self, flag: Arc<AtomicBool>) {
        self.cancel = Some(flag);
    }
}

fn broken(plan: &Plan, reason: String) -> Error {
    Error::Program { function: plan.function.clone(), op: "layout".into(), source_line: None, reason }
}

/// Where each buffer of the plan lies.
struct Placed {
    buffers: Vec<Option<Arc<GpuBuffer>>>,
    /// Bytes of each buffer at the bucket's upper bounds, a multiple of 16.
    bytes: Vec<u64>,
    arena_bytes: u64,
}

async fn place(
    device: &Arc<GpuDevice>,
    constants: &GpuConstants,
    plan: &Plan,
    states: &[GpuState],
    max: &[i64],
    min: &[i64],
) -> Result<Placed, Error> {
    let size = |id: BufferId| {
        let buffer = &plan.buffers[id.0 as usize];
        let elements = u64::try_from(upper(&buffer.elements, min, max)).unwrap_or(0);
        Plan::storage_bytes(&buffer.storage, elements).max(1).next_multiple_of(GRANULE)
    };
    let in_range = |id: BufferId| (id.0 as usize) < plan.buffers.len();
    let views = plan.steps.iter().flat_map(|s| s.reads.iter().chain(&s.writes));
    if !views.map(|v| v.buffer).chain(plan.outputs.iter().filter_map(|p| p.buffer)).all(in_range) {
        return Err(broken(plan, "a view names a buffer that does not exist".into()));
    }
    // Extents beyond this are a bound that was never derived, not a size.
    let limit = device.info().limits.buffer_bytes;
    let arena = arena::assign(plan, &|id| size(id).min(limit.saturating_add(1)));
    arena::validate(plan, &arena).map_err(|reason| broken(plan, reason))?;
    let mut slots = vec![];
    for &bytes in &arena.slot_bytes {
        slots.push(Arc::new(device.buffer("arena", bytes, BufferClass::Arena).await?));
    }
    let used = plan.used();
    let mut placed = Placed { buffers: vec![], bytes: vec![], arena_bytes: arena.slot_bytes.iter().sum() };
    for (i, buffer) in plan.buffers.iter().enumerate() {
        let id = BufferId(i as u32);
        let found = match &buffer.role {
            _ if !used[i] => None,
            Role::Temp => arena.slot_of[i].and_then(|slot| slots.get(slot).cloned()),
            Role::Input(_) => Some(Arc::new(device.buffer("input", size(id), BufferClass::Other).await?)),
            Role::Output(_) => Some(Arc::new(device.buffer("output", size(id), BufferClass::Other).await?)),
            Role::State(n) => {
                let state = states.get(*n).ok_or_else(|| broken(plan, format!("state {n} is missing")))?;
                if *state.storage() != buffer.storage || state.buffer.bytes() < size(id) {
                    let found = format!("{} bytes of {:?}", state.bytes(), state.storage());
                    let needed = format!("{} bytes of {:?}", size(id), buffer.storage);
                    return Err(broken(plan, format!("state {n} has {found}, the layout needs {needed}")));
                }
                Some(state.buffer.clone())
            }
            Role::Constant(_) | Role::Quant(_) | Role::Host(_) => {
                let found = constants.get(buffer).cloned();
                Some(found.ok_or_else(|| broken(plan, format!("constant buffer {i} was not loaded")))?)
            }
        };
        let whole = found.as_ref().map_or(0, |b| b.bytes());
        let is_constant = matches!(buffer.role, Role::Constant(_) | Role::Quant(_) | Role::Host(_));
        placed.bytes.push(if is_constant { whole } else { size(id).min(whole) });
        placed.buffers.push(found);
    }
    Ok(placed)
}

/// Makes bind groups.
struct Groups<'a> {
    device: &'a GpuDevice,
    plan: &'a Plan,
    placed: &'a Placed,
    status: &'a GpuBuffer,
    params: &'a Params,
}

/// A bound range: buffer, byte offset, bytes.
type Bound<'a> = (&'a GpuBuffer, u64, u64);

impl Groups<'_> {
    /// One bind group per dispatch; dispatches that bind the same ranges share theirs.
    async fn make(&self, dispatches: &[Dispatch]) -> Result<Vec<wgpu::BindGroup>, Error> {
        let mut bound = vec![];
        for dispatch in dispatches {
            if dispatch.bindings.len() > self.device.caps().max_storage_buffers as usize {
                return Err(Error::Gpu {
                    context: dispatch.kernel.to_owned(),
                    message: format!("{} storage bindings are too many", dispatch.bindings.len()),
                });
            }
            let ranges: Result<Vec<_>, Error> =
                dispatch.bindings.iter().map(|b| self.range(b, dispatch)).collect();
            bound.push((Signature::of(&dispatch.bindings), ranges?));
        }
        let (groups, caught) = self.device.scoped(|| {
            let mut known = HashMap::new();
            let mut groups = vec![];
            for (signature, ranges) in &bound {
                let key: Vec<_> = ranges.iter().map(|(b, at, n)| (std::ptr::from_ref(*b), *at, *n)).collect();
                let make = || self.group(*signature, ranges);
                groups.push(known.entry((*signature, key)).or_insert_with(make).clone());
            }
            groups
        });
        match caught.await {
            None => Ok(groups),
            Some(error) => Err(self.device.error("making bind groups", 0, &error)),
        }
    }

    fn group(&self, signature: Signature, ranges: &[Bound<'_>]) -> wgpu::BindGroup {
        let entry = |binding, buffer, offset, size| wgpu::BindGroupEntry {
            binding,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset,
                size: std::num::NonZeroU64::new(size),
            }),
        };
        let mut entries = vec![entry(0, &self.params.buffer.raw, 0, SLOT_BYTES as u64)];
        let storage = ranges.iter().zip(1..);
        entries.extend(storage.map(|((buffer, at, n), binding)| entry(binding, &buffer.raw, *at, *n)));
        count(&self.device.counters.bind_groups, 1);
        self.device.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.device.group_layout(signature),
            entries: &entries,
        })
    }

    fn range(&self, binding: &Binding, dispatch: &Dispatch) -> Result<Bound<'_>, Error> {
        let id = match binding.target {
            Target::Status => return Ok((self.status, 0, STATUS_BYTES)),
            Target::Buffer(id) => id.0 as usize,
        };
        let missing =
            || broken(self.plan, format!("{} binds buffer {id}, which is not there", dispatch.kernel));
        let buffer = self.placed.buffers.get(id).and_then(Option::as_ref).ok_or_else(missing)?;
        let whole = self.placed.bytes[id];
        let (at, bytes) = binding.window.unwrap_or((0, whole));
        let limit = self.device.caps().max_binding_bytes;
        if bytes > limit {
            let op = self.plan.steps.get(dispatch.step as usize).map_or("", |s| &s.origin.op);
            return Err(Error::OutOfMemory {
                what: "storage binding",
                needed: bytes,
                limit,
                advice: format!(
                    "{op} ({}) binds a tensor that this adapter cannot bind at once; use a smaller context or \
                     another adapter",
                    dispatch.kernel
                ),
            });
        }
        let end = at.checked_add(bytes).filter(|end| *end <= buffer.bytes());
        if end.is_none() || at % BINDING_ALIGNMENT != 0 || bytes == 0 {
            let window = format!("{bytes} bytes at {at} of {}", buffer.bytes());
            return Err(broken(self.plan, format!("{} binds {window} of buffer {id}", dispatch.kernel)));
        }
        Ok((buffer, at, bytes))
    }
}
