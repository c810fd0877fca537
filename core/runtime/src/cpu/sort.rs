//! Stable sorting along the last axis.

use std::cmp::Ordering;

use crate::step::Kind;

use super::memory::Operand;
use super::reduce::{same, single};
use super::{Env, Fault, threads};

/// The `Sort` kernel: values or indices; NaN last in both directions.
pub(super) fn sort(
    descending: bool,
    indices: bool,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    _env: &mut Env,
) -> Result<(), Fault> {
    let x = single(reads)?;
    same(x, dims)?;
    let n = dims.last().copied().unwrap_or(1);
    if n > u32::MAX as usize {
        return Err(Fault::program(format!("an axis of {n} elements cannot be sorted")));
    }
    let order = |a: u32, b: u32| compare(x.kind, descending, a, b);
    let depth = n.max(2).ilog2() as usize;
    threads::rows(out, n, n * depth * 4, |row, out| {
        threads::scratch(2 * n, |buffer| {
            let (values, numbers) = bytemuck::cast_slice_mut::<f32, u32>(buffer).split_at_mut(n);
            x.load(row * n, values);
            if !indices {
                out.copy_from_slice(values);
                return out.sort_by(|&a, &b| order(a, b));
            }
            for (i, number) in numbers.iter_mut().enumerate() {
                *number = i as u32;
            }
            numbers.sort_by(|&a, &b| order(values[a as usize], values[b as usize]));
            out.copy_from_slice(numbers);
        });
    });
    Ok(())
}

fn compare(kind: Kind, descending: bool, a: u32, b: u32) -> Ordering {
    let order = match kind {
        Kind::F32 => {
            let (a, b) = (f32::from_bits(a), f32::from_bits(b));
            match a.partial_cmp(&b) {
                Some(order) => order,
                // NaN after numbers whatever the direction.
                None => return a.is_nan().cmp(&b.is_nan()),
            }
        }
        Kind::I32 => (a as i32).cmp(&(b as i32)),
        Kind::U32 | Kind::Bool => a.cmp(&b),
    };
    if descending { order.reverse() } else { order }
}
