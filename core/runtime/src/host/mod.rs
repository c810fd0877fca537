//! Ops on host tensors of any dtype, one at a time: what neither unit's 32-bit kernels compute
//! (64-bit integers, float64, complex), results whose size depends on data, constant folding.
//!
//! Values are computed in float64 or 64-bit integers and rounded once to the declared type. Plain
//! loops: this is the definition that everything faster is compared with.

mod blocks;
mod cast;
mod complex;
mod compress;
mod convolution;
mod copies;
mod elements;
mod elementwise;
mod folds;
mod indexing;
mod movement;
mod numbers;
mod operands;
mod order;
mod products;
mod quantize;
mod real;
mod reduce;
mod region;
mod sampling;
#[cfg(test)]
mod tests;
mod whole;
mod windows;

use coreai_asset::{Attribute, ElementType};

use crate::error::Error;
use crate::ndarray::NDArray;

pub use elements::{E2M1, Elements, decode, encode, float_bytes, reals, small_float};

/// Most bytes of one result: a wrong program must not exhaust memory.
pub const MAX_RESULT_BYTES: usize = 1 << 31;

/// Why an op cannot be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// This evaluator lacks the op or the dtype.
    Unsupported(String),
    /// Operands that contradict each other or the op.
    Program(String),
    /// A data-dependent index out of range.
    Index {
        /// Offending index.
        index: i64,
        /// Extent of the indexed axis.
        extent: i64,
    },
}

impl Fault {
    /// The error with its place.
    pub fn at(self, function: &str, op: &str, source_line: Option<&str>) -> Error {
        let (function, op) = (function.to_string(), op.to_string());
        let source_line = source_line.map(str::to_string);
        match self {
            Fault::Unsupported(reason) => Error::Unsupported { function, op, source_line, reason },
            Fault::Program(reason) => Error::Program { function, op, source_line, reason },
            Fault::Index { index, extent } => Error::IndexOutOfRange { op, index, extent },
        }
    }
}

/// A region of scalar ops with two arguments, `(accumulator, element) → value`, as `reduce`,
/// `reduce_index` and `scatter_nd` have. Values are numbered: arguments 0 and 1, then each node's
/// results in order.
#[derive(Clone, Debug, Default)]
pub struct Region {
    /// Ops in order.
    pub nodes: Vec<RegionNode>,
    /// The value that is yielded.
    pub result: usize,
}

/// One op of a [`Region`].
#[derive(Clone, Debug)]
pub struct RegionNode {
    /// Serialized name.
    pub name: String,
    /// Attributes.
    pub attrs: Vec<(&'static str, Attribute)>,
    /// Operands by number.
    pub inputs: Vec<usize>,
    /// Declared element types of the results.
    pub results: Vec<ElementType>,
    /// Value of a constant op.
    pub constant: Option<NDArray>,
}

/// One call to evaluate.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Serialized name, e.g. `primitive.pad_v1` or `broadcasting_add_v1`.
    pub name: &'a str,
    /// Inherent attributes.
    pub attrs: &'a [(&'static str, Attribute)],
    /// Declared element types of the results.
    pub results: &'a [ElementType],
    /// Region of the ops that have one.
    pub region: Option<&'a Region>,
}

/// Implementation of an op: the call and its operands.
type Eval = fn(&Call, &[&NDArray]) -> Result<Vec<NDArray>, Fault>;

/// Families of ops: serialized names and what they compute.
const FAMILIES: &[&[(&[&str], Eval)]] = &[
    elementwise::OPS,
    movement::OPS,
    indexing::OPS,
    products::OPS,
    convolution::OPS,
    windows::OPS,
    sampling::OPS,
    reduce::OPS,
    folds::OPS,
    order::OPS,
    compress::OPS,
    quantize::OPS,
];

/// Whether the evaluator has the op.
pub fn knows(name: &str) -> bool {
    find(name).is_some()
}

/// Serialized names of the evaluator's ops.
pub fn names() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|f| f.iter()).flat_map(|(names, _)| names.iter().copied())
}

fn find(name: &str) -> Option<Eval> {
    FAMILIES.iter().flat_map(|f| f.iter()).find(|(names, _)| names.contains(&name)).map(|(_, eval)| *eval)
}

/// Evaluates one op. The results' element types are the declared ones.
pub fn eval(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    match find(call.name) {
        Some(eval) => eval(call, inputs),
        None => Err(Fault::Unsupported(format!("the host has no {}", call.name))),
    }
}
