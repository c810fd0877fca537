//! The functions of an asset (§6).

use std::collections::{BTreeMap, BTreeSet};

use crate::error::AssetError;
use crate::ir::{Attribute, Composite, Function, Op, Param, ParamKind, Region, Scope};
use crate::types::{Type, TypeId};

/// Bytes of a dotted function name.
const MAX_NAME: usize = 4096;

/// What the root region holds.
pub(crate) struct Contents {
    pub functions: Vec<Function>,
    /// The `serialization.asset` operation. Where a function was, its `graph_v1` is left without
    /// attributes and regions, in the order of `functions`.
    pub frame: Op,
    pub feature_version: u32,
    pub warnings: Vec<String>,
}

/// Takes the program apart into functions and checks their signatures.
pub(crate) fn functions(root: Region, types: &[Type]) -> Result<Contents, AssetError> {
    let mut ops = root.ops;
    let mut frame = match (ops.pop(), ops.is_empty()) {
        (Some(op), true) if &*op.name == "serialization.asset" => op,
        _ => {
            let reason = "the root is not a single serialization.asset operation";
            return Err(AssetError::malformed("program", 0, reason));
        }
    };
    let version = frame.attr("version").and_then(Attribute::as_i64).unwrap_or(0);
    let feature_version = u32::try_from(version)
        .map_err(|_| AssetError::malformed("program", 0, format!("feature version {version}")))?;
    let mut functions = Vec::new();
    collect(&mut frame.regions, "", types, &mut functions)?;
    let mut names = BTreeSet::new();
    for function in &functions {
        if !names.insert(function.name.as_str()) {
            return Err(invalid(&function.name, "is defined twice"));
        }
    }
    let warnings = check_calls(&functions)?;
    Ok(Contents { functions, frame, feature_version, warnings })
}

fn invalid(function: &str, reason: impl Into<String>) -> AssetError {
    AssetError::InvalidFunction { function: function.into(), reason: reason.into() }
}

/// Recursion is as deep as namespaces nest, which the region limit bounds.
fn collect(
    regions: &mut [Region],
    prefix: &str,
    types: &[Type],
    functions: &mut Vec<Function>,
) -> Result<(), AssetError> {
    for op in regions.iter_mut().flat_map(|region| &mut region.ops) {
        let name = |op: &Op| {
            let own = op.attr("name").and_then(Attribute::as_str).unwrap_or_default();
            match prefix.len() + own.len() {
                length if own.is_empty() || length > MAX_NAME => {
                    Err(invalid(prefix, format!("a name of {length} bytes")))
                }
                _ => Ok(format!("{prefix}{own}")),
            }
        };
        match &*op.name {
            "dataflow.namespace_v1" => {
                let prefix = format!("{}.", name(op)?);
                collect(&mut op.regions, &prefix, types, functions)?;
            }
            "dataflow.graph_v1" => functions.push(function(name(op)?, op, types)?),
            _ => {} // target specifications and other hints
        }
    }
    Ok(())
}

/// Takes a function out of its `graph_v1` operation.
pub(crate) fn function(name: String, op: &mut Op, types: &[Type]) -> Result<Function, AssetError> {
    let signature = match op.attr("functionType") {
        Some(Attribute::Type(ty)) => types.get(ty.0 as usize),
        _ => None,
    };
    let Some(Type::Function { inputs, outputs }) = signature else {
        return Err(invalid(&name, "has no function type"));
    };
    let private = op.attr("isPrivate").and_then(Attribute::as_bool);
    let private = private.ok_or_else(|| invalid(&name, "isPrivate is not a flag"))?;
    let composite = match op.attr("compositeDecl") {
        Some(declaration) => Some(
            composite(declaration)
                .ok_or_else(|| invalid(&name, "the composite declaration is not NAME = [entries]"))?,
        ),
        None => None,
    };
    let inputs = params(inputs, op.attr("argAttrs"), false, types);
    let outputs = params(outputs, op.attr("resAttrs"), true, types);
    let (Some(body), true) = (op.regions.pop(), op.regions.is_empty()) else {
        return Err(invalid(&name, "has not one region"));
    };
    let Some(scope) = &body.scope else {
        return Err(invalid(&name, "the body is not isolated"));
    };
    check_signature(&name, &body, scope, &inputs, &outputs, types)?;
    let declaration = std::mem::take(&mut op.attrs);
    Ok(Function { name, private, composite, inputs, outputs, body, location: op.location, declaration })
}

/// The block arguments are the inputs, and the operands of `output` are the outputs.
fn check_signature(
    name: &str,
    body: &Region,
    scope: &Scope,
    inputs: &[Param],
    outputs: &[Param],
    types: &[Type],
) -> Result<(), AssetError> {
    let Some(last) = body.ops.last().filter(|op| &*op.name == "dataflow.output_v1") else {
        return Err(invalid(name, "does not end in dataflow.output_v1"));
    };
    let same = |a: TypeId, b: TypeId| {
        a == b || types.get(a.0 as usize).is_some_and(|a| Some(a) == types.get(b.0 as usize))
    };
    for (what, values, params) in [("arguments", &body.args, inputs), ("results", &last.operands, outputs)] {
        if values.len() != params.len() {
            let (n, m) = (params.len(), values.len());
            return Err(invalid(name, format!("the type has {n} {what}, the body {m}")));
        }
        for (value, param) in values.iter().zip(params) {
            if !scope.ty(*value).is_some_and(|ty| same(ty, param.ty)) {
                let reason = format!("the types of {:?} differ between type and body", param.name);
                return Err(invalid(name, reason));
            }
        }
    }
    Ok(())
}

