//! A graph that is being built: values, constants, operations.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use half::{bf16, f16};

use super::error::BuildError;
use super::extent::{Extent, shape_text};
use super::function::Signature;
use super::module::{Content, Module};
use crate::ir::{Attribute, ConstantRef, Op, Region, Scope, ValueId};
use crate::source::ByteSource;
use crate::types::{AttrId, ElementType, TensorType, Type, TypeId};

/// Elements from which Apple's writer stores a constant as a resource; below it lies among the attributes.
const RESOURCE_ELEMENTS: u64 = 256;

/// A tensor of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value {
    pub(super) graph: u64,
    pub(super) id: ValueId,
}

/// A graph that is being built: the body of a function, of a composite, or of an operation.
pub struct Graph<'m> {
    pub(super) module: &'m mut Module,
    number: u64,
    scope: Scope,
    args: Vec<ValueId>,
    ops: Vec<Op>,
    /// By type and all bytes.
    constants: HashMap<(TypeId, Vec<u8>), Value>,
    /// By type and the one stored element.
    splats: HashMap<(TypeId, Vec<u8>), Value>,
    pub(super) signature: Signature,
}

/// A Rust type that is an element type.
pub trait Element: Copy + PartialEq {
    /// The element type.
    const TYPE: ElementType;
    /// Appends the little-endian bytes.
    fn write(self, bytes: &mut Vec<u8>);
}

