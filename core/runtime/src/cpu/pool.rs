//! Window reductions.

use crate::step::{Kind, ReduceOp};

use super::memory::Operand;
use super::planes::Planes;
use super::reduce::single;
use super::{Env, Fault, simd, threads};

/// One spatial axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub input: usize,
    pub output: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
}

impl Axis {
    /// The spatial axes, padded in front to three.
    pub fn three(
        input: &[usize],
        output: &[usize],
        kernel: &[usize],
        stride: &[u32],
        dilation: &[u32],
    ) -> Result<[Axis; 3], Fault> {
        let n = input.len();
        let equal = [output.len(), kernel.len(), stride.len(), dilation.len()].iter().all(|&len| len == n);
        if !equal || !(1..=3).contains(&n) || stride.contains(&0) || dilation.contains(&0) {
            return Err(Fault::program(format!(
                "a window of {kernel:?}, strides {stride:?}, dilations {dilation:?} over {input:?}"
            )));
        }
        let mut axes = [Axis { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1 }; 3];
        for i in 0..n {
            axes[3 - n + i] = Axis {
                input: input[i],
                output: output[i],
                kernel: kernel[i],
                stride: stride[i] as usize,
                dilation: dilation[i] as usize,
            };
        }
        Ok(axes)
    }

    /// First position of a window and its number of taps inside the input.
    fn window(&self, at: usize) -> (usize, usize) {
        let start = at.saturating_mul(self.stride);
        let reach = self.input.saturating_sub(start).div_ceil(self.dilation);
        (start, reach.min(self.kernel))
    }

    /// Whether every window lies inside the input.
    pub fn inside(&self) -> bool {
        if self.output == 0 {
            return true;
        }
        let start = (self.output - 1).checked_mul(self.stride);
        let span = self.kernel.checked_sub(1).and_then(|k| k.checked_mul(self.dilation));
        start.zip(span).and_then(|(a, b)| a.checked_add(b)).is_some_and(|end| end < self.input)
    }
}

/// Parameters of the `Pool` kernel.
pub(super) struct Pool<'a> {
    pub op: ReduceOp,
    pub kernel: &'a [u32],
    pub stride: &'a [u32],
    pub dilation: &'a [u32],
}

/// The `Pool` kernel.
pub(super) fn pool(
    pool: &Pool,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let Pool { op, kernel, stride, dilation } = *pool;
    let x = single(reads)?;
    if dims.len() < 3 || x.dims().len() != dims.len() || x.dims()[..2] != dims[..2] {
        return Err(Fault::program(format!("pooling {:?} does not give {dims:?}", x.dims())));
    }
    let mut sizes = [0usize; 3];
    for (size, &k) in sizes.iter_mut().zip(kernel) {
        *size = k as usize;
    }
    let kernel = sizes.get(..kernel.len()).unwrap_or(&[]);
    let axes = Axis::three(&x.dims()[2..], &dims[2..], kernel, stride, dilation)?;
    let [d, h, w] = axes;
    let (input, output) = (d.input * h.input * w.input, d.output * h.output * w.output);
    let (kind, wide) = (x.kind, env.wide);
    let values = x.dense(&mut env.scratch.a)?;
    if out.is_empty() {
        return Ok(());
    }
    if kind == Kind::F32 && !wide && axes.iter().all(Axis::inside) && axes.iter().all(|a| a.kernel > 0) {
        let planes = Planes::new(&axes);
        whole_windows(&planes, op, bytemuck::cast_slice(values), out);
        return Ok(());
    }
    let taps = d.kernel.saturating_mul(h.kernel).saturating_mul(w.kernel);
    threads::rows(out, output, output.saturating_mul(taps), |plane, out| {
        let x = &values[plane * input..(plane + 1) * input];
        for (at, o) in out.iter_mut().enumerate() {
            let windows = [
                d.window(at / (h.output * w.output)),
                h.window(at / w.output % h.output),
                w.window(at % w.output),
            ];
            let window = Window { x, axes: &axes, windows };
            *o = match (kind, op) {
                (Kind::F32, ReduceOp::Max) => window
                    .fold(f32::NEG_INFINITY, |a, bits| {
                        let b = f32::from_bits(bits);
                        if b > a || b.is_nan() { b } else { a }
                    })
                    .to_bits(),
                (Kind::F32, _) if wide => {
                    (window.fold(0f64, |a, b| a + f64::from(f32::from_bits(b))) as f32).to_bits()
                }
                (Kind::F32, _) => window.fold(0f32, |a, b| a + f32::from_bits(b)).to_bits(),
                (Kind::I32, ReduceOp::Max) => window.fold(i32::MIN, |a, b| a.max(b as i32)) as u32,
                (_, ReduceOp::Max) => window.fold(0, |a: u32, b| a.max(b)),
                _ => window.fold(0, |a: u32, b| a.wrapping_add(b)),
            };
        }
    });
    Ok(())
}

/// Windows of floats that all lie inside the input.
fn whole_windows(planes: &Planes, op: ReduceOp, x: &[f32], out: &mut [u32]) {
    let size = planes.positions.count();
    threads::rows(out, size, size.saturating_mul(planes.taps.len()), |plane, out| {
        let out: &mut [f32] = bytemuck::cast_slice_mut(out);
        planes.channel_of(x, plane, |x| {
            let compute = |from: usize, sums: &mut [f32]| {
                for (i, tap) in planes.taps.iter().enumerate() {
                    let x = &x[from + tap..from + tap + sums.len()];
                    match (i, op) {
                        (0, _) => sums.copy_from_slice(x),
                        (_, ReduceOp::Max) => simd::max_into(x, sums),
                        _ => simd::add_into(x, sums),
                    }
                }
            };
            planes.strips(compute, |at, results| out[at..at + results.len()].copy_from_slice(results));
        });
    });
}

/// A clipped window over one plane.
struct Window<'a> {
    x: &'a [u32],
    axes: &'a [Axis; 3],
    /// Start and taps per axis.
    windows: [(usize, usize); 3],
}

impl Window<'_> {
    fn fold<T>(&self, first: T, f: impl Fn(T, u32) -> T) -> T {
        let [d, h, w] = self.axes;
        let [(d0, dn), (h0, hn), (w0, wn)] = self.windows;
        let mut sum = first;
        for i in 0..dn {
            for j in 0..hn {
                let row = ((d0 + i * d.dilation) * h.input + h0 + j * h.dilation) * w.input + w0;
                for k in 0..wn {
                    sum = f(sum, self.x[row + k * w.dilation]);
                }
            }
        }
        sum
    }
}
