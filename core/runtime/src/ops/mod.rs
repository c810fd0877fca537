//! The op table. Everything the runtime knows about an op is one `impl Op` in its family's file.

#[cfg(test)]
mod cases;
pub mod composite;
pub mod constant;
mod conv;
#[cfg(test)]
mod coverage;
mod elementwise;
mod index;
mod matmul;
mod program;
mod quantized;
mod range;
mod reduce;
mod resample;
mod scatter;
mod shape;
mod slice;
mod state;
pub mod table;

use std::sync::Arc;

use coreai_asset::Composite;

use crate::error::Error;
use crate::expr::Expr;
use crate::facts::{Assumptions, Fact};
use crate::host::Region;
use crate::lower::Lower;
use crate::step::Origin;

pub use composite::find as composite;

/// Nodes that only the host evaluates.
pub static HOST: program::OnHost = program::OnHost;
/// Nodes with regions.
pub static CONTROL: program::Control = program::Control;

/// One op: its names, its type rule with host evaluation, and what it becomes in a plan.
pub trait Op: Sync {
    /// Serialized names.
    fn names(&self) -> &'static [&'static str];

    /// Facts of the results. Evaluates integers on the host where the operands are known.
    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault>;

    /// Emits views and steps for node `node` of the graph being lowered.
    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault>;

    /// Path of the implementing type, for the op table.
    fn type_name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }

    /// Whether the op reads or writes states (never merged, never dropped when it writes).
    fn effects(&self) -> bool {
        false
    }

    /// Whether `slice(op(x..), axis)` equals `op(slice(x)..)` for an axis that the op treats
    /// elementwise: the operands to slice along that axis of the result, or `None`.
    fn slice_through(&self, _axis: usize, _inputs: &[Fact], _output: &Fact) -> Option<Vec<Option<usize>>> {
        None
    }

    /// How to draw random calls of each name, for the test that compares the units.
    #[cfg(test)]
    fn cases(&self) -> Vec<cases::Case> {
        vec![]
    }
}

/// Why an op cannot be planned; [`Fault::at`] adds where.
#[derive(Clone, Debug)]
pub struct Fault {
    /// This runtime lacks something, as opposed to: the program is wrong.
    pub unsupported: bool,
    /// Operand whose elements would have to be known before this point.
    pub needs: Option<usize>,
    /// What is missing or wrong.
    pub reason: String,
}

impl Fault {
    /// This runtime lacks something.
    pub fn unsupported(reason: impl Into<String>) -> Fault {
        Fault { unsupported: true, needs: None, reason: reason.into() }
    }

    /// The program is wrong.
    pub fn program(reason: impl Into<String>) -> Fault {
        Fault { unsupported: false, needs: None, reason: reason.into() }
    }

    /// The elements of operand `i` decide a shape but only the device knows them.
    pub fn needs(i: usize) -> Fault {
        let reason = format!("operand {i} decides a shape but is known only on the device");
        Fault { unsupported: true, needs: Some(i), reason }
    }

    /// The error with its place.
    pub fn at(self, function: &str, origin: &Origin) -> Error {
        let (function, op) = (function.to_string(), origin.op.to_string());
        let source_line = origin.source.as_ref().map(|s| s.to_string());
        if self.unsupported {
            Error::Unsupported { function, op, source_line, reason: self.reason }
        } else {
            Error::Program { function, op, source_line, reason: self.reason }
        }
    }
}

/// What a type rule sees.
pub struct InferCx<'a> {
    /// Serialized name.
    pub name: &'a str,
    /// Operand facts.
    pub inputs: &'a [Fact],
    /// The region of `reduce`, `reduce_index` and `scatter_nd`.
    pub region: Option<&'a Region>,
    /// The composite's declaration.
    pub composite: Option<&'a Composite>,
    /// What the file declares of the results; dynamic extents are −1.
    pub declared: &'a [Fact],
    /// Symbols and guards.
    pub shapes: &'a mut Assumptions,
}

