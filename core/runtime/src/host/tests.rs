//! Ops on host tensors: values worked out by hand, and what the CPU runtime recorded.

mod elementwise;
mod families;
mod indexing;
mod movement;
mod recorded;
mod recorded_families;

use coreai_asset::{Attribute, ElementType};

use super::{Call, Elements, Fault, Region, decode, encode, eval};
use crate::ndarray::NDArray;

fn ints(element: ElementType, shape: &[usize], values: &[i64]) -> NDArray {
    encode(element, shape, &Elements::Int(values.to_vec())).unwrap()
}

fn reals(element: ElementType, shape: &[usize], values: &[f64]) -> NDArray {
    encode(element, shape, &Elements::Real(values.to_vec())).unwrap()
}

/// A vector operand of axes or sizes.
fn vector(values: &[i64]) -> NDArray {
    ints(ElementType::SI32, &[values.len()], values)
}

fn scalar(value: i64) -> NDArray {
    ints(ElementType::SI32, &[], &[value])
}

fn all(name: &str, results: &[ElementType], inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    eval(&Call { name, attrs: &[], results, region: None }, inputs)
}

/// The only result of an op without attributes.
fn one(name: &str, result: ElementType, inputs: &[&NDArray]) -> Result<NDArray, Fault> {
    all(name, &[result], inputs).map(|mut r| r.remove(0))
}

/// The same with one enumeration attribute.
fn chosen(
    name: &str,
    attr: &'static str,
    value: u64,
    result: ElementType,
    inputs: &[&NDArray],
) -> Result<NDArray, Fault> {
    let attrs = [(attr, Attribute::Enum { code: 0, name: String::new(), value })];
    let call = Call { name, attrs: &attrs, results: &[result], region: None };
    eval(&call, inputs).map(|mut r| r.remove(0))
}

fn int_values(array: &NDArray) -> Vec<i64> {
    match decode(array).unwrap() {
        Elements::Int(values) => values,
        other => panic!("{other:?}"),
    }
}

fn real_values(array: &NDArray) -> Vec<f64> {
    match decode(array).unwrap() {
        Elements::Real(values) => values,
        other => panic!("{other:?}"),
    }
}

fn program_fault<T: std::fmt::Debug>(result: Result<T, Fault>) {
    assert!(matches!(result, Err(Fault::Program(_))), "{result:?}");
}
