//! Convolutions: as matrix products over windows, by planes where channels do not mix, and
//! transposed.

use std::ops::{AddAssign, Mul};

use crate::map::MapProg;
use crate::step::{Kind, Round};

use super::gemm::{Arithmetic, Finish, Gemm, Part, Runs};
use super::map::Program;
use super::memory::Operand;
use super::planes::Planes;
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
        let mut axes = Axis::three(&xd[2..], &dims[2..], &wd[2..], conv.stride, conv.dilation)?;
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
        if inputs == 0 {
            // Nothing bounds a window without elements, and nothing is read.
            axes.iter_mut().for_each(|a| a.kernel = 1);
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

    /// A convolution with one input channel per group.
    fn depthwise(&self, planes: &Planes, x: &[f32], weight: &[f32], finish: &Finish, out: &mut [u32]) {
        let (output, taps) = (self.output_plane(), planes.taps.len());
        let channels = self.groups * self.outputs;
        threads::rows(out, output, output.saturating_mul(taps), |number, out| {
            let (image, channel) = (number / channels, number % channels);
            let source = image * self.groups + channel / self.outputs;
            let weight = &weight[channel * taps..(channel + 1) * taps];
            planes.channel_of(x, source, |x| {
                planes.strips(
                    |from, sums| simd::window_sums(&x[from..], &planes.taps, weight, sums),
                    |at, results| {
                        let out = &mut out[at..at + results.len()];
                        finish(number * output + at, &[bytemuck::cast_slice(results)], out);
                    },
                );
            });
        });
    }

    /// The transposed convolution.
    fn transposed(&self, x: &[f32], weight: &[f32], wide: bool, finish: &Finish, out: &mut [u32]) {
        let (input, output, taps) = (self.input_plane(), self.output_plane(), self.taps());
        let channels = self.groups * self.outputs;
        let cost = output.saturating_mul(taps).saturating_mul(self.inputs);
        threads::rows(out, output, cost, |plane, out| {
            let (image, channel) = (plane / channels, plane % channels);
            let group = channel / self.outputs;
            let source = |i: usize| &x[((image * self.groups + group) * self.inputs + i) * input..][..input];
            // Weight of input channel `i` of the group: [c_in, c_out / groups, taps].
            let weight_of = |i: usize| {
                &weight[((group * self.inputs + i) * self.outputs + channel % self.outputs) * taps..][..taps]
            };
            threads::scratch(output, |sums| {
                if wide {
                    let mut wide = vec![0f64; output];
                    (0..self.inputs).for_each(|i| self.scatter(source(i), weight_of(i), &mut wide));
                    sums.iter_mut().zip(wide).for_each(|(sum, wide)| *sum = wide as f32);
                } else {
                    sums.fill(0.0);
                    (0..self.inputs).for_each(|i| self.scatter(source(i), weight_of(i), sums));
                }
                finish(plane * output, &[bytemuck::cast_slice(sums)], out);
            });
        });
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

    if out.is_empty() {
        return Ok(());
    }
    let (float, wide) = (x.kind == Kind::F32, env.wide);
    let scratch = &mut *env.scratch;
    if conv.transposed {
        if !float {
            return Err(Fault::program("a transposed convolution of integers".into()));
        }
        let x = bytemuck::cast_slice(x.dense(&mut scratch.a)?);
        let weight = bytemuck::cast_slice(weight.dense(&mut scratch.b)?);
        e.transposed(x, weight, wide, &finish, out);
        return Ok(());
    }
    let x = x.dense(&mut scratch.a)?;
    let planes = Planes::new(&e.axes);
    if e.inputs == 1 && float && !wide {
        let weight = bytemuck::cast_slice(weight.dense(&mut scratch.b)?);
        e.depthwise(&planes, bytemuck::cast_slice(x), weight, &finish, out);
        return Ok(());
    }
    let x = planes.split(x, &mut scratch.e)?;
    let arithmetic = match (float, wide) {
        (true, false) => Arithmetic::F32,
        (true, true) => Arithmetic::Wide,
        _ => Arithmetic::Integer,
    };
    // Positions between the lines of results cost less than to pack around them, unless they are many.
    let through = planes.positions.span().div_ceil(COLUMNS) * 8 <= e.output_plane().div_ceil(COLUMNS) * 9;
    let gemm = Gemm {
        batches: e.images * e.groups,
        a_batches: e.groups,
        m: e.outputs,
        k: e.inputs * planes.taps.len(),
        columns: if through { planes.positions } else { Runs::all(e.output_plane()) },
        weights: 1,
        arithmetic,
    };
    let weight = scratch.packed.of(&gemm, weight, &mut scratch.b, &mut scratch.c)?;
    let input = e.inputs * planes.channel;
    let pack = |part: Part, panel: &mut [f32]| {
        let x = bytemuck::cast_slice(&x[part.batch * input..(part.batch + 1) * input]);
        if through {
            pack_positions(&planes, x, part, panel);
        } else {
            pack_results(&planes, x, part, panel);
        }
    };
    gemm.run(weight, &pack, &finish, out, &mut scratch.d)
}

/// Packs consecutive positions: row = (input channel, tap).
fn pack_positions(planes: &Planes, x: &[f32], part: Part, panel: &mut [f32]) {
    let taps = planes.taps.len();
    let (mut channel, mut tap) = (part.from / taps, part.from % taps);
    for line in panel.chunks_exact_mut(COLUMNS) {
        let x = &x[channel * planes.channel + planes.taps[tap] + part.column..];
        match x.first_chunk::<COLUMNS>() {
            Some(x) => line.copy_from_slice(x),
            None => {
                line[..x.len()].copy_from_slice(x);
                line[x.len()..].fill(0.0);
            }
        }
        tap += 1;
        if tap == taps {
            (channel, tap) = (channel + 1, 0);
        }
    }
}

/// Packs only the positions of results.
fn pack_results(planes: &Planes, x: &[f32], part: Part, panel: &mut [f32]) {
    let Runs { width, pitch, lines, plane, .. } = planes.positions;
    // Runs of positions next to each other: first column, position, length.
    let mut runs = [(0usize, 0usize, 0usize); COLUMNS];
    let mut count = 0;
    for j in 0..part.columns {
        let at = part.column + j;
        let (line, column) = (at / width, at % width);
        let position = line / lines * plane + line % lines * pitch + column;
        match runs[..count].last_mut() {
            Some((_, start, len)) if *start + *len == position => *len += 1,
            _ => {
                runs[count] = (j, position, 1);
                count += 1;
            }
        }
    }
    let taps = planes.taps.len();
    for (line, row) in panel.chunks_exact_mut(COLUMNS).zip(part.from..part.to) {
        let x = &x[row / taps * planes.channel + planes.taps[row % taps]..];
        for &(first, position, len) in &runs[..count] {
            line[first..first + len].copy_from_slice(&x[position..position + len]);
        }
        line[part.columns..].fill(0.0);
    }
}
