//! `gated_delta_update`: the state of linear attention, token by token.

use coreai_asset::Composite;

use super::super::{Fault, InferCx, Op};
use super::{Rule, composite_of, input, named, only, real};
use crate::expr::Expr;
use crate::facts::Fact;
use crate::lower::Lower;
use crate::lower::expression::Term;
use crate::map::{Instr, MapFn, MapOp, MapProg};
use crate::step::{Kernel, Kind, Norm, Round, View};

/// Most tokens of a call that become steps; longer calls run the body's loop.
const MAX_TOKENS: i64 = 64;
/// Added to the squared length of a query or key, as the body does.
const LENGTH_EPS: f64 = 1e-6;

/// Query, key `[b, h, t, dk]`, value `[b, h, t, dv]`, g, beta `[b, h, t]`, state `[b, h, dk, dv]` →
/// `[b, t, h, dv]` and the new state. For each token, with `q` scaled by `dk^-½`:
/// `δ = (v - k·S·e^g)·beta`, `S = S·e^g + kᵀδ`, result `q·S`.
pub(super) struct GatedDelta;

const NAMES: [&str; 6] = ["query", "key", "value", "g", "beta", "initial_state"];

impl Rule for GatedDelta {
    fn name(&self) -> &'static str {
        "gated_delta_update"
    }

    fn matches(&self, c: &Composite, inputs: &[&Fact]) -> bool {
        let facts: Option<Vec<&Fact>> = NAMES.iter().map(|n| input(c, n).map(|i| inputs[i])).collect();
        let Some([q, k, v, g, beta, state]) = facts.and_then(|f| <[&Fact; 6]>::try_from(f).ok()) else {
            return false;
        };
        let ranks =
            [q, k, v, state].iter().all(|f| f.dims.len() == 4) && [g, beta].iter().all(|f| f.dims.len() == 3);
        let heads = |f: &Fact| f.dims[..2].to_vec();
        only(c, &NAMES)
            && c.bool("use_qk_l2_norm").is_some()
            && inputs.iter().all(|f| real(f))
            && ranks
            && [k, v, g, beta, state].iter().all(|f| heads(f) == heads(q))
            && k.dims[3] == q.dims[3]
            && state.dims[2] == k.dims[3]
            && state.dims[3] == v.dims[3]
            && q.dims[3].as_const().is_some_and(|d| d > 0)
            && q.dims[2].as_const().is_none_or(|t| (1..=MAX_TOKENS).contains(&t))
    }

    fn op(&'static self) -> &'static dyn Op {
        self
    }
}

