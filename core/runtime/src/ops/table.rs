//! The op table as data, derived from the implementations.

use serde::Serialize;

use super::{OPS, Op, composite};
use crate::host;

/// Name, element types on the CPU unit, on the GPU unit and on the host alone, kernels; separated by tabs.
/// A test of `ops/cases` derives it by planning every op with every type, and compares.
pub(super) const SUPPORT: &str = include_str!("support.txt");

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
    /// For which element types and how. Empty for composites and tokens.
    #[serde(flatten)]
    pub support: Support,
}

/// Element types of an op: of its data, which is the first operand but for few.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Support {
    /// Planned for the CPU unit.
    pub cpu: Vec<&'static str>,
    /// Planned for the GPU unit.
    pub gpu: Vec<&'static str>,
    /// Evaluated by the host and not planned.
    pub host_only: Vec<&'static str>,
    /// Kernels of the plans. A view has none, but for the copy that makes a result of it.
    pub kernels: Vec<&'static str>,
}

impl Support {
    /// Of an op; empty where nothing is known.
    pub(super) fn of(name: &str) -> Support {
        let line = SUPPORT.lines().find(|line| line.split('\t').next() == Some(name));
        let mut lists = line.unwrap_or_default().split('\t').skip(1).map(|list| list.split(' '));
        let mut next = || lists.next().into_iter().flatten().filter(|s| !s.is_empty()).collect();
        Support { cpu: next(), gpu: next(), host_only: next(), kernels: next() }
    }
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
            let (family, support) = ("host".into(), Support::of(name));
            rows.push(OpRow { name: name.into(), family, planned: false, host: true, fused: false, support });
        }
    }
    rows.sort_by(|a, b| (&a.family, &a.name).cmp(&(&b.family, &b.name)));
    rows
}

fn row(op: &dyn Op, name: &str, planned: bool) -> OpRow {
    // `coreai::ops::conv::Conv`: the last module names the file.
    let family = op.type_name().rsplit("::").nth(1).unwrap_or_default().to_string();
    let (host, support) = (host::knows(name), Support::of(name));
    OpRow { name: name.into(), family, planned, host, fused: false, support }
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
        let typed = |r: &&OpRow| !r.support.cpu.is_empty() || !r.support.host_only.is_empty();
        assert!(rows.iter().filter(typed).count() > 120);
    }
}
