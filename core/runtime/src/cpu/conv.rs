//! Convolutions: as matrix products over windows, by planes where channels do not mix, and
//! transposed.

use std::ops::{AddAssign, Mul};

use crate::map::MapProg;
use crate::step::{Kind, Round};

use super::gemm::{Arithmetic, Gemm, Part};
use super::map::Program;
use super::memory::Operand;
use super::pool::Axis;
use super::simd::{self, COLUMNS};
use super::{Env, Fault, cast, threads};

/// Parameters of the `Conv` kernel.
pub(super) struct Conv<'a> {
    pub stride: &'a [u32],
    pub dilation: &'a [u32],
    pub padding: &'a [u32],
    pub groups: u32,
    pub transposed: bool,
    pub epilogue: Option<&'a MapProg>,
}

/// Extents of a checked convolution.
struct Extents {
    images: usize,
    groups: usize,
    /// Channels per group.
    inputs: usize,
    /// Channels per group.
    outputs: usize,
    axes: [Axis; 3],
    /// Cropped from each side of a transposed convolution.
    padding: [usize; 3],
}

impl Extents {
    fn new(conv: &Conv, x: &Operand, weight: &Operand, dims: &[usize]) -> Result<Extents, Fault> {
        let (xd, wd) = (x.dims(), weight.dims());
        let refuse = || Err(Fault::program(format!("convolving {xd:?} with {wd:?} does not give {dims:?}")));
        let groups = conv.groups as usize;
        if !(3..=5).contains(&dims.len()) || xd.len() != dims.len() || wd.len() != dims.len() || groups == 0 {
            return refuse();
        }
        let (inputs, outputs) =
            if conv.transposed { (wd[0] / groups, wd[1]) } else { (wd[1], wd[0] / groups) };
        let channels = xd[1] == inputs * groups && dims[1] == outputs * groups;
        if xd[0] != dims[0] || !channels || !wd[0].is_multiple_of(groups) {
            return refuse();
        }
        let axes = Axis::three(&xd[2..], &dims[2..], &wd[2..], conv.stride, conv.dilation)?;
        let mut padding = [0; 3];
        if conv.transposed {
            if conv.padding.len() > 3 {
                return refuse();
            }
            let first = 3 - conv.padding.len();
            for (slot, &p) in padding[first..].iter_mut().zip(conv.padding) {
                *slot = p as usize;
            }
        } else if !axes.iter().all(Axis::inside) {
            return refuse();
        }
        Ok(Extents { images: dims[0], groups, inputs, outputs, axes, padding })
    }

    fn input_plane(&self) -> usize {
        self.axes.iter().map(|a| a.input).product()
    }

    fn output_plane(&self) -> usize {
        self.axes.iter().map(|a| a.output).product()
    }

    fn taps(&self) -> usize {
        self.axes.iter().map(|a| a.kernel).product()
    }

    /// Tap number to its position along each axis.
    fn tap(&self, tap: usize) -> [usize; 3] {
        let [_, h, w] = &self.axes;
        [tap / (h.kernel * w.kernel), tap / w.kernel % h.kernel, tap % w.kernel]
    }

    /// Packs windows: row = (input channel, tap), column = position of the result.
    fn pack(&self, x: &[u32], part: Part, panel: &mut [f32]) {
        let [d, h, w] = &self.axes;
        let Part { batch, column, columns, from, to, .. } = part;
        // Runs of positions whose inputs lie next to each other: first column, offset, length.
        let mut runs = [(0usize, 0usize, 0usize); COLUMNS];
        let mut count = 0;
        for j in 0..columns {
            let at = column + j;
            let (od, oh, ow) = (at / (h.output * w.output), at / w.output % h.output, at % w.output);
            let offset = (od * d.stride * h.input + oh * h.stride) * w.input + ow * w.stride;
            match runs[..count].last_mut() {
                Some((_, start, len)) if *start + *len == offset => *len += 1,
                _ => {
                    runs[count] = (j, offset, 1);
                    count += 1;
                }
            }
        }
        if columns < COLUMNS {
            panel.fill(0.0);
        }
        let (taps, plane) = (self.taps(), self.input_plane());
        let x: &[f32] =
            bytemuck::cast_slice(&x[batch * self.inputs * plane..(batch + 1) * self.inputs * plane]);
        for (line, row) in panel.chunks_exact_mut(COLUMNS).zip(from..to) {
            let [kd, kh, kw] = self.tap(row % taps);
            let shift = (kd * d.dilation * h.input + kh * h.dilation) * w.input + kw * w.dilation;
            let x = &x[row / taps * plane + shift..];
            if count == columns {
                for (slot, &(_, offset, _)) in line.iter_mut().zip(&runs[..count]) {
                    *slot = x[offset];
                }
            } else {
                for &(first, offset, len) in &runs[..count] {
                    line[first..first + len].copy_from_slice(&x[offset..offset + len]);
                }
            }
        }
    }

