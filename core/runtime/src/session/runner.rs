//! Runs one plan: binds inputs, picks the variant, keeps what was prepared for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use coreai_asset::ElementType;

#[cfg(not(target_arch = "wasm32"))]
use super::TraceEntry;
use super::{InputData, OutputWant, Shared, States, check_shape, count};
use crate::cpu::CpuExecutor;
use crate::error::Error;
use crate::gpu::{BufferClass, GpuBuffer, GpuDevice, GpuLayout, OutputWant as GpuWant, wgpu};
use crate::host;
use crate::model::Unit;
use crate::ndarray::NDArray;
use crate::options::Precision;
use crate::plan::SymbolSource;
use crate::planner::{Planned, bucket};
use crate::program::{PlanStage, Program};
use crate::report::ReportEntry;
use crate::words;

/// Inputs that a run passes without allocating.
const INLINE_INPUTS: usize = 16;
/// Most prepared plans that are kept, the oldest goes first: data-dependent sizes need no end of them.
const MAX_PREPARED: usize = 32;

#[derive(Clone, Default)]
struct BoundInput {
    shape: Vec<usize>,
    words: Vec<u32>,
    /// Elements of a small input that words do not hold.
    wide: Vec<i64>,
    /// The elements, when they are on the device.
    device: Option<Arc<GpuBuffer>>,
}

enum Executor {
    Cpu(Box<CpuExecutor>),
    Gpu(Box<GpuLayout>),
    /// The plan has no steps: only host values are wanted of it.
    Nothing,
}

impl Executor {
    /// Runs what needs no device, and lets the page have its turn again and again.
    #[cfg(target_arch = "wasm32")]
    async fn run_in_turns(
        &mut self,
        shared: &mut Shared,
        values: &[i64],
        inputs: &[&[u32]],
    ) -> Result<(), Error> {
        match (self, &mut shared.states) {
            (Executor::Nothing, _) => Ok(()),
            (Executor::Cpu(cpu), States::Cpu(states)) => {
                let mut next = Some(0);
                while let Some(first) = next {
                    // Also before the first step: an answer of many short runs is one long task otherwise.
                    shared.turns.take().await;
                    let pause = || shared.turns.due();
                    next = cpu.run_from(first, values, inputs, states, &shared.cancel, pause)?;
                }
                Ok(())
            }
            _ => Err(super::mixed()),
        }
    }

    /// Runs what needs no device.
    #[cfg(not(target_arch = "wasm32"))]
    fn run_here(&mut self, shared: &mut Shared, values: &[i64], inputs: &[&[u32]]) -> Result<(), Error> {
        match (self, &mut shared.states) {
            (Executor::Nothing, _) => Ok(()),
            (Executor::Cpu(cpu), States::Cpu(states)) => cpu.run(values, inputs, states, &shared.cancel),
            _ => Err(super::mixed()),
        }
    }
}

/// A plan ready to run for a bucket of symbol values.
struct Prepared {
    planned: Planned,
    max: Vec<i64>,
    executor: Executor,
}

/// The mutable side of one plan stage.
pub(super) struct PlanRunner {
    program: Arc<Program>,
    stage: Arc<PlanStage>,
    inputs: Vec<BoundInput>,
    /// Symbol values of the run being prepared.
    values: Vec<i64>,
    prepared: Vec<Prepared>,
    last: Option<usize>,
    wants: Vec<OutputWant>,
    gpu_wants: Vec<GpuWant>,
    shapes: Vec<Vec<usize>>,
}

impl PlanRunner {
    pub fn new(program: Arc<Program>, stage: Arc<PlanStage>) -> PlanRunner {
        let generic = &stage.plans.generic;
        PlanRunner {
            inputs: vec![BoundInput::default(); generic.inputs.len()],
            values: vec![0; generic.symbols.len()],
            shapes: vec![vec![]; generic.outputs.len()],
            program,
            prepared: vec![],
            last: None,
            wants: vec![],
            gpu_wants: vec![],
            stage,
        }
    }

