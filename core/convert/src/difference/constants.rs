//! The numbers of two constants.

use coreai_asset::{Asset, ConstantRef, TensorType};
use serde::Serialize;

use super::elements::{CHUNK, decode, read};
use super::operations::{Constant, ConstantPair};
use crate::error::ConvertError;

/// How far the elements of two constants are from each other, as real numbers. Pairs in which
/// either is infinite or no number only count as `nonfinite`, where they differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Numbers {
    /// Elements that differ.
    pub different: u64,
    /// The largest distance.
    pub max_abs: f64,
    /// Mean of the squared distances.
    pub mean_squared: f64,
    /// Peak signal-to-noise ratio in decibels: ten times the decimal logarithm of the largest
    /// squared element of the first constant over the mean of the squared distances. `None`
    /// without a distance, or where the first is all zeros.
    pub psnr: Option<f64>,
    /// Pairs that differ of which one is infinite or no number.
    pub nonfinite: u64,
}

/// Two constants in the same place that differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConstantDifference {
    /// Places of their operations in the functions.
    pub before: usize,
    /// In the second asset.
    pub after: usize,
    /// Their types.
    pub before_type: String,
    /// In the second asset.
    pub after_type: String,
    /// The element type or the encoding of the tensor differs.
    pub compression_differs: bool,
    /// Their numbers; `None` where the shapes differ or one is no tensor.
    pub numbers: Option<Numbers>,
}

/// `None` where type and values are the same.
pub(super) fn compare(
    before: &Asset,
    after: &Asset,
    pair: &ConstantPair<'_>,
) -> Result<Option<ConstantDifference>, ConvertError> {
    let (x, y) = (before.tensor_type(pair.before.ty), after.tensor_type(pair.after.ty));
    let text = |asset: &Asset, constant: &Constant<'_>| asset.type_text(constant.ty).to_string();
    let (before_type, after_type) = (text(before, &pair.before), text(after, &pair.after));
    let same_type = before_type == after_type;
    if same_type && same_bytes(before, pair.before.constant, after, pair.after.constant)? {
        return Ok(None);
    }
    let same_shape = |(x, y): &(&TensorType, &TensorType)| x.shape == y.shape;
    let comparable =
        x.zip(y).filter(same_shape).filter(|(x, y)| x.element.is_complex() == y.element.is_complex());
    let numbers = match comparable.and_then(|(x, y)| Some((x, y, x.elements()?))) {
        None => None,
        Some((x, y, count)) => {
            let (ours, theirs) = (pair.before.constant, pair.after.constant);
            Some(numbers(before, ours, x, after, theirs, y, count)?)
        }
    };
    let same_numbers = numbers.as_ref().is_some_and(|numbers| numbers.different == 0);
    if same_type && same_numbers {
        return Ok(None); // one is stored as a splat, or zeros of either sign
    }
    let kinds = x.zip(y).map(|(x, y)| x.element != y.element || x.encoding.is_some() != y.encoding.is_some());
    Ok(Some(ConstantDifference {
        before: pair.before.index,
        after: pair.after.index,
        before_type,
        after_type,
        compression_differs: kinds.unwrap_or(!same_type),
        numbers,
    }))
}

fn same_bytes(before: &Asset, x: &ConstantRef, after: &Asset, y: &ConstantRef) -> Result<bool, ConvertError> {
    let length = |constant: &ConstantRef| constant.range.end.saturating_sub(constant.range.start);
    if x.splat != y.splat || length(x) != length(y) {
        return Ok(false);
    }
    let mut at = 0;
    while at < length(x) {
        let end = length(x).min(at.saturating_add(8 * CHUNK));
        let chunk = |asset, constant: &ConstantRef| {
            read(asset, constant.range.start + at, constant.range.start + end)
        };
        let ours = chunk(before, x)?.into_owned();
        if ours != *chunk(after, y)? {
            return Ok(false);
        }
        at = end;
    }
    Ok(true)
}

fn numbers(
    before: &Asset,
    ours: &ConstantRef,
    x: &TensorType,
    after: &Asset,
    theirs: &ConstantRef,
    y: &TensorType,
    count: u64,
) -> Result<Numbers, ConvertError> {
    let mut found = Numbers::default();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let (mut squares, mut peak, mut finite) = (0f64, 0f64, 0u64);
    let mut at = 0;
    while at < count {
        let end = count.min(at.saturating_add(CHUNK));
        decode(before, ours, x.element, count, at, end, &mut a)?;
        decode(after, theirs, y.element, count, at, end, &mut b)?;
        for (p, q) in a.iter().zip(&b) {
            let same = p == q || (p.is_nan() && q.is_nan());
            found.different += u64::from(!same);
            if p.is_finite() && q.is_finite() {
                let distance = (p - q).abs();
                squares += distance * distance;
                found.max_abs = found.max_abs.max(distance);
                peak = peak.max(p.abs());
                finite += 1;
            } else if !same {
                found.nonfinite += 1;
            }
        }
        at = end;
    }
    found.mean_squared = if finite > 0 { squares / finite as f64 } else { 0.0 };
    let ratio = 10.0 * (peak * peak / found.mean_squared).log10();
    found.psnr = ratio.is_finite().then_some(ratio);
    Ok(found)
}
