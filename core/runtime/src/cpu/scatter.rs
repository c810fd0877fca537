//! Scatters: a copy, then the updates one after the other.

use crate::step::{Kind, ScatterMode};

use super::gather::Offender;
use super::memory::Operand;
use super::{Env, Fault, threads};

/// Data, index and updates of a scatter into `dims`.
fn operands<'b, 'a>(reads: &'b [Operand<'a>], dims: &[usize]) -> Result<[&'b Operand<'a>; 3], Fault> {
    match reads {
        [x, index, updates] if matches!(index.kind, Kind::I32 | Kind::U32) && x.dims() == dims => {
            Ok([x, index, updates])
        }
        _ => Err(Fault::program("a scatter needs data, integer indices and updates".into())),
    }
}

fn copy(x: &Operand, out: &mut [u32]) {
    threads::chunks(out, 4096, 2, |at, piece| x.load(at, piece));
}

/// The `ScatterAlong` kernel.
pub(super) fn scatter_along(
    axis: usize,
    mode: ScatterMode,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let [x, index, updates] = operands(reads, dims)?;
    let taken = index.dims();
    let fits = taken.len() == dims.len()
        && taken.iter().zip(dims).enumerate().all(|(i, (t, d))| i == axis || t == d);
    if axis >= dims.len() || !fits || updates.dims() != taken {
        return Err(Fault::program(format!(
            "scattering {:?} by {taken:?} along {axis} of {dims:?}",
            updates.dims()
        )));
    }
    copy(x, out);
    if index.layout.count() == 0 {
        return Ok(());
    }
    let extent = dims[axis];
    if extent == 0 {
        return Err(Fault::Index { index: 0, extent: 0 });
    }
    let inner: usize = dims[axis + 1..].iter().product();
    let indices = index.dense(&mut env.scratch.a)?;
    let updates = updates.dense(&mut env.scratch.b)?;
    let offender = Offender::new();
    for (at, (&index, &update)) in indices.iter().zip(updates).enumerate() {
        let (outer, column) = (at / (taken[axis] * inner), at % inner);
        let target = &mut out[(outer * extent + offender.wrap(index as i32, extent)) * inner + column];
        *target = combine(mode, x.kind, *target, update);
    }
    offender.check()
}

/// The `ScatterNd` kernel.
pub(super) fn scatter_nd(
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let [x, index, updates] = operands(reads, dims)?;
    let parts = index.dims().split_last().filter(|(q, _)| **q <= dims.len());
    let Some((&q, outer)) = parts else {
        return Err(Fault::program(format!("scattering into {dims:?} by {:?}", index.dims())));
    };
    let (updated, rest) = (updates.dims(), &dims[q..]);
    if updated.len() != outer.len() + rest.len()
        || updated[..outer.len()] != *outer
        || updated[outer.len()..] != *rest
    {
        return Err(Fault::program(format!("scattering {updated:?} by {:?} into {dims:?}", index.dims())));
    }
    copy(x, out);
    if updates.layout.count() == 0 {
        return Ok(());
    }
    if let Some(&extent) = dims[..q].iter().find(|&&d| d == 0) {
        return Err(Fault::Index { index: 0, extent: extent as i64 });
    }
    let width: usize = rest.iter().product();
    let indices = index.dense(&mut env.scratch.a)?;
    let offender = Offender::new();
    for row in 0..outer.iter().product() {
        let mut at = 0;
        for (&index, &extent) in indices[row * q..(row + 1) * q].iter().zip(dims) {
            at = at * extent + offender.wrap(index as i32, extent);
        }
        updates.load(row * width, &mut out[at * width..(at + 1) * width]);
    }
    offender.check()
}

/// `old` with an update. Integers wrap; a division by 0 gives 0.
fn combine(mode: ScatterMode, kind: Kind, old: u32, new: u32) -> u32 {
    use ScatterMode::*;
    match (kind, mode) {
        (_, Update) => new,
        (Kind::F32, _) => {
            let (a, b) = (f32::from_bits(old), f32::from_bits(new));
            let value = match mode {
                Add => a + b,
                Sub => a - b,
                Mul => a * b,
                Div => a / b,
                // Of equal numbers (zeros of either sign) the largest is the update, the smallest what is there.
                Max if b >= a => b,
                Min if b < a => b,
                _ => a,
            };
            value.to_bits()
        }
        (Kind::Bool, Add | Max) => old | new,
        (Kind::Bool, Sub) => old ^ new,
        (Kind::Bool, _) => old & new,
        (_, Add) => old.wrapping_add(new),
        (_, Sub) => old.wrapping_sub(new),
        (_, Mul) => old.wrapping_mul(new),
        (Kind::I32, Div) if new != 0 => (old as i32).wrapping_div(new as i32) as u32,
        (Kind::I32, Max) => (old as i32).max(new as i32) as u32,
        (Kind::I32, Min) => (old as i32).min(new as i32) as u32,
        (_, Div) => old.checked_div(new).unwrap_or(0),
        (_, Max) => old.max(new),
        (_, Min) => old.min(new),
    }
}
