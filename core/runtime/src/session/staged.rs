//! Runs a program of several stages. Values between stages are host tensors.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::runner::PlanRunner;
use super::{OutputWant, Shared};
use crate::error::Error;
use crate::graph::{Node, NodeKind, Val};
use crate::host;
use crate::ndarray::NDArray;
use crate::program::{Program, Stage};

#[cfg(not(target_arch = "wasm32"))]
type Future<'a, T> = futures::future::BoxFuture<'a, T>;
#[cfg(target_arch = "wasm32")]
type Future<'a, T> = futures::future::LocalBoxFuture<'a, T>;

enum StageState {
    Plan(Box<PlanRunner>),
    Host,
    Control(Box<[StagedRunner; 2]>),
}

/// The mutable side of a program.
pub(super) struct StagedRunner {
    program: Arc<Program>,
    stages: Vec<StageState>,
    values: HashMap<Val, Arc<NDArray>>,
}

impl StagedRunner {
    pub fn new(program: Arc<Program>) -> StagedRunner {
        let state = |stage: &Stage| match stage {
            Stage::Plan(plan) => StageState::Plan(Box::new(PlanRunner::new(program.clone(), plan.clone()))),
            Stage::Host(_) => StageState::Host,
            Stage::Control(_, bodies) => StageState::Control(Box::new(bodies.clone().map(StagedRunner::new))),
        };
        let stages = program.stages.iter().map(state).collect();
        StagedRunner { program, stages, values: HashMap::new() }
    }

