//! What an asset is, in a form for programs and tables.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::asset::{Asset, shown_regions};
use crate::hash::HashStatus;
use crate::ir::{Function, Op, Param, ParamKind, Region, ValueId};
use crate::metadata::Metadata;
use crate::types::{TensorType, Type};

/// Version of the JSON form of [`Summary`].
pub const SUMMARY_SCHEMA_VERSION: u32 = 1;

/// A summary of an asset.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// [`SUMMARY_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Bytes of `main.mlirb`.
    pub file_bytes: u64,
    /// Writer of the bytecode.
    pub bytecode_producer: String,
    /// Newest feature used (yyyymmdd).
    pub feature_version: u32,
    /// `metadata.json`.
    pub metadata: Metadata,
    /// Whether the file matches `main.hash`.
    pub hash: HashStatus,
    /// Functions that a caller may run.
    pub functions: Vec<FunctionSummary>,
    /// Private functions: callees and bodies of composites.
    pub private_functions: usize,
    /// Operations outside of decomposition bodies, by name.
    pub ops: BTreeMap<String, usize>,
    /// Number of operations outside of decomposition bodies.
    pub op_count: usize,
    /// Number of operations, those in decomposition bodies included.
    pub op_count_with_bodies: usize,
    /// Declared composites and how often they are called.
    pub composites: Vec<CompositeUse>,
    /// Constants by element type.
    pub weights: Vec<WeightClass>,
    /// Compressed weights by scheme and element type.
    pub compression: Vec<Compression>,
    /// What is odd about the asset.
    pub warnings: Vec<String>,
}

/// A function that a caller may run.
#[derive(Clone, Debug, Serialize)]
pub struct FunctionSummary {
    /// Name.
    pub name: String,
    /// Inputs without states.
    pub inputs: Vec<ParamSummary>,
    /// Outputs without tokens.
    pub outputs: Vec<ParamSummary>,
    /// States: mutable tensors that the caller owns.
    pub states: Vec<ParamSummary>,
    /// Operations outside of decomposition bodies.
    pub op_count: usize,
}

/// An input, output or state.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParamSummary {
    /// Name.
    pub name: String,
    /// Element type, e.g. `float16`; `image` or another word for what is not a tensor.
    pub dtype: String,
    /// Extents; `null` is dynamic.
    pub shape: Vec<Option<u64>>,
}

/// A composite operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompositeUse {
    /// E.g. `rms_norm`.
    pub name: String,
    /// Functions that declare it.
    pub definitions: usize,
    /// Calls in the whole asset.
    pub calls: usize,
}

/// Constants of one element type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightClass {
    /// Element type.
    pub dtype: String,
    /// Constants with bytes of their own; shared ones count once.
    pub constants: usize,
    /// Elements of those.
    pub elements: u64,
    /// Bytes in the file.
    pub bytes: u64,
}

/// Weights compressed in one way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compression {
    /// `blockwise_shift_scale`, `lut`, or `sparse`.
    pub scheme: &'static str,
    /// Element type of the stored codes or values.
    pub dtype: String,
    /// Bits of one code; for `sparse` of one stored value, its mask takes 1 bit an element more.
    pub bits: u32,
    /// Number of weights.
    pub weights: usize,
}

impl Asset {
    /// Summarizes the asset. The hash is not verified; see [`Asset::verify_hash`].
    pub fn summary(&self) -> Summary {
        let mut survey = Survey::new(self);
        for function in &self.functions {
            survey.region(&function.body, &function.body);
        }
        let total = |bodies| self.op_counts(bodies).values().sum();
        let ops = self.op_counts(false);
        Summary {
            schema_version: SUMMARY_SCHEMA_VERSION,
            file_bytes: self.source().len(),
            bytecode_producer: self.bytecode_producer().to_owned(),
            feature_version: self.feature_version,
            metadata: self.metadata.clone(),
            hash: self.hash_status(),
            functions: self.entry_points().map(|function| self.function_summary(function)).collect(),
            private_functions: self.functions.iter().filter(|function| function.private).count(),
            ops: ops.into_iter().map(|(name, count)| (name.to_string(), count)).collect(),
            op_count: total(false),
            op_count_with_bodies: total(true),
            composites: self.composites(&survey.calls),
            weights: survey.weights.into_values().collect(),
            compression: survey.compression.into_values().collect(),
            warnings: self.warnings.clone(),
        }
    }

    fn function_summary(&self, function: &Function) -> FunctionSummary {
        let of = |params: &[Param], kind| {
            let chosen = params.iter().filter(|param| param.kind == kind);
            chosen.map(|param| self.param_summary(param)).collect()
        };
        let mut counts = BTreeMap::new();
        crate::asset::count_ops(&function.body, false, &mut counts);
        FunctionSummary {
            name: function.name.clone(),
            inputs: of(&function.inputs, ParamKind::Input),
            outputs: of(&function.outputs, ParamKind::Output),
            states: of(&function.inputs, ParamKind::State),
            op_count: counts.values().sum(),
        }
    }

