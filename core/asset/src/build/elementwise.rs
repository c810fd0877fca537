//! Operations on each element (`OPSET` §1–§3).

use super::error::BuildError;
use super::extent::{broadcast, shape_text};
use super::graph::{Graph, Value, tensor};
use crate::ir::Attribute;
use crate::types::ElementType;

/// Methods of one operand that keep its type.
macro_rules! unary {
    ($($(#[$doc:meta])* $method:ident = $op:literal),* $(,)?) => {
        impl Graph<'_> {$(
            $(#[$doc])*
            pub fn $method(&mut self, x: Value) -> Result<Value, BuildError> {
                let ty = self.ty(x)?.clone();
                Ok(self.op($op, &[x], &[ty])?[0])
            }
        )*}
    };
}

unary! {
    /// |x|
    abs = "primitive.abs_v1",
    /// Cosine.
    cos = "primitive.cos_v1",
    /// Error function.
    erf = "primitive.erf_v1",
    /// eˣ
    exp = "primitive.exp_v1",
    /// Natural logarithm.
    log = "primitive.log_v1",
    /// Logical not, of bool.
    not = "primitive.not_v1",
    /// To the nearest integer, ties to even.
    round = "primitive.round_v1",
    /// x^−½
    rsqrt = "primitive.rsqrt_v1",
    /// Sine.
    sin = "primitive.sin_v1",
    /// Square root.
    sqrt = "primitive.sqrt_v1",
    /// Hyperbolic tangent.
    tanh = "primitive.tanh_v1",
}

/// Methods of two operands that are stretched to common extents as in NumPy.
macro_rules! binary {
    ($($(#[$doc:meta])* $method:ident = $stem:literal $(-> $result:ident)?),* $(,)?) => {
        impl Graph<'_> {$(
            $(#[$doc])*
            /// Operands are stretched to common extents.
            pub fn $method(&mut self, x: Value, y: Value) -> Result<Value, BuildError> {
                let names = (
                    concat!("broadcasting_", $stem, "_v1"),
                    concat!("primitive.", $stem, "_v1"),
                );
                #[allow(unused_mut, unused_assignments)]
                let mut result = None;
                $(result = Some(ElementType::$result);)?
                self.binary(names, x, y, result)
            }
        )*}
    };
}

binary! {
    /// x + y; or, of bool.
    add = "add",
    /// x − y.
    sub = "sub",
    /// x · y; and, of bool.
    mul = "mul",
    /// x / y; integers truncate.
    divide = "divide",
    /// xʸ.
    pow = "pow",
    /// The larger one; NaN wins.
    maximum = "maximum",
    /// The smaller one; NaN wins.
    minimum = "minimum",
    /// x = y, as bool.
    equal = "equal" -> Bool,
    /// x ≠ y, as bool.
    not_equal = "not_equal" -> Bool,
    /// x > y, as bool; false for NaN.
    greater = "greater" -> Bool,
    /// Of bool.
    logical_and = "logical_and",
    /// Of bool.
    logical_or = "logical_or",
    /// Of bool.
    logical_xor = "logical_xor",
}

impl Graph<'_> {
    fn binary(
        &mut self,
        (name, primitive): (&str, &str),
        x: Value,
        y: Value,
        result: Option<ElementType>,
    ) -> Result<Value, BuildError> {
        let (a, b) = (self.ty(x)?.clone(), self.ty(y)?.clone());
        if a.element != b.element {
            return Err(BuildError::operand(
                name,
                "the element type of the second operand",
                b.element.name(),
                a.element.name(),
            ));
        }
        let Some(shape) = broadcast(&a.shape, &b.shape) else {
            return Err(BuildError::operand(
                name,
                "the shape of the second operand",
                shape_text(&b.shape),
                format!("one that agrees with {}", shape_text(&a.shape)),
            ));
        };
        let result = tensor(result.unwrap_or(a.element), &shape);
        let alike = a.shape == b.shape && a.is_static();
        self.decomposed(name, &[x, y], result.clone(), |g, operands| {
            let operands = match alike {
                true => operands.to_vec(),
                false => g.stretched(operands, &shape)?,
            };
            Ok(g.op(primitive, &operands, &[result])?[0])
        })
    }

    /// `condition ? x : y`. Operands are stretched to common extents.
    pub fn select(&mut self, condition: Value, x: Value, y: Value) -> Result<Value, BuildError> {
        let name = "broadcasting_where_v1";
        let (a, b) = (self.ty(x)?.clone(), self.ty(y)?.clone());
        let c = self.ty(condition)?.clone();
        if c.element != ElementType::Bool || a.element != b.element {
            let found = format!("{}, {}, {}", c.element, a.element, b.element);
            return Err(BuildError::operand(name, "the element types", found, "bool and twice the same"));
        }
        let shape = broadcast(&a.shape, &b.shape).and_then(|shape| broadcast(&c.shape, &shape));
        let Some(shape) = shape else {
            let found = [&c.shape, &a.shape, &b.shape].map(|shape| shape_text(shape)).join(", ");
            return Err(BuildError::operand(name, "the shapes", found, "shapes that agree"));
        };
        let result = tensor(a.element, &shape);
        self.decomposed(name, &[condition, x, y], result.clone(), |g, operands| {
            let operands = g.stretched(operands, &shape)?;
            Ok(g.op("primitive.where_v1", &operands, &[result])?[0])
        })
    }

    /// x as another element type (`OPSET` §11).
    pub fn cast(&mut self, x: Value, element: ElementType) -> Result<Value, BuildError> {
        let ty = self.ty(x)?.clone();
        if ty.element == element {
            return Ok(x);
        }
        self.one("primitive.cast_v1", &[x], element, &ty.shape)
    }

    /// 1 / (1 + e^−x)
    pub fn sigmoid(&mut self, x: Value) -> Result<Value, BuildError> {
        let ty = self.ty(x)?.clone();
        self.decomposed("sigmoid_v1", &[x], ty, |g, x| g.logistic(x[0]))
    }

    /// x / (1 + e^−x)
    pub fn silu(&mut self, x: Value) -> Result<Value, BuildError> {
        let ty = self.ty(x)?.clone();
        self.decomposed("silu_v1", &[x], ty, |g, x| {
            let logistic = g.logistic(x[0])?;
            g.mul(x[0], logistic)
        })
    }

    fn logistic(&mut self, x: Value) -> Result<Value, BuildError> {
        let element = self.element(x)?;
        let (zero, one) = (self.number(element, 0.0)?, self.number(element, 1.0)?);
        let negative = self.sub(zero, x)?;
        let exponential = self.exp(negative)?;
        let sum = self.add(one, exponential)?;
        self.divide(one, sum)
    }

    /// x·Φ(x), by the error function or, with `tanh`, by its approximation.
    pub fn gelu(&mut self, x: Value, tanh: bool) -> Result<Value, BuildError> {
        let ty = self.ty(x)?.clone();
        let (name, value) = if tanh { ("tanh", 1) } else { ("none", 0) };
        let approximate = Attribute::Enum { code: 19, name: name.into(), value };
        let attrs = vec![("approximate", approximate)];
        Ok(self.emit("primitive.gelu_v1", &[x], attrs, Vec::new(), &[ty])?[0])
    }
}
