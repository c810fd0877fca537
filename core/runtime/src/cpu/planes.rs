//! The input of a convolution or pool as planes that windows pass over in single steps.

use super::gemm::Runs;
use super::memory::grow;
use super::pool::Axis;
use super::{Fault, simd, threads};

/// Positions computed at once: they stay in the first cache on their way to the result.
const STRIP: usize = 2048;

/// Where windows read. With strides, every phase that some tap falls on is a plane of its own, so
/// that neighbouring results always read neighbouring elements.
pub(super) struct Planes {
    axes: [Axis; 3],
    /// Extents of a plane.
    dims: [usize; 3],
    /// Phases in use per axis; one where the input is read as it lies.
    phases: [usize; 3],
    /// Offset of every tap from a position, inside a channel.
    pub taps: Vec<usize>,
    /// Elements of a channel.
    pub channel: usize,
    /// The positions that are results.
    pub positions: Runs,
}

impl Planes {
    /// All windows lie inside the input, so there are no more taps than elements of a plane.
    pub fn new(axes: &[Axis; 3]) -> Planes {
        let dims = axes.map(|a| a.input.div_ceil(a.stride));
        let phases = axes.map(|a| a.kernel.min(period(&a)));
        let plane: usize = dims.iter().product();
        let [d, h, w] = axes.map(|a| a.kernel);
        let taps = (0..d * h * w).map(|tap| {
            let k = [tap / (h * w), tap / w % h, tap % w];
            let number = (0..3).fold(0, |n, i| n * phases[i] + k[i] % period(&axes[i]));
            let offset = (0..3).fold(0, |n, i| n * dims[i] + k[i] * axes[i].dilation / axes[i].stride);
            number * plane + offset
        });
        let positions = Runs {
            width: axes[2].output,
            pitch: dims[2],
            lines: axes[1].output,
            plane: dims[1] * dims[2],
            planes: axes[0].output,
        }
        .joined();
        let channel = plane * phases.iter().product::<usize>();
        Planes { axes: *axes, dims, phases, taps: taps.collect(), channel, positions }
    }

    /// Whether channels are read as they lie.
    fn whole(&self) -> bool {
        self.axes.iter().all(|a| a.stride == 1)
    }

    /// Elements of a channel of the input.
    fn input(&self) -> usize {
        self.axes.iter().map(|a| a.input).product()
    }

    /// The channels of `x`: as they lie, or split into phases in `buffer`.
    pub fn split<'b>(&self, x: &'b [u32], buffer: &'b mut Vec<u32>) -> Result<&'b [u32], Fault> {
        let input = self.input();
        if self.whole() || input == 0 {
            return Ok(x);
        }
        let count = x.len() / input * self.channel;
        grow(buffer, count)?;
        let buffer = &mut buffer[..count];
        threads::rows(buffer, self.channel, self.channel * 2, |channel, out| {
            self.phases(&x[channel * input..(channel + 1) * input], out);
        });
        Ok(buffer)
    }

    /// Hands channel number `channel` of `x` to `f`: as it lies, or split into phases.
    pub fn channel_of(&self, x: &[f32], channel: usize, f: impl FnOnce(&[f32])) {
        let x = &x[channel * self.input()..(channel + 1) * self.input()];
        if self.whole() {
            return f(x);
        }
        threads::scratch(self.channel, |split| {
            self.phases(bytemuck::cast_slice(x), bytemuck::cast_slice_mut(split));
            f(split);
        });
    }

    /// Splits one channel into phases.
    fn phases(&self, x: &[u32], out: &mut [u32]) {
        let [d, h, w] = &self.axes;
        let first = |axis: usize, phase: usize| phase * self.axes[axis].dilation % self.axes[axis].stride;
        let mut lines = out.chunks_exact_mut(self.dims[2]);
        let [pd, ph, pw] = self.phases;
        for phase in 0..pd * ph * pw {
            let (d0, h0) = (first(0, phase / (ph * pw)), first(1, phase / pw % ph));
            let w0 = first(2, phase % pw).min(w.input);
            for id in (0..self.dims[0]).map(|i| i * d.stride + d0) {
                for (ih, out) in (0..self.dims[1]).map(|i| i * h.stride + h0).zip(&mut lines) {
                    // Where the extent is no multiple of the stride a phase ends earlier; no result
                    // reads beyond.
                    if id < d.input && ih < h.input {
                        let line = (id * h.input + ih) * w.input;
                        pick(&x[line + w0..line + w.input], w.stride, out);
                    } else {
                        out.fill(0);
                    }
                }
            }
        }
    }

    /// Computes one plane of results strip by strip: `compute(position, sums)` fills the positions
    /// from one on, `finish(result, results)` takes the results from one on.
    pub fn strips(&self, compute: impl Fn(usize, &mut [f32]), mut finish: impl FnMut(usize, &[f32])) {
        let Runs { width, pitch, lines, plane, planes } = self.positions;
        if self.positions.count() == 0 {
            return;
        }
        let strip = (STRIP / pitch).clamp(1, lines);
        threads::scratch(strip * (pitch + width), |buffer| {
            let (sums, dense) = buffer.split_at_mut(strip * pitch);
            for d in 0..planes {
                for line in (0..lines).step_by(strip) {
                    let count = strip.min(lines - line);
                    let sums = &mut sums[..(count - 1) * pitch + width];
                    compute(d * plane + line * pitch, sums);
                    let dense = &mut dense[..count * width];
                    let results = if pitch == width {
                        &*sums
                    } else {
                        for (to, from) in dense.chunks_exact_mut(width).zip(sums.chunks(pitch)) {
                            to.copy_from_slice(&from[..width]);
                        }
                        &*dense
                    };
                    finish((d * lines + line) * width, results);
                }
            }
        });
    }
}

/// Taps after which the phases of an axis repeat: the least multiple of the dilation that the stride
/// divides, in dilations.
fn period(axis: &Axis) -> usize {
    let (mut a, mut b) = (axis.stride, axis.dilation);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    axis.stride / a
}

/// Every `stride`-th element of `x`, then zeros.
fn pick(x: &[u32], stride: usize, out: &mut [u32]) {
    let count = x.len().div_ceil(stride).min(out.len());
    let (picked, rest) = out.split_at_mut(count);
    rest.fill(0);
    if stride == 2 {
        simd::evens(x, picked);
    } else {
        for (o, &x) in picked.iter_mut().zip(x.iter().step_by(stride)) {
            *o = x;
        }
    }
}
