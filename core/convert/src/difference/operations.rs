//! The operations of two functions, one next to the other.

use std::collections::{BTreeMap, HashMap, HashSet};

use coreai_asset::{Asset, Attribute, Function, Op, Region, Scope, TypeId, ValueId};
use serde::Serialize;

use super::weights::{Form, Weight};
use super::{Change, align};

/// Differences that are reported one by one.
const MAX_REPORTED: usize = 100;

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

/// Two weights in the same place.
pub(super) struct Pair<'a> {
    pub before: Weight<'a>,
    pub after: Weight<'a>,
    /// The operation of the first function that uses them, and where it comes from.
    pub used_by: Option<String>,
    pub location: Option<String>,
    /// Bytes of constants of the first that no pair before it has.
    pub bytes: u64,
}

/// The result of [`align`].
pub(super) struct Aligned<'a> {
    pub counts: BTreeMap<String, Change<usize>>,
    pub differences: Vec<OperationDifference>,
    pub total: usize,
    pub weights: Vec<Pair<'a>>,
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

/// A function: its operations, and which of their results are weights.
struct Side<'a> {
    asset: &'a Asset,
    items: Vec<Item<'a>>,
    weights: HashMap<Value, Weight<'a>>,
    /// Weights with their axes in another order, and the weights they are made of.
    transposed: HashMap<Value, (Weight<'a>, Value)>,
    /// Weights that only unpacking operations use: parts of others.
    parts: HashSet<Value>,
}

impl<'a> Side<'a> {
    fn new(asset: &'a Asset, function: &'a Function) -> Self {
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
    fn others(&self) -> (Vec<usize>, Vec<&'a str>) {
        let other = |item: &&Item<'a>| !item.defines.iter().any(|value| self.weights.contains_key(value));
        let others = self.items.iter().enumerate().filter(|(_, item)| other(item));
        others.map(|(index, item)| (index, &*item.op.name)).unzip()
    }

    /// Weights that are whole and not yet `paired`, in order, with their shapes as text.
    fn left(&self, paired: &HashSet<Value>) -> Vec<(Value, &Weight<'a>, String)> {
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

/// Pairs the operations of two functions by their names, and says how the pairs differ. Weights are paired by
/// the operations that use them, and those that are left by their shapes, in order.
pub(super) fn align<'a>(
    before: &'a Asset,
    function: &'a Function,
    after: &'a Asset,
    other: &'a Function,
) -> Aligned<'a> {
    let (old, new) = (Side::new(before, function), Side::new(after, other));
    let ((old_places, old_names), (new_places, new_names)) = (old.others(), new.others());
    let mut matches = Matches {
        old: &old,
        new: &new,
        values: HashMap::new(),
        paired: HashSet::new(),
        paired_new: HashSet::new(),
        pairs: HashSet::new(),
        measured: HashSet::new(),
        found: Aligned {
            counts: counts(&old.items, &new.items),
            differences: Vec::new(),
            total: 0,
            weights: Vec::new(),
        },
    };
    let arguments = function.body.args.iter().zip(&other.body.args);
    matches.values.extend(arguments.map(|(a, b)| ((0, *a), (0, *b))));
    let (mut at, mut at_new) = (0, 0);
    let pairs = align::common(&old_names, &new_names);
    // a last pair beyond both ends flushes what is left
    for (i, j) in pairs.into_iter().chain([(old_places.len(), new_places.len())]) {
        while let Some(place) = old_places.get(at).filter(|_| at < i) {
            matches.removed(*place);
            at += 1;
        }
        while let Some(place) = new_places.get(at_new).filter(|_| at_new < j) {
            matches.added(*place);
            at_new += 1;
        }
        let (Some(a), Some(b)) = (old_places.get(i), new_places.get(j)) else { break };
        matches.operations(*a, *b);
        (at, at_new) = (i + 1, j + 1);
    }
    matches.rest();
    matches.found
}

/// What is the same in two functions, while it is found.
struct Matches<'s, 'a> {
    old: &'s Side<'a>,
    new: &'s Side<'a>,
    /// Which value of the second function is that of the first.
    values: HashMap<Value, Value>,
    /// Weights of the first function that have a counterpart.
    paired: HashSet<Value>,
    /// And of the second.
    paired_new: HashSet<Value>,
    pairs: HashSet<(Value, Value)>,
    /// Constants whose bytes are counted.
    measured: HashSet<usize>,
    found: Aligned<'a>,
}

impl<'a> Matches<'_, 'a> {
    fn operations(&mut self, i: usize, j: usize) {
        let (old, new) = (self.old, self.new);
        let (Some(a), Some(b)) = (old.items.get(i), new.items.get(j)) else { return };
        let mut same_operands = a.operands.len() == b.operands.len();
        for (x, y) in a.operands.iter().zip(&b.operands) {
            same_operands &= self.operand(*x, *y, i);
        }
        let change = if types(old.asset, a) != types(new.asset, b) {
            Some(OperationChange::Types)
        } else if attributes(old.asset, a) != attributes(new.asset, b) {
            Some(OperationChange::Attributes)
        } else {
            (!same_operands).then_some(OperationChange::Operands)
        };
        if let Some(change) = change {
            let places = || (Some(place(old.asset, i, a)), Some(place(new.asset, j, b)));
            self.found.report(change, places);
        }
        self.values.extend(a.defines.iter().copied().zip(b.defines.iter().copied()));
    }

