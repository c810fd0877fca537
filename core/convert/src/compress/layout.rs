//! How the codes and scales of a weight lie.

use crate::quantize::{Granularity, Scheme, WeightClass, Width};

/// How a constant is taken as rows of what one scale, or a line of scales, is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Extents of the codes: rows first, the summed axes after them.
    pub shape: Vec<u64>,
    /// So many axes are rows.
    pub rows: usize,
    /// The constant is the codes' tensor in another order: its axis `i` is axis `order[i]` of the codes.
    pub order: Option<Vec<u32>>,
    /// Extents of the constant as `[batch, inner, rows, run]`, where there is an order.
    pub source: [u64; 4],
}

impl Layout {
    /// For a constant of extents that are not zero whose output channels and summed values lie along two axes.
    /// `None` where such axes cannot be rows.
    pub fn new(
        class: WeightClass,
        shape: &[u64],
        channel: Option<usize>,
        summed: Option<usize>,
    ) -> Option<Self> {
        let rank = shape.len();
        if rank < 2 {
            return None;
        }
        let product = |extents: &[u64]| extents.iter().try_fold(1u64, |all, extent| all.checked_mul(*extent));
        let native = |rows| Some(Self { shape: shape.to_vec(), rows, order: None, source: [0; 4] });
        let moved = |shape: Vec<u64>, rows, order: Vec<usize>, source| {
            let order = Some(order.into_iter().map(|axis| axis as u32).collect()); // a rank is small
            Some(Self { shape, rows, order, source })
        };
        match (class, channel) {
            (WeightClass::Conv, Some(0)) => native(1),
            (WeightClass::Conv, Some(1)) => {
                let [inner, rows, kernel @ ..] = shape else { return None };
                let order = [1, 0].into_iter().chain(2..rank).collect();
                let source = [1, *inner, *rows, product(kernel)?];
                moved([&[*rows, *inner], kernel].concat(), 1, order, source)
            }
            (WeightClass::Conv, _) => None,
            _ => {
                let summed = summed.filter(|axis| *axis < rank && channel != Some(*axis))?;
                if summed + 1 == rank {
                    return native(rank - 1);
                }
                let (outer, inner, after) = (&shape[..summed], shape[summed], &shape[summed + 1..]);
                let place = |axis: usize| match axis {
                    _ if axis < summed => axis,
                    _ if axis == summed => rank - 1,
                    _ => axis - 1,
                };
                let source = [product(outer)?, inner, product(after)?, 1];
                let order = (0..rank).map(place).collect();
                moved([outer, after, &[inner]].concat(), rank - 1, order, source)
            }
        }
    }

    /// Values of a row.
    pub fn columns(&self) -> u64 {
        self.shape[self.rows..].iter().product()
    }

    /// The scheme, or int8 per row where its blocks are no blocks of these axes.
    pub fn fitting(&self, scheme: Scheme) -> Scheme {
        let columns = self.columns();
        let one_axis = self.shape[self.rows..].iter().skip(1).all(|extent| *extent == 1);
        match scheme.granularity {
            Granularity::Block(_) if !one_axis => {
                Scheme { width: Width::Int8, granularity: Granularity::PerChannel, ..scheme }
            }
            _ => scheme.or_per_channel(columns),
        }
    }

    /// Extents of the scales for groups of so many values.
    pub fn scales(&self, group: u64) -> Vec<u64> {
        let mut scales = vec![1; self.shape.len()];
        scales[..self.rows].copy_from_slice(&self.shape[..self.rows]);
        if let Some(first) = scales.get_mut(self.rows) {
            *first = self.columns() / group.max(1);
        }
        scales
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(class: WeightClass, shape: &[u64], channel: usize, summed: usize) -> Layout {
        Layout::new(class, shape, Some(channel), Some(summed)).unwrap()
    }

    #[test]
    fn rows_of_each_kind() {
        let linear = layout(WeightClass::Linear, &[64, 96], 0, 1);
        assert_eq!((linear.order.clone(), linear.columns(), linear.scales(32)), (None, 96, vec![64, 3]));
        let inner = layout(WeightClass::Linear, &[96, 64], 1, 0);
        assert_eq!((inner.shape.clone(), inner.order.clone()), (vec![64, 96], Some(vec![1, 0])));
        assert_eq!(inner.source, [1, 96, 64, 1]);
        let expert = layout(WeightClass::Expert, &[1, 8, 64, 32], 3, 2);
        assert_eq!((expert.shape.clone(), expert.source), (vec![1, 8, 32, 64], [8, 64, 32, 1]));
        assert_eq!((expert.order.clone(), expert.scales(32)), (Some(vec![0, 1, 3, 2]), vec![1, 8, 32, 2]));
        let conv = layout(WeightClass::Conv, &[16, 8, 3, 3], 0, 1);
        assert_eq!((conv.order.clone(), conv.columns(), conv.scales(72)), (None, 72, vec![16, 1, 1, 1]));
        let back = layout(WeightClass::Conv, &[16, 8, 3, 3], 1, 0);
        assert_eq!((back.shape.clone(), back.source), (vec![8, 16, 3, 3], [1, 16, 8, 9]));
        assert_eq!(back.order, Some(vec![1, 0, 2, 3]));
        assert_eq!(Layout::new(WeightClass::Linear, &[4, 4], Some(0), None), None);
        assert_eq!(Layout::new(WeightClass::Conv, &[4, 4, 1, 1], None, Some(1)), None);
    }

    #[test]
    fn blocks_need_one_axis() {
        let conv = layout(WeightClass::Conv, &[16, 64, 3, 3], 0, 1);
        assert_eq!(conv.fitting(Scheme::W4), Scheme::W8);
        let pointwise = layout(WeightClass::Conv, &[16, 64, 1, 1], 0, 1);
        assert_eq!(pointwise.fitting(Scheme::W4), Scheme::W4);
        assert_eq!(pointwise.scales(32), [16, 2, 1, 1]);
    }
}
