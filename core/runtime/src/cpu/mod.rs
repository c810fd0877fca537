//! The CPU unit: executes a plan on the host, as reference and as fast unit.
//!
//! Views are bound and checked once per step; kernels then work on checked operands. A step writes
//! a dense slice of words; a strided or packed destination is filled from scratch memory afterwards.

mod attention;
mod cast;
mod constants;
mod conv;
mod gather;
mod gemm;
mod layout;
mod map;
mod matmul;
mod matvec;
mod memory;
mod norm;
mod packed;
mod pad;
mod planes;
mod pool;
mod quantized;
mod reduce;
mod resize;
mod rope;
mod scatter;
mod simd;
mod sort;
mod step;
#[cfg(test)]
mod tests;
pub(crate) mod threads;
mod vector;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coreai_asset::Asset;

use crate::arena::{self, Arena};
use crate::error::Error;
use crate::plan::Plan;
use crate::step::{BufferId, Kind, Role, Round, Step};

use constants::{AssetConstants, Constants};
use packed::PackedWeights;

/// Why a step failed; the executor adds which step it was.
#[derive(Debug)]
enum Fault {
    /// Views or extents that do not fit.
    Program(String),
    /// An index out of range.
    Index { index: i64, extent: i64 },
    /// Bytes that could not be allocated.
    Memory(u64),
}

impl Fault {
    fn program(reason: String) -> Fault {
        Fault::Program(reason)
    }

    fn at(self, plan: &Plan, step: &Step) -> Error {
        let op = step.origin.op.to_string();
        match self {
            Fault::Program(reason) => Error::Program {
                function: plan.function.clone(),
                op,
                source_line: step.origin.source.as_ref().map(ToString::to_string),
                reason,
            },
            Fault::Index { index, extent } => Error::IndexOutOfRange { op, index, extent },
            Fault::Memory(needed) => Error::OutOfMemory {
                what: "host memory",
                needed,
                limit: 0,
                advice: "use smaller inputs or a shorter context".into(),
            },
        }
    }
}

/// Memory that kernels use inside one step; grows only.
#[derive(Default)]
struct Scratch {
    a: Vec<u32>,
    b: Vec<u32>,
    c: Vec<u32>,
    d: Vec<u32>,
    e: Vec<u32>,
    packed: PackedWeights,
    /// Dense results on their way to a strided or packed destination.
    result: Vec<u32>,
}

/// What kernels know besides their operands.
struct Env<'a> {
    /// Values of the symbols.
    values: &'a [i64],
    /// Accumulate in f64.
    wide: bool,
    /// Kind of the result.
    kind: Kind,
    /// Rounding of the result.
    round: Round,
    scratch: &'a mut Scratch,
}

/// Executes one plan; one per session.
pub struct CpuExecutor {
    plan: Arc<Plan>,
    constants: Box<dyn Constants>,
    wide: bool,
    memory: Memory,
    scratch: Scratch,
}

/// Buffers that the executor owns.
#[derive(Default)]
struct Memory {
    arena: Arena,
    /// Elements of each buffer that the arena was made for.
    planned: Vec<usize>,
    /// Elements of each buffer in this run.
    elements: Vec<usize>,
    slots: Vec<Vec<u32>>,
    outputs: Vec<Vec<u32>>,
}

impl CpuExecutor {
    /// Prepares to run a plan over the constants of an asset. `wide` accumulates in f64.
    pub async fn new(plan: Arc<Plan>, asset: Arc<Asset>, wide: bool) -> Result<CpuExecutor, Error> {
        let constants = AssetConstants::new(&plan, asset).await?;
        Ok(CpuExecutor::with_constants(plan, Box::new(constants), wide))
    }

    /// An executor for a plan that reads nothing from an asset.
    #[cfg(test)]
    pub(crate) fn without_asset(plan: Arc<Plan>) -> CpuExecutor {
        struct Nothing;
        impl Constants for Nothing {
            fn bytes(&self, _: &std::ops::Range<u64>) -> Option<&[u8]> {
                None
            }
        }
        CpuExecutor::with_constants(plan, Box::new(Nothing), false)
    }

    fn with_constants(plan: Arc<Plan>, constants: Box<dyn Constants>, wide: bool) -> CpuExecutor {
        let ports = plan.buffers.iter().filter_map(|buffer| match buffer.role {
            Role::Output(port) => Some(port + 1),
            _ => None,
        });
        let outputs = ports.max().unwrap_or(0).min(plan.buffers.len());
        let memory = Memory {
            planned: vec![0; plan.buffers.len()],
            elements: vec![0; plan.buffers.len()],
            outputs: vec![Vec::new(); outputs],
            ..Memory::default()
        };
        CpuExecutor { plan, constants, wide, memory, scratch: Scratch::default() }
    }

