//! Tensors made of other tensors without copying them: rows in another order, stacked, transposed.

use crate::error::ConvertError;
use crate::rows::{PackedRows, Packing, Rows, SharedRows};

/// Values of the tensor that a transposed view holds at a time, unless a row has more.
const TRANSPOSED_VALUES: u64 = 1 << 19;

/// Which row, or column, of a tensor stands at a place of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Heads of `2 · half` rows whose rotated pairs are neighbours become heads whose halves are the pairs:
    /// row `2i + j` of a head goes to row `j · half + i`.
    Halves { half: u64 },
    /// Of each `group` rows the `count` rows `first, first + step, …`.
    Part { group: u64, count: u64, first: u64, step: u64 },
}

impl Order {
    fn of(self, index: u64) -> u64 {
        match self {
            Self::Halves { half } => {
                let (head, within) = (index / (2 * half), index % (2 * half));
                head * 2 * half + 2 * (within % half) + within / half
            }
            Self::Part { group, count, first, step } => index / count * group + first + index % count * step,
        }
    }

    /// The extent of the view for one of the tensor, if the order fits it.
    fn extent(self, extent: u64) -> Option<u64> {
        match self {
            Self::Halves { half } => {
                (half != 0 && extent.is_multiple_of(half.checked_mul(2)?)).then_some(extent)
            }
            Self::Part { group, count, first, step } => {
                let last = count.checked_sub(1)?.checked_mul(step)?.checked_add(first)?;
                (extent == group && last < group).then_some(count)
            }
        }
    }
}

fn mismatch(name: &str, shape: &[u64], order: Order) -> ConvertError {
    ConvertError::Tensor { name: name.into(), reason: format!("shape {shape:?} does not fit {order:?}") }
}

/// Fails unless `count` rows from `first` on are in `rows`.
fn check_range(name: &str, rows: u64, first: u64, count: u64) -> Result<(), ConvertError> {
    match first.checked_add(count) {
        Some(end) if end <= rows => Ok(()),
        _ => Err(ConvertError::Tensor {
            name: name.into(),
            reason: format!("rows from {first} on, {count} of them, of {rows} rows"),
        }),
    }
}

/// Whole rows that `out` holds.
fn whole_rows(name: &str, columns: u64, out: &[f32]) -> Result<u64, ConvertError> {
    let values = out.len() as u64;
    match values.checked_rem(columns) {
        Some(0) => Ok(values / columns),
        _ => Err(ConvertError::Tensor {
            name: name.into(),
            reason: format!("{values} values are not whole rows of {columns}"),
        }),
    }
}

/// `out` without its first `values` values, and those.
fn split<'a>(out: &mut &'a mut [f32], values: u64) -> &'a mut [f32] {
    usize::try_from(values).ok().and_then(|values| out.split_off_mut(..values)).unwrap_or_default()
}

/// Some rows of a tensor, in another order. Rows move whole, so they stay packed.
pub(crate) struct Selected {
    name: String,
    inner: SharedRows,
    order: Order,
    shape: Vec<u64>,
}

impl Selected {
    /// Orders the last axis but one.
    pub fn new(name: &str, inner: SharedRows, order: Order) -> Result<Self, ConvertError> {
        let mut shape = inner.shape().to_vec();
        let axis = shape.len().checked_sub(2).and_then(|axis| shape.get_mut(axis));
        match axis.and_then(|axis| order.extent(*axis).map(|extent| *axis = extent)) {
            Some(()) => Ok(Self { name: name.into(), inner, order, shape }),
            None => Err(mismatch(name, &shape, order)),
        }
    }

    /// Calls `each` with the runs of rows that stand together in the tensor: first row and count there.
    fn runs(
        &self,
        first: u64,
        count: u64,
        mut each: impl FnMut(u64, u64) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        check_range(&self.name, self.rows(), first, count)?;
        let (mut row, end) = (first, first + count);
        while row < end {
            let start = self.order.of(row);
            let mut run = 1;
            while row + run < end && self.order.of(row + run) == start + run {
                run += 1;
            }
            each(start, run)?;
            row += run;
        }
        Ok(())
    }
}

