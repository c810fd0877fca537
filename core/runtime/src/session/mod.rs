//! One caller's mutable side of a model: states, bound inputs, results.

mod runner;
mod staged;
mod states;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use coreai_asset::ElementType;

use crate::error::Error;
use crate::gpu::{CounterValues, GpuState, wgpu};
use crate::lower::state_storage;
use crate::model::{AIModel, Unit};
use crate::ndarray::NDArray;
use crate::plan::{Plan, Port};
use crate::program::Program;
use crate::words;
use runner::PlanRunner;
use staged::StagedRunner;
use states::{state_shape, zeros};

/// An output to compute and bring to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputWant {
    /// Number of the output.
    pub output: usize,
    /// Only the last rows (second to last axis); the rest is not computed.
    pub rows: Option<usize>,
    /// Stays on the device, for [`Session::take_output`].
    pub kept: bool,
}

impl OutputWant {
    /// A whole output.
    pub fn all(output: usize) -> OutputWant {
        OutputWant { output, rows: None, kept: false }
    }

    /// A whole output that is not brought to the host.
    pub fn kept(output: usize) -> OutputWant {
        OutputWant { output, rows: None, kept: true }
    }

    /// The last `rows` rows of an output.
    pub fn last_rows(output: usize, rows: usize) -> OutputWant {
        OutputWant { output, rows: Some(rows), kept: false }
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

enum States {
    Cpu(Vec<Vec<u32>>),
    Gpu(Vec<GpuState>),
}

/// What all plans of a session work on.
struct Shared {
    model: Arc<AIModel>,
    states: States,
    state_dims: Vec<Vec<usize>>,
    cancel: Arc<AtomicBool>,
    counters: Counters,
    #[cfg(target_arch = "wasm32")]
    turns: crate::turn::Turns,
}

/// How the function is executed.
enum Execution {
    /// One plan.
    Plan(Box<PlanRunner>),
    /// Stages, with the function's inputs and results as host tensors.
    Staged { runner: Box<StagedRunner>, inputs: Vec<Option<Arc<NDArray>>>, results: Vec<Wanted> },
}

/// A result of the last run.
#[derive(Default)]
struct Wanted {
    array: Option<Arc<NDArray>>,
    words: Vec<u32>,
}

/// A session of one function. Runs are exclusive (`&mut`), so nothing in it is shared.
pub struct Session {
    program: Arc<Program>,
    shared: Shared,
    execution: Execution,
}

impl Session {
    pub(crate) async fn new(
        model: Arc<AIModel>,
        function: &str,
        shapes: &[(&str, &[usize])],
    ) -> Result<Session, Error> {
        let program = model.program(function)?.clone();
        for (name, _) in shapes {
            if !program.states.iter().any(|p| p.name == *name) {
                return Err(Error::Input { name: (*name).into(), reason: "no such state".into() });
            }
        }
        let mut state_dims = vec![];
        for port in &program.states {
            let given = shapes.iter().find(|(n, _)| *n == port.name).map(|(_, s)| *s);
            state_dims.push(state_shape(port, given)?);
        }
        let storages = program.states.iter().map(|p| state_storage(p.element));
        let states = match &model.unit {
            Unit::Cpu => {
                let words = storages.zip(&state_dims).map(|(s, d)| zeros(&s, d));
                States::Cpu(words.collect::<Result<_, _>>()?)
            }
            Unit::Gpu { device, .. } => {
                let mut list = vec![];
                for (storage, d) in storages.zip(&state_dims) {
                    list.push(GpuState::new(device, storage, count(d)).await?);
                }
                States::Gpu(list)
            }
        };
        let execution = match program.single() {
            Some(stage) => Execution::Plan(Box::new(PlanRunner::new(program.clone(), stage.clone()))),
            None => Execution::Staged {
                runner: Box::new(StagedRunner::new(program.clone())),
                inputs: vec![None; program.inputs.len()],
                results: program.outputs.iter().map(|_| Wanted::default()).collect(),
            },
        };
        let (cancel, counters) = (Arc::new(AtomicBool::new(false)), Counters::default());
        let shared = Shared {
            model,
            states,
            state_dims,
            cancel,
            counters,
            #[cfg(target_arch = "wasm32")]
            turns: crate::turn::Turns::new(),
        };
        Ok(Session { program, shared, execution })
    }

    /// Set to stop the run in progress; it returns [`Error::Cancelled`].
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        self.shared.cancel.clone()
    }

    /// Number of an input by name.
    pub fn input_index(&self, name: &str) -> Option<usize> {
        self.program.inputs.iter().position(|p| p.name == name)
    }

    /// Number of an output by name.
    pub fn output_index(&self, name: &str) -> Option<usize> {
        self.program.outputs.iter().position(|p| p.name == name)
    }

    /// Binds an input. Does not allocate once it has been bound at this size, when the function is
    /// one plan.
    pub fn set_input(&mut self, input: usize, shape: &[usize], data: InputData) -> Result<(), Error> {
        let list = match &mut self.execution {
            Execution::Plan(runner) => return runner.set_input(input, shape, data),
            Execution::Staged { inputs, .. } => inputs,
        };
        let Some(port) = self.program.inputs.get(input) else {
            return Err(Error::Input { name: input.to_string(), reason: "no such input".into() });
        };
        check_shape(port, shape)?;
        let bytes = match (data, port.element) {
            (InputData::Bytes(bytes), _) => bytes.to_vec(),
            (InputData::I32(values), ElementType::SI32) => bytemuck::cast_slice(values).to_vec(),
            (InputData::F32(values), ElementType::F32 | ElementType::F16 | ElementType::BF16) => {
                words::to_bytes(port.element, bytemuck::cast_slice(values))?
            }
            _ => {
                let reason = format!("has dtype {}", port.element.name());
                return Err(Error::Input { name: port.name.clone(), reason });
            }
        };
        list[input] = Some(Arc::new(NDArray::new(port.element, shape.to_vec(), bytes)?));
        Ok(())
    }

    /// Binds an input by name; dtype and shape must fit its declaration.
    pub fn set_array(&mut self, name: &str, array: &NDArray) -> Result<(), Error> {
        let Some(input) = self.input_index(name) else {
            let names: Vec<&str> = self.program.inputs.iter().map(|p| p.name.as_str()).collect();
            let reason = format!("is not an input; the function has {}", names.join(", "));
            return Err(Error::Input { name: name.into(), reason });
        };
        let port = &self.program.inputs[input];
        if port.element != array.element {
            let reason = format!("has dtype {}, got {}", port.element.name(), array.element.name());
            return Err(Error::Input { name: name.into(), reason });
        }
        self.set_input(input, &array.shape, InputData::Bytes(&array.data))
    }

    /// Binds a buffer of this model's device as an input: one word per element, floats as float32,
    /// all others as 32-bit integers. It is copied when this is called, on the device where the function is
    /// one plan, and must have the usage `COPY_SRC`.
    pub async fn set_device_input(
        &mut self,
        input: usize,
        shape: &[usize],
        buffer: &wgpu::Buffer,
    ) -> Result<(), Error> {
        let Some(port) = self.program.inputs.get(input) else {
            return Err(Error::Input { name: input.to_string(), reason: "no such input".into() });
        };
        check_shape(port, shape)?;
        let refused = |reason: String| Error::Input { name: port.name.clone(), reason };
        let Unit::Gpu { device, .. } = &self.shared.model.unit else {
            return Err(refused("is on a device, and the model is not".into()));
        };
        let bytes = count(shape).saturating_mul(4);
        if bytes > buffer.size() || !buffer.usage().contains(wgpu::BufferUsages::COPY_SRC) {
            let (size, usage) = (buffer.size(), "COPY_SRC");
            return Err(refused(format!("needs a buffer of {bytes} bytes with {usage}, got {size} bytes")));
        }
        match &mut self.execution {
            Execution::Plan(runner) => runner.set_device_input(device, input, shape, buffer).await,
            Execution::Staged { inputs, .. } => {
                let words = device.read_raw(buffer, bytes).await?;
                let data = words::to_bytes(port.element, &words)?;
                inputs[input] = Some(Arc::new(NDArray::new(port.element, shape.to_vec(), data)?));
                Ok(())
            }
        }
    }

    /// A copy of an output of the last run on the device, one word per element, with the usages
    /// `STORAGE`, `COPY_SRC` and `COPY_DST`. It belongs to the caller.
    pub async fn take_output(&self, output: usize) -> Result<wgpu::Buffer, Error> {
        let Unit::Gpu { device, .. } = &self.shared.model.unit else {
            let reason = "the model does not run on a device".into();
            return Err(Error::Input { name: output.to_string(), reason });
        };
        match &self.execution {
            Execution::Plan(runner) => runner.take_output(device, output).await,
            Execution::Staged { results, .. } => {
                let found = results.get(output).and_then(|r| Some((r.array.as_ref()?, &r.words)));
                let words = found.filter(|(array, words)| count(&array.shape) == words.len() as u64);
                let Some((_, words)) = words else {
                    let reason =
                        "has no form of one word per element, or is not an output of the last run".into();
                    return Err(Error::Input { name: output.to_string(), reason });
                };
                device
                    .foreign(words.len() as u64 * 4, |buffer| {
                        device.write(buffer, 0, bytemuck::cast_slice(words));
                    })
                    .await
            }
        }
    }

    /// Runs the function with the bound inputs and the session's states.
    pub async fn run(&mut self, wants: &[OutputWant]) -> Result<(), Error> {
        let ran = match &mut self.execution {
            Execution::Plan(runner) => runner.run(&mut self.shared, wants).await,
            Execution::Staged { .. } => self.run_stages(wants, false).await,
        };
        match ran {
            Ok(()) => self.shared.counters.runs += 1,
            Err(error) => return Err(self.shared.model.explained(error).await),
        }
        Ok(())
    }

    /// Blocking twin of [`Session::run`]; allocates nothing once its bucket has been prepared.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_blocking(&mut self, wants: &[OutputWant]) -> Result<(), Error> {
        match &mut self.execution {
            Execution::Plan(runner) => runner.run_blocking(&mut self.shared, wants)?,
            Execution::Staged { .. } => pollster::block_on(self.run_stages(wants, true))?,
        }
        self.shared.counters.runs += 1;
        Ok(())
    }