    /// One plane of a convolution with one input channel per group.
    fn plane(&self, x: &[f32], weight: &[f32], out: &mut [f32]) {
        let [d, h, w] = &self.axes;
        for (line, out) in out.chunks_exact_mut(w.output).enumerate() {
            let (od, oh) = (line / h.output, line % h.output);
            out.fill(0.0);
            for (tap, &weight) in weight.iter().enumerate() {
                let [kd, kh, kw] = self.tap(tap);
                let (id, ih) = (od * d.stride + kd * d.dilation, oh * h.stride + kh * h.dilation);
                let x = &x[(id * h.input + ih) * w.input..][..w.input];
                let x = &x[kw * w.dilation..];
                if w.stride == 1 {
                    simd::axpy(weight, &x[..out.len()], out);
                } else {
                    for (o, &x) in out.iter_mut().zip(x.iter().step_by(w.stride)) {
                        *o += weight * x;
                    }
                }
            }
        }
    }

    /// Adds one input channel to one plane of a transposed convolution.
    fn scatter<T: Copy + AddAssign + Mul<Output = T> + From<f32>>(
        &self,
        x: &[f32],
        weight: &[f32],
        out: &mut [T],
    ) {
        let [d, h, w] = &self.axes;
        // Position in the result of input `i` under tap `k`, when it is not cropped.
        let target = |axis: usize, i: usize, k: usize| {
            let a = &self.axes[axis];
            (i * a.stride + k * a.dilation).checked_sub(self.padding[axis]).filter(|&o| o < a.output)
        };
        for (tap, &weight) in weight.iter().enumerate() {
            let [kd, kh, kw] = self.tap(tap);
            let weight = T::from(weight);
            for id in 0..d.input {
                let Some(od) = target(0, id, kd) else { continue };
                for ih in 0..h.input {
                    let Some(oh) = target(1, ih, kh) else { continue };
                    let x = &x[(id * h.input + ih) * w.input..][..w.input];
                    let out = &mut out[(od * h.output + oh) * w.output..][..w.output];
                    let skip =
                        self.padding[2].saturating_sub(kw * w.dilation).div_ceil(w.stride).min(x.len());
                    let Some(first) = target(2, skip, kw) else { continue };
                    for (o, &x) in out[first..].iter_mut().step_by(w.stride).zip(&x[skip..]) {
                        *o += weight * T::from(x);
                    }
                }
            }
        }
    }
}

/// The `Conv` kernel.
pub(super) fn convolve(
    conv: &Conv,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let [x, weight, rest @ ..] = reads else {
        return Err(Fault::program(format!("a convolution has {} operands", reads.len())));
    };
    let e = Extents::new(conv, x, weight, dims)?;
    let program = conv.epilogue.map(|prog| Program::new(prog, dims, rest, 1, env)).transpose()?;
    let round = if env.kind == Kind::F32 { env.round } else { Round::None };
    let finish = |start: usize, given: &[&[u32]], out: &mut [u32]| {
        let Some(program) = &program else {
            out.copy_from_slice(given[0]);
            return cast::round(out, round);
        };
        threads::scratch(program.registers(), |registers| {
            program.run(start, given, bytemuck::cast_slice_mut(registers), out);
        });
    };

    let (float, wide) = (x.kind == Kind::F32, env.wide);
    let scratch = &mut *env.scratch;
    let x = x.dense(&mut scratch.a)?;
    let weight = weight.dense(&mut scratch.b)?;
    let (input, output, taps) = (e.input_plane(), e.output_plane(), e.taps());
    if conv.transposed || (e.inputs == 1 && float && !wide) {
        if !float {
            return Err(Fault::program("a transposed convolution of integers".into()));
        }
        let (x, weight): (&[f32], &[f32]) = (bytemuck::cast_slice(x), bytemuck::cast_slice(weight));
        let channels = e.groups * e.outputs;
        let cost = (output * taps).saturating_mul(e.inputs);
        threads::rows(out, output, cost, |plane, out| {
            let (image, channel) = (plane / channels, plane % channels);
            let group = channel / e.outputs;
            let source = |i: usize| &x[((image * e.groups + group) * e.inputs + i) * input..][..input];
            // Weight of input channel `i` of the group: [c_in, c_out / groups, taps].
            let weight_of = |i: usize| {
                &weight[((group * e.inputs + i) * e.outputs + channel % e.outputs) * taps..][..taps]
            };
            threads::scratch(output, |sums| {
                if !conv.transposed {
                    e.plane(source(0), &weight[channel * taps..][..taps], sums);
                } else if wide {
                    let mut wide = vec![0f64; output];
                    (0..e.inputs).for_each(|i| e.scatter(source(i), weight_of(i), &mut wide));
                    sums.iter_mut().zip(wide).for_each(|(sum, wide)| *sum = wide as f32);
                } else {
                    sums.fill(0.0);
                    (0..e.inputs).for_each(|i| e.scatter(source(i), weight_of(i), sums));
                }
                finish(plane * output, &[bytemuck::cast_slice(sums)], out);
            });
        });
        return Ok(());
    }
    let arithmetic = match (float, wide) {
        (true, false) => Arithmetic::F32,
        (true, true) => Arithmetic::Wide,
        _ => Arithmetic::Integer,
    };
    let gemm = Gemm {
        batches: e.images * e.groups,
        a_batches: e.groups,
        m: e.outputs,
        n: output,
        k: e.inputs * taps,
        weights: 1,
        arithmetic,
    };
    let pack = |part: Part, panel: &mut [f32]| e.pack(x, part, panel);
    gemm.run(weight, &pack, &finish, out, &mut scratch.c, &mut scratch.d)
}