impl Rows for Selected {
    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn read(&self, first: u64, mut out: &mut [f32]) -> Result<(), ConvertError> {
        let columns = self.columns();
        let count = whole_rows(&self.name, columns, out)?;
        self.runs(first, count, |start, run| self.inner.read(start, split(&mut out, run * columns)))
    }

    fn packing(&self) -> Option<Packing> {
        self.inner.packing()
    }

    fn read_packed(&self, first: u64, count: u64, out: &mut PackedRows) -> Result<(), ConvertError> {
        *out = PackedRows::default();
        let mut part = PackedRows::default();
        self.runs(first, count, |start, run| {
            self.inner.read_packed(start, run, &mut part)?;
            out.codes.append(&mut part.codes);
            out.scales.append(&mut part.scales);
            out.minimums.append(&mut part.minimums);
            Ok(())
        })
    }
}

/// Some values of each row, in another order: biases.
pub(crate) struct SelectedColumns {
    name: String,
    inner: SharedRows,
    order: Order,
    shape: Vec<u64>,
}

impl SelectedColumns {
    /// Orders the last axis.
    pub fn new(name: &str, inner: SharedRows, order: Order) -> Result<Self, ConvertError> {
        let mut shape = inner.shape().to_vec();
        match shape.last_mut().and_then(|axis| order.extent(*axis).map(|extent| *axis = extent)) {
            Some(()) => Ok(Self { name: name.into(), inner, order, shape }),
            None => Err(mismatch(name, &shape, order)),
        }
    }
}

impl Rows for SelectedColumns {
    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn read(&self, first: u64, mut out: &mut [f32]) -> Result<(), ConvertError> {
        let columns = self.columns();
        let count = whole_rows(&self.name, columns, out)?;
        check_range(&self.name, self.rows(), first, count)?;
        // a row of the tensor exists as bytes in a file, or is as long as one
        let mut row = vec![0.0; self.inner.columns() as usize];
        for index in first..first + count {
            self.inner.read(index, &mut row)?;
            for (column, value) in split(&mut out, columns).iter_mut().enumerate() {
                *value = row.get(self.order.of(column as u64) as usize).copied().unwrap_or(0.0);
            }
        }
        Ok(())
    }
}

/// Tensors of one shape one after the other, with a new outermost axis.
pub(crate) struct Stacked {
    name: String,
    parts: Vec<SharedRows>,
    /// Rows of a part.
    rows: u64,
    shape: Vec<u64>,
}

impl Stacked {
    pub fn new(name: &str, parts: Vec<SharedRows>) -> Result<Self, ConvertError> {
        let failed = |reason: String| ConvertError::Tensor { name: name.into(), reason };
        let Some(first) = parts.first() else { return Err(failed("has no parts".into())) };
        let shape = first.shape().to_vec();
        if let Some(other) = parts.iter().find(|part| part.shape() != shape) {
            return Err(failed(format!("parts have the shapes {shape:?} and {:?}", other.shape())));
        }
        let rows = first.rows();
        let shape = std::iter::once(parts.len() as u64).chain(shape).collect();
        Ok(Self { name: name.into(), parts, rows, shape })
    }

    /// Calls `each` with a part, the first of its rows and their number.
    fn visit(
        &self,
        first: u64,
        count: u64,
        mut each: impl FnMut(&SharedRows, u64, u64) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        check_range(&self.name, self.rows(), first, count)?;
        let (mut row, end) = (first, first + count);
        while row < end {
            let (index, within) = (row / self.rows, row % self.rows);
            let run = (self.rows - within).min(end - row);
            match usize::try_from(index).ok().and_then(|index| self.parts.get(index)) {
                Some(part) => each(part, within, run)?,
                None => check_range(&self.name, 0, row, run)?,
            }
            row += run;
        }
        Ok(())
    }
}