    /// Whether operands of two operations are the same value; weights become a pair.
    fn operand(&mut self, x: Value, y: Value, user: usize) -> bool {
        let (old, new) = (self.old, self.new);
        match (old.weights.get(&x), new.weights.get(&y)) {
            (None, None) => self.values.get(&x) == Some(&y),
            (Some(before), Some(after)) => self.pair((x, y), (x, before), (y, after), Some(user)),
            // of one side the weight is stored with its axes in another order
            (Some(before), None) => match new.transposed.get(&y) {
                Some((after, of)) => self.pair((x, y), (x, before), (*of, after), Some(user)),
                None => false,
            },
            (None, Some(after)) => match old.transposed.get(&x) {
                Some((before, of)) => self.pair((x, y), (*of, before), (y, after), Some(user)),
                None => false,
            },
        }
    }

    /// Whether two weights are counterparts. Each pair has one that had none, so there are not many.
    fn pair(
        &mut self,
        key: (Value, Value),
        (x, before): (Value, &Weight<'a>),
        (y, after): (Value, &Weight<'a>),
        user: Option<usize>,
    ) -> bool {
        if self.pairs.contains(&key) {
            return true;
        }
        if self.paired.contains(&x) && self.paired_new.contains(&y) {
            return false;
        }
        self.pairs.insert(key);
        self.paired.insert(x);
        self.paired_new.insert(y);
        let mut bytes = 0;
        for (index, _, constant) in before.constants() {
            if self.measured.insert(index) {
                bytes += constant.range.end.saturating_sub(constant.range.start);
            }
        }
        let user = user.and_then(|index| self.old.items.get(index));
        self.found.weights.push(Pair {
            before: before.clone(),
            after: after.clone(),
            used_by: user.map(|item| item.op.name.to_string()),
            location: user
                .and_then(|item| self.old.asset.location(item.op.location))
                .map(|at| at.to_string()),
            bytes,
        });
        true
    }

    /// Pairs the weights that have no users in common, and tells of the others.
    fn rest(&mut self) {
        let (old, new) = (self.old.left(&self.paired), self.new.left(&self.paired_new));
        let shapes = |left: &[(Value, &Weight<'a>, String)]| -> Vec<String> {
            left.iter().map(|(_, _, shape)| shape.clone()).collect()
        };
        for (i, j) in align::common(&shapes(&old), &shapes(&new)) {
            if let (Some((x, before, _)), Some((y, after, _))) = (old.get(i), new.get(j)) {
                self.pair((*x, *y), (*x, before), (*y, after), None);
            }
        }
        for (value, weight, _) in old {
            if !self.paired.contains(&value) {
                self.removed(weight.index);
            }
        }
        for (value, weight, _) in new {
            if !self.paired_new.contains(&value) {
                self.added(weight.index);
            }
        }
    }

    fn removed(&mut self, index: usize) {
        if let Some(item) = self.old.items.get(index) {
            let asset = self.old.asset;
            self.found.report(OperationChange::Removed, || (Some(place(asset, index, item)), None));
        }
    }

    fn added(&mut self, index: usize) {
        if let Some(item) = self.new.items.get(index) {
            let asset = self.new.asset;
            self.found.report(OperationChange::Added, || (None, Some(place(asset, index, item))));
        }
    }
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
