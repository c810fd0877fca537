//! The operations of two functions, one next to the other.

use std::collections::{BTreeMap, HashMap};

use coreai_asset::{Asset, Attribute, ConstantRef, Function, Op, Region, Scope, TypeId, ValueId};
use serde::Serialize;

use super::{Change, align};

/// Differences that are reported one by one.
const MAX_REPORTED: usize = 100;

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

/// A constant and its type.
pub(super) struct Constant<'a> {
    pub index: usize,
    pub ty: TypeId,
    pub constant: &'a ConstantRef,
}

/// Two constants in the same place.
pub(super) struct ConstantPair<'a> {
    pub before: Constant<'a>,
    pub after: Constant<'a>,
}

/// The result of [`align`].
pub(super) struct Aligned<'a> {
    pub counts: BTreeMap<String, Change<usize>>,
    pub differences: Vec<OperationDifference>,
    pub total: usize,
    pub constants: Vec<ConstantPair<'a>>,
}

/// A value: its isolated scope, and the id in it.
type Value = (usize, ValueId);

/// An operation in the order of the text.
struct Item<'a> {
    op: &'a Op,
    types: Vec<TypeId>,
    operands: Vec<Value>,
    /// Results, and arguments of its regions.
    defines: Vec<Value>,
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

fn counts(before: &[Item<'_>], after: &[Item<'_>]) -> BTreeMap<String, Change<usize>> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    before.iter().for_each(|item| counts.entry(&item.op.name).or_default().0 += 1);
    after.iter().for_each(|item| counts.entry(&item.op.name).or_default().1 += 1);
    let differ = counts.into_iter().filter(|(_, (before, after))| before != after);
    differ.map(|(name, (before, after))| (name.to_owned(), Change { before, after })).collect()
}

fn types(asset: &Asset, item: &Item<'_>) -> Vec<String> {
    item.types.iter().map(|id| asset.type_text(*id).to_string()).collect()
}

/// Attributes as text. Constants are compared elsewhere.
fn attributes(asset: &Asset, item: &Item<'_>) -> Vec<String> {
    let attrs = item.op.attrs.iter().filter(|(_, value)| !matches!(value, Attribute::Constant(_)));
    attrs.map(|(name, value)| format!("{name}={}", asset.attribute_text(value))).collect()
}

fn place(asset: &Asset, index: usize, item: &Item<'_>) -> OperationPlace {
    OperationPlace {
        index,
        op: item.op.name.to_string(),
        types: types(asset, item),
        attributes: attributes(asset, item),
        location: asset.location(item.op.location).map(|at| at.to_string()),
    }
}

/// Pairs the operations of two functions by their names, and says how the pairs differ.
pub(super) fn align<'a>(
    before: &Asset,
    function: &'a Function,
    after: &Asset,
    other: &'a Function,
) -> Aligned<'a> {
    let (old, new) = (items(function), items(other));
    let names = |items: &[Item<'a>]| items.iter().map(|item| &*item.op.name).collect::<Vec<&str>>();
    let pairs = align::common(&names(&old), &names(&new));
    let mut found =
        Aligned { counts: counts(&old, &new), differences: Vec::new(), total: 0, constants: Vec::new() };
    // which value of the second function is that of the first
    let mut values: HashMap<Value, Value> = HashMap::new();
    values.extend(function.body.args.iter().zip(&other.body.args).map(|(a, b)| ((0, *a), (0, *b))));
    let (mut at, mut at_new) = (0, 0);
    // a last pair beyond both ends flushes what is left
    for (i, j) in pairs.into_iter().chain([(old.len(), new.len())]) {
        while let Some(item) = old.get(at).filter(|_| at < i) {
            found.report(OperationChange::Removed, || (Some(place(before, at, item)), None));
            at += 1;
        }
        while let Some(item) = new.get(at_new).filter(|_| at_new < j) {
            found.report(OperationChange::Added, || (None, Some(place(after, at_new, item))));
            at_new += 1;
        }
        let (Some(a), Some(b)) = (old.get(i), new.get(j)) else { break };
        let same_operands = a.operands.len() == b.operands.len()
            && a.operands.iter().zip(&b.operands).all(|(x, y)| values.get(x) == Some(y));
        let change = if types(before, a) != types(after, b) {
            Some(OperationChange::Types)
        } else if attributes(before, a) != attributes(after, b) {
            Some(OperationChange::Attributes)
        } else {
            (!same_operands).then_some(OperationChange::Operands)
        };
        if let Some(change) = change {
            found.report(change, || (Some(place(before, i, a)), Some(place(after, j, b))));
        }
        values.extend(a.defines.iter().copied().zip(b.defines.iter().copied()));
        if let (Some(x), Some(y)) = (constant(i, a), constant(j, b)) {
            found.constants.push(ConstantPair { before: x, after: y });
        }
        (at, at_new) = (i + 1, j + 1);
    }
    found
}

fn constant<'a>(index: usize, item: &Item<'a>) -> Option<Constant<'a>> {
    Some(Constant { index, ty: *item.types.first()?, constant: item.op.constant()? })
}

impl Aligned<'_> {
    fn report(
        &mut self,
        change: OperationChange,
        places: impl FnOnce() -> (Option<OperationPlace>, Option<OperationPlace>),
    ) {
        self.total += 1;
        if self.differences.len() < MAX_REPORTED {
            let (before, after) = places();
            self.differences.push(OperationDifference { change, before, after });
        }
    }
}
