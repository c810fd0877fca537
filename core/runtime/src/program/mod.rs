//! A function as stages: plans for a unit, and between them what only the host can do.
//!
//! Most functions are one plan. Ops that no plan can hold (64-bit and complex tensors, results whose
//! size depends on data, ops without a kernel on the unit) and conditions known only on the device
//! are stages of their own: values cross as host tensors, and the extents and small integers among
//! them become symbols of the plans that follow.

mod build;
mod partition;

use std::collections::HashMap;
use std::sync::Arc;

use crate::graph::{Body, FlattenOptions, Graph, Node, NodeKind, Segment, Val};
use crate::ndarray::NDArray;
use crate::plan::{Plan, Port};
use crate::planner::FunctionPlans;

pub use build::{BuildCx, function, plan};

/// A planned function or region.
pub struct Program {
    /// The flat graph that the stages refer to.
    pub graph: Graph,
    /// Stages in execution order.
    pub stages: Vec<Stage>,
    /// The function is one plan over its own arguments: there are no values between stages.
    pub whole: bool,
    /// How the graph was made; variants are made alike.
    pub options: FlattenOptions,
    /// Constants that stages other than plans read.
    pub constants: HashMap<Val, Arc<NDArray>>,
    /// Inputs, states excluded.
    pub inputs: Vec<Port>,
    /// Outputs, tokens excluded.
    pub outputs: Vec<Port>,
    /// States.
    pub states: Vec<Port>,
}

/// One stage.
pub enum Stage {
    /// A plan; executed by the unit.
    Plan(Arc<PlanStage>),
    /// Node of the graph that the host evaluates.
    Host(usize),
    /// An `if` or `while` node with the programs of its two regions.
    Control(usize, [Arc<Program>; 2]),
}

/// A plan with what crosses its border.
pub struct PlanStage {
    /// Its part of the graph; empty when the program is one plan.
    pub segment: Segment,
    /// Its plans.
    pub plans: FunctionPlans,
}

impl Program {
    /// The node of a stage that is not a plan.
    pub fn node(&self, at: usize) -> &Node {
        &self.graph.nodes[at]
    }

    /// Every plan stage, those of nested regions included.
    pub fn plan_stages(&self) -> Vec<&PlanStage> {
        let mut out = vec![];
        for stage in &self.stages {
            match stage {
                Stage::Plan(plan) => out.push(&**plan),
                Stage::Host(_) => {}
                Stage::Control(_, bodies) => out.extend(bodies.iter().flat_map(|b| b.plan_stages())),
            }
        }
        out
    }

    /// The only plan of a function that is one.
    pub fn single(&self) -> Option<&Arc<PlanStage>> {
        match (self.whole, self.stages.as_slice()) {
            (true, [Stage::Plan(plan)]) => Some(plan),
            _ => None,
        }
    }

    /// Op, source line and reason of every node that the host evaluates.
    pub fn host_nodes(&self) -> Vec<(&Node, &str)> {
        let mut out = vec![];
        for stage in &self.stages {
            match stage {
                Stage::Host(at) => {
                    if let NodeKind::Host(why) = &self.graph.nodes[*at].kind {
                        out.push((&self.graph.nodes[*at], &**why));
                    }
                }
                Stage::Control(_, bodies) => out.extend(bodies.iter().flat_map(|b| b.host_nodes())),
                Stage::Plan(_) => {}
            }
        }
        out
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for stage in &self.stages {
            match stage {
                Stage::Plan(stage) => {
                    let plan: &Plan = &stage.plans.generic;
                    if !self.whole {
                        let names = |list: &[Val]| {
                            list.iter().map(|v| format!("%{}", v.0)).collect::<Vec<_>>().join(", ")
                        };
                        let (inputs, outputs) = (names(&stage.segment.inputs), names(&stage.segment.outputs));
                        writeln!(f, "stage ({inputs}) → ({outputs})")?;
                    }
                    write!(f, "{plan}")?;
                }
                Stage::Host(at) => {
                    let node = self.node(*at);
                    writeln!(
                        f,
                        "host %{:?} ← {} %{:?}",
                        values(&node.outputs),
                        node.name,
                        values(&node.inputs)
                    )?;
                }
                Stage::Control(at, bodies) => {
                    let node = self.node(*at);
                    let (out, args) = (values(&node.outputs), values(&node.inputs));
                    writeln!(
                        f,
                        "{} %{out:?} ← %{args:?} {{\n{}}} {{\n{}}}",
                        node.name, bodies[0], bodies[1]
                    )?;
                }
            }
        }
        Ok(())
    }
}

fn values(list: &[Val]) -> Vec<u32> {
    list.iter().map(|v| v.0).collect()
}

/// The two bodies of a control node.
pub fn bodies(node: &Node) -> Option<&Arc<[Body; 2]>> {
    match &node.kind {
        NodeKind::If(bodies) | NodeKind::While(bodies) => Some(bodies),
        _ => None,
    }
}