    /// Binds an input. Does not allocate once it has been bound at this size.
    pub fn set_input(&mut self, input: usize, shape: &[usize], data: InputData) -> Result<(), Error> {
        let Some(port) = self.stage.plans.generic.inputs.get(input) else {
            return Err(Error::Input { name: input.to_string(), reason: "no such input".into() });
        };
        check_shape(port, shape)?;
        let bound = &mut self.inputs[input];
        let wrong = |found: &str| Error::Input {
            name: port.name.clone(),
            reason: format!("has dtype {}, got {found}", port.element.name()),
        };
        bound.shape.clear();
        bound.words.clear();
        bound.wide.clear();
        bound.device = None;
        match data {
            InputData::I32(values) => {
                if port.element != ElementType::SI32 {
                    return Err(wrong("int32"));
                }
                bound.words.extend(values.iter().map(|v| *v as u32));
            }
            InputData::F32(values) => {
                if !matches!(port.element, ElementType::F32 | ElementType::F16 | ElementType::BF16) {
                    return Err(wrong("float32"));
                }
                bound.words.extend(values.iter().map(|v| v.to_bits()));
            }
            InputData::Bytes(bytes) => words::from_bytes(port.element, bytes, &mut bound.words)?,
        }
        if bound.words.len() as u64 != count(shape) {
            let reason = format!("{} elements do not make shape {shape:?}", bound.words.len());
            return Err(Error::Input { name: port.name.clone(), reason });
        }
        bound.shape.extend_from_slice(shape);
        Ok(())
    }

    /// Binds a copy of a buffer of the device.
    pub async fn set_device_input(
        &mut self,
        device: &Arc<GpuDevice>,
        input: usize,
        shape: &[usize],
        buffer: &wgpu::Buffer,
    ) -> Result<(), Error> {
        let generic = &self.stage.plans.generic;
        let bytes = count(shape) * 4;
        let decides =
            |s: &SymbolSource| matches!(s, SymbolSource::InputElement { input: i, .. } if *i == input);
        let Some(bound) = self.inputs.get_mut(input) else { return Ok(()) };
        bound.wide.clear();
        bound.words.clear();
        bound.device = None;
        if generic.symbols.iter().any(|s| decides(&s.source)) {
            // Shapes depend on its elements, so the host has to know them.
            bound.words = device.read_raw(buffer, bytes).await?;
        } else {
            let own = device.buffer("input", bytes, BufferClass::Other).await?;
            device.copy(buffer, &own.raw, bytes);
            bound.device = Some(Arc::new(own));
        }
        bound.shape.clear();
        bound.shape.extend_from_slice(shape);
        Ok(())
    }

    /// See [`Session::take_output`](super::Session::take_output).
    pub async fn take_output(&self, device: &Arc<GpuDevice>, output: usize) -> Result<wgpu::Buffer, Error> {
        let Some(Executor::Gpu(layout)) = self.last.and_then(|at| self.prepared.get(at)).map(|p| &p.executor)
        else {
            let reason = "not an output of the last run".into();
            return Err(Error::Input { name: output.to_string(), reason });
        };
        let (buffer, bytes) = layout.output_buffer(output, &self.values)?;
        device.foreign(bytes, |own| device.copy(buffer, own, bytes)).await
    }

    /// Binds a value of the program; one that the plan reads only the extents of may have any dtype.
    pub fn set_value(&mut self, input: usize, array: &NDArray) -> Result<(), Error> {
        let generic = &self.stage.plans.generic;
        if generic.inputs.get(input).is_some_and(|p| p.buffer.is_some()) {
            return self.set_input(input, &array.shape, InputData::Bytes(&array.data));
        }
        let Some(bound) = self.inputs.get_mut(input) else { return Ok(()) };
        bound.shape.clone_from(&array.shape);
        bound.words.clear();
        bound.wide.clear();
        let element =
            |s: &SymbolSource| matches!(s, SymbolSource::InputElement { input: i, .. } if *i == input);
        if generic.symbols.iter().any(|s| element(&s.source))
            && let Ok(host::Elements::Int(ints)) = host::decode(array)
        {
            bound.wide = ints;
        }
        Ok(())
    }

    /// Runs with the bound inputs.
    pub async fn run(&mut self, shared: &mut Shared, wants: &[OutputWant]) -> Result<(), Error> {
        let at = match self.ready(shared, wants)? {
            Some(at) => at,
            None => self.prepare(shared, wants).await?,
        };
        let mut inline: [&[u32]; INLINE_INPUTS] = [&[]; INLINE_INPUTS];
        let mut many = vec![];
        let inputs = input_words(&self.inputs, &mut inline, &mut many);
        match &mut self.prepared[at].executor {
            Executor::Gpu(layout) => {
                give(layout, &self.inputs)?;
                layout.run(&self.values, inputs, &self.gpu_wants).await?;
            }
            #[cfg(not(target_arch = "wasm32"))]
            other => other.run_here(shared, &self.values, inputs)?,
            #[cfg(target_arch = "wasm32")]
            other => other.run_in_turns(shared, &self.values, inputs).await?,
        }
        self.finish(shared, at)
    }

