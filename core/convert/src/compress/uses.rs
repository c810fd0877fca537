//! What the constants of an asset are used for.

use std::collections::{BTreeSet, HashMap};

use coreai_asset::{Asset, ConstantRef, Function, Op, ParamKind, Region, TensorType, ValueId};

use super::views::{Axes, composite_axes, follow, indices, integers, stem};
use crate::quantize::WeightClass;

/// One use of a constant as a weight.
#[derive(Clone, Debug)]
pub(super) struct Use {
    /// Place of the operation in its function.
    pub at: usize,
    pub class: WeightClass,
    /// Axis of the constant that is one output each: output channels, or the rows of a table.
    pub channel: Option<usize>,
    /// Axis of the constant that is summed over, or along which a row of a table lies.
    pub summed: Option<usize>,
    /// The product is an output of the asset but for operations on each element.
    pub last: bool,
    /// The table feeds rotary embeddings.
    pub rotary: bool,
    /// What an author called the part of the model, where that is known.
    pub label: Option<String>,
}

/// A constant of a function, and its kinds of uses in the order of the program.
pub(super) struct Found {
    pub function: usize,
    pub value: ValueId,
    pub constant: ConstantRef,
    pub ty: TensorType,
    pub uses: Vec<Use>,
}

/// Where a tracked value comes from.
#[derive(Clone, Copy)]
enum Root {
    Constant(usize),
    Argument(usize),
}

/// The constants of all functions that are used as weights; those of composites belong to their definition.
pub(super) fn find(asset: &Asset) -> Vec<Found> {
    let index: HashMap<&str, usize> =
        asset.functions.iter().enumerate().map(|(i, function)| (function.name.as_str(), i)).collect();
    let mut arguments: Vec<Vec<Vec<Use>>> = vec![Vec::new(); asset.functions.len()];
    let mut found = Vec::new();
    for at in callees_first(&asset.functions, &index) {
        let Some(function) = asset.functions.get(at).filter(|function| function.composite.is_none()) else {
            continue;
        };
        let mut walk = Walk {
            asset,
            function,
            index: &index,
            callees: &arguments,
            last: last_products(function),
            values: HashMap::new(),
            tables: HashMap::new(),
            integers: HashMap::new(),
            constants: Vec::new(),
            arguments: vec![Vec::new(); function.body.args.len()],
            at: 0,
        };
        walk.start();
        walk.region(&function.body);
        let Walk { constants, arguments: own, .. } = walk;
        let used = constants.into_iter().filter(|found| !found.uses.is_empty());
        found.extend(used.map(|found| Found { function: at, ..found }));
        if let Some(place) = arguments.get_mut(at) {
            *place = own;
        }
    }
    // the order of the asset, not that of the calls
    found.sort_by_key(|found| (found.function, found.uses.first().map(|used| used.at)));
    found
}

/// The functions in an order in which callees come before their callers; calls are not recursive.
fn callees_first(functions: &[Function], index: &HashMap<&str, usize>) -> Vec<usize> {
    let calls = |function: &Function| {
        let mut called = BTreeSet::new();
        each_op(&function.body, &mut |op| {
            called.extend(op.callee().and_then(|callee| index.get(callee.as_str()).copied()));
        });
        called.into_iter().collect::<Vec<_>>()
    };
    let calls: Vec<Vec<usize>> = functions.iter().map(calls).collect();
    let mut seen = vec![false; functions.len()];
    let mut order = Vec::with_capacity(functions.len());
    for start in 0..functions.len() {
        // a function and how many of its callees were visited
        let mut open = vec![(start, 0)];
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        while let Some((at, next)) = open.last_mut() {
            match calls[*at].get(*next) {
                Some(callee) => {
                    *next += 1;
                    if !std::mem::replace(&mut seen[*callee], true) {
                        open.push((*callee, 0));
                    }
                }
                None => {
                    order.push(*at);
                    open.pop();
                }
            }
        }
    }
    order
}

