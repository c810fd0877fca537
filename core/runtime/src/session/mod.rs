//! One caller's mutable side of a model: states, bound inputs, results.

mod states;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::cpu::CpuExecutor;
use crate::error::Error;
use crate::gpu::{CounterValues, GpuLayout, GpuState, OutputWant as GpuWant};
use crate::model::{AIModel, Unit};
use crate::ndarray::NDArray;
use crate::options::Precision;
use crate::plan::{Plan, Port, SymbolSource};
use crate::planner::{Planned, bucket};
use crate::report::ReportEntry;
use crate::words;
use coreai_asset::ElementType;
use states::{state_shape, zeros};

/// Inputs that a run passes without allocating.
const INLINE_INPUTS: usize = 16;

/// An output to compute and bring to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputWant {
    /// Number of the output.
    pub output: usize,
    /// Only the last rows (second to last axis); the rest is not computed.
    pub rows: Option<usize>,
}

impl OutputWant {
    /// A whole output.
    pub fn all(output: usize) -> OutputWant {
        OutputWant { output, rows: None }
    }

    /// The last `rows` rows of an output.
    pub fn last_rows(output: usize, rows: usize) -> OutputWant {
        OutputWant { output, rows: Some(rows) }
    }
}

/// Data of an input.
#[derive(Clone, Copy, Debug)]
pub enum InputData<'a> {
    /// int32.
    I32(&'a [i32]),
    /// float32, converted to the declared float type.
    F32(&'a [f32]),
    /// Little-endian elements of the declared type.
    Bytes(&'a [u8]),
}

/// Device time of one dispatch.
#[derive(Clone, Debug, serde::Serialize)]
pub struct TraceEntry {
    /// Kernel variant.
    pub kernel: &'static str,
    /// Op or composite of the asset.
    pub op: String,
    /// Number of the node in the flattened function.
    pub node: u32,
    /// Python source line, when the asset has it.
    pub source: Option<String>,
    /// Nanoseconds on the device.
    pub nanoseconds: u64,
}

/// What a session did, cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    /// Device-side counts since the device was opened.
    pub device: CounterValues,
    /// Time the host spent on parameters, encoding and submitting; zero on the CPU unit.
    pub encode: Duration,
    /// Bytes that the operands of the last run's steps occupy (see [`Plan::bytes_read`]).
    pub memory_read: u64,
    /// Runs.
    pub runs: u64,
}

struct BoundInput {
    shape: Vec<usize>,
    words: Vec<u32>,
}

enum States {
    Cpu(Vec<Vec<u32>>),
    Gpu(Vec<GpuState>),
}

enum Runner {
    Cpu(Box<CpuExecutor>),
    Gpu(Box<GpuLayout>),
}

/// A plan ready to run for a bucket of symbol values.
struct Prepared {
    planned: Planned,
    max: Vec<i64>,
    runner: Runner,
}

/// A session of one function. Runs are exclusive (`&mut`), so nothing in it is shared.
pub struct Session {
    model: Arc<AIModel>,
    function: usize,
    generic: Arc<Plan>,
    inputs: Vec<BoundInput>,
    state_dims: Vec<Vec<usize>>,
    states: States,
    /// Symbol values of the run being prepared.
    values: Vec<i64>,
    prepared: Vec<Prepared>,
    last: Option<usize>,
    wants: Vec<OutputWant>,
    gpu_wants: Vec<GpuWant>,
    shapes: Vec<Vec<usize>>,
    cancel: Arc<AtomicBool>,
    counters: Counters,
}

impl Session {
    pub(crate) async fn new(
        model: Arc<AIModel>,
        function: &str,
        shapes: &[(&str, &[usize])],
    ) -> Result<Session, Error> {
        let (number, plans) = model.plans(function)?;
        let generic = plans.generic.clone();
        for (name, _) in shapes {
            if !generic.states.iter().any(|p| p.name == *name) {
                return Err(Error::Input { name: (*name).into(), reason: "no such state".into() });
            }
        }
        let mut state_dims = vec![];
        for port in &generic.states {
            let given = shapes.iter().find(|(n, _)| *n == port.name).map(|(_, s)| *s);
            state_dims.push(state_shape(port, given)?);
        }
        let states = match &model.unit {
            Unit::Cpu => {
                let sizes = generic.states.iter().zip(&state_dims);
                let words = sizes.map(|(p, d)| {
                    let storage = &generic.buffers[p.buffer.map_or(0, |b| b.0 as usize)].storage;
                    zeros(storage, d)
                });
                States::Cpu(words.collect::<Result<_, _>>()?)
            }
            Unit::Gpu { device, .. } => {
                let mut list = vec![];
                for (p, d) in generic.states.iter().zip(&state_dims) {
                    let storage = generic.buffers[p.buffer.map_or(0, |b| b.0 as usize)].storage.clone();
                    list.push(GpuState::new(device, storage, count(d)).await?);
                }
                States::Gpu(list)
            }
        };
        let inputs = generic.inputs.iter().map(|_| BoundInput { shape: vec![], words: vec![] }).collect();
        Ok(Session {
            function: number,
            values: vec![0; generic.symbols.len()],
            shapes: generic.outputs.iter().map(|_| vec![]).collect(),
            generic,
            inputs,
            state_dims,
            states,
            prepared: vec![],
            last: None,
            wants: vec![],
            gpu_wants: vec![],
            cancel: Arc::new(AtomicBool::new(false)),
            counters: Counters::default(),
            model,
        })
    }

    /// Set to stop the run in progress; it returns [`Error::Cancelled`].
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        self.cancel.clone()
    }

    /// Number of an input by name.
    pub fn input_index(&self, name: &str) -> Option<usize> {
        self.generic.inputs.iter().position(|p| p.name == name)
    }

    /// Number of an output by name.
    pub fn output_index(&self, name: &str) -> Option<usize> {
        self.generic.outputs.iter().position(|p| p.name == name)
    }

    /// Binds an input. Does not allocate once it has been bound at this size.
    pub fn set_input(&mut self, input: usize, shape: &[usize], data: InputData) -> Result<(), Error> {
        let Some(port) = self.generic.inputs.get(input) else {
            return Err(Error::Input { name: input.to_string(), reason: "no such input".into() });
        };
        check_shape(port, shape)?;
        let bound = &mut self.inputs[input];
        let wrong = |found: &str| Error::Input {
            name: port.name.clone(),
            reason: format!("has dtype {}, got {found}", port.element.name()),
        };
        match data {
            InputData::I32(values) => {
                if port.element != ElementType::SI32 {
                    return Err(wrong("int32"));
                }
                bound.words.clear();
                bound.words.extend(values.iter().map(|v| *v as u32));
            }
            InputData::F32(values) => {
                if !matches!(port.element, ElementType::F32 | ElementType::F16 | ElementType::BF16) {
                    return Err(wrong("float32"));
                }
                bound.words.clear();
                bound.words.extend(values.iter().map(|v| v.to_bits()));
            }
            InputData::Bytes(bytes) => words::from_bytes(port.element, bytes, &mut bound.words)?,
        }
        if bound.words.len() as u64 != count(shape) {
            let reason = format!("{} elements do not make shape {shape:?}", bound.words.len());
            bound.shape.clear();
            return Err(Error::Input { name: port.name.clone(), reason });
        }
        bound.shape.clear();
        bound.shape.extend_from_slice(shape);
        Ok(())
    }

    /// Binds an input by name; dtype and shape must fit its declaration.
    pub fn set_array(&mut self, name: &str, array: &NDArray) -> Result<(), Error> {
        let Some(input) = self.input_index(name) else {
            let names: Vec<&str> = self.generic.inputs.iter().map(|p| p.name.as_str()).collect();
            let reason = format!("is not an input; the function has {}", names.join(", "));
            return Err(Error::Input { name: name.into(), reason });
        };
        let port = &self.generic.inputs[input];
        if port.element != array.element {
            let reason = format!("has dtype {}, got {}", port.element.name(), array.element.name());
            return Err(Error::Input { name: name.into(), reason });
        }
        self.set_input(input, &array.shape, InputData::Bytes(&array.data))
    }

    /// Runs the function with the bound inputs and the session's states.
    pub async fn run(&mut self, wants: &[OutputWant]) -> Result<(), Error> {
        let at = match self.ready(wants)? {
            Some(at) => at,
            None => self.prepare(wants).await?,
        };
        let mut inline: [&[u32]; INLINE_INPUTS] = [&[]; INLINE_INPUTS];
        let mut many = vec![];
        let inputs = input_words(&self.inputs, &mut inline, &mut many);
        match (&mut self.prepared[at].runner, &mut self.states) {
            (Runner::Gpu(layout), _) => layout.run(&self.values, inputs, &self.gpu_wants).await?,
            (Runner::Cpu(cpu), States::Cpu(states)) => cpu.run(&self.values, inputs, states, &self.cancel)?,
            (Runner::Cpu(_), States::Gpu(_)) => return Err(mixed()),
        }
        self.finish(at)
    }

    /// Blocking twin of [`Session::run`]; allocates nothing once its bucket has been prepared.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_blocking(&mut self, wants: &[OutputWant]) -> Result<(), Error> {
        let at = match self.ready(wants)? {
            Some(at) => at,
            None => pollster::block_on(self.prepare(wants))?,
        };
        let mut inline: [&[u32]; INLINE_INPUTS] = [&[]; INLINE_INPUTS];
        let mut many = vec![];
        let inputs = input_words(&self.inputs, &mut inline, &mut many);
        match (&mut self.prepared[at].runner, &mut self.states) {
            (Runner::Gpu(layout), _) => layout.run_blocking(&self.values, inputs, &self.gpu_wants)?,
            (Runner::Cpu(cpu), States::Cpu(states)) => cpu.run(&self.values, inputs, states, &self.cancel)?,
            (Runner::Cpu(_), States::Gpu(_)) => return Err(mixed()),
        }
        self.finish(at)
    }

    /// As [`Session::run_blocking`], with the time of every dispatch. On a device without
    /// timestamps, and on the CPU unit, the list is empty.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn trace_blocking(&mut self, wants: &[OutputWant]) -> Result<Vec<TraceEntry>, Error> {
        let at = match self.ready(wants)? {
            Some(at) => at,
            None => pollster::block_on(self.prepare(wants))?,
        };
        let inputs: Vec<&[u32]> = self.inputs.iter().map(|i| i.words.as_slice()).collect();
        let Runner::Gpu(layout) = &mut self.prepared[at].runner else {
            self.run_blocking(wants)?;
            return Ok(vec![]);
        };
        let times = match layout.run_traced_blocking(&self.values, &inputs, &self.gpu_wants)? {
            Some(times) => times,
            None => {
                layout.run_blocking(&self.values, &inputs, &self.gpu_wants)?;
                vec![]
            }
        };
        self.finish(at)?;
        let prepared = &self.prepared[at];
        let Runner::Gpu(layout) = &prepared.runner else { return Ok(vec![]) };
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
    fn ready(&mut self, wants: &[OutputWant]) -> Result<Option<usize>, Error> {
        self.last = None;
        let generic = &self.generic;
        for (port, bound) in generic.inputs.iter().zip(&self.inputs) {
            if bound.shape.len() != port.dims.len() {
                return Err(Error::Input { name: port.name.clone(), reason: "is not set".into() });
            }
        }
        for (value, symbol) in self.values.iter_mut().zip(&generic.symbols) {
            *value = match symbol.source {
                SymbolSource::InputDim { input, axis } => self.inputs[input].shape[axis] as i64,
                SymbolSource::StateDim { state, axis } => self.state_dims[state][axis] as i64,
                SymbolSource::InputElement { input, element } => {
                    i64::from(self.inputs[input].words.get(element).copied().unwrap_or(0) as i32)
                }
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
            self.gpu_wants.extend(wants.iter().map(|w| GpuWant::all(w.output)));
        }
        let values = &self.values;
        let fits = |p: &Prepared| p.planned.accepts(values, rows) && self.best_for(p) && within(p, values);
        Ok(self.prepared.iter().position(fits))
    }

    /// Whether a prepared plan is the one [`FunctionPlans::find`](crate::planner::FunctionPlans)
    /// would choose: extents of 1 are constants of their variant.
    fn best_for(&self, p: &Prepared) -> bool {
        let fixed = &p.planned.variant.fixed.symbols;
        let unit = self.generic.symbols.iter().zip(&self.values).zip(fixed).all(|((s, v), f)| {
            let one = matches!(s.source, SymbolSource::InputDim { .. }) && *v == 1;
            f.is_some() == one
        });
        unit || (!fixed.is_empty() && fixed.iter().all(Option::is_some))
    }

    async fn prepare(&mut self, wants: &[OutputWant]) -> Result<usize, Error> {
        let rows = wants.iter().find_map(|w| w.rows.map(|n| (w.output, n)));
        let planned = self.model.plan_for(self.function, &self.values, rows)?;
        let mut max = vec![];
        let mut min = vec![];
        for (i, symbol) in planned.plan.symbols.iter().enumerate() {
            let fixed = planned.variant.fixed.symbols.get(i).copied().flatten().is_some();
            max.push(bucket(symbol.source, fixed, self.values[i]));
            min.push(match symbol.source {
                SymbolSource::StateDim { .. } => self.values[i],
                _ if fixed => self.values[i],
                SymbolSource::InputDim { .. } => 1,
                SymbolSource::InputElement { .. } => i64::from(i32::MIN),
            });
        }
        let known = self
            .prepared
            .iter()
            .position(|p| Arc::ptr_eq(&p.planned.plan, &planned.plan) && matches!(p.runner, Runner::Cpu(_)));
        if let Some(at) = known {
            // The CPU unit grows its arena by itself.
            self.prepared[at].max = max;
            return Ok(at);
        }
        let runner = match (&self.model.unit, &self.states) {
            (Unit::Cpu, _) => {
                let wide = self.model.options.precision == Precision::Wide;
                let asset = self.model.asset.asset.clone();
                Runner::Cpu(Box::new(CpuExecutor::new(planned.plan.clone(), asset, wide)?))
            }
            (Unit::Gpu { device, constants }, States::Gpu(states)) => {
                let mut constants = constants.lock().await;
                let source = self.model.asset.asset.source();
                constants.load(&planned.plan, source.as_ref(), &mut |_| {}).await?;
                let asset = &self.model.asset.asset;
                for entry in crate::selfcheck::run(device, &constants, &planned, asset).await? {
                    self.model.add_entry(entry)?;
                }
                let plan = planned.plan.clone();
                let mut layout = GpuLayout::new(device, &constants, plan, states, &max, &min).await?;
                layout.cancel_with(self.cancel.clone());
                self.model.add_entry(kernels(&layout, &planned.plan.function))?;
                Runner::Gpu(Box::new(layout))
            }
            _ => return Err(mixed()),
        };
        // A larger bucket serves what a smaller one of the same plan did; its memory is not needed.
        self.prepared.retain(|p| !(Arc::ptr_eq(&p.planned.plan, &planned.plan) && covered(&p.max, &max)));
        self.prepared.push(Prepared { planned, max, runner });
        Ok(self.prepared.len() - 1)
    }

    fn finish(&mut self, at: usize) -> Result<(), Error> {
        self.last = Some(at);
        let prepared = &self.prepared[at];
        for want in &self.wants {
            let shape = &mut self.shapes[want.output];
            shape.clear();
            let dims = &prepared.planned.plan.outputs[want.output].dims;
            shape.extend(dims.iter().map(|d| usize::try_from(d.eval(&self.values)).unwrap_or(0)));
        }
        if let Unit::Gpu { device, .. } = &self.model.unit {
            self.counters.device = device.counters();
        }
        if let Runner::Gpu(layout) = &prepared.runner {
            self.counters.encode += layout.encode_time();
        }
        self.counters.runs += 1;
        Ok(())
    }

    /// Words of an output of the last run, one per element, row-major.
    fn output_words(&self, output: usize) -> &[u32] {
        let Some(prepared) = self.last.and_then(|at| self.prepared.get(at)) else { return &[] };
        let Some(position) = self.wants.iter().position(|w| w.output == output) else { return &[] };
        let words = match &prepared.runner {
            Runner::Cpu(cpu) => cpu.output(output),
            Runner::Gpu(layout) => layout.output(position),
        };
        let n = count(&self.shapes[output]) as usize;
        &words[..n.min(words.len())]
    }

    /// A float output of the last run as float32; empty when it was not wanted.
    pub fn output_f32(&self, output: usize) -> &[f32] {
        bytemuck::cast_slice(self.output_words(output))
    }

    /// Extents of an output of the last run.
    pub fn output_shape(&self, output: usize) -> &[usize] {
        self.shapes.get(output).map_or(&[], Vec::as_slice)
    }

    /// An output of the last run in its declared dtype.
    pub fn output_array(&self, output: usize) -> Result<NDArray, Error> {
        let Some(port) = self.generic.outputs.get(output) else {
            return Err(Error::Input { name: output.to_string(), reason: "no such output".into() });
        };
        let data = words::to_bytes(port.element, self.output_words(output))?;
        NDArray::new(port.element, self.shapes[output].clone(), data)
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        Counters { memory_read: self.plan().map_or(0, |p| p.bytes_read(&self.values)), ..self.counters }
    }

    /// Dispatches of the last run; 0 on the CPU unit.
    pub fn dispatches(&self) -> usize {
        match self.last.and_then(|at| self.prepared.get(at)).map(|p| &p.runner) {
            Some(Runner::Gpu(layout)) => layout.dispatches(),
            _ => 0,
        }
    }

    /// Steps of the plan of the last run.
    pub fn plan(&self) -> Option<&Arc<Plan>> {
        Some(&self.prepared.get(self.last?)?.planned.plan)
    }

    /// The model.
    pub fn model(&self) -> &Arc<AIModel> {
        &self.model
    }
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

fn mixed() -> Error {
    Error::DeviceLost("the session's states are on another unit".into())
}

/// Number of elements; saturates.
fn count(dims: &[usize]) -> u64 {
    dims.iter().fold(1, |n, d| n.saturating_mul(*d as u64))
}

/// Whether the values lie in the bucket.
fn within(p: &Prepared, values: &[i64]) -> bool {
    match &p.runner {
        Runner::Cpu(_) => true,
        Runner::Gpu(layout) => layout.covers(values),
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

fn check_shape(port: &Port, shape: &[usize]) -> Result<(), Error> {
    let fits = port.dims.len() == shape.len()
        && port.dims.iter().zip(shape).all(|(d, s)| d.as_const().is_none_or(|d| d == *s as i64));
    if fits {
        return Ok(());
    }
    let expected: Vec<String> =
        port.dims.iter().map(|d| d.as_const().map_or("?".into(), |d| d.to_string())).collect();
    let reason = format!("has shape [{}], got {shape:?}", expected.join(", "));
    Err(Error::Input { name: port.name.clone(), reason })
}
