//! Weights as constants of an asset: floats, packed as their file has them, or compressed on the way.

pub(crate) mod content;
mod report;

use std::sync::{Arc, Mutex};

use coreai_asset::{ElementType, Graph, Value};

use content::{Codes, Floats, Packed, Parameter, Parameters};
pub use report::{StoredAs, WeightReport};

use crate::error::ConvertError;
use crate::quantize::{Quantized, ScaleFormat, Selection, Tally, WeightClass};
use crate::rows::{CodeType, Packing, ScaleType, SharedRows};

/// Makes constants of weights and keeps account of them.
pub struct Weights {
    /// float32, float16 or bfloat16: type of the weights as the graph sees them, and of their scales.
    element: ElementType,
    /// What is compressed here.
    selection: Option<Selection>,
    stored: Vec<Stored>,
}

struct Stored {
    report: WeightReport,
    difference: Measure,
}

enum Measure {
    /// Rounded to a float type at most.
    None,
    Packed(Arc<Packed>),
    Quantized(Arc<Quantized>),
}

impl Weights {
    /// For a graph that computes in `element`: float32, float16 or bfloat16.
    pub fn new(element: ElementType, selection: Option<Selection>) -> Self {
        Self { element, selection, stored: Vec::new() }
    }

    /// Type of the weights as the graph sees them.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// A small weight, never compressed: a norm, a bias. Of type `element`.
    pub fn plain(
        &mut self,
        g: &mut Graph<'_>,
        element: ElementType,
        rows: SharedRows,
    ) -> Result<Value, ConvertError> {
        let shape = rows.shape().to_vec();
        Ok(g.weight(element, &shape, Arc::new(Floats { rows, element }))?)
    }

    /// A weight that a matrix product or a lookup takes; it may be compressed. `[.., rows, columns]`
    pub fn matrix(
        &mut self,
        g: &mut Graph<'_>,
        name: &str,
        class: WeightClass,
        rows: SharedRows,
    ) -> Result<Value, ConvertError> {
        let columns = rows.columns();
        let scheme = self.selection.as_ref().and_then(|selection| selection.scheme(name, class));
        let (rows, packing, difference) = match (scheme, rows.packing()) {
            (Some(scheme), was) => {
                let scheme = scheme.with_scale(self.scale_format()).or_per_channel(columns);
                let quantized = Arc::new(Quantized::new(name, rows.clone(), scheme)?);
                let packing = crate::rows::Rows::packing(&*quantized);
                let packing = packing.ok_or_else(|| ConvertError::Tensor {
                    name: name.into(),
                    reason: "cannot be compressed".into(),
                })?;
                let rows: SharedRows = quantized.clone();
                (rows, Some((packing, was.is_some())), Measure::Quantized(quantized))
            }
            (None, Some(packing)) => (rows, Some((packing, true)), Measure::None),
            (None, None) => (rows, None, Measure::None),
        };
        let mut report = WeightReport::new(name, class, rows.shape());
        let Some((packing, packed_before)) = packing else {
            report.stored = StoredAs::Float { element: self.element };
            self.stored.push(Stored { report, difference });
            return self.plain(g, self.element, rows);
        };
        let counted = matches!(difference, Measure::Quantized(_));
        let weight = Arc::new(Packed {
            rows,
            packing,
            element: self.element,
            tally: (!counted).then(|| Mutex::new(Tally::default())),
        });
        let value = self.packed(g, &weight)?;
        report.stored = StoredAs::packed(&weight.packing, self.element, counted, packed_before);
        let difference = if counted { difference } else { Measure::Packed(weight) };
        self.stored.push(Stored { report, difference });
        Ok(value)
    }

    /// The operations that make floats of a packed weight.
    fn packed(&self, g: &mut Graph<'_>, weight: &Arc<Packed>) -> Result<Value, ConvertError> {
        let packing = &weight.packing;
        let shape = weight.rows.shape().to_vec();
        let blocks: Vec<u64> = match shape.split_last() {
            Some((columns, outer)) => [outer, &[columns / packing.block.max(1)]].concat(),
            None => Vec::new(),
        };
        let ones = vec![1u64; shape.len()];
        let codes = Arc::new(Codes { weight: weight.clone() });
        let mut data = g.weight(packing.codes.element(), &shape, codes)?;
        // codes of a palette, and widths that the shift-scale does not take, go through a table
        let table = packing.palette.is_some() || matches!(packing.codes, CodeType::UI6 | CodeType::UI3);
        let mut zero = packing.zero;
        if table {
            let entries = 1usize << packing.codes.element().bits();
            let values: Vec<i8> = packing.values().iter().take(entries).map(|value| *value as i8).collect();
            let palette_shape = [ones.as_slice(), &[entries as u64, 1]].concat();
            let palette = g.constant(&palette_shape, &values)?;
            data = g.lut_to_dense(data, palette)?;
            zero = 0;
        }
        let parameters = |parameter| Arc::new(Parameters { weight: weight.clone(), parameter });
        let scale = parameters(Parameter::Scale);
        let scale = g.weight(scale.element(), &blocks, scale)?;
        let zero_type = match packing.codes {
            CodeType::F4E2M1 => self.element,
            _ => g.ty(data)?.element,
        };
        let zero = g.filled(zero_type, &blocks, f64::from(zero))?;
        let minimum = match packing.minimum {
            true => g.weight(self.element, &blocks, parameters(Parameter::Minimum))?,
            false => g.filled(self.element, &blocks, 0.0)?,
        };
        Ok(g.blockwise_shift_scale(data, scale, zero, minimum)?)
    }

    fn scale_format(&self) -> ScaleFormat {
        match self.element {
            ElementType::F16 => ScaleFormat::F16,
            ElementType::BF16 => ScaleFormat::BF16,
            _ => ScaleFormat::F32,
        }
    }

    /// What became of every weight. Differences are there once the asset was written.
    pub fn reports(&self) -> Vec<WeightReport> {
        let report = |stored: &Stored| {
            let mut report = stored.report.clone();
            report.difference = match &stored.difference {
                Measure::None => None,
                Measure::Packed(packed) => packed.tally().and_then(|tally| tally.difference()),
                Measure::Quantized(quantized) => quantized.tally().difference(),
            };
            report
        };
        self.stored.iter().map(report).collect()
    }
}

/// Bits of a weight's codes and parameters together, for each value.
fn bits_per_weight(packing: &Packing, element: ElementType) -> f64 {
    let scale = match packing.scale {
        ScaleType::Exponent => 8,
        ScaleType::Float => element.bits(),
    };
    let minimum = if packing.minimum { element.bits() } else { 0 };
    f64::from(packing.codes.element().bits()) + f64::from(scale + minimum) / packing.block.max(1) as f64
}

#[cfg(test)]
mod tests;
