//! Plans every stage of a function; what turns out to have no kernel moves to the host.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use coreai_asset::{Asset, Function};

use super::partition::{Level, is_constant, partition};
use super::{PlanStage, Program, Stage, bodies};
use crate::error::Error;
use crate::facts::kind_of;
use crate::graph::{Fixed, FlattenOptions, Graph, NodeKind, Segment, Val, flatten, replay};
use crate::host;
use crate::lower::{Failure, lower};
use crate::ndarray::NDArray;
use crate::ops::{Fault, constant};
use crate::options::SpecializationOptions;
use crate::plan::Port;
use crate::planner::{FunctionPlans, Made};
use crate::report::ReportEntry;

/// What building a program needs.
pub struct BuildCx<'a> {
    /// The asset.
    pub asset: &'a Asset,
    /// Options.
    pub options: &'a SpecializationOptions,
    /// Plans are for the GPU unit.
    pub gpu: bool,
}

/// Plans an entry point. Composites whose rule has no kernel here run their body.
pub fn function(cx: &BuildCx, function: &Function, report: &mut Vec<ReportEntry>) -> Result<Program, Error> {
    let mut options = FlattenOptions { rules: cx.options.rules, without: BTreeSet::new() };
    loop {
        let graph = flatten(cx.asset, function, &options, &Fixed::default())?;
        let mut entries = vec![];
        match build(cx, graph, &options, false, &mut entries) {
            Ok(program) => {
                report.append(&mut entries);
                for name in &options.without {
                    let message = format!("the body of {name} runs in place of its kernel");
                    report.push(ReportEntry { code: "rule_refused", message, fallback: true });
                }
                return Ok(program);
            }
            // The set grows with every round.
            Err(Refusal::Rule(name, _)) if options.without.insert(name.clone()) => {}
            Err(Refusal::Rule(_, e)) => return Err(*e),
            Err(Refusal::Error(e)) => return Err(e),
        }
    }
}

/// Why a program cannot be built from this graph.
enum Refusal {
    /// The rule of this composite has no kernel here; its body may.
    Rule(String, Box<Error>),
    /// Anything else.
    Error(Error),
}

impl From<Error> for Refusal {
    fn from(e: Error) -> Refusal {
        Refusal::Error(e)
    }
}

/// Plans a graph. `region` says that it is the body of a control node.
fn build(
    cx: &BuildCx,
    mut graph: Graph,
    options: &FlattenOptions,
    region: bool,
    report: &mut Vec<ReportEntry>,
) -> Result<Program, Refusal> {
    let ports = ports(&graph);
    let plain = graph.nodes.iter().all(|n| matches!(n.kind, NodeKind::Plan));
    let held = |p: &Port| kind_of(p.element).is_some();
    let mut whole = !region && plain && ports[0].iter().chain(&ports[1]).chain(&ports[2]).all(held);
    let (stages, constants) = loop {
        if whole {
            match plan(cx, &graph) {
                Ok(mut made) => {
                    report.append(&mut made.entries);
                    let plans = FunctionPlans::new(graph.function.clone(), made);
                    let segment = Segment::default();
                    break (vec![Stage::Plan(Arc::new(PlanStage { segment, plans }))], HashMap::new());
                }
                Err(failure) => {
                    retry(&mut graph, None, failure)?;
                    whole = false;
                }
            }
            continue;
        }
        if let Some(found) = staged(cx, &mut graph, options, report)? {
            break found;
        }
    };
    let [inputs, outputs, states] = ports;
    Ok(Program { graph, stages, whole, options: options.clone(), constants, inputs, outputs, states })
}

type Staged = (Vec<Stage>, HashMap<Val, Arc<NDArray>>);

