//! Functions: what their `graph_v1` operations declare.

use super::composite::Declaration;
use super::error::BuildError;
use super::extent::Extent;
use super::graph::{Graph, Value, tensor};
use super::module::Module;
use super::states::Handle;
use crate::function::function;
use crate::ir::{Attribute, Op};
use crate::types::{AttrId, ElementType, Type, TypeId};

/// What a graph that is a function declares.
#[derive(Default)]
pub(super) struct Signature {
    name: String,
    inputs: Vec<(String, TypeId, bool)>,
    outputs: Vec<(String, Value)>,
    pub states: Vec<Handle>,
    pub root_token: Option<Value>,
    /// Set for private graphs that are well-known operations.
    pub composite: Option<Declaration>,
}

impl Signature {
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    pub fn declared(name: &str, declaration: Declaration) -> Self {
        Self { composite: Some(declaration), ..Self::named(name) }
    }

    pub fn argument(&mut self, name: &str, ty: TypeId, state: bool) {
        self.inputs.push((name.into(), ty, state));
    }
}

impl<'m> Graph<'m> {
    pub(super) fn function(module: &'m mut Module, name: &str) -> Self {
        Graph::new(module, Signature::named(name))
    }

    /// Declares an input. Names are the public interface.
    pub fn input(&mut self, name: &str, element: ElementType, shape: &[Extent]) -> Result<Value, BuildError> {
        let ty = self.module.intern(Type::Tensor(tensor(element, shape)));
        self.signature.argument(name, ty, false);
        Ok(self.argument(ty))
    }

    /// Declares an output.
    pub fn output(&mut self, name: &str, value: Value) -> Result<(), BuildError> {
        self.ty(value)?;
        self.signature.outputs.push((name.into(), value));
        Ok(())
    }

    /// Ends the function and adds it to the asset. Names must be unique among inputs and states, among
    /// outputs, and among functions.
    pub fn finish(mut self) -> Result<(), BuildError> {
        let signature = std::mem::take(&mut self.signature);
        let name = signature.name.clone();
        let wrong = |reason: String| BuildError::Function { function: name.clone(), reason };
        if self.module.has_function(&name) {
            return Err(wrong("is defined twice".into()));
        }
        let inputs: Vec<&str> = signature.inputs.iter().map(|input| input.0.as_str()).collect();
        let outputs: Vec<&str> = signature.outputs.iter().map(|output| output.0.as_str()).collect();
        for names in [inputs, outputs] {
            if let Some(twice) = (1..names.len()).find(|i| names[..*i].contains(&names[*i])) {
                return Err(wrong(format!("the name {:?} is used twice", names[twice])));
            }
        }
        // tokens of the states come first
        let results: Vec<(String, Value, bool)> = signature
            .states
            .iter()
            .map(|state| (state.name.clone(), state.token, true))
            .chain(signature.outputs.iter().map(|(name, value)| (name.clone(), *value, false)))
            .collect();
        let values: Vec<Value> = results.iter().map(|result| result.1).collect();
        let types: Option<Vec<TypeId>> = values.iter().map(|value| self.type_id(*value)).collect();
        let outputs = types.ok_or_else(|| BuildError::Foreign { op: "dataflow.output_v1".into() })?;
        let inputs = signature.inputs.iter().map(|input| input.1).collect();
        let ty = self.module.intern(Type::Function { inputs, outputs });

        let arguments = signature.inputs.iter().map(|(name, _, state)| parameter(name, *state));
        let mut attrs = vec![("argAttrs", Attribute::Array(arguments.collect()))];
        if let Some(declaration) = &signature.composite {
            attrs.push(("compositeDecl", declaration.attribute()));
        }
        let private = signature.composite.is_some();
        let result_names = results.iter().map(|(name, _, _)| parameter(name, false));
        attrs.extend([
            ("externalize", flag(false)),
            ("functionType", Attribute::Type(ty)),
            ("isPrivate", flag(private)),
            ("name", Attribute::String(name.clone())),
            ("noInline", flag(private)),
            ("paramDecls", Attribute::Array(Vec::new())),
            ("resAttrs", Attribute::Array(result_names.collect())),
        ]);

        let (body, module) = self.close("dataflow.output_v1", &values)?;
        let mut graph = Op {
            name: "dataflow.graph_v1".into(),
            operands: Vec::new(),
            results: Vec::new(),
            attrs,
            regions: vec![body],
            location: AttrId::UNKNOWN,
        };
        let function = function(name, &mut graph, module.types())?;
        module.add(function, graph);
        Ok(())
    }
}

fn flag(set: bool) -> Attribute {
    Attribute::Integer { width: 1, unsigned: true, value: i128::from(set) }
}

/// `[name = "…"]`, the attributes of an argument or result, in alphabetical order.
fn parameter(name: &str, state: bool) -> Attribute {
    let entry =
        |key: &str| Attribute::Opaque { name: key.into(), params: vec![Attribute::String(name.into())] };
    let mut entries = Vec::new();
    if state {
        entries.push(entry("MutableBuffers.buffer_mutation"));
    }
    entries.push(entry("aicode.name"));
    Attribute::Array(entries)
}
