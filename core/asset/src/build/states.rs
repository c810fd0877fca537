//! States: storage of the caller that a function reads and writes (`AIMODEL_FORMAT` §6).

use super::error::BuildError;
use super::extent::{Extent, shape_text};
use super::graph::{Graph, Value, tensor};
use crate::types::{ElementType, Type};

/// A state of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(usize);

/// What a graph knows of a state.
pub(super) struct Handle {
    pub name: String,
    pub handle: Value,
    /// Orders what comes next after all that was done.
    pub token: Value,
    element: ElementType,
    shape: Vec<Extent>,
}

impl Graph<'_> {
    /// Declares a state, which the caller provides and finds changed after the call.
    pub fn state(&mut self, name: &str, element: ElementType, shape: &[Extent]) -> Result<State, BuildError> {
        let inner = self.module.intern(Type::Tensor(tensor(element, shape)));
        let ty = self.module.intern(Type::Handle(inner));
        let token = self.root_token()?;
        let handle = self.argument(ty);
        self.signature.argument(name, ty, true);
        let shape = shape.to_vec();
        self.signature.states.push(Handle { name: name.into(), handle, token, element, shape });
        Ok(State(self.signature.states.len() - 1))
    }

    /// What the state holds now.
    pub fn read(&mut self, state: State) -> Result<Value, BuildError> {
        let (handle, token, ty) = self.handle(state)?;
        let ty = self.module.intern(Type::Tensor(ty));
        let next = self.module.intern(Type::Token);
        let name = "dataflow.read_handle_v1";
        let results = self.emit_typed(name, &[handle, token], Vec::new(), Vec::new(), vec![ty, next])?;
        self.signature.states[state.0].token = results[1];
        Ok(results[0])
    }

    /// Makes the state hold a value of its type.
    pub fn write(&mut self, state: State, value: Value) -> Result<(), BuildError> {
        let (handle, token, ty) = self.handle(state)?;
        let found = self.ty(value)?;
        if found.element != ty.element || found.shape.len() != ty.shape.len() {
            let found = format!("{}{}", found.element, shape_text(&found.shape));
            let expected = format!("{}{}", ty.element, shape_text(&ty.shape));
            return Err(BuildError::operand("write_handle", "the value", found, expected));
        }
        let next = self.module.intern(Type::Token);
        let name = "dataflow.write_handle_v1";
        let results = self.emit_typed(name, &[handle, value, token], Vec::new(), Vec::new(), vec![next])?;
        self.signature.states[state.0].token = results[0];
        Ok(())
    }

    fn handle(&self, state: State) -> Result<(Value, Value, crate::types::TensorType), BuildError> {
        let Some(known) = self.signature.states.get(state.0) else {
            return Err(BuildError::Foreign { op: "state".into() });
        };
        Ok((known.handle, known.token, tensor(known.element, &known.shape)))
    }

    /// The token that all states begin with.
    fn root_token(&mut self) -> Result<Value, BuildError> {
        if let Some(token) = self.signature.root_token {
            return Ok(token);
        }
        let ty = self.module.intern(Type::Token);
        let name = "dataflow.create_token_v1";
        let token = self.emit_typed(name, &[], Vec::new(), Vec::new(), vec![ty])?[0];
        self.signature.root_token = Some(token);
        Ok(token)
    }
}
