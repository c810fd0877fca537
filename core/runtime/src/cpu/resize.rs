//! Resampling.

use crate::step::Kind;

use super::layout::MAX_RANK;
use super::memory::Operand;
use super::reduce::single;
use super::{Env, Fault, threads};

/// Where a result coordinate samples an axis: two neighbours and the share of the second.
#[derive(Clone, Copy)]
struct Sample {
    low: usize,
    high: usize,
    share: f32,
}

impl Sample {
    fn new(at: usize, n: usize, scale: f32, offset: f32, nearest: bool) -> Sample {
        let last = (n - 1) as f32;
        let coordinate = (at as f32 + 0.5 - offset) / scale - 0.5;
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

/// The `Resize` kernel. Integers are interpolated as floats and truncated.
pub(super) fn resize(
    nearest: bool,
    scale: &[f32],
    offset: &[f32],
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let x = single(reads)?;
    let rank = dims.len();
    let from = x.dims();
    if from.len() != rank || scale.len() != rank || offset.len() != rank {
        return Err(Fault::program(format!("resizing {from:?} by {scale:?} does not give {dims:?}")));
    }
    if out.is_empty() {
        return Ok(());
    }
    if from.contains(&0) {
        return Err(Fault::program(format!("resizing {from:?} has nothing to sample")));
    }
    let kind = x.kind;
    let values = x.dense(&mut env.scratch.a)?;
    // Elements between neighbours along each axis of the dense data.
    let mut step = [1usize; MAX_RANK];
    for axis in (0..rank.saturating_sub(1)).rev() {
        step[axis] = step[axis + 1] * from[axis + 1];
    }
    let last = rank.saturating_sub(1);
    let width = dims.last().copied().unwrap_or(1);
    let columns: Vec<Sample> = (0..width)
        .map(|at| match rank {
            0 => Sample { low: 0, high: 0, share: 0.0 },
            _ => Sample::new(at, from[last], scale[last], offset[last], nearest),
        })
        .collect();
    threads::rows(out, width, width * 8, |row, out| {
        // Lines of the source that take part, with their weights: at most 2 per outer axis.
        let mut lines = [(0usize, 1f32); 1 << (MAX_RANK - 1)];
        let mut count = 1;
        let mut rest = row;
        for axis in (0..last).rev() {
            let sample = Sample::new(rest % dims[axis], from[axis], scale[axis], offset[axis], nearest);
            rest /= dims[axis];
            for i in 0..count {
                let (base, weight) = lines[i];
                lines[i] = (base + sample.low * step[axis], weight * (1.0 - sample.share));
                lines[count + i] = (base + sample.high * step[axis], weight * sample.share);
            }
            count *= if sample.share == 0.0 { 1 } else { 2 };
        }
        if nearest {
            for (o, sample) in out.iter_mut().zip(&columns) {
                *o = values[lines[0].0 + sample.low];
            }
            return;
        }
        for (o, sample) in out.iter_mut().zip(&columns) {
            let mut sum = 0.0;
            for &(base, weight) in &lines[..count] {
                let (a, b) =
                    (number(kind, values[base + sample.low]), number(kind, values[base + sample.high]));
                let value = if sample.share == 0.0 { a } else { a * (1.0 - sample.share) + b * sample.share };
                sum += if count == 1 { value } else { value * weight };
            }
            *o = match kind {
                Kind::F32 => sum.to_bits(),
                Kind::I32 => sum as i32 as u32,
                Kind::U32 | Kind::Bool => sum as u32,
            };
        }
    });
    Ok(())
}

fn number(kind: Kind, bits: u32) -> f32 {
    match kind {
        Kind::F32 => f32::from_bits(bits),
        Kind::I32 => bits as i32 as f32,
        Kind::U32 | Kind::Bool => bits as f32,
    }
}
