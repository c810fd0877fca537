//! Fused expressions of several instructions: what ops and rules emit in one go.

use coreai_asset::ElementType;

use super::fuse::Lazy;
use super::{Lower, Repr};
use crate::expr::Expr;
use crate::facts::is_integer;
use crate::graph::Val;
use crate::map::{Instr, MapFn, MapOp};
use crate::ops::Fault;
use crate::step::{Kind, Round, View};

/// An operand of an expression.
#[derive(Clone, Debug)]
pub enum Term {
    /// A value, broadcast to the expression's extents. Pending expressions and scalars are inlined.
    Value(Val),
    /// A view, broadcast to the expression's extents.
    View(View),
}

/// The instructions of an expression under construction; the last one is the result.
pub struct Body<'a> {
    instrs: &'a mut Vec<Instr>,
}

impl Body<'_> {
    /// Appends an instruction; returns its number.
    pub fn push(&mut self, op: MapOp, args: &[u16], kind: Kind) -> u16 {
        let mut padded = [0u16; 3];
        for (to, from) in padded.iter_mut().zip(args) {
            *to = *from;
        }
        self.instrs.push(Instr { op, args: padded, kind });
        (self.instrs.len() - 1) as u16
    }

    /// Appends a function of floats that gives a float.
    pub fn float(&mut self, function: MapFn, args: &[u16]) -> u16 {
        self.push(MapOp::Fn(function), args, Kind::F32)
    }

    /// Appends a float.
    pub fn constant(&mut self, value: f32) -> u16 {
        self.push(MapOp::Const(value.to_bits()), &[], Kind::F32)
    }

    /// Kind of an instruction's result.
    pub fn kind(&self, at: u16) -> Kind {
        self.instrs.get(usize::from(at)).map_or(Kind::F32, |i| i.kind)
    }

    /// The value as a float register.
    pub fn as_float(&mut self, at: u16) -> u16 {
        match self.kind(at) {
            Kind::F32 => at,
            _ => self.push(MapOp::Cast(ElementType::F32), &[at], Kind::F32),
        }
    }
}

/// What brings a register back to its dtype after arithmetic: narrow integers wrap, floats of at most 8
/// bits round. Wider floats are rounded where they are stored.
pub fn narrowing(element: ElementType) -> Option<MapOp> {
    use ElementType::*;
    match element {
        F8E5M2 | F8E4M3FN | F4E2M1FN | F8E8M0FN => Some(MapOp::Cast(element)),
        _ if is_integer(element) && element.bits() < 32 => Some(MapOp::Wrap(element)),
        _ => None,
    }
}

impl Lower<'_> {
    /// Defines `out` as what a kernel left in `view`, brought back to its dtype.
    pub fn narrowed(&mut self, out: Val, view: View) -> Result<(), Fault> {
        let Some(op) = narrowing(self.fact(out).element) else {
            self.define(out, view);
            return Ok(());
        };
        let kind = self.plan.buffer(&view).kind;
        self.expression(&[Term::View(view)], out, |body, args| {
            body.push(op, &[args[0]], kind);
        })
    }

    /// Defines `out` as an expression over `terms`: fuses pending operands, and leaves the result
    /// pending when it has one use. `body` appends at least one instruction; it is given the numbers
    /// of the instructions that hold the terms.
    pub fn expression(
        &mut self,
        terms: &[Term],
        out: Val,
        body: impl FnOnce(&mut Body, &[u16]),
    ) -> Result<(), Fault> {
        let dims = self.fact(out).dims.clone();
        let lazy = self.compose(terms, dims, body)?;
        let full = lazy.is_full();
        self.reprs[out.0 as usize] = Some(Repr::Lazy(Box::new(lazy)));
        if self.uses[out.0 as usize] != 1 || full || !self.fuse {
            self.view(out)?;
        }
        Ok(())
    }

    /// Emits an expression over extents `dims` into `dest`, which has them, as a step of its own.
    /// `out` names the dtype that decides the rounding; parts of a larger result are not rounded.
    pub fn expression_into(
        &mut self,
        terms: &[Term],
        dims: &[Expr],
        dest: View,
        out: Option<Val>,
        body: impl FnOnce(&mut Body, &[u16]),
    ) -> Result<(), Fault> {
        let round = out.map_or(Round::None, |v| self.round(self.fact(v).element));
        let lazy = self.compose(terms, dims.to_vec(), body)?;
        self.emit_lazy(lazy, dest, round)
    }

    pub(super) fn compose(
        &mut self,
        terms: &[Term],
        dims: Vec<Expr>,
        body: impl FnOnce(&mut Body, &[u16]),
    ) -> Result<Lazy, Fault> {
        let mut lazy = Lazy { dims, instrs: vec![], scalars: vec![], views: vec![], anchor: None };
        let mut args = Vec::with_capacity(terms.len());
        for (k, term) in terms.iter().enumerate() {
            let to_come = terms.len() - 1 - k;
            args.push(match term {
                Term::Value(v) => self.operand(&mut lazy, *v, to_come)?,
                Term::View(view) => {
                    let kind = self.plan.buffer(view).kind;
                    let view = view.broadcast(&lazy.dims);
                    lazy.load(view, kind)
                }
            });
        }
        body(&mut Body { instrs: &mut lazy.instrs }, &args);
        Ok(lazy)
    }
}
