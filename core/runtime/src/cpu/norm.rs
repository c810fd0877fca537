//! Normalization and softmax over the last axis.

use crate::step::{Kind, Norm};

use super::memory::Operand;
use super::{Env, Fault, simd, threads};

/// Loads a row of parameters for the row of elements that starts at a number.
type Parameters<'a> = dyn Fn(usize, &mut [f32]) + Send + Sync + 'a;

/// Normalizes rows of `n` elements of x into `out`.
pub(super) fn normalize(
    norm: &Norm,
    x: &Operand,
    scale: &Parameters,
    bias: Option<&Parameters>,
    n: usize,
    out: &mut [u32],
    wide: bool,
) {
    threads::rows(out, n, n * 4, |row, out| {
        x.load(row * n, out);
        let out: &mut [f32] = bytemuck::cast_slice_mut(out);
        threads::scratch(2 * n, |parameters| {
            let (gain, shift) = parameters.split_at_mut(n);
            scale(row * n, gain);
            match bias {
                Some(bias) => bias(row * n, shift),
                None => shift.fill(0.0),
            }
            if wide {
                wide_row(norm, gain, shift, out);
            } else {
                let mean = if norm.center { simd::sum(out) / n as f32 } else { 0.0 };
                let variance = simd::deviation(out, mean) / n as f32;
                let inverse = 1.0 / (variance + norm.eps).sqrt();
                simd::normal_all(out, mean, inverse, gain, shift);
            }
        });
    });
}

fn wide_row(norm: &Norm, gain: &[f32], shift: &[f32], out: &mut [f32]) {
    let n = out.len() as f64;
    let mean = if norm.center { out.iter().map(|&x| f64::from(x)).sum::<f64>() / n } else { 0.0 };
    let variance = out.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
    let inverse = 1.0 / (variance + f64::from(norm.eps)).sqrt();
    for ((o, &gain), &shift) in out.iter_mut().zip(gain).zip(shift) {
        *o = ((f64::from(*o) - mean) * inverse * f64::from(gain) + f64::from(shift)) as f32;
    }
}

/// The `Norm` kernel.
pub(super) fn norm(
    norm: &Norm,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let wanted = if norm.center { 3 } else { 2 };
    let floats = reads.iter().all(|read| read.kind == Kind::F32);
    if reads.len() != wanted || reads.iter().any(|read| read.dims() != dims) || !floats {
        return Err(Fault::program(format!(
            "a norm of {dims:?} has {} operands of other extents",
            reads.len()
        )));
    }
    let n = dims.last().copied().unwrap_or(1);
    let scale = |at: usize, out: &mut [f32]| reads[1].load_f32(at, out);
    let bias = |at: usize, out: &mut [f32]| reads[2].load_f32(at, out);
    let bias: Option<&Parameters> = if norm.center { Some(&bias) } else { None };
    normalize(norm, &reads[0], &scale, bias, n, out, env.wide);
    Ok(())
}

/// The `Softmax` kernel.
pub(super) fn softmax(
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let [x] = reads else {
        return Err(Fault::program(format!("softmax has {} operands", reads.len())));
    };
    if x.dims() != dims || x.kind != Kind::F32 {
        return Err(Fault::program(format!("softmax of {:?} does not give {dims:?}", x.dims())));
    }
    let n = dims.last().copied().unwrap_or(1);
    let wide = env.wide;
    threads::rows(out, n, n * 8, |row, out| {
        x.load(row * n, out);
        let out: &mut [f32] = bytemuck::cast_slice_mut(out);
        let max = simd::max(out);
        if wide {
            let sum: f64 = out.iter().map(|&x| (f64::from(x) - f64::from(max)).exp()).sum();
            for x in out {
                *x = ((f64::from(*x) - f64::from(max)).exp() / sum) as f32;
            }
        } else {
            let inverse = 1.0 / simd::exp_sum(out, max);
            for x in out {
                *x *= inverse;
            }
        }
    });
    Ok(())
}
