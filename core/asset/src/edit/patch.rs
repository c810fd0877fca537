//! Changes of one function.

use std::collections::HashMap;
use std::ops::Range;

use super::order;
use crate::build::{BuildError, Graph, Module, Value};
use crate::ir::{Function, Op, Region, ValueId};
use crate::types::TypeId;

/// Name of constants.
const CONSTANT: &str = "primitive.constant_v1";

/// A function that is being changed.
pub struct Patch<'e> {
    function: &'e mut Function,
    graph: Graph<'e>,
    /// The constants that were here before.
    constants: HashMap<ValueId, TypeId>,
    replaced: Vec<Replaced>,
}

struct Replaced {
    old: ValueId,
    new: ValueId,
    /// Of the added operations.
    ops: Range<usize>,
}

impl<'e> Patch<'e> {
    pub(super) fn new(function: &'e mut Function, module: &'e mut Module) -> Self {
        let scope = function.scope().clone();
        let mut constants = HashMap::new();
        each_op(&function.body, &mut |op| {
            if let (Some(_), [result]) = (op.constant(), op.results.as_slice())
                && let Some(ty) = scope.ty(*result)
            {
                constants.insert(*result, ty);
            }
        });
        let graph = Graph::resume(module, scope);
        Self { function, graph, constants, replaced: Vec::new() }
    }

    /// Replaces a constant wherever it is used, in branches and loops too, by the value that `build` makes of
    /// constants. The value has the type of the constant. Its operations come before the first that needs it.
    pub fn replace(
        &mut self,
        constant: ValueId,
        build: impl FnOnce(&mut Graph<'_>) -> Result<Value, BuildError>,
    ) -> Result<(), BuildError> {
        let old = self.constants.remove(&constant).and_then(|_| self.graph.known(constant));
        let Some(old) = old else {
            let found = format!("value {}", constant.0);
            return Err(BuildError::operand("replace", "the constant", found, "one of the function, once"));
        };
        let first = self.graph.len();
        let new = build(&mut self.graph)?;
        let (was, is) = (self.graph.ty(old)?, self.graph.ty(new)?);
        if was != is {
            let text = |ty: &crate::types::TensorType| format!("{ty:?}");
            return Err(BuildError::operand("replace", "the type of the new value", text(is), text(was)));
        }
        let ops = first..self.graph.len();
        let new = self.graph.id(new).ok_or_else(|| BuildError::Foreign { op: "replace".into() })?;
        self.replaced.push(Replaced { old: constant, new, ops });
        Ok(())
    }

    /// Makes the changes. Values of the function are numbered anew.
    pub fn finish(self) -> Result<(), BuildError> {
        if self.replaced.is_empty() {
            return Ok(());
        }
        let (scope, added) = self.graph.into_added();
        let mut body = self.function.body.clone();
        let values: HashMap<ValueId, ValueId> =
            self.replaced.iter().map(|replaced| (replaced.old, replaced.new)).collect();
        substitute(&mut body, &values);
        place(&mut body, &self.replaced, added);
        order::renumber(&mut body, scope)
            .map_err(|reason| BuildError::Function { function: self.function.name.clone(), reason })?;
        self.function.body = body;
        Ok(())
    }
}

/// The operations of a region, and of those that share its values.
fn each_op(region: &Region, each: &mut impl FnMut(&Op)) {
    for op in &region.ops {
        each(op);
        op.regions.iter().filter(|inner| inner.scope.is_none()).for_each(|inner| each_op(inner, each));
    }
}

/// Uses other values, and removes the constants that are not used any more.
fn substitute(region: &mut Region, values: &HashMap<ValueId, ValueId>) {
    region.ops.retain(|op| {
        let replaced = op.results.first().is_some_and(|result| values.contains_key(result));
        !(replaced && &*op.name == CONSTANT)
    });
    for op in &mut region.ops {
        for operand in &mut op.operands {
            if let Some(new) = values.get(operand) {
                *operand = *new;
            }
        }
        for inner in op.regions.iter_mut().filter(|inner| inner.scope.is_none()) {
            substitute(inner, values);
        }
    }
}

/// Puts new constants where the body begins and what is made of them before the first use.
fn place(body: &mut Region, replaced: &[Replaced], added: Vec<Op>) {
    let mut first_use: HashMap<ValueId, usize> = HashMap::new();
    for (index, op) in body.ops.iter().enumerate() {
        let mut uses = |op: &Op| {
            for operand in &op.operands {
                first_use.entry(*operand).or_insert(index);
            }
        };
        uses(op);
        op.regions.iter().filter(|inner| inner.scope.is_none()).for_each(|inner| each_op(inner, &mut uses));
    }
    let mut constants = Vec::new();
    let mut before: HashMap<usize, Vec<Op>> = HashMap::new();
    for (index, op) in added.into_iter().enumerate() {
        if &*op.name == CONSTANT {
            constants.push(op);
            continue;
        }
        let group = replaced.iter().find(|replaced| replaced.ops.contains(&index));
        // what a failed replacement left behind, and what takes the place of an unused constant, is not needed
        if let Some(at) = group.and_then(|group| first_use.get(&group.new)) {
            before.entry(*at).or_default().push(op);
        }
    }
    let old = std::mem::take(&mut body.ops);
    body.ops = constants;
    for (index, op) in old.into_iter().enumerate() {
        body.ops.extend(before.remove(&index).unwrap_or_default());
        body.ops.push(op);
    }
}
