//! Output selection: a run that wants only the last rows of an output computes only those.

use std::sync::Arc;

use coreai_asset::ElementType;

use crate::error::Error;
use crate::expr::Expr;
use crate::facts::Fact;
use crate::graph::{Graph, NewNode, Source, Val};
use crate::ops;

/// Replaces output `output` by its last `rows` rows (second to last axis) and pushes the slice
/// back through the nodes that lead to it.
pub fn last_rows(graph: &mut Graph, output: usize, rows: usize) -> Result<(), Error> {
    let Some((_, value)) = graph.outputs.get(output).cloned() else {
        return Err(Error::Input { name: output.to_string(), reason: "no such output".into() });
    };
    let rank = graph.fact(value).dims.len();
    if rank < 2 {
        let name = graph.outputs[output].0.clone();
        return Err(Error::Input { name, reason: "an output of fewer than two axes has no rows".into() });
    }
    let mut uses = vec![0u32; graph.facts.len()];
    for node in &graph.nodes {
        for v in &node.inputs {
            uses[v.0 as usize] += 1;
        }
    }
    for (_, v) in &graph.outputs {
        uses[v.0 as usize] += 1;
    }
    graph.outputs[output].1 = push(graph, &uses, value, rank - 2, rows)?;
    Ok(())
}

fn push(graph: &mut Graph, uses: &[u32], v: Val, axis: usize, rows: usize) -> Result<Val, Error> {
    let fact = graph.fact(v).clone();
    if fact.dims[axis].is(rows as i64) {
        return Ok(v);
    }
    let sole = uses.get(v.0 as usize).copied().unwrap_or(0) <= 1;
    if let (Source::Node(at), true) = (graph.sources[v.0 as usize].clone(), sole) {
        let node = &graph.nodes[at];
        let inputs = node.inputs.clone();
        let facts: Vec<Fact> = inputs.iter().map(|v| graph.fact(*v).clone()).collect();
        if node.outputs.len() == 1
            && let Some(axes) = node.op.slice_through(axis, &facts, &fact)
        {
            let mut new = NewNode::plain(node.op, node.name.clone(), vec![]);
            (new.attrs, new.region) = (node.attrs.clone(), node.region.clone());
            (new.composite, new.source) = (node.composite.clone(), node.origin.source.clone());
            let mut sliced = Vec::with_capacity(inputs.len());
            for (input, axis) in inputs.into_iter().zip(axes) {
                sliced.push(match axis {
                    Some(axis) => push(graph, uses, input, axis, rows)?,
                    None => input,
                });
            }
            let declared = [Fact::new(fact.element, vec![])];
            new.inputs = sliced;
            return Ok(graph.node(new, &declared)?[0]);
        }
    }
    slice(graph, v, axis, rows)
}

fn slice(graph: &mut Graph, v: Val, axis: usize, rows: usize) -> Result<Val, Error> {
    let fact = graph.fact(v).clone();
    let rank = fact.dims.len();
    let mut start = vec![Expr::zero(); rank];
    start[axis] = &fact.dims[axis] - &Expr::from(rows);
    let mut vector = |content: Vec<Expr>| {
        let fact = Fact::new(ElementType::SI32, vec![Expr::from(rank)]).with_content(Some(content));
        graph.value(fact, Source::Constant)
    };
    let start = vector(start);
    let end = vector(vec![Expr::from(i64::from(i32::MAX)); rank]);
    let stride = vector(vec![Expr::one(); rank]);
    let name: Arc<str> = "primitive.slice_v1".into();
    let Some(op) = ops::find(&name) else {
        return Err(Error::Input { name: name.to_string(), reason: "missing from the op table".into() });
    };
    let declared = [Fact::new(fact.element, vec![])];
    Ok(graph.node(NewNode::plain(op, name, vec![v, start, end, stride]), &declared)?[0])
}