/// The operations of a region and of those that share its values.
fn each_op<'a>(region: &'a Region, each: &mut impl FnMut(&'a Op)) {
    for op in &region.ops {
        each(op);
        inline(op).for_each(|inner| each_op(inner, each));
    }
}

fn inline(op: &Op) -> impl Iterator<Item = &Region> {
    op.regions.iter().filter(|inner| inner.scope.is_none())
}

/// Products that reach an output of an entry point through operations on each element only.
fn last_products(function: &Function) -> BTreeSet<ValueId> {
    let mut products = BTreeSet::new();
    let Some(output) = function.body.terminator().filter(|_| !function.private) else {
        return products;
    };
    let mut makers = HashMap::new();
    for op in &function.body.ops {
        makers.extend(op.results.iter().map(|result| (*result, op)));
    }
    let results = output.operands.iter().zip(&function.outputs);
    let mut open: Vec<ValueId> =
        results.filter(|(_, param)| param.kind == ParamKind::Output).map(|(value, _)| *value).collect();
    let mut seen = BTreeSet::new();
    while let Some(value) = open.pop() {
        let Some(op) = makers.get(&value).filter(|_| seen.insert(value)) else { continue };
        match stem(&op.name) {
            "broadcasting_batch_matmul" | "batch_matmul" => {
                products.insert(value);
            }
            "broadcasting_add"
            | "broadcasting_sub"
            | "broadcasting_mul"
            | "broadcasting_divide"
            | "add"
            | "sub"
            | "mul"
            | "divide" => open.extend(&op.operands),
            "cast" | "reshape" | "slice" | "tanh" | "transpose" | "expand_dims" | "shrink_dims" => {
                open.extend(op.operands.first());
            }
            _ => {}
        }
    }
    products
}

struct Walk<'a> {
    asset: &'a Asset,
    function: &'a Function,
    index: &'a HashMap<&'a str, usize>,
    /// Uses of the arguments of functions that were walked before.
    callees: &'a [Vec<Vec<Use>>],
    last: BTreeSet<ValueId>,
    /// Views of constants and arguments.
    values: HashMap<ValueId, (Root, Axes)>,
    /// Rows of tables: the root, and the place of the use among its uses.
    tables: HashMap<ValueId, (Root, usize)>,
    /// Constants that may be orders of axes.
    integers: HashMap<ValueId, (ConstantRef, TensorType)>,
    constants: Vec<Found>,
    arguments: Vec<Vec<Use>>,
    /// Operations so far.
    at: usize,
}

