//! The op table as data, derived from the implementations.

use serde::Serialize;

use super::{OPS, Op, composite};
use crate::host;

/// One serialized op name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpRow {
    /// Name, as in the asset: without the dialect, with the version.
    pub name: String,
    /// File of `core/runtime/src/ops` that has it; `host` where only the host evaluator does.
    pub family: String,
    /// Planned for the units, as a view, a fused expression or a kernel.
    pub planned: bool,
    /// Evaluated on the host: other dtypes, constants, sizes that depend on data.
    pub host: bool,
    /// A composite that a fused kernel replaces; its body runs otherwise.
    pub fused: bool,
}

/// Every op that is executed, by name.
pub fn table() -> Vec<OpRow> {
    let mut rows: Vec<OpRow> = vec![];
    for op in OPS.iter().flat_map(|family| family.iter()) {
        rows.extend(op.names().iter().map(|name| row(*op, name, true)));
    }
    for rule in composite::RULES {
        rows.push(OpRow { fused: true, ..row(rule.op(), rule.name(), false) });
    }
    for name in host::names() {
        if !rows.iter().any(|row| row.name == name) {
            let (name, family) = (name.into(), "host".into());
            rows.push(OpRow { name, family, planned: false, host: true, fused: false });
        }
    }
    rows.sort_by(|a, b| (&a.family, &a.name).cmp(&(&b.family, &b.name)));
    rows
}

fn row(op: &dyn Op, name: &str, planned: bool) -> OpRow {
    // `coreai::ops::conv::Conv`: the last module names the file.
    let family = op.type_name().rsplit("::").nth(1).unwrap_or_default().to_string();
    OpRow { name: name.into(), family, planned, host: host::knows(name), fused: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once() {
        let rows = table();
        let mut names: Vec<&str> = rows.iter().filter(|r| !r.fused).map(|r| r.name.as_str()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        let add = rows.iter().find(|r| r.name == "primitive.add_v1").unwrap();
        assert_eq!((add.family.as_str(), add.planned), ("elementwise", true));
        assert!(rows.iter().any(|r| r.fused && r.name == "rms_norm"));
    }
}
