//! States: handles, tokens, reads and writes.

use super::{Fault, InferCx, Op};
use crate::facts::Fact;
use crate::graph::Source;
use crate::lower::Lower;

/// The family's ops.
pub static OPS: &[&dyn Op] = &[&Token, &ReadHandle, &WriteHandle];

/// Tokens only order; the node list is ordered already.
struct Token;

impl Op for Token {
    fn names(&self) -> &'static [&'static str] {
        &["dataflow.create_token_v1", "dataflow.join_token_v1"]
    }

    fn infer(&self, _: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        Ok(vec![Fact::token()])
    }

    fn lower(&self, _: &mut Lower, _: usize) -> Result<(), Fault> {
        Ok(())
    }

    fn effects(&self) -> bool {
        true
    }
}

struct ReadHandle;

impl Op for ReadHandle {
    fn names(&self) -> &'static [&'static str] {
        &["dataflow.read_handle_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let handle = cx.input(0)?;
        Ok(vec![Fact::new(handle.element, handle.dims.clone()), Fact::token()])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let Source::State(n) = cx.graph.sources[inputs[0].0 as usize] else {
            return Err(Fault::program("the handle is not an argument of the function"));
        };
        let mut view = cx.state_view(n).ok_or_else(|| Fault::program("unknown state"))?;
        if cx.states().snapshot.contains(&node) {
            let name = cx.graph.states[n].0.clone();
            cx.note(
                "state_copy",
                format!("state {name:?} is read as a copy: its old value is used after a write"),
            );
            view = cx.copy_to_temp(view);
        }
        cx.define(outputs[0], view);
        Ok(())
    }

    fn effects(&self) -> bool {
        true
    }
}

struct WriteHandle;

impl Op for WriteHandle {
    fn names(&self) -> &'static [&'static str] {
        &["dataflow.write_handle_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let (handle, value) = (cx.input(0)?.clone(), cx.input(1)?.clone());
        if handle.element != value.element || handle.dims.len() != value.dims.len() {
            return Err(Fault::program("the written value does not have the state's type"));
        }
        for (a, b) in handle.dims.iter().zip(&value.dims) {
            cx.unify(a, b)?;
        }
        Ok(vec![Fact::token()])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        if cx.states().done.contains(&node) {
            return Ok(());
        }
        let (inputs, _) = cx.node_values(node);
        let Source::State(n) = cx.graph.sources[inputs[0].0 as usize] else {
            return Err(Fault::program("the handle is not an argument of the function"));
        };
        let dest = cx.state_view(n).ok_or_else(|| Fault::program("unknown state"))?;
        cx.settle_readers(dest.buffer)?;
        cx.write_into(inputs[1], dest)
    }

    fn effects(&self) -> bool {
        true
    }
}
