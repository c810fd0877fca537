//! A tensor with an inner axis last.

use std::sync::Arc;

use coreai_asset::ByteSource;

use crate::error::ConvertError;
use crate::formats::{Storage, StoredRows};
use crate::rows::Rows;

/// A tensor `[batch, inner, rows, run]` as rows of `inner · run` values: `[batch · rows, inner · run]`. So the
/// weights of an output channel are one row where the asset has the channels innermost.
pub(super) struct Swapped {
    name: String,
    /// `[batch · inner · rows, run]`
    source: StoredRows,
    inner: u64,
    rows: u64,
    run: u64,
    shape: [u64; 2],
}

impl Swapped {
    /// Of the bytes of a constant, with extents `[batch, inner, rows, run]` that are not zero.
    pub fn new(
        name: &str,
        source: Arc<dyn ByteSource>,
        range: std::ops::Range<u64>,
        [batch, inner, rows, run]: [u64; 4],
        storage: Storage,
    ) -> Result<Self, ConvertError> {
        let overflow =
            || ConvertError::Tensor { name: name.into(), reason: "has more than 2⁶⁴ values".into() };
        let all = batch.checked_mul(inner).and_then(|n| n.checked_mul(rows)).ok_or_else(overflow)?;
        let columns = inner.checked_mul(run).ok_or_else(overflow)?;
        let source = StoredRows::new(name, source, range, vec![all, run], storage)?;
        Ok(Self { name: name.into(), source, inner, rows, run, shape: [batch * rows, columns] })
    }
}

impl Rows for Swapped {
    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn read(&self, first: u64, out: &mut [f32]) -> Result<(), ConvertError> {
        let [total, columns] = self.shape;
        let count = out.len() as u64 / columns;
        if !(out.len() as u64).is_multiple_of(columns)
            || first.checked_add(count).is_none_or(|end| end > total)
        {
            let reason = format!("{} values from row {first} on are not rows of {total}", out.len());
            return Err(ConvertError::Tensor { name: self.name.clone(), reason });
        }
        let run = self.run as usize; // at most the length of `out`
        let mut strip = Vec::new();
        let (mut row, mut rest) = (first, out);
        while !rest.is_empty() {
            let (batch, within) = (row / self.rows, row % self.rows);
            let taken = (rest.len() as u64 / columns).min(self.rows - within);
            let (here, after) = rest.split_at_mut((taken * columns) as usize);
            strip.resize(taken as usize * run, 0.0);
            for inner in 0..self.inner {
                let at = (batch * self.inner + inner) * self.rows + within;
                self.source.read(at, &mut strip)?;
                let place = inner as usize * run;
                for (values, row) in strip.chunks_exact(run).zip(here.chunks_exact_mut(columns as usize)) {
                    row[place..place + run].copy_from_slice(values);
                }
            }
            rest = after;
            row += taken;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coreai_asset::MemorySource;

    #[test]
    fn inner_axes_become_last() {
        let (batch, inner, rows, run) = (2u64, 3u64, 4u64, 2u64);
        let count = batch * inner * rows * run;
        let bytes: Vec<u8> = (0..count).flat_map(|n| (n as f32).to_le_bytes()).collect();
        let range = 0..bytes.len() as u64;
        let source = Arc::new(MemorySource(bytes));
        let swapped = Swapped::new("w", source, range, [batch, inner, rows, run], Storage::F32).unwrap();
        assert_eq!(swapped.shape(), [8, 6]);
        let mut expected = Vec::new();
        for b in 0..batch {
            for n in 0..rows {
                for k in 0..inner {
                    for r in 0..run {
                        expected.push((((b * inner + k) * rows + n) * run + r) as f32);
                    }
                }
            }
        }
        for first in 0..8u64 {
            for count in 0..=8 - first {
                let mut out = vec![-1.0; (count * 6) as usize];
                swapped.read(first, &mut out).unwrap();
                assert_eq!(out, expected[(first * 6) as usize..((first + count) * 6) as usize]);
            }
        }
        assert!(swapped.read(7, &mut [0.0; 12]).is_err());
        assert!(swapped.read(0, &mut [0.0; 5]).is_err());
    }
}
