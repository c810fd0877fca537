//! Rotary embedding.

use super::memory::{Operand, grow};
use super::{Env, Fault, threads};

/// Parameters of the `Rope` kernel.
pub(super) struct Rope {
    pub rotated: usize,
    pub interleaved: bool,
    pub tables: bool,
}

/// The `Rope` kernel.
pub(super) fn rope(
    rope: &Rope,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let ([x, first, second], &[b, h, t, d]) = (reads, dims) else {
        return Err(Fault::program(format!("a rotary embedding of {dims:?} with {} operands", reads.len())));
    };
    let half = rope.rotated / 2;
    let fits = if rope.tables {
        first.dims() == [b, h, t, half] && second.dims() == [b, h, t, half]
    } else {
        first.dims() == [b, h, t] && second.dims() == [half]
    };
    if !fits || x.dims() != dims || rope.rotated > d || !rope.rotated.is_multiple_of(2) {
        return Err(Fault::program(format!(
            "a rotary embedding of {} elements of {:?} with {:?} and {:?}",
            rope.rotated,
            x.dims(),
            first.dims(),
            second.dims()
        )));
    }
    if out.is_empty() {
        return Ok(());
    }
    // [lines][cos half, sin half]; one set of lines for all heads when they share positions.
    let shared =
        h == 1 || (first.layout.strides()[1] == 0 && (!rope.tables || second.layout.strides()[1] == 0));
    let heads = if shared { 1 } else { h };
    let lines = b * heads * t;
    let scratch = &mut *env.scratch;
    grow(&mut scratch.a, lines * rope.rotated)?;
    let angles: &mut [f32] = bytemuck::cast_slice_mut(&mut scratch.a[..lines * rope.rotated]);
    let mut frequencies = [0f32; 256];
    if !rope.tables && half > frequencies.len() {
        return Err(Fault::program(format!("a rotary embedding of {} elements", rope.rotated)));
    }
    if !rope.tables {
        second.load_f32(0, &mut frequencies[..half]);
    }
    let wide = env.wide;
    threads::rows(angles, rope.rotated, half * 40, |line, angles| {
        // Number of the line with all heads counted.
        let full = (line / (heads * t) * h + line / t % heads) * t + line % t;
        let (cos, sin) = angles.split_at_mut(half);
        if rope.tables {
            first.load_f32(full * half, cos);
            second.load_f32(full * half, sin);
            return;
        }
        let mut position = [0];
        first.load(full, &mut position);
        for ((cos, sin), &frequency) in cos.iter_mut().zip(sin).zip(&frequencies) {
            let position = position[0] as i32;
            (*sin, *cos) = if wide {
                let (sin, cos) = (f64::from(position) * f64::from(frequency)).sin_cos();
                (sin as f32, cos as f32)
            } else {
                (position as f32 * frequency).sin_cos()
            };
        }
    });
    let angles = &*angles;
    threads::rows(out, d, d * 3, |line, out| {
        x.load(line * d, out);
        let (batch, head, time) = (line / (h * t), line / t % h, line % t);
        let at = (batch * heads + if shared { 0 } else { head }) * t + time;
        let (cos, sin) = angles[at * rope.rotated..(at + 1) * rope.rotated].split_at(half);
        let out: &mut [f32] = bytemuck::cast_slice_mut(&mut out[..rope.rotated]);
        if rope.interleaved {
            for ((pair, &cos), &sin) in out.chunks_exact_mut(2).zip(cos).zip(sin) {
                (pair[0], pair[1]) = (pair[0] * cos - pair[1] * sin, pair[1] * cos + pair[0] * sin);
            }
        } else {
            let (low, high) = out.split_at_mut(half);
            for (((a, b), &cos), &sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    });
    Ok(())
}
