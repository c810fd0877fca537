//! The operations of a function, and those of a report.

use std::collections::{BTreeMap, HashMap, HashSet};

use coreai_asset::{Asset, Attribute, Function, Op, Region, Scope, TypeId, ValueId};
use serde::Serialize;

use super::Change;
use super::weights::{Form, Weight};

/// Operands of unpacking operations.
const MAX_PARTS: usize = 5;

/// An operation of a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OperationPlace {
    /// Its place among the operations of the function, those in regions included.
    pub index: usize,
    /// Name.
    pub op: String,
    /// Types of its results.
    pub types: Vec<String>,
    /// Attributes other than constants.
    pub attributes: Vec<String>,
    /// Where it comes from in the source, if that is recorded.
    pub location: Option<String>,
}

/// How an operation differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationChange {
    /// Only the second asset has it.
    Added,
    /// Only the first asset has it.
    Removed,
    /// Its results have other types.
    Types,
    /// It has other attributes.
    Attributes,
    /// It uses other values.
    Operands,
}

/// An operation that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OperationDifference {
    /// How.
    pub change: OperationChange,
    /// In the first asset.
    pub before: Option<OperationPlace>,
    /// In the second asset.
    pub after: Option<OperationPlace>,
}

/// A value: its isolated scope, and the id in it.
pub(super) type Value = (usize, ValueId);

/// An operation in the order of the text.
pub(super) struct Item<'a> {
    pub op: &'a Op,
    pub types: Vec<TypeId>,
    pub operands: Vec<Value>,
    /// Results, and arguments of its regions.
    pub defines: Vec<Value>,
}

/// Bytes of the constants of a region.
pub(super) fn constant_bytes(region: &Region) -> u64 {
    let own =
        |op: &Op| op.constant().map_or(0, |constant| constant.range.end.saturating_sub(constant.range.start));
    let inner = |op: &Op| op.semantic_regions().iter().map(constant_bytes).sum::<u64>();
    region.ops.iter().map(|op| own(op) + inner(op)).sum()
}

/// Lists the operations of a function; decomposition bodies say nothing new and are left out.
/// Recursion is as deep as the reader lets regions nest.
fn list<'a>(
    region: &'a Region,
    (number, scope): (usize, &'a Scope),
    scopes: &mut usize,
    items: &mut Vec<Item<'a>>,
) {
    for op in &region.ops {
        let place = items.len();
        let value = |id: &ValueId| (number, *id);
        items.push(Item {
            op,
            types: op.results.iter().filter_map(|id| scope.ty(*id)).collect(),
            operands: op.operands.iter().map(value).collect(),
            defines: op.results.iter().map(value).collect(),
        });
        for inner in op.semantic_regions() {
            let own = match &inner.scope {
                None => (number, scope),
                Some(scope) => {
                    *scopes += 1;
                    (*scopes, scope)
                }
            };
            if let Some(item) = items.get_mut(place) {
                item.defines.extend(inner.args.iter().map(|id| (own.0, *id)));
            }
            list(inner, own, scopes, items);
        }
    }
}

fn items(function: &Function) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    list(&function.body, (0, function.scope()), &mut 0, &mut items);
    items
}

pub(super) fn counts(before: &[Item<'_>], after: &[Item<'_>]) -> BTreeMap<String, Change<usize>> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    before.iter().for_each(|item| counts.entry(&item.op.name).or_default().0 += 1);
    after.iter().for_each(|item| counts.entry(&item.op.name).or_default().1 += 1);
    let differ = counts.into_iter().filter(|(_, (before, after))| before != after);
    differ.map(|(name, (before, after))| (name.to_owned(), Change { before, after })).collect()
}

pub(super) fn types(asset: &Asset, item: &Item<'_>) -> Vec<String> {
    item.types.iter().map(|id| asset.type_text(*id).to_string()).collect()
}