    /// Blocking twin of [`PlanRunner::run`]; allocates nothing once its bucket has been prepared.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_blocking(&mut self, shared: &mut Shared, wants: &[OutputWant]) -> Result<(), Error> {
        let at = match self.ready(shared, wants)? {
            Some(at) => at,
            None => pollster::block_on(self.prepare(shared, wants))?,
        };
        let mut inline: [&[u32]; INLINE_INPUTS] = [&[]; INLINE_INPUTS];
        let mut many = vec![];
        let inputs = input_words(&self.inputs, &mut inline, &mut many);
        match &mut self.prepared[at].executor {
            Executor::Gpu(layout) => {
                give(layout, &self.inputs)?;
                layout.run_blocking(&self.values, inputs, &self.gpu_wants)?;
            }
            other => other.run_here(shared, &self.values, inputs)?,
        }
        self.finish(shared, at)
    }

    /// As [`PlanRunner::run_blocking`], with the time of every dispatch. On a device without
    /// timestamps, and on the CPU unit, the list is empty.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn trace(&mut self, shared: &mut Shared, wants: &[OutputWant]) -> Result<Vec<TraceEntry>, Error> {
        let at = match self.ready(shared, wants)? {
            Some(at) => at,
            None => pollster::block_on(self.prepare(shared, wants))?,
        };
        let inputs: Vec<&[u32]> = self.inputs.iter().map(|i| i.words.as_slice()).collect();
        let Executor::Gpu(layout) = &mut self.prepared[at].executor else {
            self.run_blocking(shared, wants)?;
            return Ok(vec![]);
        };
        give(layout, &self.inputs)?;
        let times = match layout.run_traced_blocking(&self.values, &inputs, &self.gpu_wants)? {
            Some(times) => times,
            None => {
                layout.run_blocking(&self.values, &inputs, &self.gpu_wants)?;
                vec![]
            }
        };
        self.finish(shared, at)?;
        let prepared = &self.prepared[at];
        let Executor::Gpu(layout) = &prepared.executor else { return Ok(vec![]) };
        let entry = |(dispatch, nanoseconds): (usize, u64)| {
            let (kernel, step) = layout.dispatch(dispatch)?;
            let origin = &prepared.planned.plan.steps.get(step)?.origin;
            Some(TraceEntry {
                kernel,
                op: origin.op.to_string(),
                node: origin.node,
                source: origin.source.as_ref().map(|s| s.to_string()),
                nanoseconds,
            })
        };
        Ok(times.into_iter().filter_map(entry).collect())
    }

    /// Computes the symbols from the bound shapes and looks for a prepared plan that takes them.
    fn ready(&mut self, shared: &Shared, wants: &[OutputWant]) -> Result<Option<usize>, Error> {
        self.last = None;
        let generic = &self.stage.plans.generic;
        for (port, bound) in generic.inputs.iter().zip(&self.inputs) {
            if bound.shape.len() != port.dims.len() {
                return Err(Error::Input { name: port.name.clone(), reason: "is not set".into() });
            }
        }
        for (value, symbol) in self.values.iter_mut().zip(&generic.symbols) {
            *value = match symbol.source {
                SymbolSource::InputDim { input, axis } => self.inputs[input].shape[axis] as i64,
                SymbolSource::StateDim { state, axis } => shared.state_dims[state][axis] as i64,
                SymbolSource::InputElement { input, element } => {
                    let bound = &self.inputs[input];
                    let word = bound.words.get(element).copied().unwrap_or(0);
                    match bound.wide.get(element) {
                        Some(value) => *value,
                        None if generic.inputs[input].element == ElementType::UI32 => i64::from(word),
                        None => i64::from(word as i32),
                    }
                }
                SymbolSource::Later => 0,
            };
        }
        let mut rows = None;
        for want in wants {
            if want.output >= generic.outputs.len() {
                return Err(Error::Input { name: want.output.to_string(), reason: "no such output".into() });
            }
            if let Some(n) = want.rows {
                if rows.is_some() {
                    let name = generic.outputs[want.output].name.clone();
                    return Err(Error::Input {
                        name,
                        reason: "rows of only one output can be selected".into(),
                    });
                }
                rows = Some((want.output, n));
            }
        }
        if self.wants != wants {
            self.wants.clear();
            self.wants.extend_from_slice(wants);
            self.gpu_wants.clear();
            self.gpu_wants.extend(wants.iter().filter(|w| !w.kept).map(|w| GpuWant::all(w.output)));
        }
        let values = &self.values;
        let fits = |p: &Prepared| p.planned.accepts(values, rows) && self.best_for(p) && within(p, values);
        Ok(self.prepared.iter().position(fits))
    }

    /// Whether a prepared plan is the one [`FunctionPlans::find`](crate::planner::FunctionPlans)
    /// would choose: extents of 1 are constants of their variant.
    fn best_for(&self, p: &Prepared) -> bool {
        let fixed = &p.planned.variant.fixed.symbols;
        let symbols = &self.stage.plans.generic.symbols;
        let unit = symbols.iter().zip(&self.values).zip(fixed).all(|((s, v), f)| {
            let one = matches!(s.source, SymbolSource::InputDim { .. }) && *v == 1;
            f.is_some() == one
        });
        unit || (!fixed.is_empty() && fixed.iter().all(Option::is_some))
    }

    async fn prepare(&mut self, shared: &Shared, wants: &[OutputWant]) -> Result<usize, Error> {
        let model = &shared.model;
        let rows = wants.iter().find_map(|w| w.rows.map(|n| (w.output, n)));
        let planned = loop {
            let planned = model.plan_for(&self.program, &self.stage, &self.values, rows);
            if !model.asset.asset.source().bring_missed().await? {
                break planned?;
            }
        };
        let mut max = vec![];
        let mut min = vec![];
        let sizes = planned.plan.size_symbols();
        for (i, symbol) in planned.plan.symbols.iter().enumerate() {
            let fixed = planned.variant.fixed.symbols.get(i).copied().flatten().is_some();
            let size = sizes.contains(&i);
            max.push(bucket(symbol.source, fixed, size, self.values[i]));
            min.push(match symbol.source {
                SymbolSource::StateDim { .. } | SymbolSource::Later => self.values[i],
                _ if fixed => self.values[i],
                SymbolSource::InputDim { .. } => symbol.bounds.min,
                SymbolSource::InputElement { .. } if size => self.values[i],
                SymbolSource::InputElement { .. } => i64::from(i32::MIN),
            });
        }
        let known = self.prepared.iter().position(|p| {
            Arc::ptr_eq(&p.planned.plan, &planned.plan) && !matches!(p.executor, Executor::Gpu(_))
        });
        if let Some(at) = known {
            // The CPU unit grows its arena by itself.
            self.prepared[at].max = max;
            return Ok(at);
        }
        let executor = match (&model.unit, &shared.states) {
            _ if planned.plan.steps.is_empty() && planned.plan.outputs.is_empty() => Executor::Nothing,
            (Unit::Cpu, _) => {
                let wide = model.options.precision == Precision::Wide;
                let asset = model.asset.asset.clone();
                Executor::Cpu(Box::new(CpuExecutor::new(planned.plan.clone(), asset, wide).await?))
            }
            (Unit::Gpu { device, constants }, States::Gpu(states)) => {
                let mut constants = constants.lock().await;
                let source = model.asset.asset.source();
                constants.load(&planned.plan, source.as_ref(), &mut |_| {}).await?;
                let asset = &model.asset.asset;
                for entry in crate::selfcheck::run(device, &constants, &planned, asset).await? {
                    model.add_entry(entry)?;
                }
                let plan = planned.plan.clone();
                let mut layout = GpuLayout::new(device, &constants, plan, states, &max, &min).await?;
                layout.cancel_with(shared.cancel.clone());
                model.add_entry(kernels(&layout, &planned.plan.function))?;
                Executor::Gpu(Box::new(layout))
            }
            _ => return Err(super::mixed()),
        };
        // A larger bucket serves what a smaller one of the same plan did; its memory is not needed.
        self.prepared.retain(|p| !(Arc::ptr_eq(&p.planned.plan, &planned.plan) && covered(&p.max, &max)));
        if self.prepared.len() == MAX_PREPARED {
            self.prepared.remove(0);
        }
        self.prepared.push(Prepared { planned, max, executor });
        Ok(self.prepared.len() - 1)
    }

    fn finish(&mut self, shared: &mut Shared, at: usize) -> Result<(), Error> {
        self.last = Some(at);
        let prepared = &self.prepared[at];
        for want in &self.wants {
            let shape = &mut self.shapes[want.output];
            shape.clear();
            let dims = &prepared.planned.plan.outputs[want.output].dims;
            shape.extend(dims.iter().map(|d| usize::try_from(d.eval(&self.values)).unwrap_or(0)));
        }
        if let Unit::Gpu { device, .. } = &shared.model.unit {
            shared.counters.device = device.counters();
        }
        if let Executor::Gpu(layout) = &prepared.executor {
            shared.counters.encode += layout.encode_time();
        }
        Ok(())
    }

    /// Words of an output of the last run, one per element, row-major.
    pub fn output_words(&self, output: usize) -> &[u32] {
        let Some(prepared) = self.last.and_then(|at| self.prepared.get(at)) else { return &[] };
        let mut brought = self.wants.iter().filter(|w| !w.kept);
        let Some(position) = brought.position(|w| w.output == output) else { return &[] };
        let words = match &prepared.executor {
            Executor::Cpu(cpu) => cpu.output(output),
            Executor::Gpu(layout) => layout.output(position),
            Executor::Nothing => &[],
        };
        let n = count(&self.shapes[output]) as usize;
        &words[..n.min(words.len())]
    }

    /// Extents of an output of the last run.
    pub fn output_shape(&self, output: usize) -> &[usize] {
        self.shapes.get(output).map_or(&[], Vec::as_slice)
    }

    /// An output of the last run in its declared dtype.
    pub fn output_array(&self, output: usize) -> Result<NDArray, Error> {
        let Some(port) = self.stage.plans.generic.outputs.get(output) else {
            return Err(Error::Input { name: output.to_string(), reason: "no such output".into() });
        };
        let data = words::to_bytes(port.element, self.output_words(output))?;
        NDArray::new(port.element, self.shapes[output].clone(), data)
    }

    /// Elements of host value number `n` of the last run.
    pub fn content(&self, n: usize) -> Vec<i64> {
        let Some(prepared) = self.last.and_then(|at| self.prepared.get(at)) else { return vec![] };
        let content = prepared.planned.contents.get(n);
        content.map_or(vec![], |c| c.iter().map(|e| e.eval(&self.values)).collect())
    }

    /// Bytes that the operands of the last run's steps occupy.
    pub fn memory_read(&self) -> u64 {
        self.plan().map_or(0, |p| p.bytes_read(&self.values))
    }

    /// Dispatches of the last run; 0 on the CPU unit.
    pub fn dispatches(&self) -> usize {
        match self.last.and_then(|at| self.prepared.get(at)).map(|p| &p.executor) {
            Some(Executor::Gpu(layout)) => layout.dispatches(),
            _ => 0,
        }
    }

    /// The plan of the last run.
    pub fn plan(&self) -> Option<&Arc<crate::plan::Plan>> {
        Some(&self.prepared.get(self.last?)?.planned.plan)
    }

    /// Forgets layouts that hold the old buffer of a state.
    pub fn states_moved(&mut self) {
        self.prepared.retain(|p| matches!(p.executor, Executor::Cpu(_)));
        self.last = None;
    }
}

