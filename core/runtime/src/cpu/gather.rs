//! Gathers.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::step::Kind;

use super::memory::Operand;
use super::{Env, Fault, threads};

/// Remembers one index that was out of range; the loop goes on with a clamped one.
pub(super) struct Offender(AtomicU64);

impl Offender {
    pub fn new() -> Offender {
        Offender(AtomicU64::new(0))
    }

    /// Wraps a negative index once; records what is out of range. `extent` is not 0.
    pub fn wrap(&self, index: i32, extent: usize) -> usize {
        let wrapped = if index < 0 { i64::from(index) + extent as i64 } else { i64::from(index) };
        if (0..extent as i64).contains(&wrapped) {
            return wrapped as usize;
        }
        // The extent takes the high half; it is not 0, so that 0 means no offender.
        let record = (extent.min(u32::MAX as usize) as u64) << 32 | u64::from(index as u32);
        self.0.store(record, Ordering::Relaxed);
        0
    }

    pub fn check(self) -> Result<(), Fault> {
        match self.0.into_inner() {
            0 => Ok(()),
            record => {
                Err(Fault::Index { index: i64::from(record as u32 as i32), extent: (record >> 32) as i64 })
            }
        }
    }
}

fn operands<'b, 'a>(reads: &'b [Operand<'a>]) -> Result<(&'b Operand<'a>, &'b Operand<'a>), Fault> {
    match reads {
        [x, index] if matches!(index.kind, Kind::I32 | Kind::U32) => Ok((x, index)),
        _ => Err(Fault::program("a gather needs data and integer indices".into())),
    }
}

/// The `GatherNd` kernel.
pub(super) fn gather_nd(
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let (x, index) = operands(reads)?;
    let (x_dims, refuse) = (x.dims(), || {
        Err(Fault::program(format!("gathering {:?} by {:?} does not give {dims:?}", x.dims(), index.dims())))
    });
    let Some((&q, outer)) = index.dims().split_last() else { return refuse() };
    if q > x_dims.len() || dims.len() != outer.len() + x_dims.len() - q {
        return refuse();
    }
    if dims[..outer.len()] != *outer || dims[outer.len()..] != x_dims[q..] {
        return refuse();
    }
    if out.is_empty() {
        return Ok(());
    }
    let width: usize = x_dims[q..].iter().product();
    if let Some(&extent) = x_dims[..q].iter().find(|&&d| d == 0) {
        return Err(Fault::Index { index: 0, extent: extent as i64 });
    }
    let indices = index.dense(&mut env.scratch.a)?;
    let offender = Offender::new();
    threads::rows(out, width, width * 2 + q * 4, |row, out| {
        let mut at = 0;
        for (&index, &extent) in indices[row * q..(row + 1) * q].iter().zip(x_dims) {
            at = at * extent + offender.wrap(index as i32, extent);
        }
        let layout = x.layout.part(q, x_dims.len(), at);
        Operand::new(x.kind, x.data, layout).load(0, out);
    });
    offender.check()
}

/// The `GatherAlong` kernel.
pub(super) fn gather_along(
    axis: usize,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let (x, index) = operands(reads)?;
    let x_dims = x.dims();
    let covers = x_dims.iter().zip(dims).enumerate().all(|(i, (x, d))| i == axis || x >= d);
    if index.dims() != dims || x_dims.len() != dims.len() || axis >= dims.len() || !covers {
        return Err(Fault::program(format!("gathering {x_dims:?} along {axis} by {:?}", index.dims())));
    }
    if out.is_empty() {
        return Ok(());
    }
    let extent = x_dims[axis];
    if extent == 0 {
        return Err(Fault::Index { index: 0, extent: 0 });
    }
    let indices = index.dense(&mut env.scratch.a)?;
    let offender = Offender::new();
    let last = dims.len() - 1;
    let strides = x.layout.strides();
    threads::rows(out, dims[last], dims[last] * 4, |row, out| {
        // Offset of the row with the index axis left out.
        let (mut rest, mut base) = (row, x.layout.offset as isize);
        for a in (0..last).rev() {
            if a != axis {
                base += (rest % dims[a]) as isize * strides[a];
            }
            rest /= dims[a];
        }
        let indices = &indices[row * dims[last]..][..dims[last]];
        for (column, (o, &index)) in out.iter_mut().zip(indices).enumerate() {
            let along = offender.wrap(index as i32, extent) as isize * strides[axis];
            let across = if axis == last { 0 } else { column as isize * strides[last] };
            let mut one = [0.0];
            x.load_run((base + along + across) as usize, 1, &mut one);
            *o = one[0].to_bits();
        }
    });
    offender.check()
}