    async fn run_stages(&mut self, wants: &[OutputWant], blocking: bool) -> Result<(), Error> {
        let Execution::Staged { runner, inputs, results } = &mut self.execution else { return Ok(()) };
        let mut arrays = vec![];
        for (port, input) in self.program.inputs.iter().zip(inputs.iter()) {
            let unset = || Error::Input { name: port.name.clone(), reason: "is not set".into() };
            arrays.push(input.clone().ok_or_else(unset)?);
        }
        let found = runner.run(&mut self.shared, arrays, blocking).await?;
        results.iter_mut().for_each(|r| *r = Wanted::default());
        for want in wants {
            let Some(array) = found.get(want.output) else {
                let (name, reason) = (want.output.to_string(), "no such output".into());
                return Err(Error::Input { name, reason });
            };
            let array = match want.rows {
                Some(rows) => Arc::new(last_rows(array, rows)?),
                None => array.clone(),
            };
            let mut words = vec![];
            if crate::facts::kind_of(array.element).is_some() {
                words::from_bytes(array.element, &array.data, &mut words)?;
            }
            results[want.output] = Wanted { array: Some(array), words };
        }
        Ok(())
    }

    /// As [`Session::run_blocking`], with the time of every dispatch. On a device without
    /// timestamps, on the CPU unit, and for a function of several stages, the list is empty.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn trace_blocking(&mut self, wants: &[OutputWant]) -> Result<Vec<TraceEntry>, Error> {
        match &mut self.execution {
            Execution::Plan(runner) => {
                let times = runner.trace(&mut self.shared, wants)?;
                self.shared.counters.runs += 1;
                Ok(times)
            }
            Execution::Staged { .. } => self.run_blocking(wants).map(|()| vec![]),
        }
    }

    /// A float output of the last run as float32; empty when it was not wanted.
    pub fn output_f32(&self, output: usize) -> &[f32] {
        bytemuck::cast_slice(match &self.execution {
            Execution::Plan(runner) => runner.output_words(output),
            Execution::Staged { results, .. } => results.get(output).map_or(&[], |r| &r.words),
        })
    }

    /// Extents of an output of the last run.
    pub fn output_shape(&self, output: usize) -> &[usize] {
        match &self.execution {
            Execution::Plan(runner) => runner.output_shape(output),
            Execution::Staged { results, .. } => {
                results.get(output).and_then(|r| r.array.as_ref()).map_or(&[], |a| &a.shape)
            }
        }
    }

    /// An output of the last run in its declared dtype.
    pub fn output_array(&self, output: usize) -> Result<NDArray, Error> {
        match &self.execution {
            Execution::Plan(runner) => runner.output_array(output),
            Execution::Staged { results, .. } => {
                let array = results.get(output).and_then(|r| r.array.as_deref());
                array.cloned().ok_or_else(|| Error::Input {
                    name: output.to_string(),
                    reason: "not an output of the last run".into(),
                })
            }
        }
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        let memory_read = self.total(PlanRunner::memory_read);
        Counters { memory_read, ..self.shared.counters }
    }

    /// A figure summed over the plans.
    fn total<N: std::iter::Sum>(&self, figure: impl Fn(&PlanRunner) -> N) -> N {
        match &self.execution {
            Execution::Plan(runner) => figure(runner),
            Execution::Staged { runner, .. } => runner.runners().map(figure).sum(),
        }
    }

    /// Dispatches of the last run; 0 on the CPU unit. Those inside `if` and `while` are not counted.
    pub fn dispatches(&self) -> usize {
        self.total(PlanRunner::dispatches)
    }

    /// The plan of the last run; of a function of several stages, the first stage's.
    pub fn plan(&self) -> Option<&Arc<Plan>> {
        match &self.execution {
            Execution::Plan(runner) => runner.plan(),
            Execution::Staged { runner, .. } => runner.runners().next()?.plan(),
        }
    }

    /// The model.
    pub fn model(&self) -> &Arc<AIModel> {
        &self.shared.model
    }
}

/// The last `rows` rows (second to last axis).
fn last_rows(array: &NDArray, rows: usize) -> Result<NDArray, Error> {
    let rank = array.shape.len();
    let Some(axis) = rank.checked_sub(2).filter(|axis| rows <= array.shape[*axis]) else {
        let reason = format!("has no last {rows} rows in shape {:?}", array.shape);
        return Err(Error::Input { name: String::new(), reason });
    };
    let row = array.shape[rank - 1] * array.element.bits().div_ceil(8) as usize;
    let all = array.shape[axis];
    let mut shape = array.shape.clone();
    shape[axis] = rows;
    let planes = array.data.chunks_exact((all * row).max(1));
    let data = planes.flat_map(|plane| &plane[(all - rows) * row..]).copied().collect();
    NDArray::new(array.element, shape, data)
}

fn mixed() -> Error {
    Error::DeviceLost("the session's states are on another unit".into())
}

/// Number of elements; saturates.
fn count(dims: &[usize]) -> u64 {
    dims.iter().fold(1, |n, d| n.saturating_mul(*d as u64))
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
