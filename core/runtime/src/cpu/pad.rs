//! Padding.

use crate::expr::Expr;
use crate::step::PadMode;

use super::layout::MAX_RANK;
use super::memory::{Operand, extent};
use super::reduce::single;
use super::{Env, Fault, threads};

/// Where an element of the result comes from along one axis; `None` is the constant. `n` is not 0
/// unless the mode is constant.
fn source(mode: PadMode, at: usize, before: usize, n: usize) -> Option<usize> {
    let position = at as i64 - before as i64;
    let n = n as i64;
    let inside = (0..n).contains(&position);
    let reflected = |period: i64, mirror: i64| {
        let phase = position.rem_euclid(period.max(1));
        if phase < n { phase } else { mirror - phase }
    };
    let from = match mode {
        PadMode::Constant => return inside.then_some(position as usize),
        PadMode::Circular => position.rem_euclid(n),
        PadMode::Replicate => position.clamp(0, n - 1),
        PadMode::Reflect => reflected(2 * (n - 1), 2 * (n - 1)),
        PadMode::Symmetric => reflected(2 * n, 2 * n - 1),
    };
    Some(from as usize)
}

/// The `Pad` kernel.
pub(super) fn pad(
    mode: PadMode,
    before: &[Expr],
    value: u32,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let x = single(reads)?;
    let rank = dims.len();
    let mut first = [0usize; MAX_RANK];
    for (first, before) in first.iter_mut().zip(before) {
        *first = extent(before, env.values)?;
    }
    let fits = |axis: usize| first[axis].checked_add(x.dim(axis)).is_some_and(|end| end <= dims[axis]);
    if x.dims().len() != rank || before.len() != rank || !(0..rank).all(fits) {
        return Err(Fault::program(format!(
            "padding {:?} by {:?} does not give {dims:?}",
            x.dims(),
            &first[..rank]
        )));
    }
    if mode != PadMode::Constant && x.layout.count() == 0 && !out.is_empty() {
        return Err(Fault::program(format!("padding {:?} has nothing to repeat", x.dims())));
    }
    if rank == 0 {
        x.load(0, out);
        return Ok(());
    }
    let last = rank - 1;
    let (n, shift) = (x.dim(last), first[last]);
    if let (PadMode::Constant, true, Some(words)) = (mode, rank >= 2, x.words()) {
        pad_planes(words, x.dims(), &first[..rank], value, dims, out);
        return Ok(());
    }
    threads::rows(out, dims[last], dims[last], |row, out| {
        let mut rest = row;
        let mut coords = [0usize; MAX_RANK];
        for axis in (0..last).rev() {
            match source(mode, rest % dims[axis], first[axis], x.dim(axis)) {
                Some(from) => coords[axis] = from,
                None => return out.fill(value),
            }
            rest /= dims[axis];
        }
        let line = (0..last).fold(0, |line, axis| line * x.dim(axis) + coords[axis]);
        x.load(line * n, &mut out[shift..shift + n]);
        for at in (0..shift).chain(shift + n..out.len()) {
            out[at] = source(mode, at, shift, n).map_or(value, |from| out[shift + from]);
        }
    });
    Ok(())
}

/// Pads row-major words of rank 2 and more with a constant, by planes of the last two axes.
fn pad_planes(x: &[u32], have: &[usize], first: &[usize], value: u32, dims: &[usize], out: &mut [u32]) {
    let outer = dims.len() - 2;
    let (h, w) = (have[outer], have[outer + 1]);
    let (above, left) = (first[outer], first[outer + 1]);
    let (lines, width) = (dims[outer], dims[outer + 1]);
    threads::rows(out, lines * width, lines * width, |plane, out| {
        let (mut rest, mut from, mut step) = (plane, 0, 1);
        for axis in (0..outer).rev() {
            match source(PadMode::Constant, rest % dims[axis], first[axis], have[axis]) {
                Some(at) => from += at * step,
                None => return out.fill(value),
            }
            rest /= dims[axis];
            step *= have[axis];
        }
        if h == 0 || w == 0 {
            return out.fill(value);
        }
        let x = &x[from * h * w..(from + 1) * h * w];
        let (top, rest) = out.split_at_mut(above * width);
        let (middle, bottom) = rest.split_at_mut(h * width);
        top.fill(value);
        for (line, x) in middle.chunks_exact_mut(width).zip(x.chunks_exact(w)) {
            let (before, line) = line.split_at_mut(left);
            let (line, after) = line.split_at_mut(w);
            before.fill(value);
            line.copy_from_slice(x);
            after.fill(value);
        }
        bottom.fill(value);
    });
}
