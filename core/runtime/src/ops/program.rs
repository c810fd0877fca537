//! Stand-ins for nodes that no plan holds.

use super::{Fault, InferCx, Op};
use crate::facts::Fact;
use crate::lower::Lower;

/// An op that only the host evaluates.
pub struct OnHost;

impl Op for OnHost {
    fn names(&self) -> &'static [&'static str] {
        &[]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        Err(Fault::unsupported(format!("{} has no kernel", cx.name)))
    }

    fn lower(&self, _: &mut Lower, _: usize) -> Result<(), Fault> {
        Err(Fault::unsupported("the op has no kernel"))
    }
}

/// `if`, `while`: their regions are programs. Never merged with an equal node: regions may have effects.
pub struct Control;

impl Op for Control {
    fn names(&self) -> &'static [&'static str] {
        &[]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        Err(Fault::program(format!("{} is not typed by its operands", cx.name)))
    }

    fn lower(&self, _: &mut Lower, _: usize) -> Result<(), Fault> {
        Err(Fault::unsupported("control flow inside a plan"))
    }

    fn effects(&self) -> bool {
        true
    }
}
