//! Everything an asset says, as text without numbers of tables, to compare two assets.

use std::collections::HashMap;
use std::fmt::Write;

use coreai_asset::{
    Asset, AttrId, Attribute, Function, Op, ParamKind, PrintOptions, Region, Scope, Type, TypeId,
};
use sha2::{Digest, Sha256};

/// What is compared.
pub struct Dump<'a> {
    asset: &'a Asset,
    locations: bool,
    /// Resources by the order in which they are met.
    resources: HashMap<u32, usize>,
    text: String,
}

/// All of an asset; locations without their files and lines where `locations` is false.
pub fn dump(asset: &Asset, locations: bool) -> String {
    let mut dump = Dump { asset, locations, resources: HashMap::new(), text: String::new() };
    let mut metadata = asset.metadata.clone();
    metadata.asset_version = None; // is there afterwards
    writeln!(dump.text, "{metadata:?}").unwrap();
    writeln!(dump.text, "{} {:?}", asset.feature_version, asset.warnings).unwrap();
    for function in &asset.functions {
        dump.function(function);
    }
    dump.text.push_str(&asset.text(PrintOptions { bodies: true, locations }));
    dump.text
}

impl Dump<'_> {
    fn function(&mut self, function: &Function) {
        write!(self.text, "{} {} {:?} ", function.name, function.private, function.composite).unwrap();
        self.location(function.location);
        for param in function.inputs.iter().chain(&function.outputs) {
            let kind = match param.kind {
                ParamKind::Input => "in",
                ParamKind::State => "state",
                ParamKind::Output => "out",
                ParamKind::Token => "token",
            };
            write!(self.text, "\n{kind} {}: ", param.name).unwrap();
            self.ty(param.ty);
            for (name, value) in &param.attrs {
                write!(self.text, " {name}=").unwrap();
                self.attribute(value);
            }
        }
        self.region(&function.body, function.scope());
    }

    fn region(&mut self, region: &Region, scope: &Scope) {
        let scope = region.scope.as_ref().unwrap_or(scope);
        write!(self.text, "\n{{ {} {:?}", region.scope.is_some(), region.args).unwrap();
        for arg in &region.args {
            self.ty(scope.ty(*arg).unwrap());
        }
        for op in &region.ops {
            self.op(op, scope);
        }
        self.text.push_str("\n}");
    }

    fn op(&mut self, op: &Op, scope: &Scope) {
        write!(self.text, "\n{:?} = {} {:?} ", op.results, op.name, op.operands).unwrap();
        for result in &op.results {
            self.ty(scope.ty(*result).unwrap());
        }
        for (name, value) in &op.attrs {
            write!(self.text, " {name}=").unwrap();
            self.attribute(value);
        }
        self.location(op.location);
        op.regions.iter().for_each(|region| self.region(region, scope));
    }

    fn location(&mut self, id: AttrId) {
        let at = self.asset.location(id);
        match self.locations {
            true => write!(self.text, " at {at:?}").unwrap(),
            false => write!(self.text, " at {:?}", at.and_then(|at| at.op_id)).unwrap(),
        }
    }

    fn ty(&mut self, id: TypeId) {
        match self.asset.ty(id) {
            Type::Tensor(tensor) => {
                write!(self.text, "{:?} {:?} ", tensor.shape, tensor.element).unwrap();
                tensor.encoding.iter().for_each(|id| self.by_id(*id));
            }
            Type::Handle(inner) => {
                self.text.push_str("handle ");
                self.ty(*inner);
            }
            Type::Function { inputs, outputs } => {
                for id in inputs.iter().chain(outputs) {
                    self.ty(*id);
                }
                write!(self.text, "{}->{} ", inputs.len(), outputs.len()).unwrap();
            }
            Type::Image { fourcc, height, width, constraints } => {
                write!(self.text, "image {fourcc} {height} {width} ").unwrap();
                constraints.iter().for_each(|id| self.by_id(*id));
            }
            Type::Opaque { name, params } => {
                self.text.push_str(name);
                params.iter().for_each(|id| self.by_id(*id));
            }
            other => write!(self.text, "{other:?} ").unwrap(),
        }
    }

    fn by_id(&mut self, id: AttrId) {
        let attribute = self.asset.attribute(id).unwrap();
        self.attribute(&attribute);
    }

    fn attribute(&mut self, attribute: &Attribute) {
        match attribute {
            Attribute::Type(ty) => self.ty(*ty),
            Attribute::Array(items) | Attribute::Dictionary(items) => {
                self.text.push('[');
                items.iter().for_each(|item| self.attribute(item));
                self.text.push(']');
            }
            Attribute::Opaque { name, params } => {
                write!(self.text, "{name:?}<").unwrap();
                params.iter().for_each(|item| self.attribute(item));
                self.text.push('>');
            }
            Attribute::Constant(constant) => {
                let bytes = self.asset.source().slice(constant.range.clone()).unwrap();
                let next = self.resources.len();
                let resource = constant.resource.map(|id| *self.resources.entry(id).or_insert(next));
                let (hash, length) = (Sha256::digest(bytes), bytes.len());
                write!(self.text, "{} {length} {hash:x} {resource:?}", constant.splat).unwrap();
            }
            Attribute::ParamConstant { value, ty } => {
                self.attribute(value);
                self.ty(*ty);
            }
            Attribute::Float { width, value } => {
                write!(self.text, "f{width} {:x} ", value.to_bits()).unwrap()
            }
            Attribute::Debug { code, id } => {
                write!(self.text, "debug {code}").unwrap();
                self.location(*id);
            }
            other => write!(self.text, "{other:?} ").unwrap(),
        }
    }
}
