//! Which state updates can be done in place.
//!
//! `read_handle` gives a value snapshot. `slice_update` of the current snapshot that is then written
//! back becomes a write of the slice alone; every other write copies. A snapshot that is still used
//! after its state has been overwritten is copied when it is read.

use std::collections::{HashMap, HashSet};

use crate::graph::{Graph, Source, Val};

/// A content version of a state.
type Version = (usize, usize);

/// The decisions, by node number.
#[derive(Clone, Debug, Default)]
pub struct StateUse {
    /// `slice_update` nodes that write their slice into the state.
    pub in_place: HashMap<usize, usize>,
    /// `read_handle` nodes whose value must be copied.
    pub snapshot: HashSet<usize>,
    /// `write_handle` nodes whose value is already in the state.
    pub done: HashSet<usize>,
}

/// Ops whose result shows the same elements as their first operand.
fn is_view(name: &str) -> bool {
    matches!(
        name,
        "primitive.slice_v1"
            | "primitive.reshape_v1"
            | "primitive.reshape_v2"
            | "primitive.transpose_v1"
            | "primitive.expand_dims_v1"
            | "primitive.shrink_dims_v1"
            | "primitive.broadcast_to_v1"
            | "primitive.broadcast_in_dims_v1"
            | "primitive.split_v1"
            | "primitive.reverse_v1"
            | "primitive.cast_v1"
            | "ax.copy_with_constraints_v1"
            | "ax.copy_discarding_constraints_v1"
    )
}

impl StateUse {
    /// Follows every state through the live nodes.
    pub fn analyse(graph: &Graph, live: &[bool]) -> StateUse {
        let mut out = StateUse::default();
        let states = graph.states.len();
        let mut current = vec![0usize; states];
        let mut versions = vec![1usize; states];
        let mut alias: HashMap<Val, Version> = HashMap::new();
        // Of each candidate version: the update that makes it and the version it is made from.
        let mut made: HashMap<Version, (usize, usize)> = HashMap::new();
        let mut last_use: HashMap<Version, usize> = HashMap::new();
        let mut overwritten: HashMap<Version, usize> = HashMap::new();
        let mut reads: Vec<(usize, Version)> = vec![];
        let state_of = |v: Val| match graph.sources[v.0 as usize] {
            Source::State(n) => Some(n),
            _ => None,
        };
        for (at, node) in graph.nodes.iter().enumerate() {
            if !live[at] {
                continue;
            }
            for v in &node.inputs {
                if let Some(version) = alias.get(v) {
                    last_use.insert(*version, at);
                }
            }
            match &*node.name {
                "dataflow.read_handle_v1" => {
                    if let (Some(s), Some(out)) = (state_of(node.inputs[0]), node.outputs.first()) {
                        alias.insert(*out, (s, current[s]));
                        reads.push((at, (s, current[s])));
                    }
                }
                "dataflow.write_handle_v1" => {
                    let Some(s) = state_of(node.inputs[0]) else { continue };
                    let value = node.inputs.get(1).and_then(|v| alias.get(v)).copied();
                    let chain = value.filter(|v| v.0 == s).and_then(|(_, v)| chain(&made, s, v, current[s]));
                    match (value, chain) {
                        (Some((_, v)), Some(chain))
                            if !reads.iter().any(|(r, (rs, _))| {
                                *rs == s && chain.first().is_some_and(|(first, _)| r > first)
                            }) =>
                        {
                            for (update, from) in chain {
                                out.in_place.insert(update, s);
                                overwritten.insert((s, from), update);
                            }
                            out.done.insert(at);
                            current[s] = v;
                        }
                        _ => {
                            overwritten.insert((s, current[s]), at);
                            current[s] = versions[s];
                            versions[s] += 1;
                        }
                    }
                }
                "primitive.slice_update_v1" => {
                    if let Some((s, v)) = alias.get(&node.inputs[0]).copied() {
                        let new = versions[s];
                        versions[s] += 1;
                        made.insert((s, new), (at, v));
                        alias.insert(node.outputs[0], (s, new));
                    }
                }
                name if is_view(name) => {
                    if let Some(version) = node.inputs.first().and_then(|v| alias.get(v)).copied() {
                        for o in &node.outputs {
                            alias.insert(*o, version);
                        }
                    }
                }
                _ => {}
            }
        }
        for (_, v) in &graph.outputs {
            if let Some(version) = alias.get(v) {
                last_use.insert(*version, usize::MAX);
            }
        }
        for (at, version) in reads {
            let end = overwritten.get(&version).copied().unwrap_or(usize::MAX);
            if last_use.get(&version).copied().unwrap_or(0) > end {
                out.snapshot.insert(at);
            }
        }
        // A version made in place is a value of its own until the next update; used later than
        // that, its update cannot be in place after all.
        let late: Vec<usize> = made
            .iter()
            .filter(|((s, new), (update, _))| {
                let end = overwritten.get(&(*s, *new)).copied().unwrap_or(usize::MAX);
                out.in_place.contains_key(update) && last_use.get(&(*s, *new)).copied().unwrap_or(0) > end
            })
            .map(|(_, (update, _))| *update)
            .collect();
        if !late.is_empty() {
            out.in_place.clear();
            out.done.clear();
        }
        out
    }
}

/// The updates that lead from version `from` to `to`, in order, each with the version it changes.
fn chain(
    made: &HashMap<Version, (usize, usize)>,
    s: usize,
    to: usize,
    from: usize,
) -> Option<Vec<(usize, usize)>> {
    let mut steps = vec![];
    let mut v = to;
    while v != from {
        let (update, base) = *made.get(&(s, v))?;
        steps.push((update, base));
        v = base;
    }
    steps.reverse();
    (!steps.is_empty()).then_some(steps)
}
