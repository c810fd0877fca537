//! Regions of scalar ops, evaluated over whole tensors: every element by itself.

use std::borrow::Cow;

use super::{Call, Fault, Region, eval};
use crate::ndarray::NDArray;

/// The region's value for every pair of elements of two equal-shaped tensors, of that shape.
/// Constants of one element stand for every element. A region that uses a value before it is
/// made, or whose result has another shape, is a [`Fault::Program`].
pub fn apply(region: &Region, acc: &NDArray, elem: &NDArray) -> Result<NDArray, Fault> {
    if acc.shape != elem.shape {
        let reason = format!("a region over shapes {:?} and {:?}", acc.shape, elem.shape);
        return Err(Fault::Program(reason));
    }
    let mut values = vec![Cow::Borrowed(acc), Cow::Borrowed(elem)];
    for node in &region.nodes {
        let results = match &node.constant {
            Some(constant) => vec![filled(constant, &acc.shape)?],
            None => {
                let inputs: Option<Vec<&NDArray>> =
                    node.inputs.iter().map(|i| Some(&**values.get(*i)?)).collect();
                let inputs = inputs.ok_or_else(|| unknown(&node.name))?;
                let call =
                    Call { name: &node.name, attrs: &node.attrs, results: &node.results, region: None };
                eval(&call, &inputs)?
            }
        };
        values.extend(results.into_iter().map(Cow::Owned));
    }
    if region.result >= values.len() {
        return Err(unknown("yield"));
    }
    let result = values.swap_remove(region.result).into_owned();
    if result.shape != acc.shape {
        let reason = format!("a region gives shape {:?} for {:?}", result.shape, acc.shape);
        return Err(Fault::Program(reason));
    }
    Ok(result)
}

fn unknown(name: &str) -> Fault {
    Fault::Program(format!("{name} in a region uses a value that does not exist"))
}

/// The constant itself, or its only element everywhere in `shape`.
fn filled(constant: &NDArray, shape: &[usize]) -> Result<NDArray, Fault> {
    if constant.shape == shape {
        return Ok(constant.clone());
    }
    if constant.len() != 1 {
        let reason = format!("a constant of shape {:?} in a region over {shape:?}", constant.shape);
        return Err(Fault::Program(reason));
    }
    let data = constant.data.repeat(shape.iter().product());
    NDArray::new(constant.element, shape.to_vec(), data).map_err(|e| Fault::Program(e.to_string()))
}
