//! Which nodes run together.
//!
//! Plans and the host take turns: segment 0, the host nodes that need only it, segment 1, and so on.
//! A node runs as early as its operands allow; nodes with effects keep their order.

use std::collections::HashMap;

use crate::graph::{Graph, NodeKind, Segment, Source, Val};

use super::bodies;

/// The stages of a graph by level: a segment, then nodes that are not in plans.
#[derive(Debug, Default)]
pub struct Level {
    /// Nodes of the plan; may be empty.
    pub segment: Segment,
    /// Nodes that run after it, in order.
    pub others: Vec<usize>,
}

/// Whether a value exists before any stage runs, in every segment.
pub fn is_constant(graph: &Graph, v: Val) -> bool {
    graph.sources[v.0 as usize] == Source::Constant || graph.fact(v).const_ints().is_some()
}

fn in_plan(graph: &Graph, at: usize) -> bool {
    matches!(graph.nodes[at].kind, NodeKind::Plan)
}

fn effects(graph: &Graph, at: usize) -> bool {
    let node = &graph.nodes[at];
    match bodies(node) {
        Some(bodies) => bodies.iter().any(crate::graph::Body::effects),
        None => node.op.effects() && node.name.ends_with("_handle_v1"),
    }
}

fn live(graph: &Graph) -> Vec<bool> {
    let mut live = vec![false; graph.nodes.len()];
    let mut stack: Vec<Val> = graph.outputs.iter().map(|(_, v)| *v).collect();
    for (at, node) in graph.nodes.iter().enumerate() {
        let writes =
            &*node.name == "dataflow.write_handle_v1" || bodies(node).is_some() && effects(graph, at);
        if writes {
            live[at] = true;
            stack.extend(&node.inputs);
        }
    }
    while let Some(v) = stack.pop() {
        if is_constant(graph, v) {
            continue;
        }
        if let Source::Node(at) = graph.sources[v.0 as usize]
            && !live[at]
        {
            live[at] = true;
            stack.extend(&graph.nodes[at].inputs);
        }
    }
    live
}

/// Cuts a graph into levels.
pub fn partition(graph: &Graph) -> Vec<Level> {
    let live = live(graph);
    let mut level = vec![0usize; graph.nodes.len()];
    let mut last_effect: Option<usize> = None;
    for (at, node) in graph.nodes.iter().enumerate() {
        if !live[at] {
            continue;
        }
        let plan = in_plan(graph, at);
        // A plan sees what the host made one level earlier.
        let after = |other: usize| level[other] + usize::from(plan && !in_plan(graph, other));
        let mut own = 0;
        for v in &node.inputs {
            if let (Source::Node(producer), false) = (&graph.sources[v.0 as usize], is_constant(graph, *v)) {
                own = own.max(after(*producer));
            }
        }
        if effects(graph, at) {
            own = own.max(last_effect.map_or(0, after));
            last_effect = Some(at);
        }
        level[at] = own;
    }
    let count = (0..level.len()).filter(|at| live[*at]).map(|at| level[at] + 1).max().unwrap_or(0);
    let mut levels: Vec<Level> = (0..count).map(|_| Level::default()).collect();
    // Level of the segment that makes a value.
    let mut made: HashMap<Val, usize> = HashMap::new();
    for (at, node) in graph.nodes.iter().enumerate().filter(|(at, _)| live[*at]) {
        let target = &mut levels[level[at]];
        if in_plan(graph, at) {
            target.segment.nodes.push(at);
            made.extend(node.outputs.iter().map(|v| (*v, level[at])));
        } else {
            target.others.push(at);
        }
    }
    let mut wanted: Vec<Val> = graph.outputs.iter().map(|(_, v)| *v).collect();
    for (l, level) in levels.iter_mut().enumerate() {
        let mut inputs = vec![];
        for at in &level.segment.nodes {
            for v in &graph.nodes[*at].inputs {
                let local = made.get(v) == Some(&l) || is_constant(graph, *v);
                let state = matches!(graph.sources[v.0 as usize], Source::State(_));
                if !local && !state && !inputs.contains(v) {
                    inputs.push(*v);
                }
            }
        }
        wanted.extend(&inputs);
        wanted.extend(level.others.iter().flat_map(|at| &graph.nodes[*at].inputs));
        level.segment.inputs = inputs;
    }
    for v in wanted {
        let Some(l) = made.get(&v).filter(|_| !is_constant(graph, v)) else { continue };
        let segment = &mut levels[*l].segment;
        let known = graph.fact(v).content.is_some();
        let list = if known { &mut segment.contents } else { &mut segment.outputs };
        if !list.contains(&v) {
            list.push(v);
        }
    }
    levels
}
