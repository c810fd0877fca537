//! The program as the file states it: functions, regions, operations.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::types::{AttrId, TypeId};

/// A value of one isolated scope: an index into [`Scope::types`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// Where a constant's bytes lie in `main.mlirb`. Never a copy of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConstantRef {
    /// One element is stored and stands for all.
    pub splat: bool,
    /// Byte range in the file.
    pub range: Range<u64>,
    /// Several constants may share one resource; `None` for inline data.
    pub resource: Option<u32>,
}

/// A decoded attribute (`AIMODEL_FORMAT` §4).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Attribute {
    String(String),
    Integer {
        width: u32,
        unsigned: bool,
        value: i128,
    },
    Float {
        width: u32,
        value: f64,
    },
    Type(TypeId),
    Array(Vec<Attribute>),
    Constant(ConstantRef),
    /// `name = [params]`, the entries of dictionaries.
    Opaque {
        name: String,
        params: Vec<Attribute>,
    },
    Dictionary(Vec<Attribute>),
    Symbol(Vec<String>),
    /// An enumeration: the attribute code and the value's name.
    Enum {
        code: u8,
        name: String,
        value: u64,
    },
    HwConstraints {
        alignments: Vec<i64>,
        interleave: Vec<i64>,
        backing: u64,
        base: Option<Box<Attribute>>,
    },
    ImageConstraints {
        backing: u64,
        row_alignments: Vec<i64>,
    },
    Sparse {
        scheme: u64,
        pos_width: u64,
        crd_width: u64,
        nnz: Option<u64>,
        blocks: Vec<u64>,
    },
    ParamDecl {
        name: String,
        ty: TypeId,
        default: Option<Box<Attribute>>,
    },
    ParamBind {
        reference: Box<Attribute>,
        ty: TypeId,
        params: Vec<Attribute>,
    },
    ParamConstant {
        value: Box<Attribute>,
        ty: TypeId,
    },
    TargetSpec {
        triple: Box<Attribute>,
        soc: Box<Attribute>,
        options: Box<Attribute>,
    },
    Unit,
    /// Debug information, kept by index only; the attribute code.
    Debug {
        code: u8,
        id: AttrId,
    },
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Op {
    /// Serialized name without the dialect, e.g. `primitive.add_v1`; shared between ops.
    pub name: Arc<str>,
    /// Operands, in order.
    pub operands: Vec<ValueId>,
    /// Results, in order.
    pub results: Vec<ValueId>,
    /// Inherent attributes by name, e.g. `value`, `padding_mode`, `callee`.
    pub attrs: Vec<(&'static str, Attribute)>,
    /// Nested regions. Isolated ones have a scope of their own.
    pub regions: Vec<Region>,
    /// Debug location.
    pub location: AttrId,
}

/// A region: one block. Either isolated (own `scope`) or inline (values of the enclosing scope).
#[derive(Clone, Debug)]
pub struct Region {
    /// Types of the values of an isolated region; `None` when the region shares its parent's.
    pub scope: Option<Scope>,
    /// Block arguments.
    pub args: Vec<ValueId>,
    /// Operations in order; the last is the terminator.
    pub ops: Vec<Op>,
}

/// Value types of one isolated scope, indexed by [`ValueId`]. Nested inline regions allocate
/// fresh indices here (the file reuses slots; the reader renumbers them, so ids are unique).
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Type of each value.
    pub types: Vec<TypeId>,
}

/// What a function argument or result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ParamKind {
    Input,
    State,
    Output,
    Token,
}

/// A named argument or result of a function.
#[derive(Clone, Debug)]
pub struct Param {
    /// I/O name (`aicode.name`), or `arg0`/`result0` when the file gives none.
    pub name: String,
    /// Kind.
    pub kind: ParamKind,
    /// Type.
    pub ty: TypeId,
    /// The other argument attributes.
    pub attrs: BTreeMap<String, Attribute>,
}

/// The declaration that makes a private graph a well-known fused op (`OPSET` §12).
#[derive(Clone, Debug, PartialEq)]
pub struct Composite {
    /// E.g. `scaled_dot_product_attention`.
    pub name: String,
    /// Meaning of each argument, in order.
    pub input_names: Vec<String>,
    /// Meaning of each result, in order.
    pub output_names: Vec<String>,
    /// Attributes (`eps`, `scale`, `is_causal` …).
    pub attrs: BTreeMap<String, Attribute>,
}