    /// Runs all stages on the program's inputs, in their order; returns its outputs.
    pub fn run<'a>(
        &'a mut self,
        shared: &'a mut Shared,
        inputs: Vec<Arc<NDArray>>,
        blocking: bool,
    ) -> Future<'a, Result<Vec<Arc<NDArray>>, Error>> {
        Box::pin(async move {
            self.values.clear();
            let program = self.program.clone();
            let ports = program.graph.inputs.iter().map(|(_, v)| *v);
            self.values.extend(ports.zip(inputs));
            for (at, stage) in program.stages.iter().enumerate() {
                #[cfg(target_arch = "wasm32")]
                shared.turns.take().await;
                if shared.cancel.load(Ordering::Relaxed) {
                    return Err(Error::Cancelled);
                }
                match stage {
                    Stage::Plan(_) => self.plan(at, shared, blocking).await?,
                    Stage::Host(node) => self.host(program.node(*node))?,
                    Stage::Control(node, _) => {
                        self.control(at, program.node(*node), shared, blocking).await?;
                    }
                }
            }
            let outputs = program.graph.outputs.iter().map(|(_, v)| self.value(*v)).collect();
            self.values.clear();
            outputs
        })
    }

    fn value(&self, v: Val) -> Result<Arc<NDArray>, Error> {
        let found = self.values.get(&v).or_else(|| self.program.constants.get(&v));
        found.cloned().ok_or_else(|| self.broken("dataflow.graph_v1", "a value has not been computed"))
    }

    fn broken(&self, op: &str, reason: &str) -> Error {
        Error::Program {
            function: self.program.graph.function.clone(),
            op: op.into(),
            source_line: None,
            reason: reason.into(),
        }
    }

    async fn plan(&mut self, at: usize, shared: &mut Shared, blocking: bool) -> Result<(), Error> {
        let program = self.program.clone();
        let Stage::Plan(stage) = &program.stages[at] else { return Ok(()) };
        let segment = &stage.segment;
        let inputs = segment.inputs.iter().map(|v| self.value(*v)).collect::<Result<Vec<_>, _>>()?;
        let StageState::Plan(runner) = &mut self.stages[at] else { return Ok(()) };
        for (i, array) in inputs.iter().enumerate() {
            runner.set_value(i, array)?;
        }
        let wants: Vec<OutputWant> = (0..segment.outputs.len()).map(OutputWant::all).collect();
        #[cfg(not(target_arch = "wasm32"))]
        if blocking {
            runner.run_blocking(shared, &wants)?;
        } else {
            runner.run(shared, &wants).await?;
        }
        #[cfg(target_arch = "wasm32")]
        {
            debug_assert!(!blocking);
            runner.run(shared, &wants).await?;
        }
        for (i, v) in segment.outputs.iter().enumerate() {
            self.values.insert(*v, Arc::new(runner.output_array(i)?));
        }
        for (i, v) in segment.contents.iter().enumerate() {
            let fact = program.graph.fact(*v);
            let shape = fact.dims.iter().map(|d| d.as_const().and_then(|d| usize::try_from(d).ok()));
            let shape = shape.collect::<Option<Vec<usize>>>().unwrap_or_default();
            let elements = host::Elements::Int(runner.content(i));
            let array = host::encode(fact.element, &shape, &elements);
            let array = array.map_err(|f| f.at(&program.graph.function, "dataflow.graph_v1", None))?;
            self.values.insert(*v, Arc::new(array));
        }
        Ok(())
    }

    fn host(&mut self, node: &Node) -> Result<(), Error> {
        let operands = node.inputs.iter().map(|v| self.value(*v)).collect::<Result<Vec<_>, _>>()?;
        if let NodeKind::Fetch = node.kind {
            self.values.extend(node.outputs.iter().copied().zip(operands));
            return Ok(());
        }
        let inputs: Vec<&NDArray> = operands.iter().map(|a| &**a).collect();
        let results: Vec<_> = node.outputs.iter().map(|v| self.program.graph.fact(*v).element).collect();
        let region = node.region.as_deref();
        let call = host::Call { name: &node.name, attrs: &node.attrs, results: &results, region };
        let function = &self.program.graph.function;
        let arrays = host::eval(&call, &inputs)
            .map_err(|f| f.at(function, &node.origin.op, node.origin.source.as_deref()))?;
        self.values.extend(node.outputs.iter().copied().zip(arrays.into_iter().map(Arc::new)));
        Ok(())
    }

    async fn control(
        &mut self,
        at: usize,
        node: &Node,
        shared: &mut Shared,
        blocking: bool,
    ) -> Result<(), Error> {
        let operands = node.inputs.iter().map(|v| self.value(*v)).collect::<Result<Vec<_>, _>>()?;
        let truth = |a: &Arc<NDArray>| a.data.iter().any(|b| *b != 0);
        let results = match (&node.kind, &mut self.stages[at]) {
            (NodeKind::If(bodies), StageState::Control(runners)) => {
                let region = usize::from(!operands.first().is_some_and(truth));
                let captured = bodies[region].captures.iter().map(|i| operands[*i].clone());
                runners[region].run(shared, captured.collect(), blocking).await?
            }
            (NodeKind::While(bodies), StageState::Control(runners)) => {
                let mut args: Vec<Arc<NDArray>> = operands[..bodies[0].args.min(operands.len())].to_vec();
                loop {
                    // The regions may have no stage that would ask.
                    #[cfg(target_arch = "wasm32")]
                    shared.turns.take().await;
                    if shared.cancel.load(Ordering::Relaxed) {
                        return Err(Error::Cancelled);
                    }
                    let captured = bodies[0].captures.iter().map(|i| operands[*i].clone());
                    args.extend(captured);
                    let mut results = runners[0].run(shared, args, blocking).await?;
                    if results.is_empty() {
                        return Err(self.broken(&node.name, "no condition"));
                    }
                    let go_on = truth(&results.remove(0));
                    if !go_on {
                        break results;
                    }
                    results.extend(bodies[1].captures.iter().map(|i| operands[*i].clone()));
                    args = runners[1].run(shared, results, blocking).await?;
                }
            }
            _ => return Err(self.broken(&node.name, "not a control op")),
        };
        self.values.extend(node.outputs.iter().copied().zip(results));
        Ok(())
    }

    /// Every plan's runner, those of nested regions included.
    pub fn for_each(&mut self, f: &mut dyn FnMut(&mut PlanRunner)) {
        for stage in &mut self.stages {
            match stage {
                StageState::Plan(runner) => f(runner),
                StageState::Host => {}
                StageState::Control(bodies) => bodies.iter_mut().for_each(|b| b.for_each(f)),
            }
        }
    }

    /// The plans of this level, in order.
    pub fn runners(&self) -> impl Iterator<Item = &PlanRunner> {
        self.stages.iter().filter_map(|s| match s {
            StageState::Plan(runner) => Some(&**runner),
            _ => None,
        })
    }
}