impl Rows for Stacked {
    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn read(&self, first: u64, mut out: &mut [f32]) -> Result<(), ConvertError> {
        let columns = self.columns();
        let count = whole_rows(&self.name, columns, out)?;
        self.visit(first, count, |part, within, run| part.read(within, split(&mut out, run * columns)))
    }

    /// Only if all parts are packed alike.
    fn packing(&self) -> Option<Packing> {
        let first = self.parts.first()?.packing()?;
        self.parts.iter().all(|part| part.packing().as_ref() == Some(&first)).then_some(first)
    }

    fn read_packed(&self, first: u64, count: u64, out: &mut PackedRows) -> Result<(), ConvertError> {
        *out = PackedRows::default();
        let mut piece = PackedRows::default();
        self.visit(first, count, |part, within, run| {
            part.read_packed(within, run, &mut piece)?;
            out.codes.append(&mut piece.codes);
            out.scales.append(&mut piece.scales);
            out.minimums.append(&mut piece.minimums);
            Ok(())
        })
    }
}

/// The last two axes exchanged. Reading rows scans the whole matrix they are columns of.
pub(crate) struct Transposed {
    name: String,
    inner: SharedRows,
    /// Of a matrix of the view.
    rows: u64,
    shape: Vec<u64>,
}

impl Transposed {
    pub fn new(name: &str, inner: SharedRows) -> Result<Self, ConvertError> {
        let mut shape = inner.shape().to_vec();
        match shape.as_mut_slice() {
            [.., rows, columns] => std::mem::swap(rows, columns),
            _ => {
                let reason = format!("shape {shape:?} has no rows and columns to exchange");
                return Err(ConvertError::Tensor { name: name.into(), reason });
            }
        }
        Ok(Self { name: name.into(), rows: inner.columns(), inner, shape })
    }
}

