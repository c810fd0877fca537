//! `gather_mm`: products with matrices chosen by indices (mixtures of experts).

use coreai_asset::Composite;

use super::super::{Fault, InferCx, Op};
use super::{Rule, composite_of, flattened, input, named, only, real};
use crate::expr::Expr;
use crate::facts::{Fact, is_integer, product};
use crate::graph::Val;
use crate::lower::Lower;
use crate::step::{Kernel, Kind, View};

/// `rhs [batch.., e, k, n]` and `rhs_indices [i..]` give matrices `[batch.., i.., k, n]`; `lhs` likewise
/// when it has indices; their product broadcasts.
pub(super) struct GatherMatMul;

fn batch_axes(c: &Composite) -> usize {
    c.i64("num_batch_axes").and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
}

/// Extents after gathering along axis `batch`.
fn gathered_dims(x: &[Expr], index: Option<&[Expr]>, batch: usize) -> Vec<Expr> {
    match index {
        Some(index) => [&x[..batch], index, &x[batch + 1..]].concat(),
        None => x.to_vec(),
    }
}

/// From this many chosen matrices on it is cheaper to multiply by all `experts` and to select: choosing
/// reads and writes a whole matrix for each, and holds all of them.
fn many(experts: i64) -> i64 {
    experts.saturating_mul(2)
}

/// The number of experts when products by all of them serve: `rhs` is chosen, `lhs` is not and has no
/// batch axes. Of one expert there is nothing to select.
fn experts(c: &Composite, lhs: &Fact, rhs: &Fact, index: Option<&Fact>) -> Option<i64> {
    let index = index.filter(|_| input(c, "lhs_indices").is_none())?;
    let experts =
        (lhs.dims.len() <= index.dims.len() + 2).then(|| rhs.dims[batch_axes(c)].as_const()).flatten();
    experts.filter(|experts| *experts > 1)
}

impl Rule for GatherMatMul {
    fn name(&self) -> &'static str {
        "gather_mm"
    }

    fn matches(&self, c: &Composite, inputs: &[&Fact]) -> bool {
        let (Some(lhs), Some(rhs)) = (input(c, "lhs"), input(c, "rhs")) else { return false };
        let (lhs, rhs) = (inputs[lhs], inputs[rhs]);
        let batch = batch_axes(c);
        let gathers = |name: &str, x: &Fact| match input(c, name) {
            Some(at) => is_integer(inputs[at].element) && x.dims.len() >= batch + 3,
            None => x.dims.len() >= 2,
        };
        only(c, &["lhs", "rhs", "lhs_indices", "rhs_indices"])
            && real(lhs)
            && real(rhs)
            && gathers("lhs_indices", lhs)
            && gathers("rhs_indices", rhs)
    }

    fn op(&'static self) -> &'static dyn Op {
        self
    }
}