impl Op for GatedDelta {
    fn names(&self) -> &'static [&'static str] {
        &["gated_delta_update"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let c = cx.composite.ok_or_else(|| Fault::program("not a composite"))?;
        let mut facts = vec![];
        for name in NAMES {
            let at = input(c, name).ok_or_else(|| Fault::program(format!("no operand {name:?}")))?;
            facts.push(cx.input(at)?.clone());
        }
        let [q, k, value, g, beta, state] = facts.as_slice() else {
            return Err(Fault::program("six operands are needed"));
        };
        let t = q.dims[2].clone();
        for other in [k, value, g, beta] {
            cx.unify(&t, &other.dims[2])?;
        }
        // A plan of unknown length serves one token; each other length gets a plan of its own.
        cx.unify(&t, &t.as_const().map_or_else(Expr::one, Expr::from))?;
        let [b, h, _, _] = q.dims.as_slice() else { return Err(Fault::program("four axes are needed")) };
        let dims = vec![b.clone(), t.clone(), h.clone(), value.dims[3].clone()];
        let [first, second] = cx.declared else { return Err(Fault::program("two results are needed")) };
        Ok(vec![Fact::new(first.element, dims), Fact::new(second.element, state.dims.clone())])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let c = composite_of(cx, node)?.clone();
        let mut views = vec![];
        for name in NAMES {
            let v = named(Some(&c), &inputs, name).ok_or_else(|| Fault::program(format!("no {name:?}")))?;
            views.push(cx.view(v)?);
        }
        let Ok([mut q, mut k, v, g, beta, mut state]) = <[View; 6]>::try_from(views) else {
            return Err(Fault::program("six operands are needed"));
        };
        let tokens = q.dims[2].as_const().unwrap_or(1);
        let dk = q.dims[3].as_const().unwrap_or(1) as f64;
        let mut scale = dk.sqrt().recip() as f32;
        if c.bool("use_qk_l2_norm").unwrap_or(false) {
            // x / √(Σx² + e) is the RMS norm with e/d, divided by √d.
            let norm = Norm { center: false, eps: (LENGTH_EPS / dk) as f32 };
            for (view, gain) in [(&mut q, dk.recip()), (&mut k, dk.sqrt().recip())] {
                let gain = cx.host_floats(&[gain as f32], vec![Expr::one()]).broadcast(&view.dims);
                let unit = cx.temp_of(Kind::F32, view.dims.clone());
                cx.step_raw(Kernel::Norm(norm), vec![view.clone(), gain], unit.clone());
                *view = unit;
            }
            scale = 1.0;
        }
        let (g, beta) = (g.expand(3), beta.expand(3)); // [b, h, t, 1]
        let (result, _) = cx.temp(outputs[0])?; // [b, t, h, dv]
        let by_head = result.permute(&[0, 2, 1, 3]);
        for token in 0..tokens {
            let at = |x: &View| x.slice(2, &Expr::from(token), &Expr::one(), 1);
            let (query, key, value) = (at(&q), at(&k), at(&v));
            let row = value.dims.clone(); // [b, h, 1, dv]
            let delta = cx.temp_of(Kind::F32, row.clone());
            let reads =
                vec![key.clone(), state.clone(), value, at(&g).broadcast(&row), at(&beta).broadcast(&row)];
            cx.step_raw(product(Some(correction())), reads, delta.clone());
            let next = cx.temp_of(Kind::F32, state.dims.clone());
            let column = key.permute(&[0, 1, 3, 2]); // [b, h, dk, 1]
            let terms = [state.clone(), at(&g), column, delta].map(Term::View);
            cx.expression_into(&terms, &state.dims, next.clone(), None, |body, args| {
                let decay = body.float(MapFn::Exp, &[args[1]]);
                let kept = body.float(MapFn::Mul, &[args[0], decay]);
                let added = body.float(MapFn::Mul, &[args[2], args[3]]);
                body.float(MapFn::Add, &[kept, added]);
            })?;
            let dest = at(&by_head);
            let scaled = (scale != 1.0).then(|| times(scale));
            cx.step_into(product(scaled), vec![query, next.clone()], dest, outputs[0]);
            state = next;
        }
        cx.define(outputs[0], result);
        // Results come from the state in float32; only the returned one has the declared dtype.
        let (rounded, round) = cx.temp(outputs[1])?;
        if round == Round::None {
            cx.define(outputs[1], state);
        } else {
            cx.step_into(Kernel::Map(MapProg::copy(Kind::F32)), vec![state], rounded.clone(), outputs[1]);
            cx.define(outputs[1], rounded);
        }
        Ok(())
    }
}

fn product(epilogue: Option<MapProg>) -> Kernel {
    Kernel::MatMul { weights: 1, norm: None, epilogue }
}

fn program(list: &[(MapOp, [u16; 3])]) -> MapProg {
    let instrs = list.iter().map(|(op, args)| Instr { op: *op, args: *args, kind: Kind::F32 }).collect();
    MapProg { instrs, scalars: vec![] }
}

/// `(v - acc·e^g)·beta` over loads acc, v, g, beta.
fn correction() -> MapProg {
    program(&[
        (MapOp::Load(0), [0; 3]),
        (MapOp::Load(1), [0; 3]),
        (MapOp::Load(2), [0; 3]),
        (MapOp::Load(3), [0; 3]),
        (MapOp::Fn(MapFn::Exp), [2, 0, 0]),
        (MapOp::Fn(MapFn::Mul), [0, 4, 0]),
        (MapOp::Fn(MapFn::Sub), [1, 5, 0]),
        (MapOp::Fn(MapFn::Mul), [6, 3, 0]),
    ])
}

fn times(scale: f32) -> MapProg {
    program(&[
        (MapOp::Load(0), [0; 3]),
        (MapOp::Const(scale.to_bits()), [0; 3]),
        (MapOp::Fn(MapFn::Mul), [0, 1, 0]),
    ])
}