impl Rows for Transposed {
    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn read(&self, first: u64, mut out: &mut [f32]) -> Result<(), ConvertError> {
        let columns = self.columns();
        let count = whole_rows(&self.name, columns, out)?;
        check_range(&self.name, self.rows(), first, count)?;
        let (mut row, end) = (first, first + count);
        while row < end {
            let (matrix, within) = (row / self.rows, row % self.rows);
            let run = (self.rows - within).min(end - row);
            let here = split(&mut out, run * columns);
            let mut column = 0;
            while column < columns {
                let step = (TRANSPOSED_VALUES / self.rows.max(1)).clamp(1, columns - column);
                let mut block = vec![0.0; (step * self.rows) as usize];
                self.inner.read(matrix * columns + column, &mut block)?;
                for (values, at) in block.chunks_exact(self.rows as usize).zip(column..) {
                    let wanted = values.iter().skip(within as usize).take(run as usize);
                    let places = here.iter_mut().skip(at as usize).step_by(columns as usize);
                    places.zip(wanted).for_each(|(place, value)| *place = *value);
                }
                column += step;
            }
            row += run;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::rows::{CodeType, ScaleType};

    /// Counts from 0; packed rows have the row as code.
    struct Counting(Vec<u64>);

    impl Rows for Counting {
        fn shape(&self) -> &[u64] {
            &self.0
        }

        fn read(&self, first: u64, out: &mut [f32]) -> Result<(), ConvertError> {
            let start = first * self.columns();
            assert!(start + out.len() as u64 <= self.rows() * self.columns());
            out.iter_mut().zip(start..).for_each(|(value, at)| *value = at as f32);
            Ok(())
        }

        fn packing(&self) -> Option<Packing> {
            let (codes, scale) = (CodeType::UI8, ScaleType::Float);
            Some(Packing { codes, block: self.columns(), zero: 0, minimum: false, palette: None, scale })
        }

        fn read_packed(&self, first: u64, count: u64, out: &mut PackedRows) -> Result<(), ConvertError> {
            out.codes =
                (first..first + count).flat_map(|row| vec![row as u8; self.columns() as usize]).collect();
            out.scales = (first..first + count).map(|row| row as f32).collect();
            Ok(())
        }
    }

    fn counting(shape: &[u64]) -> SharedRows {
        Arc::new(Counting(shape.to_vec()))
    }

    fn all(rows: &dyn Rows) -> Vec<f32> {
        let count = rows.rows() * rows.columns();
        let mut out = vec![-1.0; count as usize];
        rows.read(0, &mut out).unwrap();
        // in other pieces
        let mut again = vec![-1.0; count as usize];
        for (row, out) in again.chunks_mut(rows.columns() as usize).enumerate() {
            rows.read(row as u64, out).unwrap();
        }
        assert_eq!(out, again);
        assert!(rows.read(1, &mut out).is_err(), "one row too many");
        out
    }

    #[test]
    fn halves_of_heads() {
        // two heads of 6: [0 1 2 3 4 5] holds the pairs (0, 1), (2, 3), (4, 5)
        let view = Selected::new("q", counting(&[12, 1]), Order::Halves { half: 3 }).unwrap();
        let expected = [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11];
        assert_eq!(all(&view), expected.map(|row| row as f32));
        let mut packed = PackedRows::default();
        view.read_packed(1, 4, &mut packed).unwrap();
        assert_eq!((packed.codes.as_slice(), packed.scales.len()), (&[2, 4, 1, 3][..], 4));
        assert_eq!(view.packing().unwrap().codes, CodeType::UI8);
        let bias = SelectedColumns::new("b", counting(&[12]), Order::Halves { half: 3 }).unwrap();
        assert_eq!(all(&bias), expected.map(|row| row as f32));
        assert!(Selected::new("q", counting(&[10, 1]), Order::Halves { half: 3 }).is_err());
        assert!(Selected::new("q", counting(&[12]), Order::Halves { half: 3 }).is_err());
    }

    #[test]
    fn parts() {
        let odd = Order::Part { group: 4, count: 2, first: 1, step: 2 };
        let view = Selected::new("up", counting(&[2, 4, 2]), odd).unwrap();
        assert_eq!(view.shape(), [2, 2, 2]);
        assert_eq!(all(&view), [2.0, 3.0, 6.0, 7.0, 10.0, 11.0, 14.0, 15.0]);
        let low = Order::Part { group: 4, count: 2, first: 0, step: 1 };
        assert_eq!(all(&SelectedColumns::new("b", counting(&[2, 4]), low).unwrap()), [0.0, 1.0, 4.0, 5.0]);
        let beyond = Order::Part { group: 4, count: 2, first: 2, step: 2 };
        assert!(Selected::new("up", counting(&[2, 4, 2]), beyond).is_err());
    }

    #[test]
    fn stacks() {
        let view = Stacked::new("e", vec![counting(&[2, 2]), counting(&[2, 2])]).unwrap();
        assert_eq!(view.shape(), [2, 2, 2]);
        assert_eq!(all(&view), [0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0]);
        let mut packed = PackedRows::default();
        view.read_packed(1, 2, &mut packed).unwrap();
        assert_eq!(packed.codes, [1, 1, 0, 0]);
        assert!(Stacked::new("e", vec![counting(&[2, 2]), counting(&[2, 3])]).is_err());
        assert!(Stacked::new("e", Vec::new()).is_err());
    }

    #[test]
    fn transposes() {
        let view = Transposed::new("d", counting(&[2, 2, 3])).unwrap();
        assert_eq!(view.shape(), [2, 3, 2]);
        assert_eq!(all(&view), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 6.0, 9.0, 7.0, 10.0, 8.0, 11.0]);
        // a row is half of what is held at a time, or more
        for wide in [TRANSPOSED_VALUES / 2, TRANSPOSED_VALUES + 1] {
            let view = Transposed::new("d", counting(&[3, wide])).unwrap();
            let mut out = [0.0; 6];
            view.read(1, &mut out).unwrap();
            let wide = wide as f32;
            assert_eq!(out, [1.0, wide + 1.0, 2.0 * wide + 1.0, 2.0, wide + 2.0, 2.0 * wide + 2.0]);
        }
    }
}