    /// Runs all steps. `values` are indexed by symbol; `inputs[i]` has one word per element of the
    /// plan's input `i`; `states[i]` are the bytes of state `i` in its storage, changed in place.
    /// Outputs and temporaries are unspecified after an error.
    pub fn run(
        &mut self,
        values: &[i64],
        inputs: &[&[u32]],
        states: &mut [Vec<u32>],
        cancel: &AtomicBool,
    ) -> Result<(), Error> {
        self.run_from(0, values, inputs, states, cancel, || false).map(drop)
    }

    /// As [`CpuExecutor::run`] from step `first` on until `pause` says so, which is asked after each
    /// step. Gives the step to go on with, `None` at the end.
    pub fn run_from(
        &mut self,
        first: usize,
        values: &[i64],
        inputs: &[&[u32]],
        states: &mut [Vec<u32>],
        cancel: &AtomicBool,
        pause: impl Fn() -> bool + Send + Sync,
    ) -> Result<Option<usize>, Error> {
        let plan = self.plan.clone();
        if first == 0 {
            self.memory.prepare(&plan, values)?;
        }
        threads::enter(|| {
            for (at, step) in plan.steps.iter().enumerate().skip(first) {
                if cancel.load(Ordering::Relaxed) {
                    return Err(Error::Cancelled);
                }
                self.step(&plan, step, values, inputs, states).map_err(|fault| fault.at(&plan, step))?;
                if at + 1 < plan.steps.len() && pause() {
                    return Ok(Some(at + 1));
                }
            }
            Ok(None)
        })
    }

    /// Words of output `index` of the plan after a run, row-major, one per element.
    pub fn output(&self, index: usize) -> &[u32] {
        let buffer = self.plan.outputs.get(index).and_then(|port| port.buffer);
        let Some(BufferId(id)) = buffer else { return &[] };
        match self.plan.buffers.get(id as usize).map(|buffer| &buffer.role) {
            Some(Role::Output(port)) => self.memory.outputs.get(*port).map_or(&[], |words| {
                let count = self.memory.elements[id as usize];
                words.get(..count).unwrap_or(words)
            }),
            _ => &[],
        }
    }
}

impl Memory {
    /// Makes room for this run's temporaries and outputs; assigns slots anew only when one grows.
    fn prepare(&mut self, plan: &Plan, values: &[i64]) -> Result<(), Error> {
        let mut grown = self.arena.slot_of.len() != plan.buffers.len();
        for (id, buffer) in plan.buffers.iter().enumerate() {
            if !matches!(buffer.role, Role::Temp | Role::Output(_)) {
                continue;
            }
            let value = buffer.elements.eval(values);
            let fault = |reason: String| Error::Program {
                function: plan.function.clone(),
                op: "buffer".into(),
                source_line: None,
                reason,
            };
            let elements = usize::try_from(value)
                .ok()
                .filter(|n| *n <= isize::MAX as usize / 8)
                .ok_or_else(|| fault(format!("buffer {id} has {value} elements")))?;
            self.elements[id] = elements;
            if let Role::Output(port) = buffer.role {
                let words = self.outputs.get_mut(port).ok_or_else(|| fault(format!("no output {port}")))?;
                memory::grow(words, elements).map_err(|_| out_of_memory(elements))?;
            } else if elements > self.planned[id] {
                grown = true;
                // A dynamic extent usually grows again with the next run.
                let spare = if buffer.elements.as_const().is_some() { 0 } else { elements / 4 };
                self.planned[id] = elements + spare;
            }
        }
        if grown {
            let planned = &self.planned;
            self.arena = arena::assign(plan, &|id| {
                let elements = planned.get(id.0 as usize).copied().unwrap_or(0) as u64;
                Plan::storage_bytes(&plan.buffers[id.0 as usize].storage, elements)
            });
            self.slots.resize_with(self.arena.slot_bytes.len(), Vec::new);
            for (slot, &bytes) in self.slots.iter_mut().zip(&self.arena.slot_bytes) {
                let words = bytes.div_ceil(4) as usize;
                memory::grow(slot, words).map_err(|_| out_of_memory(words))?;
            }
        }
        Ok(())
    }
}

fn out_of_memory(words: usize) -> Error {
    Error::OutOfMemory {
        what: "host memory",
        needed: words as u64 * 4,
        limit: 0,
        advice: "use smaller inputs or a shorter context".into(),
    }
}
