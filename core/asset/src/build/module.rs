//! What all functions of an asset share: types, contents of constants, the functions themselves.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::error::BuildError;
use crate::asset::Asset;
use crate::file::{Container, Tables};
use crate::function::check_calls;
use crate::ir::{Attribute, Function, Op, Region, Scope};
use crate::metadata::Metadata;
use crate::source::{ByteSource, Joined, MemorySource};
use crate::types::{AttrId, Type, TypeId};

/// Bytes of constants, stored once however many constants hold them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub(super) range: Range<u64>,
    pub(super) resource: u32,
}

#[derive(Default)]
pub(crate) struct Module {
    types: Vec<Type>,
    ids: HashMap<Type, TypeId>,
    source: Joined,
    resources: u32,
    functions: Vec<Function>,
    /// The `graph_v1` operations whose contents the functions hold.
    graphs: Vec<Op>,
    /// Newest feature (yyyymmdd) that is used.
    feature_version: u32,
    /// Functions of the asset that is changed.
    taken: BTreeSet<String>,
}

/// What a module adds to an asset.
pub(crate) struct Additions {
    pub types: Vec<Type>,
    pub source: Joined,
    pub functions: Vec<Function>,
    /// The `graph_v1` operations of the functions.
    pub graphs: Vec<Op>,
    pub feature_version: u32,
}

impl Module {
    /// Goes on where an asset ends: its types, byte ranges and resources stay valid. `None` where the asset has
    /// more than 2³² resources.
    pub fn resume(asset: &Asset) -> Option<Self> {
        let mut module = Self::default();
        for ty in asset.types() {
            let id = TypeId(module.types.len() as u32); // as the table of the asset has it
            module.types.push(ty.clone());
            module.ids.entry(ty.clone()).or_insert(id);
        }
        module.source.push(asset.source().clone())?;
        let mut resources = asset.tables.resources.len() as u64;
        for function in &asset.functions {
            crate::function::visit(&function.body, &mut |op| {
                if let Some(id) = op.constant().and_then(|constant| constant.resource) {
                    resources = resources.max(u64::from(id) + 1);
                }
                Ok(())
            })
            .ok()?;
        }
        module.resources = u32::try_from(resources).ok()?;
        module.feature_version = asset.feature_version;
        module.taken = asset.functions.iter().map(|function| function.name.clone()).collect();
        Some(module)
    }

    pub fn into_additions(self) -> Additions {
        let Self { types, source, functions, graphs, feature_version, .. } = self;
        Additions { types, source, functions, graphs, feature_version }
    }

    /// The id of a type, the same for equal types.
    pub fn intern(&mut self, ty: Type) -> TypeId {
        if let Some(id) = self.ids.get(&ty) {
            return *id;
        }
        let id = TypeId(self.types.len() as u32); // one type for each operation at most
        self.types.push(ty.clone());
        self.ids.insert(ty, id);
        id
    }

    pub fn ty(&self, id: TypeId) -> &Type {
        self.types.get(id.0 as usize).unwrap_or(&Type::Token) // ids come from `intern`
    }

    pub fn types(&self) -> &[Type] {
        &self.types
    }

    pub fn content(&mut self, source: Arc<dyn ByteSource>) -> Result<Content, BuildError> {
        let range = self.push(source)?;
        let resource = self.resources;
        self.resources += 1;
        Ok(Content { range, resource })
    }

    /// Bytes of a small constant.
    pub fn inline(&mut self, bytes: Vec<u8>) -> Result<Range<u64>, BuildError> {
        self.push(Arc::new(MemorySource(bytes)))
    }

    fn push(&mut self, source: Arc<dyn ByteSource>) -> Result<Range<u64>, BuildError> {
        self.source.push(source).ok_or_else(|| {
            BuildError::operand("constant", "the size of all constants", "more than 2⁶⁴ bytes", "less")
        })
    }

    pub fn needs(&mut self, feature_version: u32) {
        self.feature_version = self.feature_version.max(feature_version);
    }

    pub fn has_function(&self, name: &str) -> bool {
        self.taken.contains(name) || self.functions.iter().any(|function| function.name == name)
    }

    pub fn add(&mut self, function: Function, graph: Op) {
        self.functions.push(function);
        self.graphs.push(graph);
    }

    pub fn finish(self, metadata: Metadata) -> Result<Asset, BuildError> {
        let warnings = check_calls(&self.functions)?;
        if let Some(warning) = warnings.first() {
            return Err(BuildError::Function { function: String::new(), reason: warning.clone() });
        }
        let version =
            Attribute::Integer { width: 32, unsigned: true, value: i128::from(self.feature_version) };
        let region = Region { scope: Some(Scope::default()), args: Vec::new(), ops: self.graphs };
        let frame = Op {
            name: "serialization.asset".into(),
            operands: Vec::new(),
            results: Vec::new(),
            attrs: vec![("version", version)],
            regions: vec![region],
            location: AttrId::UNKNOWN,
        };
        let container = Container::built(Arc::new(self.source));
        Ok(Asset {
            functions: self.functions,
            metadata,
            feature_version: self.feature_version,
            warnings: Vec::new(),
            hash: None,
            hash_malformed: false,
            frame,
            tables: Tables::built(container, self.types),
        })
    }
}
