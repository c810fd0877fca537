//! What of two functions is the same: pairs of operations, pairs of weights.

use std::collections::{BTreeMap, HashMap, HashSet};

use coreai_asset::{Asset, Function};

use super::operations::{
    OperationChange, OperationDifference, OperationPlace, Side, Value, attributes, counts, place, types,
};
use super::weights::Weight;
use super::{Change, align};

/// Differences that are reported one by one.
const MAX_REPORTED: usize = 100;

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
