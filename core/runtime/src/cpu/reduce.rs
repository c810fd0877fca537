//! Reductions, inclusive scans and argmax.

use crate::step::{Kind, ReduceOp};

use super::memory::Operand;
use super::{Env, Fault, simd, threads};

/// Elements loaded at once.
const PIECE: usize = 1024;

/// Accumulator of a reduction, one per kind.
#[derive(Clone, Copy)]
enum Sum {
    Float(f32),
    Wide(f64),
    Signed(i32),
    Unsigned(u32),
}

impl Sum {
    fn new(op: ReduceOp, kind: Kind, wide: bool) -> Sum {
        let product = matches!(op, ReduceOp::Product | ReduceOp::All);
        match (kind, op) {
            (Kind::F32, ReduceOp::Max) => Sum::Float(f32::NEG_INFINITY),
            (Kind::F32, ReduceOp::Min) => Sum::Float(f32::INFINITY),
            (Kind::F32, _) if wide => Sum::Wide(f64::from(u8::from(product))),
            (Kind::F32, _) => Sum::Float(f32::from(u8::from(product))),
            (Kind::I32, ReduceOp::Max) => Sum::Signed(i32::MIN),
            (Kind::I32, ReduceOp::Min) => Sum::Signed(i32::MAX),
            (Kind::I32, _) => Sum::Signed(i32::from(product)),
            (_, ReduceOp::Max) => Sum::Unsigned(0),
            (_, ReduceOp::Min) => Sum::Unsigned(u32::MAX),
            _ => Sum::Unsigned(u32::from(product)),
        }
    }

    fn add(self, op: ReduceOp, values: &[u32]) -> Sum {
        let floats: &[f32] = bytemuck::cast_slice(values);
        let signed: &[i32] = bytemuck::cast_slice(values);
        match self {
            Sum::Float(sum) => Sum::Float(match op {
                ReduceOp::Max => floats.iter().fold(sum, |a, &b| if b > a || b.is_nan() { b } else { a }),
                ReduceOp::Min => floats.iter().fold(sum, |a, &b| if b < a || b.is_nan() { b } else { a }),
                ReduceOp::Product => floats.iter().fold(sum, |a, &b| a * b),
                _ => sum + simd::sum(floats),
            }),
            Sum::Wide(sum) => Sum::Wide(match op {
                ReduceOp::Product => floats.iter().fold(sum, |a, &b| a * f64::from(b)),
                _ => floats.iter().fold(sum, |a, &b| a + f64::from(b)),
            }),
            Sum::Signed(sum) => Sum::Signed(match op {
                ReduceOp::Max => signed.iter().fold(sum, |a, &b| a.max(b)),
                ReduceOp::Min => signed.iter().fold(sum, |a, &b| a.min(b)),
                ReduceOp::Product => signed.iter().fold(sum, |a, &b| a.wrapping_mul(b)),
                _ => signed.iter().fold(sum, |a, &b| a.wrapping_add(b)),
            }),
            Sum::Unsigned(sum) => Sum::Unsigned(match op {
                ReduceOp::Max => values.iter().fold(sum, |a, &b| a.max(b)),
                ReduceOp::Min => values.iter().fold(sum, |a, &b| a.min(b)),
                ReduceOp::Product => values.iter().fold(sum, |a, &b| a.wrapping_mul(b)),
                ReduceOp::All => values.iter().fold(sum, |a, &b| a & u32::from(b != 0)),
                ReduceOp::Any => values.iter().fold(sum, |a, &b| a | u32::from(b != 0)),
                _ => values.iter().fold(sum, |a, &b| a.wrapping_add(b)),
            }),
        }
    }