impl<'a> Walk<'a> {
    fn tensor(&self, value: ValueId) -> Option<&'a TensorType> {
        self.asset.tensor_type(self.function.scope().ty(value)?)
    }

    fn start(&mut self) {
        for (at, value) in self.function.body.args.iter().enumerate() {
            if let Some(ty) = self.tensor(*value) {
                self.values.insert(*value, (Root::Argument(at), (0..ty.rank()).map(Some).collect()));
            }
        }
    }

    fn region(&mut self, region: &'a Region) {
        for op in &region.ops {
            self.op(op);
            inline(op).for_each(|inner| self.region(inner));
        }
    }

    fn op(&mut self, op: &'a Op) {
        self.at += 1;
        if let (Some(constant), [result]) = (op.constant(), op.results.as_slice()) {
            return self.constant(constant, *result);
        }
        match stem(&op.name) {
            "broadcasting_batch_matmul" | "batch_matmul" => {
                self.product(op, 0);
                self.product(op, 1);
            }
            "conv1d" | "conv2d" | "conv3d" => self.kernel(op, [0, 1]),
            "conv_transpose1d" | "conv_transpose2d" | "conv_transpose3d" => self.kernel(op, [1, 0]),
            "gather_nd" | "gather_along_axis" => self.gather(op),
            "dataflow.invoke" => self.call(op),
            _ => self.view(op),
        }
    }

    fn constant(&mut self, constant: &ConstantRef, value: ValueId) {
        let Some(ty) = self.tensor(value) else { return };
        if ty.element.is_integer() {
            self.integers.insert(value, (constant.clone(), ty.clone()));
        } else if ty.element.is_float() {
            let axes = (0..ty.rank()).map(Some).collect();
            self.values.insert(value, (Root::Constant(self.constants.len()), axes));
            let (constant, ty, uses) = (constant.clone(), ty.clone(), Vec::new());
            self.constants.push(Found { function: 0, value, constant, ty, uses });
        }
    }

    fn view(&mut self, op: &'a Op) {
        let Some(first) = op.operands.first() else { return };
        if let Some((root, axes)) = self.values.get(first) {
            let known = |value: ValueId| self.integers.get(&value).cloned();
            if let Some(axes) = follow(self.asset, self.function.scope(), op, axes, &known)
                && let [result] = op.results.as_slice()
            {
                let root = *root;
                self.values.insert(*result, (root, axes));
            }
        }
        let passes = matches!(stem(&op.name), "cast" | "reshape" | "expand_dims" | "shrink_dims" | "slice");
        if let (Some(row), [result], true) =
            (self.tables.get(first).copied(), op.results.as_slice(), passes || stem(&op.name) == "transpose")
        {
            self.tables.insert(*result, row);
        }
    }

    fn uses(&mut self, root: Root) -> Option<&mut Vec<Use>> {
        match root {
            Root::Constant(at) => self.constants.get_mut(at).map(|found| &mut found.uses),
            Root::Argument(at) => self.arguments.get_mut(at),
        }
    }

    /// Notes a use of an operand; the axes are those of the operand. Gives the place among the uses.
    fn note(&mut self, operand: ValueId, class: WeightClass, axes: [usize; 2]) -> Option<(Root, usize)> {
        let (root, tracked) = self.values.get(&operand)?;
        let root = *root;
        let axis = |at: usize| tracked.get(at).copied().flatten();
        let [channel, summed] = axes.map(axis);
        let noted = Use { at: self.at, class, channel, summed, last: false, rotary: false, label: None };
        let uses = self.uses(root)?;
        Some((root, once(uses, noted)))
    }

    /// `[.., m, k] · [.., k, n]`: a weight on the left has its output channels along `m`.
    fn product(&mut self, op: &'a Op, operand: usize) {
        let Some(value) = op.operands.get(operand).copied() else { return };
        let Some(rank) = self.tensor(value).map(TensorType::rank).filter(|rank| *rank >= 2) else { return };
        let axes = if operand == 0 { [rank - 2, rank - 1] } else { [rank - 1, rank - 2] };
        let last = op.results.first().is_some_and(|result| self.last.contains(result));
        if let Some((root, at)) = self.note(value, WeightClass::Linear, axes)
            && let Some(noted) = self.uses(root).and_then(|uses| uses.get_mut(at))
        {
            noted.last |= last;
        }
    }

    fn kernel(&mut self, op: &'a Op, [channel, summed]: [usize; 2]) {
        if let Some(weight) = op.operands.get(1) {
            self.note(*weight, WeightClass::Conv, [channel, summed]);
        }
    }

    fn gather(&mut self, op: &'a Op) {
        let ([table, index, ..], [result]) = (op.operands.as_slice(), op.results.as_slice()) else { return };
        let (Some(ty), Some(index)) = (self.tensor(*table), self.tensor(*index)) else { return };
        let rank = ty.rank();
        let row = match stem(&op.name) {
            "gather_nd" => indices(index).filter(|count| *count < rank).map(|_| 0),
            _ => op.operands.get(2).and_then(|axis| {
                let (constant, ty) = self.integers.get(axis)?;
                let axis = *integers(self.asset, constant, ty)?.first()?;
                let axis = if axis < 0 { axis + rank as i64 } else { axis };
                usize::try_from(axis).ok().filter(|axis| axis + 1 < rank)
            }),
        };
        let Some(row) = row.filter(|_| rank >= 2) else { return };
        if let Some(row) = self.note(*table, WeightClass::Embedding, [row, rank - 1]) {
            self.tables.insert(*result, row);
        }
    }

    fn call(&mut self, op: &'a Op) {
        let Some(name) = op.callee() else { return };
        let Some(at) = self.index.get(name.as_str()).copied() else { return };
        let Some(callee) = self.asset.functions.get(at) else { return };
        if let Some(composite) = &callee.composite {
            if composite.name.starts_with("rope") {
                for operand in &op.operands {
                    if let Some((root, at)) = self.tables.get(operand).copied()
                        && let Some(table) = self.uses(root).and_then(|uses| uses.get_mut(at))
                    {
                        table.rotary = true;
                    }
                }
            }
            if composite.name == "gather_mm" {
                let batch = composite_axes(composite.attrs.get("num_batch_axes"));
                for (operand, input) in op.operands.iter().zip(&composite.input_names) {
                    if input == "rhs" {
                        self.expert(*operand, batch, &name);
                    }
                }
            }
            return;
        }
        let place = self.at;
        let inner = self.callees.get(at).cloned().unwrap_or_default();
        for (operand, uses) in op.operands.iter().zip(inner) {
            let Some((root, axes)) = self.values.get(operand).cloned() else { continue };
            let axis = |at: Option<usize>| axes.get(at?).copied().flatten();
            let mapped = uses.into_iter().map(|used| {
                let (channel, summed) = (axis(used.channel), axis(used.summed));
                Use { at: place, channel, summed, ..used }
            });
            if let Some(all) = self.uses(root) {
                mapped.for_each(|used| {
                    once(all, used);
                });
            }
        }
    }

    /// `[batch.., experts, summed, channels]`
    fn expert(&mut self, operand: ValueId, batch: usize, callee: &str) {
        let Some(rank) = self.tensor(operand).map(TensorType::rank).filter(|rank| *rank >= batch + 3) else {
            return;
        };
        if let Some((root, at)) = self.note(operand, WeightClass::Expert, [rank - 1, rank - 2])
            && let Some(noted) = self.uses(root).and_then(|uses| uses.get_mut(at))
        {
            noted.label = noted.label.take().or_else(|| label(callee));
        }
    }
}

