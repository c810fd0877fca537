//! Random graphs of one op: what an op's `cases` are written in, and the test that runs them.
//!
//! A case draws operands, parameters and attributes for one serialized name. The graph around them is
//! made here: an operand may be an input, a constant, or a view or expression over either.

mod draw;
mod random;
mod run;
mod support;
mod tests;

use std::sync::Arc;

use coreai_asset::{Attribute, ElementType};

use crate::graph::Val;
use crate::host::Region;

pub use draw::Draw;
pub use random::Spice;

use ElementType::*;

/// Float types that registers hold; the wide ones more often.
pub const FLOATS: &[ElementType] = &[F32, F32, F32, F16, F16, BF16, BF16, F8E4M3FN, F8E5M2];
/// Float types of matrices, windows and statistics.
pub const WIDE_FLOATS: &[ElementType] = &[F32, F32, F16, BF16];
/// Integer types that registers hold.
pub const INTS: &[ElementType] = &[SI32, SI32, UI32, SI16, UI16, SI8, UI8, SI4, UI4, SI2, UI2];
/// What a plan may hold of integers in products, sums and windows.
pub const SUMS: &[ElementType] = &[F32, F32, F16, BF16, SI32, UI32, SI16, UI16, SI8, UI8];
/// Numbers.
pub const NUMBERS: &[ElementType] = &[F32, F32, F16, BF16, F8E4M3FN, SI32, UI32, SI16, UI16, SI8, UI8, SI4];
/// Everything that a copy may meet.
pub const ANY: &[ElementType] =
    &[F32, F16, BF16, F8E5M2, F8E4M3FN, SI32, UI32, SI16, UI16, SI8, UI8, SI4, UI4, UI2, Bool];
/// Numbers of at least 16 bits.
pub const WORDS: &[ElementType] = &[F32, F16, BF16, SI32, UI32, SI16, UI16];
/// Numbers whose quotients are as exact in registers as in their type when they are rounded down.
pub const QUOTIENTS: &[ElementType] = &[F32, F16, SI32, UI32, SI16, UI16, SI8, UI8];
/// Truth values.
pub const TRUTH: &[ElementType] = &[Bool];

/// How to draw a call of one name.
pub struct Case {
    /// Serialized name.
    pub name: &'static str,
    draw: Arc<dyn Fn(&mut Draw) -> Call>,
}

impl Case {
    /// A case for each name.
    pub fn each(names: &[&'static str], draw: impl Fn(&mut Draw) -> Call + 'static) -> Vec<Case> {
        let draw: Arc<dyn Fn(&mut Draw) -> Call> = Arc::new(draw);
        names.iter().map(|name| Case { name, draw: draw.clone() }).collect()
    }
}

/// A call as drawn.
pub struct Call {
    inputs: Vec<Val>,
    attrs: Vec<(&'static str, Attribute)>,
    region: Option<Arc<Region>>,
    results: Vec<ElementType>,
}

impl Call {
    /// A call with one result of this element type.
    pub fn new(inputs: Vec<Val>, result: ElementType) -> Call {
        Call::many(inputs, vec![result])
    }

    /// A call with results of these element types.
    pub fn many(inputs: Vec<Val>, results: Vec<ElementType>) -> Call {
        Call { inputs, attrs: vec![], region: None, results }
    }

    /// The same with an enumeration attribute.
    pub fn with(mut self, name: &'static str, value: u64) -> Call {
        self.attrs.push((name, Attribute::Enum { code: 0, name: String::new(), value }));
        self
    }

    /// The same with a region.
    pub fn region(mut self, region: Region) -> Call {
        self.region = Some(Arc::new(region));
        self
    }
}