    fn finish(self, op: ReduceOp, count: usize) -> u32 {
        let mean = op == ReduceOp::Mean;
        match self {
            Sum::Float(x) if mean => (x / count as f32).to_bits(),
            Sum::Float(x) => x.to_bits(),
            Sum::Wide(x) if mean => ((x / count as f64) as f32).to_bits(),
            Sum::Wide(x) => (x as f32).to_bits(),
            Sum::Signed(x) if mean => x.checked_div(count as i32).unwrap_or(0) as u32,
            Sum::Signed(x) => x as u32,
            Sum::Unsigned(x) if mean => x.checked_div(count as u32).unwrap_or(0),
            Sum::Unsigned(x) => x,
        }
    }
}

/// The `Reduce` kernel.
pub(super) fn reduce(
    op: ReduceOp,
    axes: usize,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let x = single(reads)?;
    let kept = x.dims().len().checked_sub(axes).filter(|&kept| x.dims()[..kept] == *dims);
    let Some(kept) = kept else {
        return Err(Fault::program(format!("reducing {axes} axes of {:?} does not give {dims:?}", x.dims())));
    };
    let kind = if matches!(op, ReduceOp::All | ReduceOp::Any) { Kind::Bool } else { x.kind };
    let count: usize = x.dims()[kept..].iter().product();
    let wide = env.wide;
    let last = kept.checked_sub(1).filter(|&last| x.layout.strides()[last] == 1 && dims[last] >= 8);
    if let (Some(last), Kind::F32, false, 2..) = (last, kind, wide, count) {
        across(op, x, last, dims[last], count, out);
        return Ok(());
    }
    threads::rows(out, 1, count, |row, out| {
        let mut buffer = [0u32; PIECE];
        let mut sum = Sum::new(op, kind, wide);
        let start = row * count;
        for at in (start..start + count).step_by(PIECE) {
            sum = sum.add(op, x.row(at, PIECE.min(start + count - at), &mut buffer));
        }
        out[0] = sum.finish(op, count);
    });
    Ok(())
}

/// Reduces floats whose kept axis `last`, of `n` elements, is the contiguous one: many results at
/// a time.
fn across(op: ReduceOp, x: &Operand, last: usize, n: usize, count: usize, out: &mut [u32]) {
    let rank = x.dims().len();
    let step = PIECE.min(n);
    threads::rows(out, n, n * count, |row, out| {
        let mut buffer = [0f32; PIECE];
        for from in (0..n).step_by(step) {
            let sums: &mut [f32] = bytemuck::cast_slice_mut(&mut out[from..n.min(from + step)]);
            let values = &mut buffer[..sums.len()];
            let Sum::Float(first) = Sum::new(op, Kind::F32, false) else { return };
            sums.fill(first);
            let reduced = x.layout.part(last + 1, rank, row * n + from).merged();
            reduced.runs(0, count, |offset, stride, _, len| {
                for i in 0..len {
                    x.load_run((offset as isize + i as isize * stride) as usize, 1, values);
                    let pairs = sums.iter_mut().zip(&*values);
                    match op {
                        ReduceOp::Max => {
                            pairs.for_each(|(a, &b)| *a = if b > *a || b.is_nan() { b } else { *a })
                        }
                        ReduceOp::Min => {
                            pairs.for_each(|(a, &b)| *a = if b < *a || b.is_nan() { b } else { *a })
                        }
                        ReduceOp::Product => pairs.for_each(|(a, &b)| *a *= b),
                        _ => pairs.for_each(|(a, &b)| *a += b),
                    }
                }
            });
            if op == ReduceOp::Mean {
                sums.iter_mut().for_each(|sum| *sum /= count as f32);
            }
        }
    });
}

