//! Products, windows, reductions, orders and compression: what the CPU runtime computed for the same
//! calls (`tests/oracle/host_products.py`).

use serde_json::Value;

use super::recorded::tensor;
use super::*;

const CASES: &str = include_str!("families.jsonl");

fn attributes(case: &Value) -> Vec<(&'static str, Attribute)> {
    let attribute = |name: &'static str| {
        let value = case["attrs"].get(name)?.as_u64()?;
        Some((name, Attribute::Enum { code: 0, name: String::new(), value }))
    };
    ["combiner", "interpolation_mode"].into_iter().filter_map(attribute).collect()
}

/// Half the distance between neighbours at 1, times what the runtime's own roundings may add.
fn tolerance(op: &str, element: ElementType) -> f64 {
    const COPIES: [&str; 7] = ["max_", "_min_", "sort_", "lut_", "build_", "argmax_", "quantize_v"];
    let copies = COPIES.iter().any(|n| op.contains(n)) && !["softmax_v1", "dequantize_v2"].contains(&op);
    let steps = if copies { 0.0 } else { 4.0 };
    let unit = match element.complex_part().unwrap_or(element) {
        ElementType::F64 => 2f64.powi(-52),
        ElementType::F32 => 2f64.powi(-23),
        ElementType::F16 => 2f64.powi(-11),
        ElementType::BF16 => 2f64.powi(-8),
        ElementType::F8E4M3FN => 2f64.powi(-4),
        _ => 2f64.powi(-3),
    };
    steps * unit
}

fn parts(array: &NDArray) -> Vec<f64> {
    match decode(array).unwrap() {
        Elements::Real(values) => values,
        Elements::Complex(values) => values.into_iter().flatten().collect(),
        Elements::Int(values) if array.element == ElementType::UI64 => {
            values.into_iter().map(|v| v as u64 as f64).collect()
        }
        Elements::Int(values) => values.into_iter().map(|v| v as f64).collect(),
    }
}

/// Integers are equal. Floats lie within the tolerance of the largest magnitude in the tensor, because sums
/// cancel; what is not finite agrees.
fn agrees(op: &str, ours: &NDArray, theirs: &NDArray) -> bool {
    if (ours.element, &ours.shape) != (theirs.element, &theirs.shape) {
        return false;
    }
    // The runtime interpolates every type in float32.
    let interpolated = op.contains("interpolate");
    let whole = !ours.element.is_float() && !ours.element.is_complex();
    if whole && !interpolated {
        return ours.data == theirs.data;
    }
    let (a, b) = (parts(ours), parts(theirs));
    let largest = b.iter().filter(|v| v.is_finite()).fold(0.0, |m: f64, v| m.max(v.abs()));
    let room = match interpolated {
        true if whole => (largest * 2f64.powi(-22)).max(1.0),
        true => largest * tolerance(op, ours.element).max(2f64.powi(-22)),
        false => largest * tolerance(op, ours.element),
    };
    a.iter().zip(&b).all(|(a, b)| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= room)
}

#[test]
fn families_agree_with_the_cpu_runtime() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for line in CASES.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let tensors = |key: &str| case[key].as_array().unwrap().iter().map(tensor).collect::<Vec<NDArray>>();
        let (name, inputs, theirs) = (case["op"].as_str().unwrap(), tensors("in"), tensors("out"));
        let results: Vec<ElementType> = theirs.iter().map(|t| t.element).collect();
        let attrs = attributes(&case);
        let call = Call { name, attrs: &attrs, results: &results, region: None };
        let ours = eval(&call, &inputs.iter().collect::<Vec<_>>());
        let good = ours.as_ref().is_ok_and(|ours| {
            ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(a, b)| agrees(name, a, b))
        });
        if !good {
            let show = |r: &[NDArray]| {
                r.iter().map(|a| format!("{} {:?}", a.element, decode(a))).collect::<Vec<_>>()
            };
            let (inputs, ours, theirs) = (show(&inputs), ours.map(|o| show(&o)), show(&theirs));
            wrong.push(format!(
                "{name} {}\n  {inputs:?}\n  ours   {ours:?}\n  theirs {theirs:?}",
                case["attrs"]
            ));
        }
        seen += 1;
    }
    assert!(seen > 500, "{seen} cases");
    assert!(wrong.is_empty(), "{} of {seen} differ:\n{}", wrong.len(), wrong.join("\n"));
}