/// Adds a use unless there is one of its kind, so that calls of calls do not multiply them. Gives its place.
fn once(uses: &mut Vec<Use>, used: Use) -> usize {
    let kind = |used: &Use| (used.class, used.channel, used.summed);
    match uses.iter_mut().position(|other| kind(other) == kind(&used)) {
        Some(at) => {
            if let Some(other) = uses.get_mut(at) {
                other.rotary |= used.rotary;
                other.label = other.label.take().or(used.label);
            }
            at
        }
        None => {
            uses.push(used);
            uses.len() - 1
        }
    }
}

/// The part of the model in the name of a composite: `mlp.gate_proj` of `model.layers.0.mlp.gate_proj.gather_mm_f84`.
/// One definition serves all layers, so the number of the first one says nothing.
fn label(callee: &str) -> Option<String> {
    let parts: Vec<&str> = callee.split('.').collect();
    let (_, parts) = parts.split_last()?;
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let after = parts.iter().rposition(number).map_or(0, |at| at + 1);
    let label = parts.get(after..)?.join(".");
    (!label.is_empty()).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let of = |name: &str| label(name);
        assert_eq!(of("model.layers.0.mlp.gate_proj.gather_mm_f8").as_deref(), Some("mlp.gate_proj"));
        assert_eq!(of("gather_mm_f8"), None);
        assert_eq!(of("layers.3.gather_mm"), None);
    }
}
