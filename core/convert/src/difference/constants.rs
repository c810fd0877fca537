//! The numbers of two weights.

use coreai_asset::{Asset, ConstantRef};
use serde::Serialize;

use super::elements::{CHUNK, read};
use super::pairs::Pair;
use super::weights::{Reader, Weight};
use crate::error::ConvertError;

/// Elements of the largest weights that are compared one by one; where a part is one repeated number, a shape can
/// claim any count.
const MAX_ELEMENTS: u64 = 1 << 36;

/// How far the elements of two weights are from each other, as real numbers. Pairs in which
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
    /// squared element of the first weight over the mean of the squared distances. `None`
    /// without a distance, or where the first is all zeros.
    pub psnr: Option<f64>,
    /// Pairs that differ of which one is infinite or no number.
    pub nonfinite: u64,
}

/// Two weights in the same place that differ: constants, or what operations unpack from constants.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConstantDifference {
    /// Places of their operations in the functions.
    pub before: usize,
    /// In the second asset.
    pub after: usize,
    /// Their types, and those of the stored numbers where they are unpacked.
    pub before_type: String,
    /// In the second asset.
    pub after_type: String,
    /// The operation of the first asset that uses it.
    pub used_by: Option<String>,
    /// Where that operation comes from in the source, if that is recorded.
    pub location: Option<String>,
    /// The element type or the encoding of the stored tensor differs, or how it is unpacked.
    pub compression_differs: bool,
    /// Their numbers, unpacked; `None` where the shapes differ or one is no tensor.
    pub numbers: Option<Numbers>,
}

/// `None` where type and values are the same.
pub(super) fn compare(
    before: &Asset,
    after: &Asset,
    pair: &Pair<'_>,
) -> Result<Option<ConstantDifference>, ConvertError> {
    let (ours, theirs) = (&pair.before, &pair.after);
    let same_form = ours.description(before) == theirs.description(after);
    if same_form && same_constants(before, ours, after, theirs)? {
        return Ok(None);
    }
    let readers = Reader::new(before, ours, CHUNK).zip(Reader::new(after, theirs, CHUNK));
    let comparable =
        readers.filter(|(x, y)| x.shape() == y.shape() && x.element.is_complex() == y.element.is_complex());
    let mut constants = ours.constants().into_iter().chain(theirs.constants());
    let repeated = constants.all(|(_, _, constant)| constant.splat);
    let comparable = comparable.filter(|(x, _)| repeated || x.count() <= MAX_ELEMENTS);
    let numbers = comparable.map(|(x, y)| numbers(x, y, repeated)).transpose()?;
    if same_form && numbers.as_ref().is_some_and(|numbers| numbers.different == 0) {
        return Ok(None); // one is stored as a splat, or zeros of either sign
    }
    let (x, y) = (before.tensor_type(ours.stored()), after.tensor_type(theirs.stored()));
    let kinds = x.zip(y).map(|(x, y)| x.element != y.element || x.encoding.is_some() != y.encoding.is_some());
    Ok(Some(ConstantDifference {
        before: ours.index,
        after: theirs.index,
        before_type: text(before, ours),
        after_type: text(after, theirs),
        used_by: pair.used_by.clone(),
        location: pair.location.clone(),
        compression_differs: kinds.unwrap_or(!same_form) || ours.is_packed() != theirs.is_packed(),
        numbers,
    }))
}

/// E.g. `tensor<64x64xf16> unpacked from tensor<64x64xsi4>`.
fn text(asset: &Asset, weight: &Weight<'_>) -> String {
    let (own, stored) = (asset.type_text(weight.ty), asset.type_text(weight.stored()));
    if weight.is_packed() { format!("{own} unpacked from {stored}") } else { own.to_string() }
}

fn same_constants(
    before: &Asset,
    ours: &Weight<'_>,
    after: &Asset,
    theirs: &Weight<'_>,
) -> Result<bool, ConvertError> {
    for ((_, _, x), (_, _, y)) in ours.constants().into_iter().zip(theirs.constants()) {
        if !same_bytes(before, x, after, y)? {
            return Ok(false);
        }
    }
    Ok(true)
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

/// Of two weights of the same shape. `repeated`: all elements of either are the same, so one pair tells of all.
fn numbers(mut x: Reader<'_>, mut y: Reader<'_>, repeated: bool) -> Result<Numbers, ConvertError> {
    let mut found = Numbers::default();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let (mut squares, mut peak, mut finite) = (0f64, 0f64, 0u64);
    let (mut at, count) = (0, if repeated { x.count().min(1) } else { x.count() });
    while at < count {
        let end = count.min(at.saturating_add(CHUNK));
        x.read(at, end, &mut a)?;
        y.read(at, end, &mut b)?;
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
    if repeated {
        found.different = found.different.saturating_mul(x.count());
        found.nonfinite = found.nonfinite.saturating_mul(x.count());
    }
    found.mean_squared = if finite > 0 { squares / finite as f64 } else { 0.0 };
    let ratio = 10.0 * (peak * peak / found.mean_squared).log10();
    found.psnr = ratio.is_finite().then_some(ratio);
    Ok(found)
}