impl InferCx<'_> {
    /// Operand `i`.
    pub fn input(&self, i: usize) -> Result<&Fact, Fault> {
        self.inputs.get(i).ok_or_else(|| Fault::program(format!("operand {i} is missing")))
    }

    /// Declared element type of result 0.
    pub fn element(&self) -> Result<coreai_asset::ElementType, Fault> {
        self.declared.first().map(|f| f.element).ok_or_else(|| Fault::program("no result"))
    }

    /// Elements of integer operand `i` as expressions.
    pub fn content(&self, i: usize) -> Result<Arc<Vec<Expr>>, Fault> {
        self.input(i)?.content.clone().ok_or_else(|| Fault::needs(i))
    }

    /// Elements of integer operand `i`, all constant.
    pub fn ints(&self, i: usize) -> Result<Vec<i64>, Fault> {
        let input = self.input(i)?;
        match (input.const_ints(), &input.content) {
            (Some(ints), _) => Ok(ints),
            (None, Some(_)) => Err(Fault::unsupported(format!("operand {i} must be a constant"))),
            (None, None) => Err(Fault::needs(i)),
        }
    }

    /// The axis in operand `i`, wrapped once into `rank`.
    pub fn axis(&self, i: usize, rank: usize) -> Result<usize, Fault> {
        match self.ints(i)?.as_slice() {
            [a] => wrap_axis(*a, rank),
            other => Err(Fault::program(format!("one axis expected, found {other:?}"))),
        }
    }

    /// The axes in operand `i`.
    pub fn axes(&self, i: usize, rank: usize) -> Result<Vec<usize>, Fault> {
        let axes = self.ints(i)?.into_iter().map(|a| wrap_axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
        match axes.iter().enumerate().find(|(n, a)| axes[..*n].contains(a)) {
            Some((_, a)) => Err(Fault::program(format!("axis {a} is named twice"))),
            None => Ok(axes),
        }
    }

    /// Makes two extents equal or fails with both.
    pub fn unify(&mut self, a: &Expr, b: &Expr) -> Result<(), Fault> {
        let name = self.name;
        if self.shapes.unify(a, b, &|| format!("{name}: extents {a} and {b} must be equal")) {
            Ok(())
        } else {
            Err(Fault::program(format!("extents {a} and {b} differ")))
        }
    }

    /// NumPy broadcast of two shapes. Extents that are not proven equal are assumed so.
    pub fn broadcast(&mut self, a: &[Expr], b: &[Expr]) -> Result<Vec<Expr>, Fault> {
        let rank = a.len().max(b.len());
        let mut out = Vec::with_capacity(rank);
        for i in 0..rank {
            let x = (i + a.len()).checked_sub(rank).map(|i| &a[i]);
            let y = (i + b.len()).checked_sub(rank).map(|i| &b[i]);
            out.push(match (x, y) {
                (Some(x), None) => x.clone(),
                (None, Some(y)) => y.clone(),
                (Some(x), Some(y)) if x.is(1) => y.clone(),
                (Some(x), Some(y)) => {
                    if !y.is(1) {
                        self.unify(x, y).map_err(|_| {
                            Fault::program(format!("cannot broadcast shapes {a:?} and {b:?}"))
                        })?;
                    }
                    // The constant one is the more useful fact.
                    if y.as_const().is_some() && !y.is(1) { y.clone() } else { x.clone() }
                }
                (None, None) => Expr::one(),
            });
        }
        Ok(out)
    }
}

/// Wraps a negative axis once.
pub fn wrap_axis(axis: i64, rank: usize) -> Result<usize, Fault> {
    let wrapped = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(wrapped)
        .ok()
        .filter(|a| *a < rank)
        .ok_or_else(|| Fault::program(format!("axis {axis} is out of range for rank {rank}")))
}

/// The op table.
pub static OPS: &[&[&dyn Op]] = &[
    elementwise::OPS,
    shape::OPS,
    slice::OPS,
    index::OPS,
    matmul::OPS,
    reduce::OPS,
    conv::OPS,
    scatter::OPS,
    resample::OPS,
    quantized::OPS,
    range::OPS,
    state::OPS,
];

/// The implementation of a serialized op name.
pub fn find(name: &str) -> Option<&'static dyn Op> {
    OPS.iter().flat_map(|family| family.iter()).find(|op| op.names().contains(&name)).copied()
}
