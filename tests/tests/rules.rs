//! Every rule against the body it replaces: each recorded case that calls a composite with a rule runs
//! with rules and without, and both agree with each other and with the recording.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use coreai::gpu::GpuDevice;
use coreai::{ComputeUnitKind, ElementType, NDArray, SpecializationOptions};
use coreai_tasks::verify::{Case, allowed, values};
use coreai_tests::{places, runner};

/// Composites with a rule, and in how many recorded cases each must be applied at least.
const RULES: &[(&str, usize)] = &[
    ("batch_norm", 20),
    ("gated_delta_update", 70),
    ("gather_mm", 25),
    ("group_norm", 80),
    ("instance_norm", 40),
    ("layer_norm", 20),
    ("log_softmax", 10),
    ("rms_norm", 40),
    ("rope", 15),
    ("scaled_dot_product_attention", 40),
];

/// Outputs and states after the last step.
fn outputs(
    case: &Case,
    options: &SpecializationOptions,
    device: Option<Arc<GpuDevice>>,
) -> Result<(Vec<NDArray>, BTreeMap<String, usize>), String> {
    let model = runner::specialize(&case.asset, options, device).map_err(|e| e.to_string())?;
    let mut found = vec![];
    let mut session = runner::session(case, &model)?;
    for step in &case.steps {
        for output in runner::step(case, step, &mut session)? {
            found.push(session.output_array(output).map_err(|e| e.to_string())?);
        }
    }
    Ok((found, applied(&model.report())))
}

/// Which rules a report says were applied, and how often.
fn applied(report: &coreai::Report) -> BTreeMap<String, usize> {
    let entries = report.entries.iter().filter(|e| e.code == "rules");
    let lists = entries.filter_map(|e| e.message.split_once(": ").map(|(_, list)| list));
    lists
        .flat_map(|list| list.split(", "))
        .filter_map(|item| {
            let (name, times) = item.split_once(" × ")?;
            Some((name.to_string(), times.parse().ok()?))
        })
        .collect()
}

/// Names of the composites that the asset of a case declares.
fn declares_one_with_a_rule(folder: &std::path::Path) -> bool {
    let Ok(text) = std::fs::read_to_string(folder.join("graph.mlir")) else { return false };
    RULES.iter().any(|(name, _)| text.contains(&format!("composite_declaration<\"{name}\"")))
}

/// Twice the bound against the recording: each side may use it.
fn compare(rules: &[NDArray], body: &[NDArray], coarsest: ElementType) -> Result<(), String> {
    for (n, (a, b)) in rules.iter().zip(body).enumerate() {
        if a.shape != b.shape || a.element != b.element {
            return Err(format!("output {n}: {:?} by the rule, {:?} by the body", a.shape, b.shape));
        }
        let (x, y) = (values(a), values(b));
        let peak = y.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(v.abs()));
        let bound = 2.0 * allowed(a.element, coarsest, peak, None).absolute;
        for (i, (x, y)) in x.iter().zip(&y).enumerate() {
            let same = x == y || x.is_nan() && y.is_nan();
            if !same && (x - y).abs() > bound {
                return Err(format!("output {n}[{i}]: {x} by the rule, {y} by the body, bound {bound:.3e}"));
            }
        }
    }
    Ok(())
}

fn check(unit: ComputeUnitKind, device: Option<Arc<GpuDevice>>) {
    let folders: Vec<PathBuf> = places::shared_cases(&["c", "m"]);
    if folders.is_empty() {
        return;
    }
    let with = runner::options(unit);
    let without = SpecializationOptions { rules: false, ..with.clone() };
    let mut cases: BTreeMap<String, usize> = BTreeMap::new();
    let (mut failed, mut compared) = (vec![], 0);
    for folder in folders.iter().filter(|f| declares_one_with_a_rule(f)) {
        let case = Case::read(folder).expect("a recorded case is readable");
        if !case.is_recorded() {
            continue;
        }
        let outcome = outputs(&case, &with, device.clone()).and_then(|(by_rule, rules)| {
            for name in rules.keys() {
                *cases.entry(name.clone()).or_default() += 1;
            }
            let (by_body, none) = outputs(&case, &without, device.clone())?;
            compared += 1;
            assert!(none.is_empty(), "{}: rules were applied without rules", case.id);
            compare(&by_rule, &by_body, case.rounding())
        });
        if let Err(e) = outcome {
            failed.push(format!("{}: {e}", case.id));
        }
    }
    println!("{unit:?}: {compared} compared with their bodies; rules applied in cases: {cases:?}");
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    for (name, least) in RULES {
        let found = cases.get(*name).copied().unwrap_or(0);
        assert!(found >= *least, "the rule for {name} was applied in {found} cases, not {least}");
    }
}

#[test]
fn cpu_rules_agree_with_their_bodies() {
    check(ComputeUnitKind::Cpu, None);
}

#[test]
fn gpu_rules_agree_with_their_bodies() {
    if let Some(device) = runner::device(&runner::options(ComputeUnitKind::Gpu)) {
        check(ComputeUnitKind::Gpu, Some(device));
    }
}
