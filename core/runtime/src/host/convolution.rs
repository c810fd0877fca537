//! Convolutions and transposed convolutions of two and three spatial axes.

use super::numbers::{Number, both, room};
use super::operands::{exactly, extents, result};
use super::{Call, Elements, Eval, Fault, encode};
use crate::ndarray::NDArray;

/// The family.
pub(super) const OPS: &[(&[&str], Eval)] = &[
    (&["primitive.conv2d_v1", "primitive.conv3d_v1"], forward),
    (&["primitive.conv_transpose2d_v1", "primitive.conv_transpose3d_v1"], transposed),
];

/// Extents and steps of the spatial axes; a missing depth has extent 1.
struct Space {
    input: [usize; 3],
    kernel: [usize; 3],
    output: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    padding: [usize; 3],
}

/// Channels: batch, groups, and channels of one group on either side.
struct Channels {
    batch: usize,
    groups: usize,
    input: usize,
    output: usize,
}

impl Space {
    /// Product of extents. It can only wrap beside an axis without elements, and nothing is read then.
    fn points(dims: &[usize; 3]) -> usize {
        dims.iter().fold(1, |n, d| n.wrapping_mul(*d))
    }

    /// `(kernel offset, first element of the line in the narrow side, in the wide side)` of every pair of
    /// lines along the last axis that meet: the wide position is `narrow·stride + tap·dilation − padding`.
    fn lines(&self, narrow: [usize; 3], wide: [usize; 3], mut visit: impl FnMut(usize, usize, usize)) {
        let meet = |axis: usize, at: usize, tap: usize| {
            let place =
                at.checked_mul(self.stride[axis])?.checked_add(tap.checked_mul(self.dilation[axis])?)?;
            place.checked_sub(self.padding[axis]).filter(|p| *p < wide[axis])
        };
        for a in 0..self.kernel[0] {
            for b in 0..self.kernel[1] {
                let tap = (a * self.kernel[1] + b) * self.kernel[2];
                for z in 0..narrow[0] {
                    let Some(wz) = meet(0, z, a) else { continue };
                    for y in 0..narrow[1] {
                        let Some(wy) = meet(1, y, b) else { continue };
                        visit(tap, (z * narrow[1] + y) * narrow[2], (wz * wide[1] + wy) * wide[2]);
                    }
                }
            }
        }
    }

    /// Positions along the last axis that meet for a tap, narrow and wide.
    fn columns(&self, narrow: usize, wide: usize, tap: usize) -> impl Iterator<Item = (usize, usize)> {
        let (step, shift, padding) = (self.stride[2], tap * self.dilation[2], self.padding[2]);
        let first = padding.saturating_sub(shift).div_ceil(step);
        (first..narrow).map(move |at| (at, at * step + shift - padding)).take_while(move |(_, w)| *w < wide)
    }
}

/// Per-axis values of an operand, with `fill` for a missing depth.
fn triple(array: &NDArray, rank: usize, fill: usize) -> Result<[usize; 3], Fault> {
    match (rank, &extents(array)?[..]) {
        (2, &[h, w]) => Ok([fill, h, w]),
        (3, &[d, h, w]) => Ok([d, h, w]),
        (_, found) => Err(Fault::Program(format!("{found:?} for {rank} spatial axes"))),
    }
}

fn spatial(shape: &[usize]) -> [usize; 3] {
    match *shape {
        [h, w] => [1, h, w],
        [d, h, w] => [d, h, w],
        _ => [0; 3],
    }
}

/// Rank of the space, after checking the operands' ranks and that steps are positive.
fn rank(call: &Call, x: &NDArray, weight: &NDArray, steps: &[&NDArray]) -> Result<usize, Fault> {
    let rank = if call.name.contains("3d") { 3 } else { 2 };
    if x.shape.len() != rank + 2 || weight.shape.len() != rank + 2 || weight.shape[2..].contains(&0) {
        return Err(Fault::Program(format!("{} of {:?} with {:?}", call.name, x.shape, weight.shape)));
    }
    for step in steps {
        if extents(step)?.contains(&0) {
            return Err(Fault::Program(format!("{} with a step of 0", call.name)));
        }
    }
    Ok(rank)
}

fn groups(array: &NDArray) -> Result<usize, Fault> {
    match extents(array)?[..] {
        [groups] if groups > 0 => Ok(groups),
        ref found => Err(Fault::Program(format!("{found:?} groups"))),
    }
}

