//! A weight that is compressed while it is read.

use std::sync::{Mutex, PoisonError};

use super::difference::{Difference, Tally};
use super::group::{Unfit, decode, encode};
use super::scheme::{Scheme, Width};
use crate::error::ConvertError;
use crate::rows::{CodeType, PackedRows, Packing, Rows, ScaleType, SharedRows};

/// Values of a row; a row is read whole. Real ones have some ten thousand.
const MAX_COLUMNS: u64 = 1 << 22;
/// Values that are read from the source at a time, unless a row has more.
const CHUNK: u64 = 1 << 16;

/// A weight that is compressed while it is read. Each row depends on the same row of the source only, so any
/// range of rows can be asked for, again and in any order, with the same result.
pub struct Quantized {
    name: String,
    source: SharedRows,
    scheme: Scheme,
    columns: usize,
    /// Weights that share a scale; divides `columns`.
    group: usize,
    tally: Mutex<Tally>,
}

/// Weights that share a scale, and what they become.
struct Group<'a> {
    weights: &'a [f32],
    codes: &'a [u8],
    scale: f32,
    /// `codes · scale`
    values: &'a [f32],
}

impl Quantized {
    /// Compresses a weight of this name, of shape `[.., rows, columns]`, by a scheme. Fails where the scheme's
    /// block does not divide the columns; [`Scheme::or_per_channel`] is the scheme to use then.
    pub fn new(name: &str, source: SharedRows, scheme: Scheme) -> Result<Self, ConvertError> {
        let columns = source.columns();
        let fail = |reason: String| ConvertError::Tensor { name: name.into(), reason };
        let group = scheme.group(columns).ok_or_else(|| {
            fail(format!(
                "has {columns} columns, which {:?} does not divide; compress it to int8 per channel, or exclude it",
                scheme.granularity
            ))
        })?;
        if columns > MAX_COLUMNS {
            return Err(fail(format!("has {columns} columns; at most {MAX_COLUMNS} can be compressed")));
        }
        Ok(Self {
            name: name.into(),
            source,
            scheme,
            columns: columns as usize,
            group: group as usize,
            tally: Mutex::default(),
        })
    }

    /// How it is compressed.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Differences between the source and the values of what [`Rows::read_packed`] has returned so far. Rows that
    /// were asked for twice count twice.
    pub fn tally(&self) -> Tally {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Difference to the source, from one pass over all rows.
    pub fn measure(&self) -> Result<Difference, ConvertError> {
        let mut tally = Tally::default();
        self.stream(0, self.source.rows(), &mut |group| tally.add(group.weights, group.values))?;
        tally.difference().ok_or_else(|| self.fail("has no values to measure".into()))
    }

    /// Hands every group of a range of rows to `each`.
    fn stream(&self, first: u64, count: u64, each: &mut dyn FnMut(Group<'_>)) -> Result<(), ConvertError> {
        let rows = self.source.rows();
        let end = first.checked_add(count).filter(|end| *end <= rows);
        let end =
            end.ok_or_else(|| self.fail(format!("has {rows} rows; asked for {count} from {first} on")))?;
        let step = (CHUNK / self.columns as u64).max(1).min(count.max(1));
        let mut weights = vec![0f32; step as usize * self.columns];
        let (mut codes, mut values) = (vec![0u8; self.group], vec![0f32; self.group]);
        let mut row = first;
        while row < end {
            let taken = step.min(end - row);
            let weights = &mut weights[..taken as usize * self.columns];
            self.source.read(row, weights)?;
            for (index, weights) in weights.chunks_exact(self.group).enumerate() {
                let scale = encode(weights, self.scheme, &mut codes)
                    .map_err(|unfit| self.unfit(unfit, row, index * self.group))?;
                decode(&codes, scale, &mut values);
                each(Group { weights, codes: &codes, scale, values: &values });
            }
            row += taken;
        }
        Ok(())
    }

    fn fail(&self, reason: String) -> ConvertError {
        ConvertError::Tensor { name: self.name.clone(), reason }
    }

    /// `offset`: of the group from the beginning of `row`, in values.
    fn unfit(&self, unfit: Unfit, row: u64, offset: usize) -> ConvertError {
        let row = row + (offset / self.columns) as u64;
        self.fail(match unfit {
            Unfit::NotFinite { at, value } => format!(
                "holds {value} in row {row}, column {}; weights have to be finite to be compressed: \
                 repair the checkpoint or exclude the tensor",
                (offset + at) % self.columns
            ),
            Unfit::TooLarge { largest } => format!(
                "holds {largest:e} in row {row}, whose scale {} cannot hold; use bfloat16 or float32 scales",
                self.scheme.scale.name()
            ),
        })
    }
}

impl Rows for Quantized {
    fn shape(&self) -> &[u64] {
        self.source.shape()
    }

    /// `code · scale` in float32, with the scale as it is stored.
    fn read(&self, first: u64, out: &mut [f32]) -> Result<(), ConvertError> {
        if !out.len().is_multiple_of(self.columns) {
            return Err(self.fail(format!("has {} columns; asked for {} values", self.columns, out.len())));
        }
        let count = (out.len() / self.columns) as u64;
        let mut places = out.chunks_exact_mut(self.group);
        self.stream(first, count, &mut |group| {
            if let Some(place) = places.next() {
                place.copy_from_slice(group.values);
            }
        })
    }

    fn packing(&self) -> Option<Packing> {
        let codes = match self.scheme.width {
            Width::Int4 => CodeType::SI4,
            Width::Int8 => CodeType::SI8,
        };
        let block = self.group as u64;
        Some(Packing { codes, block, zero: 0, minimum: false, palette: None, scale: ScaleType::Float })
    }

    /// Replaces what `out` holds.
    fn read_packed(&self, first: u64, count: u64, out: &mut PackedRows) -> Result<(), ConvertError> {
        out.codes.clear();
        out.scales.clear();
        out.minimums.clear();
        let total = count.min(self.source.rows()).checked_mul(self.columns as u64);
        let total = total.and_then(|total| usize::try_from(total).ok());
        let reserved = total.is_some_and(|total| {
            out.codes.try_reserve(total).is_ok() && out.scales.try_reserve(total / self.group).is_ok()
        });
        if !reserved {
            return Err(self.fail(format!("{count} rows do not fit in memory; ask for fewer")));
        }
        let mut tally = Tally::default();
        self.stream(first, count, &mut |group| {
            out.codes.extend_from_slice(group.codes);
            out.scales.push(group.scale);
            tally.add(group.weights, group.values);
        })?;
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).merge(&tally);
        Ok(())
    }
}