macro_rules! elements {
    ($($rust:ty = $element:ident),*) => {$(
        impl Element for $rust {
            const TYPE: ElementType = ElementType::$element;
            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

elements!(
    f32 = F32,
    f16 = F16,
    bf16 = BF16,
    i32 = SI32,
    u32 = UI32,
    i16 = SI16,
    u16 = UI16,
    i8 = SI8,
    u8 = UI8
);

impl Element for bool {
    const TYPE: ElementType = ElementType::Bool;
    fn write(self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(self));
    }
}

/// A tensor type without encoding.
pub(super) fn tensor(element: ElementType, shape: &[Extent]) -> TensorType {
    TensorType { shape: shape.to_vec(), element, encoding: None }
}

impl<'m> Graph<'m> {
    /// Goes on with the values of a body; what is added is taken with [`Graph::into_added`].
    pub(crate) fn resume(module: &'m mut Module, scope: Scope) -> Self {
        Self { scope, ..Self::new(module, Signature::default()) }
    }

    /// The values, and the operations that were added.
    pub(crate) fn into_added(self) -> (Scope, Vec<Op>) {
        (self.scope, self.ops)
    }

    /// The number of operations so far.
    pub(crate) fn len(&self) -> usize {
        self.ops.len()
    }

    /// A value of the body that is gone on with.
    pub(crate) fn known(&self, id: ValueId) -> Option<Value> {
        self.scope.ty(id).map(|_| Value { graph: self.number, id })
    }

    /// The value of the scope.
    pub(crate) fn id(&self, value: Value) -> Option<ValueId> {
        self.type_id(value).map(|_| value.id)
    }

    pub(super) fn new(module: &'m mut Module, signature: Signature) -> Self {
        /// Tells the values of a graph from those of every other one.
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Graph {
            module,
            number,
            scope: Scope::default(),
            args: Vec::new(),
            ops: Vec::new(),
            constants: HashMap::new(),
            splats: HashMap::new(),
            signature,
        }
    }

    /// The element type and extents of a value.
    pub fn ty(&self, value: Value) -> Result<&TensorType, BuildError> {
        match self.type_id(value).map(|id| self.module.ty(id)) {
            Some(Type::Tensor(tensor)) => Ok(tensor),
            _ => Err(BuildError::Foreign { op: "value".into() }),
        }
    }

    /// The extents of a value.
    pub fn shape(&self, value: Value) -> Result<&[Extent], BuildError> {
        Ok(&self.ty(value)?.shape)
    }

    /// The element type of a value.
    pub fn element(&self, value: Value) -> Result<ElementType, BuildError> {
        Ok(self.ty(value)?.element)
    }

    pub(super) fn type_id(&self, value: Value) -> Option<TypeId> {
        (value.graph == self.number).then(|| self.scope.ty(value.id)).flatten()
    }

    /// A constant of given elements in row-major order. Equal constants of a graph are one.
    pub fn constant<T: Element>(&mut self, shape: &[u64], elements: &[T]) -> Result<Value, BuildError> {
        let count = shape.iter().try_fold(1u64, |product, extent| product.checked_mul(*extent));
        if count != Some(elements.len() as u64) {
            let (found, expected) = (elements.len().to_string(), format!("as many as {shape:?} has"));
            return Err(BuildError::operand("constant", "the number of elements", found, expected));
        }
        let extents: Vec<Extent> = shape.iter().copied().map(Some).collect();
        let ty = self.module.intern(Type::Tensor(tensor(T::TYPE, &extents)));
        let mut bytes = Vec::with_capacity(elements.len() * T::TYPE.bits() as usize / 8);
        elements.iter().for_each(|element| element.write(&mut bytes));
        let width = bytes.len().checked_div(elements.len()).unwrap_or(0);
        let (first, rest) = bytes.split_at(width);
        // bytes decide, so that -0 and NaN stay what they are
        let splat = !elements.is_empty() && rest.chunks(width.max(1)).all(|element| element == first);
        let key = (ty, bytes.clone());
        if let Some(value) = self.constants.get(&key) {
            return Ok(*value);
        }
        let stored = if splat { first.to_vec() } else { bytes };
        let constant = match !splat && elements.len() as u64 >= RESOURCE_ELEMENTS {
            true => {
                let content = self.module.content(Arc::new(crate::source::MemorySource(stored)))?;
                ConstantRef { splat, range: content.range, resource: Some(content.resource) }
            }
            false => ConstantRef { splat, range: self.module.inline(stored)?, resource: None },
        };
        let value = self.emit_constant(constant, ty);
        self.constants.insert(key, value);
        Ok(value)
    }

    /// A 0-D constant.
    pub fn scalar<T: Element>(&mut self, element: T) -> Result<Value, BuildError> {
        self.constant(&[], &[element])
    }

    /// A 0-D constant of a float type, rounded to it.
    pub fn number(&mut self, element: ElementType, number: f64) -> Result<Value, BuildError> {
        match element {
            ElementType::F32 => self.scalar(number as f32),
            ElementType::F16 => self.scalar(f16::from_f64(number)),
            ElementType::BF16 => self.scalar(bf16::from_f64(number)),
            other => Err(BuildError::operand("number", "the element type", other.name(), "a float type")),
        }
    }

    /// A constant whose bytes are read when they are needed. `[extents]` of `element`, packed.
    pub fn weight(
        &mut self,
        element: ElementType,
        shape: &[u64],
        source: Arc<dyn ByteSource>,
    ) -> Result<Value, BuildError> {
        let content = self.module.content(source)?;
        self.shared_weight(element, shape, &content)
    }

    /// As [`Graph::weight`], of bytes that other constants hold too.
    pub fn shared_weight(
        &mut self,
        element: ElementType,
        shape: &[u64],
        content: &Content,
    ) -> Result<Value, BuildError> {
        let extents: Vec<Extent> = shape.iter().copied().map(Some).collect();
        let ty = tensor(element, &extents);
        let expected = ty.elements().and_then(|count| element.packed_bytes(count));
        let found = content.range.end - content.range.start;
        if expected != Some(found) {
            let expected = expected.map_or_else(|| "fewer elements".into(), |bytes| format!("{bytes} bytes"));
            let what = format!("the content of {element}{}", shape_text(&extents));
            return Err(BuildError::operand("weight", what, format!("{found} bytes"), expected));
        }
        let ty = self.module.intern(Type::Tensor(ty));
        let constant =
            ConstantRef { splat: false, range: content.range.clone(), resource: Some(content.resource) };
        Ok(self.emit_constant(constant, ty))
    }

    /// A constant of one stored element. Equal ones of a graph are one.
    pub(super) fn splat(
        &mut self,
        element: ElementType,
        shape: &[u64],
        bytes: Vec<u8>,
    ) -> Result<Value, BuildError> {
        let extents: Vec<Extent> = shape.iter().copied().map(Some).collect();
        let ty = self.module.intern(Type::Tensor(tensor(element, &extents)));
        let key = (ty, bytes.clone());
        if let Some(value) = self.splats.get(&key) {
            return Ok(*value);
        }
        let range = self.module.inline(bytes)?;
        let value = self.emit_constant(ConstantRef { splat: true, range, resource: None }, ty);
        self.splats.insert(key, value);
        Ok(value)
    }

    fn emit_constant(&mut self, constant: ConstantRef, ty: TypeId) -> Value {
        let attrs = vec![("value", Attribute::Constant(constant))];
        self.push("primitive.constant_v1", Vec::new(), attrs, Vec::new(), vec![ty])[0]
    }

    /// Any operation without attributes and regions, by its serialized name, with the types of its results.
    pub fn op(
        &mut self,
        name: &str,
        operands: &[Value],
        results: &[TensorType],
    ) -> Result<Vec<Value>, BuildError> {
        self.emit(name, operands, Vec::new(), Vec::new(), results)
    }

    /// Adds an operation; operands are checked to be of this graph.
    pub(super) fn emit(
        &mut self,
        name: &str,
        operands: &[Value],
        attrs: Vec<(&'static str, Attribute)>,
        regions: Vec<Region>,
        results: &[TensorType],
    ) -> Result<Vec<Value>, BuildError> {
        let types = results.iter().map(|ty| self.module.intern(Type::Tensor(ty.clone()))).collect();
        self.emit_typed(name, operands, attrs, regions, types)
    }

    /// As [`Graph::emit`], with results that need not be tensors.
    pub(super) fn emit_typed(
        &mut self,
        name: &str,
        operands: &[Value],
        attrs: Vec<(&'static str, Attribute)>,
        regions: Vec<Region>,
        results: Vec<TypeId>,
    ) -> Result<Vec<Value>, BuildError> {
        if operands.iter().any(|value| self.type_id(*value).is_none()) {
            return Err(BuildError::Foreign { op: name.into() });
        }
        let operands = operands.iter().map(|value| value.id).collect();
        Ok(self.push(name, operands, attrs, regions, results))
    }

    /// One result of an operation without attributes and regions.
    pub(super) fn one(
        &mut self,
        name: &str,
        operands: &[Value],
        element: ElementType,
        shape: &[Extent],
    ) -> Result<Value, BuildError> {
        Ok(self.op(name, operands, &[tensor(element, shape)])?[0])
    }

    fn push(
        &mut self,
        name: &str,
        operands: Vec<ValueId>,
        attrs: Vec<(&'static str, Attribute)>,
        regions: Vec<Region>,
        results: Vec<TypeId>,
    ) -> Vec<Value> {
        self.module.needs(feature(name));
        let values: Vec<Value> = results.into_iter().map(|ty| self.define(ty)).collect();
        self.ops.push(Op {
            name: Arc::from(name),
            operands,
            results: values.iter().map(|value| value.id).collect(),
            attrs,
            regions,
            location: AttrId::UNKNOWN,
        });
        values
    }

    fn define(&mut self, ty: TypeId) -> Value {
        let id = ValueId(self.scope.types.len() as u32); // far below 2³²: each takes memory here
        self.scope.types.push(ty);
        Value { graph: self.number, id }
    }

    /// A block argument.
    pub(super) fn argument(&mut self, ty: TypeId) -> Value {
        let value = self.define(ty);
        self.args.push(value.id);
        value
    }

    /// Ends the graph with a terminator, and gives the module back.
    pub(super) fn close(
        mut self,
        terminator: &str,
        results: &[Value],
    ) -> Result<(Region, &'m mut Module), BuildError> {
        self.emit_typed(terminator, results, Vec::new(), Vec::new(), Vec::new())?;
        Ok((Region { scope: Some(self.scope), args: self.args, ops: self.ops }, self.module))
    }
}

/// When an operation came to the format (`OPSET`, column Since); those not listed are older than the oldest here.
fn feature(name: &str) -> u32 {
    const OLDEST: u32 = 20_251_202;
    const SINCE: [(&str, u32); 22] = [
        ("primitive.blockwise_shift_scale_v2", 20_260_202),
        ("primitive.reshape_v2", 20_260_204),
        ("primitive.expand_dims_v1", 20_260_219),
        ("primitive.shrink_dims_v1", 20_260_317),
        ("primitive.get_shape_v2", 20_260_317),
        ("reduce_mean_v1", 20_260_317),
        ("softmax_v1", 20_260_204),
        ("relu_v1", 20_260_204),
        ("broadcasting_floor_divide_v1", 20_260_204),
        ("broadcasting_modulo_v1", 20_260_204),
        ("broadcasting_pow_v1", 20_260_204),
        ("broadcasting_maximum_v1", 20_260_204),
        ("broadcasting_minimum_v1", 20_260_204),
        ("broadcasting_equal_v1", 20_260_204),
        ("broadcasting_not_equal_v1", 20_260_204),
        ("broadcasting_greater_v1", 20_260_204),
        ("broadcasting_bitwise_and_v1", 20_260_204),
        ("broadcasting_bitwise_or_v1", 20_260_204),
        ("broadcasting_bitwise_xor_v1", 20_260_204),
        ("broadcasting_logical_and_v1", 20_260_204),
        ("broadcasting_logical_or_v1", 20_260_204),
        ("broadcasting_logical_xor_v1", 20_260_204),
    ];
    SINCE.iter().find(|row| row.0 == name).map_or(OLDEST, |row| row.1)
}
