//! Calls of private graphs, and those that declare themselves well-known operations (`OPSET` §12).

use super::error::BuildError;
use super::function::Signature;
use super::graph::{Graph, Value};
use crate::ir::Attribute;
use crate::types::{Type, TypeId};

/// The value of an attribute of a composite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DeclaredValue {
    /// 64-bit.
    Integer(i64),
    /// 32-bit.
    Float(f32),
    /// A flag.
    Bool(bool),
}

/// The declaration that makes a private graph a well-known operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// E.g. `scaled_dot_product_attention`.
    pub name: &'static str,
    /// Meaning of each argument, in order.
    pub inputs: Vec<&'static str>,
    /// Attributes besides `version`, which is 1.
    pub attrs: Vec<(&'static str, DeclaredValue)>,
}

impl Declaration {
    pub(super) fn attribute(&self) -> Attribute {
        let names = |names: &[&str]| {
            Attribute::Array(names.iter().map(|name| Attribute::String((*name).into())).collect())
        };
        let entry =
            |name: &str, value: Attribute| Attribute::Opaque { name: name.into(), params: vec![value] };
        let integer = |value: i64| Attribute::Integer { width: 64, unsigned: false, value: value.into() };
        let mut attrs: Vec<(&str, Attribute)> = self
            .attrs
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    DeclaredValue::Integer(value) => integer(*value),
                    DeclaredValue::Float(value) => Attribute::Float { width: 32, value: f64::from(*value) },
                    // a true flag is −1 here: one bit, signed
                    DeclaredValue::Bool(set) => {
                        Attribute::Integer { width: 1, unsigned: false, value: -i128::from(*set) }
                    }
                };
                (*name, value)
            })
            .collect();
        attrs.push(("version", integer(1)));
        attrs.sort_by_key(|(name, _)| *name);
        let attrs = attrs.into_iter().map(|(name, value)| entry(name, value)).collect();
        Attribute::Opaque {
            name: self.name.into(),
            params: vec![
                entry("input_names", names(&self.inputs)),
                entry("op_attrs", Attribute::Dictionary(attrs)),
                entry("output_names", names(&["output"])),
            ],
        }
    }
}

/// A private graph that can be called.
#[derive(Clone, Debug)]
pub struct Callee {
    name: String,
    inputs: Vec<TypeId>,
    outputs: Vec<TypeId>,
}

impl Graph<'_> {
    /// Adds a private graph with the body that `build` makes of arguments with the types of `like`. It has one
    /// result. Whoever knows the declaration may compute it in another way; everyone else runs the body.
    pub fn composite(
        &mut self,
        name: &str,
        declaration: Declaration,
        like: &[Value],
        build: impl FnOnce(&mut Graph<'_>, &[Value]) -> Result<Value, BuildError>,
    ) -> Result<Callee, BuildError> {
        let foreign = || BuildError::Foreign { op: name.into() };
        let types: Option<Vec<TypeId>> = like.iter().map(|value| self.type_id(*value)).collect();
        let inputs = types.ok_or_else(foreign)?;
        if declaration.inputs.len() != inputs.len() {
            let (found, expected) = (inputs.len().to_string(), declaration.inputs.len().to_string());
            return Err(BuildError::operand(declaration.name, "the number of arguments", found, expected));
        }
        let names = declaration.inputs.clone();
        let mut inner = Graph::new(self.module, Signature::declared(name, declaration));
        let mut arguments = Vec::with_capacity(inputs.len());
        for (name, ty) in names.iter().zip(&inputs) {
            inner.signature.argument(name, *ty, false);
            arguments.push(inner.argument(*ty));
        }
        let result = build(&mut inner, &arguments)?;
        let outputs = vec![inner.type_id(result).ok_or_else(foreign)?];
        inner.output("output", result)?;
        inner.finish()?;
        Ok(Callee { name: name.into(), inputs, outputs })
    }

    /// Calls a private graph of the asset.
    pub fn invoke(&mut self, callee: &Callee, arguments: &[Value]) -> Result<Value, BuildError> {
        let name = "dataflow.invoke_v1";
        let types: Vec<Option<TypeId>> = arguments.iter().map(|value| self.type_id(*value)).collect();
        if types.iter().any(Option::is_none) {
            return Err(BuildError::Foreign { op: name.into() });
        }
        if types != callee.inputs.iter().copied().map(Some).collect::<Vec<_>>() {
            let found = format!("{} values for {:?}", arguments.len(), callee.name);
            let expected = format!("{} of the types it was made for", callee.inputs.len());
            return Err(BuildError::operand(name, "the list of arguments", found, expected));
        }
        let symbol = self.module.intern(Type::Parametric(SYMBOL));
        let reference = Attribute::Symbol(vec![callee.name.clone()]);
        let attrs = vec![
            ("arg_attrs", Attribute::Array(Vec::new())),
            ("callee", Attribute::ParamConstant { value: Box::new(reference), ty: symbol }),
            ("res_attrs", Attribute::Array(Vec::new())),
        ];
        Ok(self.emit_typed(name, arguments, attrs, Vec::new(), callee.outputs.clone())?[0])
    }
}

/// Type code of a param symbol, the type of a callee.
const SYMBOL: u8 = 33;