impl Op for GatherMatMul {
    fn names(&self) -> &'static [&'static str] {
        &["gather_mm"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let c = cx.composite.ok_or_else(|| Fault::program("not a composite"))?;
        let fact = |name: &str| input(c, name).map(|at| cx.input(at).cloned()).transpose();
        let (Some(lhs), Some(rhs)) = (fact("lhs")?, fact("rhs")?) else {
            return Err(Fault::program("lhs and rhs are needed"));
        };
        let (left, right) = (fact("lhs_indices")?, fact("rhs_indices")?);
        let batch = batch_axes(c);
        let dims_of = |f: &Option<Fact>| f.as_ref().map(|f| f.dims.clone());
        let a = gathered_dims(&lhs.dims, dims_of(&left).as_deref(), batch);
        let b = gathered_dims(&rhs.dims, dims_of(&right).as_deref(), batch);
        let (ra, rb) = (a.len(), b.len());
        cx.unify(&a[ra - 1], &b[rb - 2])?;
        let mut dims = cx.broadcast(&a[..ra - 2], &b[..rb - 2])?;
        dims.extend([a[ra - 2].clone(), b[rb - 1].clone()]);
        // A plan of unknown extents is made for many rows; few rows get a plan of their own.
        if let (Some(experts), Some(index)) = (experts(c, &lhs, &rhs, right.as_ref()), &right) {
            let chosen = product(&index.dims);
            if chosen.as_const().is_none() {
                let why = || format!("gather_mm: at least {} chosen matrices", many(experts));
                cx.shapes.require_nonnegative(&(&chosen - &Expr::from(many(experts))), &why);
            }
        }
        Ok(vec![Fact::new(cx.element()?, dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let c = composite_of(cx, node)?.clone();
        let operand = |name: &str| named(Some(&c), &inputs, name);
        let (Some(lhs), Some(rhs)) = (operand("lhs"), operand("rhs")) else {
            return Err(Fault::program("lhs and rhs are needed"));
        };
        let batch = batch_axes(&c);
        if let Some(index) = operand("rhs_indices") {
            let facts = [lhs, rhs, index].map(|v| cx.fact(v).clone());
            let chosen = product(&facts[2].dims);
            if let Some(experts) = experts(&c, &facts[0], &facts[1], Some(&facts[2]))
                && cx.shapes.bounds(&(&chosen - &Expr::from(many(experts)))).min >= 0
            {
                return by_all(cx, lhs, rhs, index, batch, outputs[0]);
            }
        }
        let a = gathered(cx, lhs, operand("lhs_indices"), batch)?;
        let b = gathered(cx, rhs, operand("rhs_indices"), batch)?;
        let dims = cx.fact(outputs[0]).dims.clone();
        let lead = &dims[..dims.len() - 2];
        let a = a.broadcast(&[lead, &a.dims[a.dims.len() - 2..]].concat());
        let b = b.broadcast(&[lead, &b.dims[b.dims.len() - 2..]].concat());
        let kernel = Kernel::MatMul { weights: 1, norm: None, epilogue: None };
        cx.anchored(kernel, vec![a, b], dims, outputs[0])
    }
}

/// `[batch.., e, rest..]` gathered along `e`: `[batch.., i.., rest..]`.
fn gathered(cx: &mut Lower, x: Val, index: Option<Val>, batch: usize) -> Result<View, Fault> {
    let x = cx.view(x)?;
    let Some(index) = index else { return Ok(x) };
    let index = cx.view(index)?;
    let count = index.dims.len();
    let first: Vec<usize> = std::iter::once(batch).chain(0..batch).chain(batch + 1..x.dims.len()).collect();
    let table = x.permute(&first); // [e, batch.., rest..]
    let picked = [index.dims.as_slice(), &table.dims[1..]].concat();
    let temp = cx.temp_of(Kind::F32, picked); // [i.., batch.., rest..]
    cx.step_raw(Kernel::GatherNd, vec![table, index.expand(count)], temp.clone());
    let order: Vec<usize> =
        (count..count + batch).chain(0..count).chain(count + batch..temp.dims.len()).collect();
    Ok(temp.permute(&order))
}

/// Multiplies all rows by all matrices and selects: `y [batch.., e, rows, n]`, then the chosen `e`.
fn by_all(cx: &mut Lower, lhs: Val, rhs: Val, index: Val, batch: usize, out: Val) -> Result<(), Fault> {
    let (a, b, index) = (cx.view(lhs)?, cx.view(rhs)?, cx.view(index)?);
    let a = (a.dims.len()..index.dims.len() + 2).fold(a, |a, _| a.expand(0)); // [l.., m, k]
    let count = index.dims.len();
    let (m, k) = (a.dims[count].clone(), a.dims[count + 1].clone());
    let n = b.dims[b.dims.len() - 1].clone();
    let lead = b.dims[..=batch].to_vec(); // [batch.., e]
    let outer = a.dims[..count].to_vec();
    let rows = product(&a.dims[..=count]);
    let flat = flattened(cx, a, &[rows.clone(), k.clone()]);
    let flat = flat.broadcast(&[lead.as_slice(), &[rows.clone(), k]].concat());
    let y = cx.temp_of(Kind::F32, [lead.as_slice(), &[rows, n.clone()]].concat());
    let kernel = Kernel::MatMul { weights: 1, norm: None, epilogue: None };
    cx.step_raw(kernel, vec![flat, b], y.clone());
    // y as [batch.., e, i.., m, n], rows repeated where l is 1
    let apart = View::whole(y.buffer, [lead.as_slice(), &outer, &[m.clone(), n.clone()]].concat());
    let table = apart.broadcast(&[lead.as_slice(), &index.dims, &[m.clone(), n.clone()]].concat());
    let mut dims = table.dims.clone();
    dims[batch] = Expr::one();
    let chosen = index.expand(count).expand(count).broadcast(&dims);
    let (temp, _) = cx.temp(out)?;
    cx.step_into(
        Kernel::GatherAlong { axis: batch },
        vec![table, chosen],
        View::whole(temp.buffer, dims),
        out,
    );
    cx.define(out, temp);
    Ok(())
}
