//! Every recorded asset parses, and says what Apple's runtime and printer said about it.

mod corpus;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use coreai_asset::{Asset, HashStatus, ParamSummary};
use serde_json::Value;

#[test]
fn samples_agree_with_their_cases() {
    let cases = corpus::samples();
    for case in &cases {
        check(case, &mut HashMap::new()).unwrap_or_else(|e| panic!("{}: {e}", case.display()));
    }
    println!("{} samples", cases.len());
}

#[test]
fn corpus_agrees_with_its_cases() {
    let Some(root) = corpus::shared("conformance/cases") else {
        return;
    };
    let cases = corpus::folders(&root);
    let mut failures = Vec::new();
    let mut names = HashMap::new();
    for case in &cases {
        if let Err(reason) = check(case, &mut names) {
            failures.push(format!("{}: {reason}", case.display()));
        }
    }
    println!("{} cases", cases.len());
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// `names` caches authoring names by serialized name.
fn check(case: &Path, names: &mut HashMap<String, String>) -> Result<(), String> {
    let text = std::fs::read(case.join("case.json")).map_err(|e| e.to_string())?;
    let json: Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    let asset = Asset::open(&case.join("model.aimodel")).map_err(|e| e.to_string())?;
    let hash = asset.verify_hash().map_err(|e| e.to_string())?;
    if hash != HashStatus::Match {
        return Err(format!("hash: {hash:?}"));
    }
    let summary = asset.summary();
    if !asset.warnings.is_empty() {
        return Err(format!("warnings: {:?}", asset.warnings));
    }
    if asset.text(Default::default()).is_empty() {
        return Err("no text".into());
    }
    let name = json["function"].as_str().unwrap_or_default();
    let function = summary
        .functions
        .iter()
        .find(|function| function.name == name)
        .ok_or(format!("no function {name}"))?;
    for (key, params) in
        [("inputs", &function.inputs), ("outputs", &function.outputs), ("states", &function.states)]
    {
        let Some(expected) = json["signature"][key].as_array() else {
            continue;
        };
        // the runtime lists states in an arbitrary order
        let found: BTreeMap<&str, &ParamSummary> = params.iter().map(|p| (p.name.as_str(), p)).collect();
        let expected: BTreeMap<&str, &Value> =
            expected.iter().map(|p| (p["name"].as_str().unwrap_or_default(), p)).collect();
        if !found.keys().eq(expected.keys()) {
            return Err(format!("{key}: {:?} instead of {:?}", found.keys(), expected.keys()));
        }
        for (name, param) in found {
            let Some(expected) = expected.get(name) else {
                continue;
            };
            if Some(numpy_name(&param.dtype)) != expected["dtype"].as_str() {
                return Err(format!("{name}: {} instead of {}", param.dtype, expected["dtype"]));
            }
            if serde_json::json!(param.shape) != expected["shape"] {
                return Err(format!("{name}: {:?} instead of {}", param.shape, expected["shape"]));
            }
        }
    }
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for name in summary.ops.keys() {
        names.entry(name.clone()).or_insert_with(|| authoring_name(name));
    }
    for (name, count) in &summary.ops {
        *counts.entry(&names[name]).or_default() += *count as u64;
    }
    counts.insert("coreai.graph", asset.functions.len() as u64);
    let expected = json["ops"].as_object().ok_or("no ops")?;
    for (name, count) in expected {
        let found = counts.remove(name.as_str()).unwrap_or(0);
        if Some(found) != count.as_u64() {
            return Err(format!("{name}: {found} instead of {count}"));
        }
    }
    match counts.is_empty() {
        true => Ok(()),
        false => Err(format!("not in the program: {counts:?}")),
    }
}

/// The name under which Apple's printer shows an operation (head of `OPSET`).
fn authoring_name(serialized: &str) -> String {
    let groups = ["primitive.", "dataflow.", "controlflow."];
    let stem = groups.iter().find_map(|group| serialized.strip_prefix(group)).unwrap_or(serialized);
    let stem = stem.rsplit_once("_v").map_or(stem, |(stem, _)| stem);
    let stem = stem.replace("logical_", "");
    match stem.strip_prefix("broadcasting_") {
        Some(_) => format!("coreai.decomposable.{stem}"),
        None => match stem.split_once('.') {
            Some(("ax", rest)) => format!("coreaix.{rest}"),
            Some(("metal", rest)) => format!("coreai.{rest}"),
            _ => format!("coreai.{stem}"),
        },
    }
}

fn numpy_name(element: &str) -> &str {
    match element {
        "sint64" => "int64",
        "sint32" => "int32",
        "sint16" => "int16",
        "sint8" => "int8",
        "complex_float32" => "cfloat32",
        "float8E8M0FN" => "float8e8m0fn",
        other => other,
    }
}
