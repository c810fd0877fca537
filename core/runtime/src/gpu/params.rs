//! Parameter words: one 256-byte slot of a uniform buffer per dispatch, and the workgroup counts.
//!
//! Words without symbols are computed once. The others are evaluated for each run, each distinct
//! expression once; only the range of words that changed is written.

use std::collections::HashMap;
use std::sync::Arc;

use super::buffers::GpuBuffer;
use super::counters::BufferClass;
use super::device::GpuDevice;
use super::dispatch::Dispatch;
use super::wgpu;
use crate::error::Error;
use crate::expr::Expr;

/// Bytes of a dispatch's slot: the alignment of dynamic offsets that every device accepts.
pub(crate) const SLOT_BYTES: usize = 256;
const SLOT_WORDS: usize = SLOT_BYTES / 4;

/// Steps that may be in flight without waiting for each other's parameters.
const REGIONS: usize = 2;

/// Workgroups along one axis of a dispatch.
const MAX_PER_AXIS: u64 = 65535;

/// The parameters of all dispatches of a layout.
pub(crate) struct Params {
    pub buffer: GpuBuffer,
    function: String,
    /// Distinct expressions and their values in the current run.
    exprs: Vec<Expr>,
    values: Vec<i64>,
    /// Word number in a region, and the expression it holds.
    words: Vec<(u32, u32)>,
    /// Expression of each dispatch's workgroup count.
    groups: Vec<u32>,
    /// What each region on the device holds.
    regions: [Vec<u32>; REGIONS],
    region: usize,
}

impl Params {
    pub async fn new(
        device: &Arc<GpuDevice>,
        dispatches: &[Dispatch],
        function: &str,
    ) -> Result<Params, Error> {
        let mut numbers: HashMap<&Expr, u32> = HashMap::new();
        let mut exprs = vec![];
        let (mut words, mut groups) = (vec![], vec![]);
        let mut fixed = vec![0u32; dispatches.len().max(1) * SLOT_WORDS];
        for (i, dispatch) in dispatches.iter().enumerate() {
            if dispatch.params.len() > SLOT_WORDS {
                return Err(Error::Gpu {
                    context: dispatch.kernel.to_owned(),
                    message: format!("{} parameter words, at most {SLOT_WORDS}", dispatch.params.len()),
                });
            }
            let mut number = |expr: &'_ Expr| {
                exprs.push(expr.clone());
                (exprs.len() - 1) as u32
            };
            for (w, expr) in dispatch.params.iter().enumerate() {
                let at = i * SLOT_WORDS + w;
                match expr.as_const() {
                    Some(value) => {
                        fixed[at] = word(value).ok_or_else(|| too_wide(function, dispatch, value))?
                    }
                    None => words.push((at as u32, *numbers.entry(expr).or_insert_with(|| number(expr)))),
                }
            }
            let count = &dispatch.workgroups;
            groups.push(*numbers.entry(count).or_insert_with(|| number(count)));
        }
        let bytes: &[u8] = bytemuck::cast_slice(&fixed);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let size = (bytes.len() * REGIONS) as u64;
        // Offsets are 32-bit.
        if u32::try_from(size).is_err() {
            return Err(Error::Gpu {
                context: function.to_owned(),
                message: format!("{} dispatches are too many", dispatches.len()),
            });
        }
        let buffer = device.buffer_with("parameters", size, BufferClass::Other, usage).await?;
        for region in 0..REGIONS {
            device.write(&buffer.raw, (region * bytes.len()) as u64, bytes);
        }
        Ok(Params {
            buffer,
            function: function.to_owned(),
            values: vec![0; exprs.len()],
            exprs,
            words,
            groups,
            regions: std::array::from_fn(|_| fixed.clone()),
            region: 0,
        })
    }

    /// Evaluates everything for a run and writes what changed. Does not allocate.
    pub fn update(&mut self, device: &GpuDevice, symbols: &[i64]) -> Result<(), Error> {
        for (value, expr) in self.values.iter_mut().zip(&self.exprs) {
            *value = expr.eval(symbols);
        }
        self.region = (self.region + 1) % REGIONS;
        let held = &mut self.regions[self.region];
        let (mut first, mut end) = (usize::MAX, 0);
        let mut failure = None;
        for &(at, expr) in &self.words {
            let value = self.values[expr as usize];
            let Some(value) = word(value) else {
                failure = Some(value);
                continue;
            };
            let at = at as usize;
            if held[at] != value {
                held[at] = value;
                first = first.min(at);
                end = end.max(at + 1);
            }
        }
        if first < end {
            let offset = (self.region * held.len() + first) * 4;
            device.write(&self.buffer.raw, offset as u64, bytemuck::cast_slice(&held[first..end]));
        }
        match failure {
            None => Ok(()),
            Some(value) => Err(Error::Program {
                function: self.function.clone(),
                op: "parameters".into(),
                source_line: None,
                reason: format!("{value} does not fit 32 bits"),
            }),
        }
    }

    /// Dynamic offset of a dispatch's slot in the current run, bytes.
    pub fn offset(&self, dispatch: usize) -> u32 {
        (self.region * self.regions[0].len() * 4 + dispatch * SLOT_BYTES) as u32
    }

    /// Workgroups of a dispatch in the current run; `None` when it has nothing to do.
    pub fn workgroups(&self, dispatch: usize) -> Option<[u32; 3]> {
        fold(u64::try_from(self.values[self.groups[dispatch] as usize]).unwrap_or(0))
    }
}

/// The parameter word of a value: two's complement for negative ones.
fn word(value: i64) -> Option<u32> {
    u32::try_from(value).ok().or_else(|| i32::try_from(value).ok().map(i32::cast_unsigned))
}

fn too_wide(function: &str, dispatch: &Dispatch, value: i64) -> Error {
    Error::Program {
        function: function.to_owned(),
        op: dispatch.kernel.to_owned(),
        source_line: None,
        reason: format!("parameter {value} does not fit 32 bits"),
    }
}

/// At least `count` workgroups as x·y·z with no axis above 65535, nearly balanced so that few are
/// idle. Counts beyond 32 bits are cut: a shader cannot number them.
fn fold(count: u64) -> Option<[u32; 3]> {
    let count = count.min(u64::from(u32::MAX));
    if count == 0 {
        return None;
    }
    let z = count.div_ceil(MAX_PER_AXIS * MAX_PER_AXIS);
    let y = count.div_ceil(z * MAX_PER_AXIS);
    let x = count.div_ceil(y * z);
    Some([x as u32, y as u32, z as u32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workgroups_fold_with_little_waste() {
        assert_eq!(fold(0), None);
        assert_eq!(fold(65535), Some([65535, 1, 1]));
        assert_eq!(fold(65536), Some([32768, 2, 1]));
        for count in [1, 70_000, 1 << 22, 123_456_789, (1 << 32) - 1] {
            let [x, y, z] = fold(count).unwrap().map(u64::from);
            let total = x * y * z;
            assert!(x <= MAX_PER_AXIS && y <= MAX_PER_AXIS && z <= MAX_PER_AXIS);
            assert!(total >= count && total - count < y * z, "{count}: {x} {y} {z}");
        }
    }

    #[test]
    fn words_are_32_bits_of_either_sign() {
        assert_eq!(word(-1), Some(u32::MAX));
        assert_eq!(word(i64::from(u32::MAX)), Some(u32::MAX));
        assert_eq!(word(1 << 32), None);
        assert_eq!(word(i64::from(i32::MIN) - 1), None);
    }
}