fn params(types: &[TypeId], attrs: Option<&Attribute>, output: bool, table: &[Type]) -> Vec<Param> {
    let attrs = attrs.and_then(Attribute::items).unwrap_or(&[]);
    let param = |(index, ty): (usize, &TypeId)| {
        let entries = attrs.get(index).and_then(Attribute::items).unwrap_or(&[]);
        let mut attrs = dictionary(entries);
        let name = match attrs.remove("aicode.name") {
            Some(Attribute::String(name)) => name,
            _ => format!("{}{index}", if output { "result" } else { "arg" }),
        };
        let kind = match table.get(ty.0 as usize) {
            Some(Type::Token) => ParamKind::Token,
            _ if output => ParamKind::Output,
            Some(Type::Handle(_)) => ParamKind::State,
            _ => ParamKind::Input,
        };
        Param { name, kind, ty: *ty, attrs }
    };
    types.iter().enumerate().map(param).collect()
}

/// Entries `name = [value]` by name: one parameter is the value, several are an array.
fn dictionary(entries: &[Attribute]) -> BTreeMap<String, Attribute> {
    let entry = |attribute: &Attribute| match attribute {
        Attribute::Opaque { name, params } => {
            let value = match params.as_slice() {
                [] => Attribute::Unit,
                [value] => value.clone(),
                several => Attribute::Array(several.to_vec()),
            };
            Some((name.clone(), value))
        }
        _ => None,
    };
    entries.iter().filter_map(entry).collect()
}

fn composite(declaration: &Attribute) -> Option<Composite> {
    let Attribute::Opaque { name, params } = declaration else {
        return None;
    };
    let parts = dictionary(params);
    let names = |key: &str| -> Vec<String> {
        let items = parts.get(key).and_then(Attribute::items).unwrap_or(&[]);
        items.iter().filter_map(Attribute::as_str).map(str::to_owned).collect()
    };
    let attrs = parts.get("op_attrs").and_then(Attribute::items).map(dictionary);
    Some(Composite {
        name: name.clone(),
        input_names: names("input_names"),
        output_names: names("output_names"),
        attrs: attrs.unwrap_or_default(),
    })
}

/// Calls must not be recursive, so that inlining ends, and must fit the callee's signature.
/// A callee that does not exist is a warning: the caller may never be used.
pub(crate) fn check_calls(functions: &[Function]) -> Result<Vec<String>, AssetError> {
    let index: BTreeMap<&str, usize> =
        functions.iter().enumerate().map(|(i, f)| (f.name.as_str(), i)).collect();
    let mut warnings = Vec::new();
    let mut callees: Vec<BTreeSet<usize>> = Vec::with_capacity(functions.len());
    for function in functions {
        let mut called = BTreeSet::new();
        visit(&function.body, &mut |op| {
            if &*op.name != "dataflow.invoke_v1" {
                return Ok(());
            }
            let callee = op.callee().unwrap_or_default();
            let Some(target) = index.get(callee.as_str()) else {
                if warnings.len() < 16 {
                    warnings.push(format!(
                        "function {:?} calls {callee:?}, which the asset does not define",
                        function.name
                    ));
                }
                return Ok(());
            };
            called.insert(*target);
            let fits = functions
                .get(*target)
                .is_some_and(|f| f.inputs.len() == op.operands.len() && f.outputs.len() == op.results.len());
            match fits {
                true => Ok(()),
                false => Err(invalid(
                    &function.name,
                    format!("calls {callee:?} with another number of arguments or results"),
                )),
            }
        })?;
        callees.push(called);
    }
    // functions whose callees are all done are done; what is left calls itself
    let mut open: Vec<usize> = callees.iter().map(BTreeSet::len).collect();
    let mut callers = vec![Vec::new(); functions.len()];
    for (caller, called) in callees.iter().enumerate() {
        for callee in called {
            if let Some(list) = callers.get_mut(*callee) {
                list.push(caller);
            }
        }
    }
    let mut done: Vec<usize> = (0..open.len()).filter(|i| open.get(*i) == Some(&0)).collect();
    let mut left = functions.len();
    while let Some(callee) = done.pop() {
        left -= 1;
        for caller in callers.get(callee).into_iter().flatten() {
            if let Some(count) = open.get_mut(*caller) {
                *count -= 1;
                if *count == 0 {
                    done.push(*caller);
                }
            }
        }
    }
    if left > 0 {
        let stuck = open.iter().position(|count| *count > 0).and_then(|i| functions.get(i));
        let name = stuck.map_or("", |f| f.name.as_str());
        return Err(invalid(name, "calls itself, directly or through others"));
    }
    Ok(warnings)
}

/// Visits every operation of a region and of the regions in it.
pub(crate) fn visit<'a>(
    region: &'a Region,
    each: &mut impl FnMut(&'a Op) -> Result<(), AssetError>,
) -> Result<(), AssetError> {
    for op in &region.ops {
        each(op)?;
        for inner in &op.regions {
            visit(inner, each)?;
        }
    }
    Ok(())
}
