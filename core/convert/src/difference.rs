//! What differs between two assets: their functions, operations and weights. Weights are compared as they are after
//! unpacking, so that an asset and its compressed form show what was lost.

mod align;
mod constants;
mod elements;
mod operations;
mod pairs;
mod weights;

use std::collections::BTreeMap;

use coreai_asset::{Asset, Attribute, Composite, Function, Param};
use serde::Serialize;

use crate::error::ConvertError;
pub use constants::{ConstantDifference, Numbers};
pub use operations::{OperationChange, OperationDifference, OperationPlace};

/// The version of the report's form.
const SCHEMA_VERSION: u32 = 1;

/// What was, and what is now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change<T> {
    /// In the first asset.
    pub before: T,
    /// In the second asset.
    pub after: T,
}

/// The report about two assets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// 1; grows when the form of the report changes.
    pub schema_version: u32,
    /// The programs are the same and all constants have the same values. Metadata, feature
    /// version and debug locations may differ.
    pub same_program: bool,
    /// Keys of `metadata.json` with different values, as JSON.
    pub metadata: BTreeMap<String, Change<serde_json::Value>>,
    /// The feature version, if it differs.
    pub feature_version: Option<Change<u32>>,
    /// Functions only the second asset has.
    pub added: Vec<String>,
    /// Functions only the first asset has.
    pub removed: Vec<String>,
    /// Functions of the same name that differ.
    pub changed: Vec<FunctionDifference>,
    /// Functions of the same name that are the same.
    pub same: Vec<String>,
}

/// What differs between two functions of the same name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FunctionDifference {
    /// Name.
    pub name: String,
    /// Names, kinds and types of arguments and results, and whether a caller may run it.
    pub signature: Option<Change<String>>,
    /// The declaration as a composite.
    pub composite: Option<Change<Option<String>>>,
    /// How often an operation occurs, where that differs; decomposition bodies do not count.
    pub op_counts: BTreeMap<String, Change<usize>>,
    /// Operations that were added, removed or changed, in order, those that make weights last; the first of
    /// them. An operation that unpacks a weight from constants is no operation of its own here: it and they
    /// are in `constants`.
    pub operations: Vec<OperationDifference>,
    /// How many there are.
    pub operations_total: usize,
    /// Pairs of weights with the same values and types.
    pub constants_equal: usize,
    /// Pairs of weights that differ, in the order of their uses: constants, and what operations unpack from
    /// constants.
    pub constants: Vec<ConstantDifference>,
}

impl FunctionDifference {
    fn is_empty(&self) -> bool {
        self.signature.is_none()
            && self.composite.is_none()
            && self.operations_total == 0
            && self.constants.is_empty()
    }
}

/// Compares two assets; reads all constants that have counterparts, in chunks. `progress` gets the
/// bytes of constants that are compared and those of all.
pub fn difference(
    before: &Asset,
    after: &Asset,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Difference, ConvertError> {
    let mut report = Difference {
        schema_version: SCHEMA_VERSION,
        same_program: false,
        metadata: metadata(before, after),
        feature_version: change(before.feature_version, after.feature_version),
        added: Vec::new(),
        removed: Vec::new(),
        changed: Vec::new(),
        same: Vec::new(),
    };
    let only = |one: &Asset, other: &Asset| {
        let names = one.functions.iter().map(|function| function.name.clone());
        names.filter(|name| other.function(name).is_none()).collect::<Vec<_>>()
    };
    report.removed = only(before, after);
    report.added = only(after, before);
    let total = before.functions.iter().map(|function| operations::constant_bytes(&function.body)).sum();
    let mut done = 0;
    for function in &before.functions {
        if let Some(other) = after.function(&function.name) {
            let found = compare(before, function, after, other, &mut |bytes| {
                done += bytes;
                progress(done, total);
            })?;
            match found.is_empty() {
                true => report.same.push(found.name),
                false => report.changed.push(found),
            }
        }
    }
    report.same_program = report.added.is_empty() && report.removed.is_empty() && report.changed.is_empty();
    Ok(report)
}

fn change<T: PartialEq>(before: T, after: T) -> Option<Change<T>> {
    (before != after).then_some(Change { before, after })
}

fn metadata(before: &Asset, after: &Asset) -> BTreeMap<String, Change<serde_json::Value>> {
    let map = |asset: &Asset| match serde_json::from_str(&asset.metadata.to_json()) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (map(before), map(after));
    let keys = before.keys().chain(after.keys());
    let pair = |key: &String| {
        let value = |map: &serde_json::Map<_, _>| map.get(key).cloned().unwrap_or_default();
        Some((key.clone(), change(value(&before), value(&after))?))
    };
    keys.filter_map(pair).collect()
}

fn compare(
    before: &Asset,
    function: &Function,
    after: &Asset,
    other: &Function,
    progress: &mut dyn FnMut(u64),
) -> Result<FunctionDifference, ConvertError> {
    let aligned = pairs::align(before, function, after, other);
    let mut found = FunctionDifference {
        name: function.name.clone(),
        signature: change(signature(before, function), signature(after, other)),
        composite: change(composite(before, function), composite(after, other)),
        op_counts: aligned.counts,
        operations: aligned.differences,
        operations_total: aligned.total,
        constants_equal: 0,
        constants: Vec::new(),
    };
    for pair in aligned.weights {
        match constants::compare(before, after, &pair)? {
            None => found.constants_equal += 1,
            Some(different) => found.constants.push(different),
        }
        progress(pair.bytes);
    }
    Ok(found)
}

fn signature(asset: &Asset, function: &Function) -> String {
    let list = |params: &[Param]| {
        let entries = params.iter().map(|param| {
            let attrs =
                param.attrs.iter().map(|(name, value)| format!(" {name}={}", asset.attribute_text(value)));
            let attrs: String = attrs.collect();
            format!("{} {:?}: {}{attrs}", param.name, param.kind, asset.type_text(param.ty))
        });
        entries.collect::<Vec<_>>().join(", ")
    };
    let private = if function.private { "private " } else { "" };
    format!("{private}({}) -> ({})", list(&function.inputs), list(&function.outputs))
}

fn composite(asset: &Asset, function: &Function) -> Option<String> {
    let Composite { name, input_names, output_names, attrs } = function.composite.as_ref()?;
    let attr = |(name, value): (&String, &Attribute)| format!("{name}={}", asset.attribute_text(value));
    let attrs = attrs.iter().map(attr).collect::<Vec<_>>().join(", ");
    Some(format!("{name}({}) -> ({}) {{{attrs}}}", input_names.join(", "), output_names.join(", ")))
}