/// A graph of the asset: an entry point, a callee, or the body of a composite.
#[derive(Clone, Debug)]
pub struct Function {
    /// Dotted path when nested in namespaces.
    pub name: String,
    /// Not an entry point.
    pub private: bool,
    /// Set when the graph declares itself a composite.
    pub composite: Option<Composite>,
    /// Arguments: inputs and states.
    pub inputs: Vec<Param>,
    /// Results: outputs and tokens.
    pub outputs: Vec<Param>,
    /// The body; its region is isolated.
    pub body: Region,
    /// Debug location.
    pub location: AttrId,
    /// The attributes of its `graph_v1` operation, as the file has them.
    pub(crate) declaration: Vec<(&'static str, Attribute)>,
}

/// Operations of these groups have no decomposition; their regions are part of their meaning.
const GROUPS: [&str; 3] = ["primitive.", "dataflow.", "controlflow."];

impl Op {
    /// An inherent attribute by name.
    pub fn attr(&self, name: &str) -> Option<&Attribute> {
        self.attrs.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The complete definition of the operation in simpler ones, for operations that have one:
    /// block arguments are the operands, the operands of its `yield` the results (§6.1).
    pub fn body(&self) -> Option<&Region> {
        match self.regions.as_slice() {
            [region] if region.scope.is_some() && !self.is_grouped() => Some(region),
            _ => None,
        }
    }

    fn is_grouped(&self) -> bool {
        GROUPS.iter().any(|group| self.name.starts_with(group))
    }

    /// Regions that say what the operation does (branches, loops, combiners), without the body.
    pub fn semantic_regions(&self) -> &[Region] {
        if self.body().is_some() { &[] } else { &self.regions }
    }

    /// The name of the function that an `invoke` calls; namespaces are joined by dots.
    pub fn callee(&self) -> Option<String> {
        let mut attribute = self.attr("callee")?;
        loop {
            attribute = match attribute {
                Attribute::Symbol(path) => return Some(path.join(".")),
                Attribute::ParamConstant { value, .. } => value,
                Attribute::ParamBind { reference, .. } => reference,
                _ => return None,
            };
        }
    }

    /// The bytes of a constant.
    pub fn constant(&self) -> Option<&ConstantRef> {
        match self.attr("value")? {
            Attribute::Constant(constant) if &*self.name == "primitive.constant_v1" => Some(constant),
            _ => None,
        }
    }
}

impl Attribute {
    /// A string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// An integer that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Integer { value, .. } => i64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A float, or an integer as one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float { value, .. } => Some(*value),
            Self::Integer { value, .. } => Some(*value as f64),
            _ => None,
        }
    }

    /// A one-bit integer, or a unit attribute. A true flag is 1 or -1, by signedness.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Integer { width: 1, value, .. } => Some(*value != 0),
            Self::Unit => Some(true),
            _ => None,
        }
    }

    /// The name of an enumeration's value.
    pub fn as_enum(&self) -> Option<&str> {
        match self {
            Self::Enum { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The elements of an array or the entries of a dictionary.
    pub fn items(&self) -> Option<&[Attribute]> {
        match self {
            Self::Array(items) | Self::Dictionary(items) => Some(items),
            _ => None,
        }
    }
}

impl Composite {
    /// A float attribute.
    pub fn f64(&self, name: &str) -> Option<f64> {
        self.attrs.get(name)?.as_f64()
    }

    /// An integer attribute.
    pub fn i64(&self, name: &str) -> Option<i64> {
        self.attrs.get(name)?.as_i64()
    }

    /// A flag.
    pub fn bool(&self, name: &str) -> Option<bool> {
        self.attrs.get(name)?.as_bool()
    }

    /// A string.
    pub fn str(&self, name: &str) -> Option<&str> {
        self.attrs.get(name)?.as_str()
    }

    /// An array of integers, or a single one.
    pub fn i64s(&self, name: &str) -> Option<Vec<i64>> {
        let attribute = self.attrs.get(name)?;
        match attribute.items() {
            Some(items) => items.iter().map(Attribute::as_i64).collect(),
            None => Some(vec![attribute.as_i64()?]),
        }
    }
}

impl Region {
    /// The last operation.
    pub fn terminator(&self) -> Option<&Op> {
        self.ops.last()
    }
}

impl Scope {
    /// The type of a value of this scope.
    pub fn ty(&self, value: ValueId) -> Option<TypeId> {
        self.types.get(value.0 as usize).copied()
    }
}

impl Function {
    /// Types of the values of the body.
    pub fn scope(&self) -> &Scope {
        static EMPTY: Scope = Scope { types: Vec::new() };
        self.body.scope.as_ref().unwrap_or(&EMPTY)
    }
}