/// Plans the stages; `None` when a node was moved to the host and the cut must be made again.
fn staged(
    cx: &BuildCx,
    graph: &mut Graph,
    options: &FlattenOptions,
    report: &mut Vec<ReportEntry>,
) -> Result<Option<Staged>, Refusal> {
    let mut stages = vec![];
    let mut entries = vec![];
    let levels = partition(graph);
    for Level { segment, others } in &levels {
        let needed = !segment.outputs.is_empty() || !segment.contents.is_empty();
        let writes = |at: &usize| &*graph.nodes[*at].name == "dataflow.write_handle_v1";
        if needed || segment.nodes.iter().any(writes) {
            let part = replay(graph, segment, &Fixed::default())?;
            match plan(cx, &part) {
                Ok(mut made) => {
                    entries.append(&mut made.entries);
                    let plans = FunctionPlans::new(graph.function.clone(), made);
                    let segment = segment.clone();
                    stages.push(Stage::Plan(Arc::new(PlanStage { segment, plans })));
                }
                Err(failure) => {
                    retry(graph, Some(segment), failure)?;
                    return Ok(None);
                }
            }
        }
        for at in others {
            stages.push(match bodies(&graph.nodes[*at]).cloned() {
                Some(bodies) => {
                    let first = build(cx, bodies[0].graph.clone(), options, true, &mut entries)?;
                    let second = build(cx, bodies[1].graph.clone(), options, true, &mut entries)?;
                    Stage::Control(*at, [Arc::new(first), Arc::new(second)])
                }
                None => Stage::Host(*at),
            });
        }
    }
    let mut constants = HashMap::new();
    let operands = levels.iter().flat_map(|l| &l.others).flat_map(|at| &graph.nodes[*at].inputs);
    let outputs = graph.outputs.iter().map(|(_, v)| v);
    for v in operands.chain(outputs) {
        if is_constant(graph, *v) && !constants.contains_key(v) {
            constants.insert(*v, array(cx, graph, *v)?);
        }
    }
    report.extend(entries);
    Ok(Some((stages, constants)))
}

/// The elements of a constant.
fn array(cx: &BuildCx, graph: &Graph, v: Val) -> Result<Arc<NDArray>, Error> {
    if let Some(array) = graph.folded.get(&v) {
        return Ok(array.clone());
    }
    constant::of_fact(cx.asset, graph.fact(v))
        .map(Arc::new)
        .map_err(|f| graph.fault("primitive.constant_v1", None, f))
}

/// Lowers a graph for the unit.
pub fn plan(cx: &BuildCx, graph: &Graph) -> Result<Made, Failure> {
    let (plan, entries) = lower(cx.asset, graph, cx.options.precision, cx.options.rules)?;
    if cx.gpu {
        for step in &plan.steps {
            if let Err(reason) = crate::gpu::kernels::supports(&plan, step) {
                let node = (step.origin.node as usize) < graph.nodes.len();
                let fault = Fault::unsupported(reason);
                return Err(Failure {
                    node: node.then_some(step.origin.node as usize),
                    error: Box::new(fault.at(&graph.function, &step.origin)),
                    unsupported: true,
                });
            }
        }
    }
    let contents = graph.contents.iter().map(|v| graph.fact(*v).content.clone().unwrap_or_default());
    Ok(Made { plan, contents: contents.collect(), entries })
}

/// Moves the node that failed to the host, or says why that cannot help.
fn retry(graph: &mut Graph, segment: Option<&Segment>, failure: Failure) -> Result<(), Refusal> {
    let at = failure.node.and_then(|n| match segment {
        Some(segment) => segment.nodes.get(n).copied(),
        None => Some(n),
    });
    let Some(node) = at.and_then(|at| graph.nodes.get_mut(at)) else {
        return Err(Refusal::Error(*failure.error));
    };
    if !failure.unsupported || !matches!(node.kind, NodeKind::Plan) {
        return Err(Refusal::Error(*failure.error));
    }
    if node.composite.is_some() {
        return Err(Refusal::Rule(node.name.to_string(), failure.error));
    }
    if !host::knows(&node.name) {
        return Err(Refusal::Error(*failure.error));
    }
    let reason = match *failure.error {
        Error::Unsupported { reason, .. } => reason,
        other => other.to_string(),
    };
    node.kind = NodeKind::Host(reason.into());
    Ok(())
}

/// Inputs, outputs and states of a graph as ports without buffers.
fn ports(graph: &Graph) -> [Vec<Port>; 3] {
    [&graph.inputs, &graph.outputs, &graph.states].map(|list| {
        let port = |(name, v): &(String, Val)| {
            let fact = graph.fact(*v);
            let (name, element, dims) = (name.clone(), fact.element, fact.dims.clone());
            Port { name, element, dims, buffer: None, part: None }
        };
        list.iter().map(port).collect()
    })
}
