//! `lut_to_dense`: `out[p] = lut[block(p), indices[p]]`, vectors of `V` along `axis`.

use coreai_asset::ElementType;

#[cfg(test)]
use super::super::cases::{Call, Case};
use super::super::{Fault, InferCx, Op, constant};
use super::{Axis, axes, count, extents, shift_scale, split, spread};
use crate::expr::Expr;
use crate::facts::{Fact, contiguous};
use crate::graph::Val;
use crate::lower::Lower;
use crate::step::{Kernel, View};

pub(super) struct LutToDense;

impl Op for LutToDense {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.lut_to_dense_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let (indices, lut) = (cx.input(0)?.clone(), cx.input(1)?.clone());
        let rank = indices.dims.len();
        if lut.dims.len() != rank + 2 {
            return Err(Fault::program("the table needs two axes more than the indices"));
        }
        axes(cx.shapes, &indices.dims, &lut.dims[..rank])?;
        let axis = cx.axis(2, rank.max(1))?;
        let mut dims = indices.dims;
        if rank > 0 {
            dims[axis] = &dims[axis] * &lut.dims[rank + 1];
        }
        Ok(vec![Fact::new(lut.element, dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let rank = cx.fact(inputs[0]).dims.len();
        let axis = cx.fact(inputs[2]).const_ints().unwrap_or_default();
        let axis = super::super::wrap_axis(axis.first().copied().unwrap_or(0), rank.max(1))?;
        if cx
            .readers(outputs[0])
            .is_some_and(|all| all.into_iter().all(|n| shift_scale::packs_data(cx, n, outputs[0])))
        {
            // They read the indices.
            return Ok(());
        }
        match expanded(cx, inputs[0], inputs[1], axis)? {
            Some(values) => {
                let to = cx.fact(outputs[0]).element.name().to_string();
                cx.note("expanded_weight", format!("palettized weights are expanded to {to}"));
                cx.define_host(outputs[0], &values)
            }
            None => gathered(cx, inputs[0], inputs[1], axis, outputs[0]),
        }
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        use coreai_asset::ElementType::{F16, F32, UI4, UI8};
        Case::each(self.names(), |d| {
            let (code, result) = (d.element(&[UI8, UI4]), d.element(&[F32, F16]));
            let (dims, blocks) = super::blocked(d);
            let [entries, vector] = [16, 2].map(|n| 1 + d.rng.below(n));
            let codes = d.integers(code, &dims, 0, entries as i64 - 1);
            let table = [blocks, vec![entries, vector]].concat();
            let table = if d.rng.once_in(2) { d.parameter(result, &table) } else { d.data(result, &table) };
            let (_, axis) = d.axis(dims.len());
            Call::new(vec![codes, table, axis], result)
        })
    }
}

/// Indices of at most 6 bits and what each stands for, of a lookup in one table of small integers.
pub(super) fn entries(cx: &Lower, looked_up: Val) -> Result<Option<(Val, Vec<i16>)>, Fault> {
    use ElementType::{SI8, UI1, UI2, UI3, UI4, UI6};
    let Some(node) = cx.producer(looked_up).filter(|node| LutToDense.names().contains(&&*node.name)) else {
        return Ok(None);
    };
    let (indices, lut) = match node.inputs.as_slice() {
        [indices, lut, ..] => (*indices, *lut),
        _ => return Ok(None),
    };
    let (codes, table) = (cx.fact(indices), cx.fact(lut));
    let bits = match codes.element {
        UI1 | UI2 | UI3 | UI4 | UI6 => codes.element.bits(),
        _ => return Ok(None),
    };
    let one = table.dims.iter().rev().enumerate().all(|(i, d)| i == 1 || d.is(1));
    if table.element != SI8
        || !one
        || codes.constant.is_none()
        || table.elements().as_const().is_none_or(|n| n > 64)
    {
        return Ok(None);
    }
    let Some(values) = cx.known_floats(lut)? else { return Ok(None) };
    // As in a lookup, codes beyond the table stand for its last entry.
    let Some(last) = values.len().checked_sub(1) else { return Ok(None) };
    Ok(Some((indices, (0..1usize << bits).map(|code| values[code.min(last)] as i16).collect())))
}

/// The looked-up values, when indices and table are known to the host.
pub(super) fn expanded(cx: &Lower, indices: Val, lut: Val, axis: usize) -> Result<Option<Vec<f32>>, Fault> {
    let index_fact = cx.fact(indices).clone();
    let (Some(index_data), Some(values)) = (&index_fact.constant, cx.known_floats(lut)?) else {
        return Ok(None);
    };
    let (dims, table) = (extents(&index_fact)?, extents(cx.fact(lut))?);
    let count = usize::try_from(count(&dims)).unwrap_or(usize::MAX);
    let codes = constant::integers(cx.asset, &index_fact, index_data, count)?;
    look_up(&codes, &dims, &values, &table, axis).map(Some)
}

/// `table` is `[b.., P, V]` over codes `[a..]`.
pub(super) fn look_up(
    codes: &[i64],
    dims: &[u64],
    values: &[f32],
    table: &[u64],
    axis: usize,
) -> Result<Vec<f32>, Fault> {
    let rank = dims.len();
    let (Some(&entries), Some(&width)) = (table.get(rank), table.get(rank + 1)) else {
        return Err(Fault::program("the table needs two axes more than the indices"));
    };
    if dims.iter().zip(table).any(|(d, t)| *t == 0 || d % t != 0) || entries == 0 || width == 0 {
        return Err(Fault::program(format!("palettes {table:?} do not divide indices {dims:?}")));
    }
    let mut out_dims = dims.to_vec();
    if let Some(extent) = out_dims.get_mut(axis) {
        *extent = extent.saturating_mul(width);
    }
    let total = usize::try_from(count(&out_dims)).ok().filter(|n| *n <= constant::MAX_EXPANDED_BYTES / 4);
    let Some(total) = total else {
        return Err(Fault::unsupported("palettized weights too large to expand"));
    };
    let mut out = vec![0f32; total];
    for (flat, value) in out.iter_mut().enumerate() {
        let mut rest = flat as u64;
        let (mut code_at, mut code_step, mut group, mut group_step, mut lane) =
            (0u64, 1u64, 0u64, 1u64, 0u64);
        for a in (0..rank).rev() {
            let mut i = rest % out_dims[a];
            rest /= out_dims[a];
            if a == axis {
                lane = i % width;
                i /= width;
            }
            code_at += i * code_step;
            code_step *= dims[a];
            group += i / (dims[a] / table[a]) * group_step;
            group_step *= table[a];
        }
        let code = codes.get(code_at as usize).copied().unwrap_or(0) as u64;
        let at = (group * entries + code.min(entries - 1)) * width + lane;
        *value = values.get(at as usize).copied().unwrap_or(0.0);
    }
    Ok(out)
}

/// A gather from the table, seen with its blocks repeated, along the axis of its entries.
fn gathered(cx: &mut Lower, indices: Val, lut: Val, axis: usize, out: Val) -> Result<(), Fault> {
    let dims = cx.fact(indices).dims.clone();
    let rank = dims.len();
    let table_dims = cx.fact(lut).dims.clone();
    let cuts = axes(&mut cx.shapes, &dims, &table_dims[..rank])?;
    let width = table_dims[rank + 1].clone();
    let (index, table) = (cx.view(indices)?, cx.view(lut)?);
    let each = vec![Axis::Each; rank];
    // [a.. in blocks, P, V]
    let data = spread(&table, &cuts, &cuts, &dims, 2);
    // [a.. in blocks, 1, V], the same for all V
    let mut at = spread(&index, &each, &cuts, &dims, 0);
    at.dims.extend([Expr::one(), width.clone()]);
    at.strides.extend([Expr::zero(), Expr::zero()]);
    // The result [.., a_axis, V, ..] with V moved to the end.
    let (temp, _) = cx.temp(out)?;
    let mut wide = dims.clone();
    if rank > 0 {
        wide.insert(axis + 1, width.clone());
    }
    let mut strides = contiguous(&wide);
    let lane = if rank > 0 { strides.remove(axis + 1) } else { Expr::one() };
    let whole = View { buffer: temp.buffer, offset: Expr::zero(), dims: dims.clone(), strides };
    let mut dest = spread(&whole, &each, &cuts, &dims, 0);
    dest.dims.extend([Expr::one(), width]);
    dest.strides.extend([Expr::zero(), lane]);
    let entries = split(&dims, &cuts).len();
    cx.step_into(Kernel::GatherAlong { axis: entries }, vec![data, at], dest, out);
    cx.define(out, temp);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_lie_along_the_axis() {
        // Two palettes along axis 0, two entries of two values each.
        let table = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let found = look_up(&[0, 1], &[2, 1], &table, &[2, 1, 2, 2], 1).expect("a 2x2 weight");
        assert_eq!(found, [1.0, 2.0, 7.0, 8.0]);
        let found = look_up(&[0, 1], &[2, 1], &table, &[2, 1, 2, 2], 0).expect("a 4x1 weight");
        assert_eq!(found, [1.0, 2.0, 7.0, 8.0]);
        assert!(look_up(&[0; 3], &[3, 1], &table, &[2, 1, 2, 2], 0).is_err());
    }
}
