//! What the CPU runtime computed for the same calls (`tests/oracle/host_ops.py`).

use serde_json::Value;

use super::*;
use crate::host::RegionNode;

const CASES: &str = include_str!("ops.jsonl");

pub(super) fn tensor(value: &Value) -> NDArray {
    let element = ElementType::all().find(|e| Some(e.name()) == value[0].as_str()).unwrap();
    let shape = value[1].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect();
    let hex = value[2].as_str().unwrap();
    let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    NDArray::new(element, shape, (0..hex.len()).step_by(2).map(byte).collect()).unwrap()
}

fn attributes(case: &Value) -> Vec<(&'static str, Attribute)> {
    let attribute = |name: &'static str| {
        let value = case["attrs"].get(name)?.as_u64()?;
        Some((name, Attribute::Enum { code: 0, name: String::new(), value }))
    };
    ["padding_mode", "approximate", "scatter_mode"].into_iter().filter_map(attribute).collect()
}

/// How far apart two values may be, relative and for values near 0.
fn tolerance(element: ElementType) -> (f64, f64) {
    match element.complex_part().unwrap_or(element) {
        ElementType::F64 => (1e-14, 1e-300),
        ElementType::F32 => (2e-6, 1e-38),
        ElementType::F16 => (1.0 / 1024.0, 6e-8),
        ElementType::BF16 => (1.0 / 128.0, 1e-38),
        ElementType::F8E4M3FN => (1.0 / 8.0, 2e-3),
        _ => (1.0 / 4.0, 2e-5),
    }
}

/// Ops that copy or count have no room to differ.
const EXACT: &[&str] = &[
    "transpose",
    "reshape",
    "_dims",
    "broadcast_",
    "get_shape",
    "tile",
    "concat",
    "split",
    "slice",
    "reverse",
    "pad",
    "gather",
    "scatter_nd",
    "where",
    "equal",
    "greater",
    "logical",
    "bitwise",
    "not_v1",
    "non_zero",
    "create_complex",
    "part_v1",
];

fn near(element: ElementType, ours: f64, theirs: f64, slack: f64) -> bool {
    let (relative, absolute) = tolerance(element);
    let absolute = absolute + slack * relative;
    ours == theirs && (ours != 0.0 || ours.is_sign_negative() == theirs.is_sign_negative())
        || ours.is_nan() && theirs.is_nan()
        || (ours - theirs).abs() <= absolute + relative * theirs.abs() && (ours != 0.0 || theirs != 0.0)
}

fn differs(ours: &NDArray, theirs: &NDArray, exact: bool, slack: f64) -> bool {
    if (&ours.shape, ours.element) != (&theirs.shape, theirs.element) {
        return true;
    }
    if exact {
        return ours.data != theirs.data;
    }
    let element = ours.element;
    match (decode(ours).unwrap(), decode(theirs).unwrap()) {
        (Elements::Real(a), Elements::Real(b)) => {
            a.iter().zip(&b).any(|(a, b)| !near(element, *a, *b, slack))
        }
        (Elements::Complex(a), Elements::Complex(b)) => a.iter().zip(&b).any(|(a, b)| {
            let size = b[0].hypot(b[1]).min(1e30);
            let close = |a: f64, b: f64| {
                a.to_bits() == b.to_bits() || near(element, a, b, slack) || (a - b).abs() <= 2e-6 * size
            };
            !(close(a[0], b[0]) && close(a[1], b[1]))
        }),
        (a, b) => a != b,
    }
}

#[test]
fn ops_agree_with_the_cpu_runtime() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for line in CASES.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["op"].as_str().unwrap();
        let inputs: Vec<NDArray> = case["in"].as_array().unwrap().iter().map(tensor).collect();
        let theirs: Vec<NDArray> = case["out"].as_array().unwrap().iter().map(tensor).collect();
        let results: Vec<ElementType> = theirs.iter().map(|t| t.element).collect();
        let add = Region {
            nodes: vec![RegionNode {
                name: "primitive.add_v1".into(),
                attrs: vec![],
                inputs: vec![0, 1],
                results: results.clone(),
                constant: None,
            }],
            result: 2,
        };
        let region = case["attrs"].get("region").map(|_| &add);
        let attrs = attributes(&case);
        let call = Call { name, attrs: &attrs, results: &results, region };
        let ours = eval(&call, &inputs.iter().collect::<Vec<_>>());
        // The runtime's GELU loses digits where 1 + erf cancels.
        let slack = if name.contains("gelu") { 4.0 } else { 0.0 };
        let exact = EXACT.iter().any(|op| name.contains(op));
        let good = ours.as_ref().is_ok_and(|ours| {
            ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(a, b)| !differs(a, b, exact, slack))
        });
        if !good {
            let show = |r: &[NDArray]| {
                r.iter().map(|a| format!("{:?} {:?}", a.shape, decode(a))).collect::<Vec<_>>()
            };
            let (ours, theirs) = (ours.map(|o| show(&o)), show(&theirs));
            wrong.push(format!(
                "{name} {} {}\n  in     {:?}\n  ours   {ours:?}\n  theirs {theirs:?}",
                inputs[0].element,
                case["attrs"],
                show(&inputs)
            ));
        }
        seen += 1;
    }
    assert!(seen > 500, "{seen} cases");
    assert!(wrong.is_empty(), "{} of {seen} differ:\n{}", wrong.len(), wrong.join("\n"));
}