/// `(N, Cin, …) · (Cout, Cin/g, k…)`, no padding.
fn forward(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, weight, stride, dilation, group_count] = exactly(call, inputs)?;
    let rank = rank(call, x, weight, &[stride, dilation])?;
    let groups = groups(group_count)?;
    let (batch, cin, cout) = (x.shape[0], x.shape[1], weight.shape[0]);
    let refused = || Fault::Program(format!("{} of {:?} with {:?}", call.name, x.shape, weight.shape));
    if cin % groups != 0 || cout % groups != 0 || weight.shape[1] != cin / groups {
        return Err(refused());
    }
    let mut space = Space {
        input: spatial(&x.shape[2..]),
        kernel: spatial(&weight.shape[2..]),
        output: [1; 3],
        stride: triple(stride, rank, 1)?,
        dilation: triple(dilation, rank, 1)?,
        padding: [0; 3],
    };
    for axis in 0..3 {
        let span = space.dilation[axis].checked_mul(space.kernel[axis] - 1).ok_or_else(refused)?;
        let room = space.input[axis].checked_sub(span).filter(|room| *room > 0).ok_or_else(refused)?;
        space.output[axis] = (room - 1) / space.stride[axis] + 1;
    }
    let channels = Channels { batch, groups, input: cin / groups, output: cout / groups };
    let mut shape = vec![batch, cout];
    shape.extend(&space.output[3 - rank..]);
    let element = result(call, 0)?;
    let count = room(element, &shape)?;
    let values = both!(x, weight, |a, b| Ok(gathered(&a, &b, &space, &channels, count)))?;
    encode(element, &shape, &values).map(|array| vec![array])
}

fn gathered<T: Number>(x: &[T], weight: &[T], space: &Space, channels: &Channels, count: usize) -> Vec<T> {
    let (inside, outside) = (Space::points(&space.input), Space::points(&space.output));
    let taps = Space::points(&space.kernel);
    let Channels { groups, input, output, .. } = *channels;
    let mut out = vec![T::ZERO; count];
    if count == 0 {
        return out;
    }
    for (number, out) in out.chunks_exact_mut(outside).enumerate() {
        let (batch, channel) = (number / (groups * output), number % (groups * output));
        let group = channel / output;
        for c in 0..input {
            let x = &x[((batch * groups + group) * input + c) * inside..][..inside];
            let weight = &weight[(channel * input + c) * taps..][..taps];
            space.lines(space.output, space.input, |tap, to, from| {
                for (k, w) in weight[tap..][..space.kernel[2]].iter().enumerate() {
                    for (o, i) in space.columns(space.output[2], space.input[2], k) {
                        out[to + o] = out[to + o].plus(w.times(x[from + i]));
                    }
                }
            });
        }
    }
    out
}

/// `(N, Cin, …) · (Cin, Cout/g, k…)`: extents `(n−1)·s − 2p + d·(k−1) + output_pad + 1`.
fn transposed(call: &Call, inputs: &[&NDArray]) -> Result<Vec<NDArray>, Fault> {
    let [x, weight, stride, padding, dilation, extra, group_count] = exactly(call, inputs)?;
    let rank = rank(call, x, weight, &[stride, dilation])?;
    let groups = groups(group_count)?;
    let (batch, cin) = (x.shape[0], x.shape[1]);
    let refused = || Fault::Program(format!("{} of {:?} with {:?}", call.name, x.shape, weight.shape));
    if weight.shape[0] != cin || cin % groups != 0 {
        return Err(refused());
    }
    let extra = triple(extra, rank, 0)?;
    let mut space = Space {
        input: spatial(&x.shape[2..]),
        kernel: spatial(&weight.shape[2..]),
        output: [1; 3],
        stride: triple(stride, rank, 1)?,
        dilation: triple(dilation, rank, 1)?,
        padding: triple(padding, rank, 0)?,
    };
    for (axis, extra) in extra.into_iter().enumerate() {
        let extent = || {
            let span = space.dilation[axis].checked_mul(space.kernel[axis].checked_sub(1)?)?;
            let wide = space.input[axis].checked_sub(1)?.checked_mul(space.stride[axis])?;
            let whole = wide.checked_add(span)?.checked_add(extra)?.checked_add(1)?;
            whole.checked_sub(space.padding[axis].checked_mul(2)?).filter(|n| *n > 0)
        };
        space.output[axis] = extent().ok_or_else(refused)?;
    }
    let channels = Channels { batch, groups, input: cin / groups, output: weight.shape[1] };
    let cout = groups.checked_mul(weight.shape[1]).ok_or_else(refused)?;
    let mut shape = vec![batch, cout];
    shape.extend(&space.output[3 - rank..]);
    let element = result(call, 0)?;
    let count = room(element, &shape)?;
    let values = both!(x, weight, |a, b| Ok(scattered(&a, &b, &space, &channels, count)))?;
    encode(element, &shape, &values).map(|array| vec![array])
}

fn scattered<T: Number>(x: &[T], weight: &[T], space: &Space, channels: &Channels, count: usize) -> Vec<T> {
    let (inside, outside) = (Space::points(&space.input), Space::points(&space.output));
    let taps = Space::points(&space.kernel);
    let Channels { batch, groups, input, output } = *channels;
    let mut out = vec![T::ZERO; count];
    if count == 0 {
        return out;
    }
    for number in 0..batch * groups * input {
        let x = &x[number * inside..][..inside];
        let (outer, from_channel) = (number / input, number % (groups * input));
        for c in 0..output {
            let out = &mut out[(outer * output + c) * outside..][..outside];
            let weight = &weight[(from_channel * output + c) * taps..][..taps];
            space.lines(space.input, space.output, |tap, from, to| {
                for (k, w) in weight[tap..][..space.kernel[2]].iter().enumerate() {
                    for (i, o) in space.columns(space.input[2], space.output[2], k) {
                        out[to + o] = out[to + o].plus(w.times(x[from + i]));
                    }
                }
            });
        }
    }
    out
}
