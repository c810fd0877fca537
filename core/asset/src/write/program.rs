//! The program to write: the functions of one asset or of several.

use std::collections::HashMap;

use super::WriteOptions;
use super::bytes::{flagged, section, vi};
use super::encoder::{Encoder, unwritable};
use super::layout::Layout;
use super::regions::{Head, IR};
use crate::asset::Asset;
use crate::error::AssetError;
use crate::ir::{Attribute, Function, Op, Region};
use crate::limits::MAX_REGION_DEPTH;

/// One asset of the program.
pub(super) struct Part<'a> {
    pub asset: &'a Asset,
    /// New names of functions by their dotted ones; only the last component changes.
    pub names: HashMap<String, String>,
    /// Resources that are equal to one of an earlier part: its index and resource.
    pub aliases: HashMap<u32, (usize, u32)>,
}

impl<'a> Part<'a> {
    pub fn new(asset: &'a Asset) -> Self {
        Self { asset, names: HashMap::new(), aliases: HashMap::new() }
    }

    /// A property that names a function which has another name now.
    pub fn renamed(&self, property: &str, value: &Attribute) -> Option<Attribute> {
        if property != "callee" || self.names.is_empty() {
            return None;
        }
        let mut value = value.clone();
        let mut inner = &mut value;
        loop {
            inner = match inner {
                Attribute::Symbol(path) => {
                    let new = self.names.get(&path.join("."))?;
                    new.clone_into(path.last_mut()?);
                    return Some(value);
                }
                Attribute::ParamConstant { value, .. } => value,
                Attribute::ParamBind { reference, .. } => reference,
                _ => return None,
            };
        }
    }
}

/// What goes into one file.
pub(super) struct Program<'a> {
    pub parts: Vec<Part<'a>>,
    /// The newest feature of all parts, where that is not what the first says.
    pub feature_version: Option<u32>,
}

impl<'a> Program<'a> {
    /// One asset as it is.
    pub fn of(asset: &'a Asset) -> Self {
        Self { parts: vec![Part::new(asset)], feature_version: None }
    }

    /// Encodes everything but the weights.
    pub fn layout(&self, options: &WriteOptions) -> Result<Layout, AssetError> {
        let Some(first) = self.parts.first() else {
            return Err(unwritable("program", "no asset"));
        };
        let mut encoder = Encoder::new(&self.parts, options);
        encoder.string("aicode"); // the dialect's name is string 0
        let frame = &first.asset.frame;
        let mut ir = Vec::new();
        flagged(&mut ir, 1, false);
        let attrs = self.frame_attrs(frame);
        encoder.head(0, &Head { attrs: &attrs, regions: true, ..Head::of(frame) }, &mut ir)?;
        flagged(&mut ir, 1, true);
        let mut ops = Vec::new();
        let mut count = 0;
        for (part, Part { asset, .. }) in self.parts.iter().enumerate() {
            let [region] = asset.frame.regions.as_slice() else {
                return Err(unwritable("program", "serialization.asset has not one region"));
            };
            let mut functions = asset.functions.iter();
            // hints about the target are those of the first
            let taken = |op: &&Op| part == 0 || is_symbol(op);
            for op in region.ops.iter().filter(taken) {
                encoder.symbol(part, op, &mut functions, MAX_REGION_DEPTH, &mut ops)?;
                count += 1;
            }
            if let Some(function) = functions.next() {
                let reason = format!("function {:?} has no place in the asset", function.name);
                return Err(unwritable("program", reason));
            }
        }
        section(&mut ir, IR, &block(count, &ops));
        let producer = first.asset.bytecode_producer();
        Layout::new(producer, encoder, &ir)
    }

    fn frame_attrs(&self, frame: &Op) -> Vec<(&'static str, Attribute)> {
        let mut attrs = frame.attrs.clone();
        if let Some(version) = self.feature_version {
            attrs.retain(|(name, _)| *name != "version");
            let value = Attribute::Integer { width: 32, unsigned: true, value: version.into() };
            attrs.push(("version", value));
        }
        attrs
    }
}

/// Functions, and namespaces of them.
fn is_symbol(op: &Op) -> bool {
    matches!(&*op.name, "dataflow.graph_v1" | "dataflow.namespace_v1")
}

/// A region of one block without values.
fn block(count: usize, ops: &[u8]) -> Vec<u8> {
    let mut region = Vec::new();
    vi(&mut region, 1);
    vi(&mut region, 0);
    flagged(&mut region, count as u64, false);
    region.extend_from_slice(ops);
    region
}

impl Encoder<'_, '_> {
    /// An operation around functions: `graph_v1` stands for the next function.
    fn symbol<'f>(
        &mut self,
        part: usize,
        op: &Op,
        functions: &mut impl Iterator<Item = &'f Function>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), AssetError> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(unwritable("program", format!("regions nested deeper than {MAX_REGION_DEPTH}")));
        };
        match &*op.name {
            "dataflow.graph_v1" => {
                let function = functions.next().ok_or_else(|| {
                    unwritable("program", "more graph_v1 operations than functions around them")
                })?;
                return self.function(part, function, depth, out);
            }
            "dataflow.namespace_v1" => {}
            _ if op.results.is_empty() && op.operands.is_empty() && op.regions.is_empty() => {}
            name => return Err(unwritable("program", format!("{name} next to functions"))),
        }
        self.head(part, &Head::of(op), out)?;
        if op.regions.is_empty() {
            return Ok(());
        }
        flagged(out, op.regions.len() as u64, true);
        for region in &op.regions {
            let mut ops = Vec::new();
            for op in &region.ops {
                self.symbol(part, op, functions, depth, &mut ops)?;
            }
            section(out, IR, &block(region.ops.len(), &ops));
        }
        Ok(())
    }

    fn function(
        &mut self,
        part: usize,
        function: &Function,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), AssetError> {
        let new = self.parts.get(part).and_then(|part| part.names.get(&function.name));
        let declaration = function.declaration.iter().map(|(name, value)| match (new, *name) {
            (Some(new), "name") => ("name", Attribute::String(new.clone())),
            _ => (*name, value.clone()),
        });
        let declaration: Vec<_> = declaration.collect();
        let head = Head {
            name: "dataflow.graph_v1",
            location: function.location,
            attrs: &declaration,
            results: &[],
            operands: &[],
            regions: true,
        };
        let body: &Region = &function.body;
        self.head(part, &head, out)?;
        flagged(out, 1, true);
        self.isolated(part, body, depth, out)
    }
}
