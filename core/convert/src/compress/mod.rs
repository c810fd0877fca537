//! Compresses the weights of an asset: float constants become codes with scales and the operation that makes
//! floats of them (`OPSET` §9). Nothing is computed until the asset is written or run.

mod emit;
mod layout;
mod report;
mod swapped;
mod uses;
mod views;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use coreai_asset::{Asset, Editor, ElementType, TensorType, ValueId};

use emit::{Compressible, Prepared};
use layout::Layout;
pub use report::{CompressedWeight, CompressionReport, CompressionTotals, Outcome, class_name};
use uses::{Found, Use};

use crate::error::ConvertError;
use crate::formats::Storage;
use crate::quantize::{Quantized, ScaleFormat, Scheme, Selection, WeightClass};

/// Weights of fewer values are left: they save nothing, and scales take what codes save.
pub const MINIMUM_VALUES: u64 = 1024;

/// Version of the fields of a [`CompressionReport`].
const SCHEMA_VERSION: u32 = 1;

/// An asset with compressed weights.
pub struct Compressed {
    /// The asset. Its constants are computed while they are read.
    pub asset: Asset,
    weights: Vec<(CompressedWeight, Option<Arc<Quantized>>)>,
}

impl Compressed {
    /// What became of each weight. Differences are there once the asset was written.
    pub fn report(&self) -> CompressionReport {
        let row = |(weight, quantized): &(CompressedWeight, Option<Arc<Quantized>>)| {
            let mut weight = weight.clone();
            if let (Outcome::Compressed { difference, .. }, Some(quantized)) =
                (&mut weight.outcome, quantized)
            {
                *difference = quantized.tally().difference();
            }
            weight
        };
        CompressionReport { schema_version: SCHEMA_VERSION, weights: self.weights.iter().map(row).collect() }
    }
}

/// Compresses the weights that a selection names.
///
/// A weight is a float constant that reaches, directly or through operations that only arrange it, an operand of
/// a matrix product, the table of a lookup, the kernel of a convolution, or the matrices of a `gather_mm`. What is
/// packed already, and what is used in other ways only (norms, biases, masks), stays. So do weights of fewer than
/// [`MINIMUM_VALUES`] values and tables of rotary embeddings. Blocks and rows lie along the axis that is summed
/// over; where that is not the last one, codes are stored with it last and a transposition follows. A weight that
/// several constants share is compressed once.
///
/// Assets have no names for weights, so they get `FUNCTION/CLASS_NUMBER.SHAPE`: `main/linear_12.1536x576` is the
/// thirteenth of its class in `main`, by the order of first uses in the program. Between number and shape
/// stands what the author called the part of the model, where the program says that:
/// `main/expert_0.mlp.gate_proj.1x8x64x64`. Names depend on the asset only, not on what is selected.
pub fn compress(asset: Asset, selection: &Selection) -> Result<Compressed, ConvertError> {
    let source = asset.source().clone();
    let found = uses::find(&asset);
    let weights = gathered(&asset, found);
    let mut editor = Editor::new(asset)?;
    let mut rows = Vec::with_capacity(weights.len());
    let mut places: Vec<Vec<(ValueId, Prepared)>> = vec![Vec::new(); editor.functions().len()];
    for weight in &weights {
        let mut row = weight.row();
        let planned = weight.plan(selection).and_then(|(layout, scheme)| {
            // a weight that cannot be compressed stays
            Compressible::new(weight, &source, layout, scheme).map_err(|error| match error {
                ConvertError::Tensor { reason, .. } => reason,
                other => other.to_string(),
            })
        });
        let quantized = match planned {
            Err(reason) => {
                row.outcome = Outcome::Left { reason };
                None
            }
            Ok(compressible) => {
                let prepared = Prepared::new(&mut editor, compressible)?;
                row.bytes_after = prepared.bytes;
                let (codes, group) = (prepared.element_of_codes, prepared.group);
                row.outcome = Outcome::Compressed { codes, group, difference: None };
                for (function, value) in &weight.places {
                    if let Some(list) = places.get_mut(*function) {
                        list.push((*value, prepared.clone()));
                    }
                }
                Some(prepared.quantized)
            }
        };
        rows.push((row, quantized));
    }
    for (function, list) in places.into_iter().enumerate().filter(|(_, list)| !list.is_empty()) {
        let mut patch = editor.open(function)?;
        for (value, prepared) in list {
            patch.replace(value, |g| prepared.emit(g))?;
        }
        patch.finish()?;
    }
    Ok(Compressed { asset: editor.finish()?, weights: rows })
}

/// A weight: one content, however many constants hold it.
struct Weight {
    name: String,
    class: WeightClass,
    range: Range<u64>,
    splat: bool,
    ty: TensorType,
    /// Functions and values of the constants.
    places: Vec<(usize, ValueId)>,
    /// Those of all constants.
    uses: Vec<Use>,
    /// Constants of other types hold the same bytes.
    mixed: bool,
}

