//! Which ops passed cases use, and with which element types.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use coreai::AIModelAsset;

use super::runner::{Outcome, Verdict};

/// Element types of the first operand (of the result, for ops without operands) by op name, over the
/// cases that passed. Run without rules: every composite's body then runs as written.
pub fn coverage(cases: &[PathBuf], outcomes: &[Outcome]) -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut ops: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
    let passed = cases.iter().zip(outcomes).filter(|(_, o)| o.verdict == Verdict::Passed);
    for (folder, _) in passed {
        let Ok(opened) = AIModelAsset::open(&folder.join("model.aimodel")) else { continue };
        let asset = &opened.asset;
        for function in &asset.functions {
            let Some(scope) = &function.body.scope else { continue };
            for op in &function.body.ops {
                let values = op.operands.iter().chain(&op.results);
                let mut types = values.filter_map(|v| scope.types.get(v.0 as usize));
                let element = types.find_map(|ty| asset.tensor_type(*ty)).map(|t| t.element.name());
                ops.entry(op.name.to_string()).or_default().extend(element);
            }
        }
    }
    ops
}
