//! One step: binds its views, runs the kernel, stores the result.

use crate::plan::Plan;
use crate::step::{Kernel, Role, Round, Step, Storage, View};

use super::attention::{self, Attention};
use super::constants::Constants;
use super::conv::{self, Conv};
use super::layout::{self, Layout};
use super::memory::{self, Data, MAX_READS, Operand};
use super::pool::Pool;
use super::quantized::{Part, Quantized};
use super::rope::{self, Rope};
use super::{
    CpuExecutor, Env, Fault, Memory, cast, gather, map, matmul, norm, pad, pool, reduce, resize, scatter,
    sort,
};

/// Everything that operands can be read from.
struct Sources<'a> {
    plan: &'a Plan,
    constants: &'a dyn Constants,
    memory: &'a Memory,
    inputs: &'a [&'a [u32]],
    states: &'a [Vec<u32>],
}

impl<'a> Sources<'a> {
    fn operand(&self, view: &'a View, values: &[i64]) -> Result<Operand<'a>, Fault> {
        let id = view.buffer.0 as usize;
        let buffer = self.plan.buffers.get(id).ok_or_else(|| Fault::program(format!("no buffer {id}")))?;
        let none = || Fault::program(format!("buffer {id} has no data"));
        let words = |words: Option<&'a [u32]>| words.map(bytemuck::cast_slice::<u32, u8>).ok_or_else(none);
        let mut splat = false;
        let data = match (&buffer.role, &buffer.storage) {
            (Role::Host(bytes), Storage::Quant(format)) => Data::Quant(Quantized::of_segment(format, bytes)?),
            (Role::Quant(source), Storage::Quant(format)) => {
                let part = |constant: &coreai_asset::ConstantRef, unpacked: bool| {
                    let bytes = self.constants.bytes(&constant.range).ok_or_else(none)?;
                    Ok::<Part, Fault>(Part { bytes, splat: constant.splat, unpacked })
                };
                let codes = part(&source.codes, source.codes_unpacked)?;
                let scale = part(&source.scale, false)?;
                let zero = source.zero.as_ref().map(|(zero, unpacked)| part(zero, *unpacked)).transpose()?;
                let min = source.min.as_ref().map(|min| part(min, false)).transpose()?;
                Data::Quant(Quantized::new(format, codes, scale, zero, min)?)
            }
            (Role::Quant(_), _) => return Err(none()),
            (role, storage) => {
                let bytes = match role {
                    Role::Temp => {
                        let slot = self.memory.arena.slot_of.get(id).copied().flatten();
                        words(slot.and_then(|slot| self.memory.slots.get(slot)).map(Vec::as_slice))?
                    }
                    Role::Output(port) => words(self.memory.outputs.get(*port).map(Vec::as_slice))?,
                    Role::Input(port) => words(self.inputs.get(*port).copied())?,
                    Role::State(number) => words(self.states.get(*number).map(Vec::as_slice))?,
                    Role::Host(bytes) => bytes,
                    Role::Constant(constant) => {
                        splat = constant.splat;
                        self.constants.bytes(&constant.range).ok_or_else(none)?
                    }
                    Role::Quant(_) => &[],
                };
                Data::new(storage, bytes)?
            }
        };
        let mut available = data.elements();
        if matches!(buffer.role, Role::Temp | Role::Output(_)) {
            available = available.min(self.memory.elements[id]);
        }
        if splat {
            let nominal = memory::extent(&buffer.elements, values)?;
            if available == 0 {
                return Err(none());
            }
            let mut layout = Layout::bind(view, values, nominal)?;
            layout.splat();
            return Ok(Operand::new(buffer.kind, data, layout));
        }
        let layout = Layout::bind(view, values, available)?;
        let mut operand = Operand::new(buffer.kind, data, layout);
        if matches!(buffer.role, Role::Constant(_) | Role::Quant(_) | Role::Host(_)) {
            operand.fixed = Some(view.buffer.0);
        }
        Ok(operand)
    }
}

impl CpuExecutor {
    /// Runs one step. The written buffer is taken out of its place meanwhile, so that a step that
    /// also reads it finds it empty and fails.
    pub(super) fn step(
        &mut self,
        plan: &Plan,
        step: &Step,
        values: &[i64],
        inputs: &[&[u32]],
        states: &mut [Vec<u32>],
    ) -> Result<(), Fault> {
        let [write] = step.writes.as_slice() else {
            return Err(Fault::program(format!("a step writes {} results", step.writes.len())));
        };
        let id = write.buffer.0 as usize;
        let buffer = plan.buffers.get(id).ok_or_else(|| Fault::program(format!("no buffer {id}")))?;
        let slot = self.memory.arena.slot_of.get(id).copied().flatten();
        let mut target = match place(&buffer.role, slot, &mut self.memory, states) {
            Some(words) => std::mem::take(words),
            None => return Err(Fault::program(format!("buffer {id} cannot be written"))),
        };
        let sources =
            Sources { plan, constants: &*self.constants, memory: &self.memory, inputs, states: &*states };
        let mut scratch = std::mem::take(&mut self.scratch);
        let env =
            Env { values, wide: self.wide, kind: buffer.kind, round: step.round, scratch: &mut scratch };
        let result = into(step, write, &buffer.storage, &sources, &mut target, env);
        self.scratch = scratch;
        if let Some(words) = place(&buffer.role, slot, &mut self.memory, states) {
            *words = target;
        }
        result
    }
}

/// Where the words of a writable buffer are kept.
fn place<'a>(
    role: &Role,
    slot: Option<usize>,
    memory: &'a mut Memory,
    states: &'a mut [Vec<u32>],
) -> Option<&'a mut Vec<u32>> {
    match role {
        Role::Temp => memory.slots.get_mut(slot?),
        Role::Output(port) => memory.outputs.get_mut(*port),
        Role::State(number) => states.get_mut(*number),
        _ => None,
    }
}