/// Puts together what is stored once, and names it.
fn gathered(asset: &Asset, found: Vec<Found>) -> Vec<Weight> {
    let mut by_range: HashMap<(u64, u64), usize> = HashMap::new();
    let mut weights: Vec<Weight> = Vec::new();
    let mut homes: Vec<usize> = Vec::new();
    for Found { function, value, constant, ty, uses } in found {
        let range = constant.range.clone();
        match by_range.get(&(range.start, range.end)).and_then(|at| weights.get_mut(*at)) {
            Some(weight) => {
                weight.mixed |= weight.ty != ty || weight.splat != constant.splat;
                weight.places.push((function, value));
                weight.uses.extend(uses);
            }
            None => {
                by_range.insert((range.start, range.end), weights.len());
                homes.push(function);
                let (name, class, places) = (String::new(), WeightClass::Linear, vec![(function, value)]);
                let splat = constant.splat;
                weights.push(Weight { name, class, range, splat, ty, places, uses, mixed: false });
            }
        }
    }
    let mut numbers: HashMap<(usize, &'static str), usize> = HashMap::new();
    for (weight, function) in weights.iter_mut().zip(homes) {
        weight.class = weight.classify();
        let class = class_name(weight.class);
        let number = numbers.entry((function, class)).or_default();
        let function = asset.functions.get(function).map_or("", |function| &function.name);
        let label = weight.uses.iter().find_map(|used| used.label.as_deref());
        let label = label.map_or_else(String::new, |label| format!(".{label}"));
        let shape = weight.extents().iter().map(u64::to_string).collect::<Vec<_>>().join("x");
        weight.name = format!("{function}/{class}_{number}{label}.{shape}");
        *number += 1;
    }
    weights
}

impl Weight {
    fn extents(&self) -> Vec<u64> {
        self.ty.shape.iter().map(|extent| extent.unwrap_or(0)).collect()
    }

    /// A table is one even where it is also multiplied by. A head is a product of its own at the end, with more
    /// results than it has arguments.
    fn classify(&self) -> WeightClass {
        let shape = self.extents();
        let has = |class| self.uses.iter().any(|used| used.class == class);
        let extent = |axis: Option<usize>| axis.and_then(|axis| shape.get(axis)).copied().unwrap_or(0);
        let head = |used: &Use| used.last && extent(used.channel) > extent(used.summed);
        match self.uses.first() {
            _ if has(WeightClass::Embedding) => WeightClass::Embedding,
            _ if self.uses.iter().any(head) => WeightClass::Head,
            Some(used) => used.class,
            None => WeightClass::Linear,
        }
    }

    fn row(&self) -> CompressedWeight {
        let bytes = self.range.end - self.range.start;
        CompressedWeight {
            name: self.name.clone(),
            class: self.class,
            shape: self.extents(),
            element: self.ty.element,
            constants: self.places.len(),
            bytes_before: bytes,
            bytes_after: bytes,
            outcome: Outcome::Left { reason: String::new() },
        }
    }

    /// How it is compressed, or why it is not.
    fn plan(&self, selection: &Selection) -> Result<(Layout, Scheme), String> {
        let left = |reason: &str| Err(reason.to_owned());
        let count = self.ty.elements().unwrap_or(0);
        let Some((_, format)) = storage(self.ty.element) else {
            return left(&format!("{} is not compressed", self.ty.element));
        };
        if self.splat {
            return left("one value is stored for all");
        }
        if count < MINIMUM_VALUES {
            return left(&format!("fewer than {MINIMUM_VALUES} values"));
        }
        if self.mixed {
            return left("constants of other types hold the same bytes");
        }
        if self.ty.encoding.is_some() {
            return left("its type has an encoding");
        }
        if self.uses.iter().any(|used| used.rotary) {
            return left("a table of rotary embeddings");
        }
        let Some(scheme) = selection.scheme(&self.name, self.class) else {
            return left("not selected");
        };
        let shape = self.extents();
        let layout = |used: &Use| {
            let class = if self.class == WeightClass::Embedding { used.class } else { self.class };
            Layout::new(class, &shape, used.channel, used.summed)
        };
        // the table before the product, so that rows of a lookup stay together
        let mut uses: Vec<&Use> = self.uses.iter().collect();
        uses.sort_by_key(|used| used.class != WeightClass::Embedding);
        let Some(layout) = uses.into_iter().find_map(layout) else {
            return left("the axis that is summed over cannot be told");
        };
        let scheme = layout.fitting(scheme.with_scale(format));
        let bits = scheme.bits_per_weight(layout.columns());
        if bits.is_none_or(|bits| bits >= f64::from(self.ty.element.bits())) {
            return left("scales would take what codes save");
        }
        Ok((layout, scheme))
    }
}

/// How the values of a float type are stored, and the scales for it.
fn storage(element: ElementType) -> Option<(Storage, ScaleFormat)> {
    match element {
        ElementType::F32 => Some((Storage::F32, ScaleFormat::F32)),
        ElementType::F16 => Some((Storage::F16, ScaleFormat::F16)),
        ElementType::BF16 => Some((Storage::BF16, ScaleFormat::BF16)),
        _ => None,
    }
}