/// Attributes as text. Constants are compared elsewhere.
pub(super) fn attributes(asset: &Asset, item: &Item<'_>) -> Vec<String> {
    let attrs = item.op.attrs.iter().filter(|(_, value)| !matches!(value, Attribute::Constant(_)));
    attrs.map(|(name, value)| format!("{name}={}", asset.attribute_text(value))).collect()
}

pub(super) fn place(asset: &Asset, index: usize, item: &Item<'_>) -> OperationPlace {
    OperationPlace {
        index,
        op: item.op.name.to_string(),
        types: types(asset, item),
        attributes: attributes(asset, item),
        location: asset.location(item.op.location).map(|at| at.to_string()),
    }
}

/// A function: its operations, and which of their results are weights.
pub(super) struct Side<'a> {
    pub asset: &'a Asset,
    pub items: Vec<Item<'a>>,
    pub weights: HashMap<Value, Weight<'a>>,
    /// Weights with their axes in another order, and the weights they are made of.
    pub transposed: HashMap<Value, (Weight<'a>, Value)>,
    /// Weights that only unpacking operations use: parts of others.
    parts: HashSet<Value>,
}

impl<'a> Side<'a> {
    pub fn new(asset: &'a Asset, function: &'a Function) -> Self {
        let items = items(function);
        let mut side =
            Self { asset, items, weights: HashMap::new(), transposed: HashMap::new(), parts: HashSet::new() };
        let mut used: HashSet<Value> = HashSet::new(); // by operations that stay
        for (index, item) in side.items.iter().enumerate() {
            let weight = match (item.types.first(), item.op.constant()) {
                (Some(ty), Some(constant)) => Some(Weight { index, ty: *ty, form: Form::Stored(constant) }),
                (Some(ty), None) => {
                    let from = item.operands.iter().map(|value| side.weights.get(value).cloned());
                    let from = from.take(MAX_PARTS).collect::<Option<Vec<_>>>();
                    from.and_then(|from| Weight::unpacked(asset, item.op, index, *ty, from))
                }
                _ => None,
            };
            match (weight, item.defines.as_slice()) {
                (Some(weight), [value]) => {
                    if weight.is_packed() {
                        side.parts.extend(&item.operands);
                    }
                    side.weights.insert(*value, weight);
                }
                (_, defines) => {
                    used.extend(&item.operands);
                    if let ([operand, order], "primitive.transpose_v1") =
                        (item.operands.as_slice(), &*item.op.name)
                        && let (Some(of), Some(order)) = (side.weights.get(operand), side.weights.get(order))
                        && let (Some(ty), [value]) = (item.types.first(), defines)
                        && let Some(weight) = of.transposed(asset, index, *ty, order)
                    {
                        side.transposed.insert(*value, (weight, *operand));
                    }
                }
            }
        }
        side.parts.retain(|value| !used.contains(value));
        side
    }

    /// Places of the operations that make no weights, and their names.
    pub fn others(&self) -> (Vec<usize>, Vec<&'a str>) {
        let other = |item: &&Item<'a>| !item.defines.iter().any(|value| self.weights.contains_key(value));
        let others = self.items.iter().enumerate().filter(|(_, item)| other(item));
        others.map(|(index, item)| (index, &*item.op.name)).unzip()
    }

    /// Weights that are whole and not yet `paired`, in order, with their shapes as text.
    pub fn left(&self, paired: &HashSet<Value>) -> Vec<(Value, &Weight<'a>, String)> {
        let whole =
            self.weights.iter().filter(|(value, _)| !self.parts.contains(value) && !paired.contains(value));
        let shape = |weight: &Weight<'a>| match self.asset.tensor_type(weight.ty) {
            Some(tensor) => format!("{:?}", tensor.shape),
            None => self.asset.type_text(weight.ty).to_string(),
        };
        let mut left: Vec<_> = whole.map(|(value, weight)| (*value, weight, shape(weight))).collect();
        left.sort_by_key(|(_, weight, _)| weight.index);
        left
    }
}
