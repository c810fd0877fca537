//! Resampling.

use crate::step::Kind;

use super::layout::MAX_RANK;
use super::memory::Operand;
use super::{Env, Fault, threads};

/// Where a result coordinate samples an axis: two neighbours and the share of the second.
#[derive(Clone, Copy)]
struct Sample {
    low: usize,
    high: usize,
    share: f32,
}

impl Sample {
    /// Of an axis of `n` elements at a coordinate.
    fn new(coordinate: f32, n: usize, nearest: bool) -> Sample {
        let last = (n - 1) as f32;
        // NaN (a scale of 0) becomes the first element.
        let coordinate = if coordinate > 0.0 { coordinate.min(last) } else { 0.0 };
        if nearest {
            let low = (coordinate.round_ties_even() as usize).min(n - 1);
            return Sample { low, high: low, share: 0.0 };
        }
        let low = (coordinate.floor() as usize).min(n - 1);
        Sample { low, high: (low + 1).min(n - 1), share: coordinate - low as f32 }
    }
}

/// Scale and offset of an axis.
#[derive(Clone, Copy)]
struct Scaling {
    scale: f32,
    offset: f32,
}

impl Scaling {
    fn sample(self, at: usize, n: usize, nearest: bool) -> Sample {
        Sample::new((at as f32 + 0.5 - self.offset) / self.scale - 0.5, n, nearest)
    }
}

/// Corners of the cell around a point with their weights; at most 2 per axis.
struct Corners {
    at: [(usize, f32); 1 << MAX_RANK],
    count: usize,
}

impl Corners {
    fn new() -> Corners {
        Corners { at: [(0, 1.0); 1 << MAX_RANK], count: 1 }
    }

    /// Adds an axis whose neighbours are `step` elements apart.
    fn axis(&mut self, sample: Sample, step: usize) {
        let two = sample.share != 0.0;
        for i in 0..self.count {
            let (base, weight) = self.at[i];
            self.at[i] = (base + sample.low * step, weight * (1.0 - sample.share));
            if two {
                self.at[self.count + i] = (base + sample.high * step, weight * sample.share);
            }
        }
        self.count <<= usize::from(two);
    }
}

/// Elements between neighbours along each axis of dense data.
fn steps(dims: &[usize]) -> [usize; MAX_RANK] {
    let mut step = [1usize; MAX_RANK];
    for axis in (0..dims.len().saturating_sub(1)).rev() {
        step[axis] = step[axis + 1] * dims[axis + 1];
    }
    step
}

/// The `Resize` kernel.
pub(super) fn resize(
    nearest: bool,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let [x, scale, offset] = reads else {
        return Err(Fault::program(format!("resizing needs 3 operands, {} given", reads.len())));
    };
    let rank = dims.len();
    let from = x.dims();
    let floats = |operand: &Operand| operand.kind == Kind::F32 && operand.dims() == [rank];
    if from.len() != rank || !floats(scale) || !floats(offset) {
        return Err(Fault::program(format!(
            "resizing {from:?} by {:?} does not give {dims:?}",
            scale.dims()
        )));
    }
    if out.is_empty() {
        return Ok(());
    }
    if from.contains(&0) {
        return Err(Fault::program(format!("resizing {from:?} has nothing to sample")));
    }
    let (mut scales, mut offsets) = ([0f32; MAX_RANK], [0f32; MAX_RANK]);
    scale.load_f32(0, &mut scales[..rank]);
    offset.load_f32(0, &mut offsets[..rank]);
    let scaling = |axis: usize| Scaling { scale: scales[axis], offset: offsets[axis] };
    let kind = x.kind;
    let values = x.dense(&mut env.scratch.a)?;
    let step = steps(from);
    let last = rank.saturating_sub(1);
    let width = dims.last().copied().unwrap_or(1);
    let columns: Vec<Sample> = (0..width)
        .map(|at| match rank {
            0 => Sample { low: 0, high: 0, share: 0.0 },
            _ => scaling(last).sample(at, from[last], nearest),
        })
        .collect();
    threads::rows(out, width, width * 8, |row, out| {
        // Lines of the source that take part, with their weights.
        let mut lines = Corners::new();
        let mut rest = row;
        for axis in (0..last).rev() {
            lines.axis(scaling(axis).sample(rest % dims[axis], from[axis], nearest), step[axis]);
            rest /= dims[axis];
        }
        if nearest {
            for (o, sample) in out.iter_mut().zip(&columns) {
                *o = values[lines.at[0].0 + sample.low];
            }
            return;
        }
        for (o, sample) in out.iter_mut().zip(&columns) {
            let mut sum = 0.0;
            for &(base, weight) in &lines.at[..lines.count] {
                let (a, b) =
                    (number(kind, values[base + sample.low]), number(kind, values[base + sample.high]));
                let value = if sample.share == 0.0 { a } else { a * (1.0 - sample.share) + b * sample.share };
                sum += if lines.count == 1 { value } else { value * weight };
            }
            *o = bits(kind, sum);
        }
    });
    Ok(())
}

/// The `Sample` kernel.
pub(super) fn sample(
    nearest: bool,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let [x, coordinates] = reads else {
        return Err(Fault::program(format!("sampling needs 2 operands, {} given", reads.len())));
    };
    let from = x.dims();
    let rank = from.len();
    if coordinates.kind != Kind::F32 || coordinates.dims() != [dims.iter().product(), rank] {
        return Err(Fault::program(format!(
            "sampling {from:?} at {:?} does not give {dims:?}",
            coordinates.dims()
        )));
    }
    if out.is_empty() {
        return Ok(());
    }
    if from.contains(&0) {
        return Err(Fault::program(format!("{from:?} has nothing to sample")));
    }
    let kind = x.kind;
    let values = x.dense(&mut env.scratch.a)?;
    let step = steps(from);
    threads::rows(out, 1, 8 << rank, |row, out| {
        let mut point = [0f32; MAX_RANK];
        coordinates.load_f32(row * rank, &mut point[..rank]);
        let mut corners = Corners::new();
        for axis in 0..rank {
            corners.axis(Sample::new(point[axis], from[axis], nearest), step[axis]);
        }
        let corners = &corners.at[..corners.count];
        out[0] = match corners {
            [(at, _)] => values[*at],
            _ => bits(kind, corners.iter().map(|&(at, weight)| weight * number(kind, values[at])).sum()),
        };
    });
    Ok(())
}

fn bits(kind: Kind, x: f32) -> u32 {
    match kind {
        Kind::F32 => x.to_bits(),
        Kind::I32 => x as i32 as u32,
        Kind::U32 | Kind::Bool => x as u32,
    }
}

fn number(kind: Kind, bits: u32) -> f32 {
    match kind {
        Kind::F32 => f32::from_bits(bits),
        Kind::I32 => bits as i32 as f32,
        Kind::U32 | Kind::Bool => bits as f32,
    }
}