    fn param_summary(&self, param: &Param) -> ParamSummary {
        let (dtype, shape) = match (self.tensor_type(param.ty), self.ty(param.ty)) {
            (Some(tensor), _) => (tensor.element.name().to_owned(), tensor.shape.clone()),
            (None, Type::Image { height, width, .. }) => {
                ("image".to_owned(), vec![Some(*height), Some(*width)])
            }
            (None, _) => (self.type_text(param.ty).to_string(), Vec::new()),
        };
        ParamSummary { name: param.name.clone(), dtype, shape }
    }

    fn composites(&self, calls: &BTreeMap<String, usize>) -> Vec<CompositeUse> {
        let mut uses: BTreeMap<&str, CompositeUse> = BTreeMap::new();
        for function in &self.functions {
            let Some(composite) = &function.composite else {
                continue;
            };
            let entry = uses.entry(&composite.name).or_insert_with(|| CompositeUse {
                name: composite.name.clone(),
                definitions: 0,
                calls: 0,
            });
            entry.definitions += 1;
            entry.calls += calls.get(&function.name).copied().unwrap_or(0);
        }
        uses.into_values().collect()
    }
}

/// Collects facts about constants and calls.
struct Survey<'a> {
    asset: &'a Asset,
    /// Byte ranges already counted.
    seen: BTreeSet<(u64, u64)>,
    weights: BTreeMap<&'static str, WeightClass>,
    compression: BTreeMap<(&'static str, &'static str), Compression>,
    /// Calls by callee.
    calls: BTreeMap<String, usize>,
}

impl<'a> Survey<'a> {
    fn new(asset: &'a Asset) -> Self {
        Self {
            asset,
            seen: BTreeSet::new(),
            weights: BTreeMap::new(),
            compression: BTreeMap::new(),
            calls: BTreeMap::new(),
        }
    }

    /// `home` is the isolated region whose scope the values belong to.
    fn region(&mut self, region: &'a Region, home: &'a Region) {
        let home = if region.scope.is_some() { region } else { home };
        let mut definitions = BTreeMap::new();
        for op in &region.ops {
            self.op(op, home, &definitions);
            for result in &op.results {
                definitions.insert(*result, op);
            }
            for inner in shown_regions(op, false) {
                self.region(inner, home);
            }
        }
    }

    fn tensor(&self, value: ValueId, home: &Region) -> Option<&'a TensorType> {
        self.asset.tensor_type(home.scope.as_ref()?.ty(value)?)
    }

    fn op(&mut self, op: &'a Op, home: &Region, definitions: &BTreeMap<ValueId, &'a Op>) {
        if let (Some(constant), [result]) = (op.constant(), op.results.as_slice()) {
            let range = (constant.range.start, constant.range.end);
            let tensor = self.tensor(*result, home);
            if let Some(tensor) = tensor.filter(|_| self.seen.insert(range)) {
                let name = tensor.element.name();
                let class = self.weights.entry(name).or_insert_with(|| WeightClass {
                    dtype: name.to_owned(),
                    constants: 0,
                    elements: 0,
                    bytes: 0,
                });
                class.constants += 1;
                class.elements = class.elements.saturating_add(tensor.elements().unwrap_or(0));
                class.bytes = class.bytes.saturating_add(range.1 - range.0);
            }
            return;
        }
        if let Some(callee) = op.callee() {
            *self.calls.entry(callee).or_default() += 1;
        }
        let Some(scheme) = scheme(&op.name) else {
            return;
        };
        let Some(data) = op.operands.first() else {
            return;
        };
        // activations may be dequantized too; only weights are compressed
        let constant = definitions.get(data).is_some_and(|op| op.constant().is_some());
        let Some(tensor) = self.tensor(*data, home).filter(|_| constant) else {
            return;
        };
        let key = (scheme, tensor.element.name());
        let entry = self.compression.entry(key).or_insert_with(|| Compression {
            scheme,
            dtype: tensor.element.name().to_owned(),
            bits: tensor.element.bits(),
            weights: 0,
        });
        entry.weights += 1;
    }
}

fn scheme(op: &str) -> Option<&'static str> {
    let stem = op.strip_prefix("primitive.").unwrap_or(op);
    let stem = stem.rsplit_once("_v").map_or(stem, |(stem, _)| stem);
    Some(match stem {
        "blockwise_shift_scale" | "dequantize" => "blockwise_shift_scale",
        "lut_to_dense" => "lut",
        "build_sparse_with_bitmask" => "sparse",
        _ => return None,
    })
}