/// Computes a step into `target`.
fn into(
    step: &Step,
    write: &View,
    storage: &Storage,
    sources: &Sources,
    target: &mut [u32],
    mut env: Env,
) -> Result<(), Fault> {
    if step.reads.len() > MAX_READS {
        return Err(Fault::program(format!(
            "a step reads {} operands, at most {MAX_READS} are supported",
            step.reads.len()
        )));
    }
    let mut reads = [Operand::empty(); MAX_READS];
    for (read, view) in reads.iter_mut().zip(&step.reads) {
        *read = sources.operand(view, env.values)?;
    }
    let reads = &reads[..step.reads.len()];
    let id = write.buffer.0 as usize;
    let mut available = match storage {
        Storage::Word => target.len(),
        Storage::F16 | Storage::BF16 => target.len() * 2,
        Storage::Byte { .. } => target.len() * 4,
        Storage::Quant(_) => 0,
    };
    if !matches!(sources.plan.buffers[id].role, Role::State(_)) {
        available = available.min(sources.memory.elements[id]);
    }
    let layout = Layout::bind(write, env.values, available)?;
    layout::check_destination(&layout, available)?;
    let count = layout.count();
    if *storage == Storage::Word && layout.is_dense() {
        let offset = if count == 0 { 0 } else { layout.offset };
        return kernel(step, reads, layout.dims(), &mut target[offset..offset + count], &mut env);
    }
    let mut result = std::mem::take(&mut env.scratch.result);
    let done = memory::grow(&mut result, count)
        .and_then(|()| kernel(step, reads, layout.dims(), &mut result[..count], &mut env))
        .and_then(|()| memory::store(bytemuck::cast_slice_mut(target), storage, &layout, &result[..count]));
    env.scratch.result = result;
    done
}

/// Runs a kernel into dense words and rounds them.
fn kernel(
    step: &Step,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    match &step.kernel {
        // These three round while their results are still cached.
        Kernel::Map(prog) => return map::map(prog, reads, dims, out, env),
        Kernel::MatMul { weights, norm, epilogue } => {
            return matmul::matmul(*weights, norm.as_ref(), epilogue.as_ref(), reads, dims, out, env);
        }
        Kernel::Conv { stride, dilation, padding, groups, transposed, epilogue } => {
            let conv = Conv {
                stride,
                dilation,
                padding,
                groups: *groups,
                transposed: *transposed,
                epilogue: epilogue.as_ref(),
            };
            return conv::convolve(&conv, reads, dims, out, env);
        }
        Kernel::Reduce { op, axes } => reduce::reduce(*op, *axes, reads, dims, out, env),
        Kernel::Softmax => norm::softmax(reads, dims, out, env),
        Kernel::Norm(parameters) => norm::norm(parameters, reads, dims, out, env),
        Kernel::Rope { rotated, interleaved, tables } => {
            let parameters = Rope { rotated: *rotated, interleaved: *interleaved, tables: *tables };
            rope::rope(&parameters, reads, dims, out, env)
        }
        Kernel::Attention { scale, causal, window, mask, hidden, sinks } => {
            let parameters = Attention {
                scale: *scale,
                causal: *causal,
                window: *window,
                mask: *mask,
                hidden: *hidden,
                sinks: *sinks,
            };
            attention::attention(&parameters, reads, dims, out, env)
        }
        Kernel::GatherNd => gather::gather_nd(reads, dims, out, env),
        Kernel::GatherAlong { axis } => gather::gather_along(*axis, reads, dims, out, env),
        Kernel::ScatterAlong { axis, mode } => scatter::scatter_along(*axis, *mode, reads, dims, out, env),
        Kernel::ScatterNd => scatter::scatter_nd(reads, dims, out, env),
        Kernel::Pad { mode, before, value } => pad::pad(*mode, before, *value, reads, dims, out, env),
        Kernel::Pool { op, kernel, stride, dilation } => {
            pool::pool(&Pool { op: *op, kernel, stride, dilation }, reads, dims, out, env)
        }
        Kernel::Resize { nearest, .. } => resize::resize(*nearest, reads, dims, out, env),
        Kernel::Sample { nearest } => resize::sample(*nearest, reads, dims, out, env),
        Kernel::Scan { op, reverse } => reduce::scan(*op, *reverse, reads, dims, out, env),
        Kernel::Sort { descending, indices } => sort::sort(*descending, *indices, reads, dims, out, env),
        Kernel::ArgMax => reduce::argmax(reads, dims, out, env),
    }?;
    if env.kind == crate::step::Kind::F32 && env.round != Round::None {
        super::threads::chunks(out, 4096, 2, |_, piece| cast::round(piece, env.round));
    }
    Ok(())
}