/// Copies the inputs that are on the device into a layout.
fn give(layout: &mut GpuLayout, inputs: &[BoundInput]) -> Result<(), Error> {
    layout.given.clear();
    for (i, bound) in inputs.iter().enumerate() {
        if let Some(buffer) = &bound.device {
            layout.give(i, count(&bound.shape), &buffer.raw)?;
        }
    }
    Ok(())
}

/// The kernel variants of a layout, for the report.
fn kernels(layout: &GpuLayout, function: &str) -> ReportEntry {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (kernel, _) in (0..layout.dispatches()).filter_map(|i| layout.dispatch(i)) {
        *counts.entry(kernel).or_default() += 1;
    }
    let list: Vec<String> = counts.into_iter().map(|(kernel, n)| format!("{kernel} × {n}")).collect();
    let message = format!("{function} as {} dispatches: {}", layout.dispatches(), list.join(", "));
    ReportEntry { code: "kernels", message, fallback: false }
}

/// Whether the values lie in the bucket.
fn within(p: &Prepared, values: &[i64]) -> bool {
    match &p.executor {
        Executor::Cpu(_) | Executor::Nothing => true,
        Executor::Gpu(layout) => layout.covers(values),
    }
}

fn covered(small: &[i64], large: &[i64]) -> bool {
    small.iter().zip(large).all(|(s, l)| s <= l)
}

/// Words of every input: on the stack when they fit, else in `many`.
fn input_words<'a>(
    inputs: &'a [BoundInput],
    inline: &'a mut [&'a [u32]; INLINE_INPUTS],
    many: &'a mut Vec<&'a [u32]>,
) -> &'a [&'a [u32]] {
    if inputs.len() <= INLINE_INPUTS {
        for (slot, input) in inline.iter_mut().zip(inputs) {
            *slot = &input.words;
        }
        &inline[..inputs.len()]
    } else {
        many.extend(inputs.iter().map(|i| i.words.as_slice()));
        many
    }
}