/// The `Scan` kernel. Min and max skip NaN, as the CPU runtime does.
pub(super) fn scan(
    op: ReduceOp,
    reverse: bool,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let x = single(reads)?;
    same(x, dims)?;
    let n = dims.last().copied().unwrap_or(1);
    let (kind, wide) = (x.kind, env.wide);
    threads::rows(out, n, n * 2, |row, out| {
        x.load(row * n, out);
        if reverse {
            out.reverse();
        }
        match kind {
            Kind::F32 if wide && matches!(op, ReduceOp::Sum | ReduceOp::Product) => {
                let product = op == ReduceOp::Product;
                let mut sum = f64::from(u8::from(product));
                for x in out.iter_mut() {
                    let value = f64::from(f32::from_bits(*x));
                    sum = if product { sum * value } else { sum + value };
                    *x = (sum as f32).to_bits();
                }
            }
            Kind::F32 => {
                let out: &mut [f32] = bytemuck::cast_slice_mut(out);
                // What there is before any number: NaN in front is skipped as well.
                match (op, out.first_mut()) {
                    (ReduceOp::Min, Some(x)) if x.is_nan() => *x = f32::INFINITY,
                    (ReduceOp::Max, Some(x)) if x.is_nan() => *x = f32::NEG_INFINITY,
                    _ => {}
                }
                fold(out, |a: f32, b| match op {
                    ReduceOp::Product => a * b,
                    ReduceOp::Min => a.min(b),
                    ReduceOp::Max => a.max(b),
                    _ => a + b,
                })
            }
            Kind::I32 => fold(bytemuck::cast_slice_mut(out), |a: i32, b| match op {
                ReduceOp::Product => a.wrapping_mul(b),
                ReduceOp::Min => a.min(b),
                ReduceOp::Max => a.max(b),
                _ => a.wrapping_add(b),
            }),
            Kind::U32 | Kind::Bool => fold(out, |a: u32, b| match op {
                ReduceOp::Product => a.wrapping_mul(b),
                ReduceOp::Min => a.min(b),
                ReduceOp::Max => a.max(b),
                _ => a.wrapping_add(b),
            }),
        }
        if reverse {
            out.reverse();
        }
    });
    Ok(())
}

fn fold<T: Copy>(values: &mut [T], f: impl Fn(T, T) -> T) {
    for i in 1..values.len() {
        values[i] = f(values[i - 1], values[i]);
    }
}

/// The `ArgMax` kernel.
pub(super) fn argmax(
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    _env: &mut Env,
) -> Result<(), Fault> {
    let x = single(reads)?;
    let Some((&n, kept)) = x.dims().split_last().filter(|(_, kept)| *kept == dims) else {
        return Err(Fault::program(format!("argmax of {:?} does not give {dims:?}", x.dims())));
    };
    debug_assert_eq!(kept.len(), dims.len());
    threads::rows(out, 1, n, |row, out| {
        threads::scratch(n, |buffer| {
            let values = x.row(row * n, n, bytemuck::cast_slice_mut(buffer));
            out[0] = match x.kind {
                // Starting from the least finite value: a row of −∞ gives 0 and NaN never wins.
                Kind::F32 => first(bytemuck::cast_slice::<u32, f32>(values), -f32::MAX),
                Kind::I32 => first(bytemuck::cast_slice::<u32, i32>(values), i32::MIN),
                Kind::U32 | Kind::Bool => first(values, 0),
            };
        });
    });
    Ok(())
}

fn first<T: PartialOrd + Copy>(values: &[T], least: T) -> u32 {
    let (mut best, mut at) = (least, 0);
    for (i, &value) in values.iter().enumerate() {
        if value > best {
            (best, at) = (value, i);
        }
    }
    at as u32
}

/// The only operand of a kernel.
pub(super) fn single<'b, 'a>(reads: &'b [Operand<'a>]) -> Result<&'b Operand<'a>, Fault> {
    match reads {
        [x] => Ok(x),
        _ => Err(Fault::program(format!("{} operands instead of 1", reads.len()))),
    }
}

/// Checks that an operand has the extents of the result.
pub(super) fn same(x: &Operand, dims: &[usize]) -> Result<(), Fault> {
    if x.dims() == dims {
        return Ok(());
    }
    Err(Fault::program(format!("operand extents {:?} differ from {dims:?}", x.dims())))
}
