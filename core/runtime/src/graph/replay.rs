//! A part of a graph as a graph of its own.

use std::collections::HashMap;

use super::control::dynamic;
use super::{Fixed, Graph, MIRRORED_ELEMENTS, NewNode, NodeKind, Source, Val};
use crate::error::Error;
use crate::facts::{Fact, MAX_CONTENT};
use crate::ops::Fault;

/// Which nodes of a graph make a plan, and what crosses its border.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// Nodes in order.
    pub nodes: Vec<usize>,
    /// Values that come from outside.
    pub inputs: Vec<Val>,
    /// Values that are needed outside, as data.
    pub outputs: Vec<Val>,
    /// Values that are needed outside and whose elements the host computes.
    pub contents: Vec<Val>,
}

/// Builds the segment's graph by running the type rules again: its symbols are the extents of the
/// states and of its inputs, then the elements of small integer inputs.
pub fn replay(parent: &Graph, segment: &Segment, fixed: &Fixed) -> Result<Graph, Error> {
    let mut graph = Graph::new(&parent.function);
    let mut known: HashMap<Val, Val> = HashMap::new();
    let mut next = 0;
    let mut fix = || {
        let v = fixed.symbols.get(next).copied().flatten();
        next += 1;
        v
    };
    for (name, v) in &parent.states {
        let inner = graph.port(name.clone(), dynamic(parent.fact(*v)), true, 1, &mut fix);
        known.insert(*v, inner);
    }
    for (i, v) in segment.inputs.iter().enumerate() {
        let name = match parent.sources[v.0 as usize] {
            Source::Input(n) => parent.inputs[n].0.clone(),
            _ => format!("value{i}"),
        };
        let inner = graph.port(name, dynamic(parent.fact(*v)), false, 0, &mut fix);
        known.insert(*v, inner);
    }
    for v in &segment.inputs {
        let fact = parent.fact(*v);
        let most = if fact.content.is_some() { MAX_CONTENT as i64 } else { MIRRORED_ELEMENTS };
        graph.mirror(known[v], &dynamic(fact), most, &mut fix);
    }
    let missing = |graph: &Graph| {
        graph.fault("dataflow.graph_v1", None, Fault::program("a value is used before it is defined"))
    };
    for at in &segment.nodes {
        let Some(node) = parent.nodes.get(*at) else { return Err(missing(&graph)) };
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for v in &node.inputs {
            inputs.push(import(parent, &mut graph, &mut known, *v).ok_or_else(|| missing(&graph))?);
        }
        let declared: Vec<Fact> = node.outputs.iter().map(|v| dynamic(parent.fact(*v))).collect();
        let new = NewNode {
            op: node.op,
            kind: NodeKind::Plan,
            name: node.name.clone(),
            inputs,
            attrs: node.attrs.clone(),
            region: node.region.clone(),
            composite: node.composite.clone(),
            source: node.origin.source.clone(),
        };
        let outputs = graph.node(new, &declared)?;
        known.extend(node.outputs.iter().copied().zip(outputs));
    }
    for (i, v) in segment.outputs.iter().enumerate() {
        let inner = import(parent, &mut graph, &mut known, *v).ok_or_else(|| missing(&graph))?;
        graph.outputs.push((format!("value{i}"), inner));
    }
    for v in &segment.contents {
        let inner = import(parent, &mut graph, &mut known, *v).ok_or_else(|| missing(&graph))?;
        graph.contents.push(inner);
    }
    Ok(graph)
}

/// The value inside the segment; constants are made when they are first used.
fn import(parent: &Graph, graph: &mut Graph, known: &mut HashMap<Val, Val>, v: Val) -> Option<Val> {
    if let Some(inner) = known.get(&v) {
        return Some(*inner);
    }
    let fact = parent.fact(v);
    let constant = parent.sources[v.0 as usize] == Source::Constant || fact.const_ints().is_some();
    if !constant {
        return None;
    }
    let inner = graph.value(fact.clone(), Source::Constant);
    if let Some(array) = parent.folded.get(&v) {
        graph.folded.insert(inner, array.clone());
    }
    known.insert(v, inner);
    Some(inner)
}
