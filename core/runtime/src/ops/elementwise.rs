//! Elementwise ops: one row each, over the functions of [`crate::map`].

use coreai_asset::{Attribute, ElementType};

#[cfg(test)]
use super::cases::{ANY, Call, Case, FLOATS, INTS, NUMBERS, QUOTIENTS, Spice, TRUTH, WORDS};
use super::{Fault, InferCx, Op};
use crate::expr::{Expr, Func};
use crate::facts::{Dyadic, Fact, integer_range, is_integer, kind_of};
use crate::lower::Lower;
use crate::lower::expression::narrowing;
use crate::map::{MapFn, MapOp};
use crate::step::Kind;

struct Row {
    names: &'static [&'static str],
    function: MapFn,
    /// The result is bool.
    truth: bool,
}

const fn row(names: &'static [&'static str], function: MapFn) -> Row {
    Row { names, function, truth: false }
}

const fn truth(names: &'static [&'static str], function: MapFn) -> Row {
    Row { names, function, truth: true }
}

macro_rules! rows {
    ($($row:expr),* $(,)?) => { &[$({ static ROW: Row = $row; &ROW as &dyn Op }),*] };
}

/// The family's ops.
pub static OPS: &[&dyn Op] = rows![
    row(&["primitive.abs_v1"], MapFn::Abs),
    row(&["primitive.acos_v1"], MapFn::Acos),
    row(&["primitive.acosh_v1"], MapFn::Acosh),
    row(&["primitive.asin_v1"], MapFn::Asin),
    row(&["primitive.asinh_v1"], MapFn::Asinh),
    row(&["primitive.atan_v1"], MapFn::Atan),
    row(&["primitive.atanh_v1"], MapFn::Atanh),
    row(&["primitive.cos_v1"], MapFn::Cos),
    row(&["primitive.cosh_v1"], MapFn::Cosh),
    row(&["primitive.sin_v1"], MapFn::Sin),
    row(&["primitive.sinh_v1"], MapFn::Sinh),
    row(&["primitive.tan_v1"], MapFn::Tan),
    row(&["primitive.tanh_v1"], MapFn::Tanh),
    row(&["primitive.erf_v1"], MapFn::Erf),
    row(&["primitive.exp_v1"], MapFn::Exp),
    row(&["primitive.log_v1"], MapFn::Log),
    row(&["primitive.sqrt_v1"], MapFn::Sqrt),
    row(&["primitive.rsqrt_v1"], MapFn::Rsqrt),
    row(&["primitive.round_v1"], MapFn::Round),
    row(&["primitive.not_v1"], MapFn::Not),
    row(&["primitive.gelu_v1"], MapFn::Gelu),
    row(&["relu_v1"], MapFn::Relu),
    row(&["sigmoid_v1"], MapFn::Sigmoid),
    row(&["silu_v1"], MapFn::Silu),
    row(&["primitive.add_v1", "broadcasting_add_v1"], MapFn::Add),
    row(&["primitive.sub_v1", "broadcasting_sub_v1"], MapFn::Sub),
    row(&["primitive.mul_v1", "broadcasting_mul_v1"], MapFn::Mul),
    row(&["primitive.divide_v1", "broadcasting_divide_v1"], MapFn::Div),
    row(&["primitive.floor_divide_v1", "broadcasting_floor_divide_v1"], MapFn::FloorDiv),
    row(&["primitive.modulo_v1", "broadcasting_modulo_v1"], MapFn::Mod),
    row(&["primitive.pow_v1", "broadcasting_pow_v1"], MapFn::Pow),
    row(&["primitive.maximum_v1", "broadcasting_maximum_v1"], MapFn::Max),
    row(&["primitive.minimum_v1", "broadcasting_minimum_v1"], MapFn::Min),
    truth(&["primitive.equal_v1", "broadcasting_equal_v1"], MapFn::Equal),
    truth(&["primitive.not_equal_v1", "broadcasting_not_equal_v1"], MapFn::NotEqual),
    truth(&["primitive.greater_v1", "broadcasting_greater_v1"], MapFn::Greater),
    row(
        &[
            "primitive.bitwise_and_v1",
            "broadcasting_bitwise_and_v1",
            "primitive.logical_and_v1",
            "broadcasting_logical_and_v1",
        ],
        MapFn::And,
    ),
    row(
        &[
            "primitive.bitwise_or_v1",
            "broadcasting_bitwise_or_v1",
            "primitive.logical_or_v1",
            "broadcasting_logical_or_v1",
        ],
        MapFn::Or,
    ),
    row(
        &[
            "primitive.bitwise_xor_v1",
            "broadcasting_bitwise_xor_v1",
            "primitive.logical_xor_v1",
            "broadcasting_logical_xor_v1",
        ],
        MapFn::Xor,
    ),
    row(&["primitive.where_v1", "broadcasting_where_v1"], MapFn::Select),
    Row { names: CAST, function: MapFn::Abs, truth: false },
];

const CAST: &[&str] = &["primitive.cast_v1"];

impl Row {
    fn is_cast(&self) -> bool {
        std::ptr::eq(self.names, CAST)
    }

    /// The function of a node: `gelu` has three forms; bool add is OR and bool mul is AND.
    fn function(&self, attrs: &[(&'static str, Attribute)], element: ElementType) -> Result<MapFn, Fault> {
        let bool_in = element == ElementType::Bool;
        Ok(match self.function {
            MapFn::Add if bool_in => MapFn::Or,
            MapFn::Mul if bool_in => MapFn::And,
            MapFn::Gelu => match attrs.iter().find(|(n, _)| *n == "approximate").map(|(_, a)| a) {
                Some(Attribute::Enum { value: 0, .. }) | None => MapFn::Gelu,
                Some(Attribute::Enum { value: 1, .. }) => MapFn::GeluTanh,
                Some(Attribute::Enum { value: 2, .. }) => MapFn::GeluSigmoid,
                Some(other) => return Err(Fault::unsupported(format!("gelu approximation {other:?}"))),
            },
            f => f,
        })
    }

    fn arity(&self) -> usize {
        if self.is_cast() { 1 } else { self.function.arity() }
    }
}

impl Op for Row {
    fn names(&self) -> &'static [&'static str] {
        self.names
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        if cx.inputs.len() != self.arity() {
            return Err(Fault::program(format!(
                "{} operands expected, found {}",
                self.arity(),
                cx.inputs.len()
            )));
        }
        let mut dims = cx.inputs[0].dims.clone();
        for other in &cx.inputs[1..] {
            if cx.name.starts_with("primitive.") && other.dims.len() != dims.len() {
                return Err(Fault::program(format!("shapes {dims:?} and {:?} differ", other.dims)));
            }
            dims = cx.broadcast(&dims, &other.dims)?;
        }
        if !self.is_cast() {
            let first = if self.function == MapFn::Select { 1 } else { 0 };
            if cx.inputs[first..].iter().any(|f| f.element != cx.inputs[first].element) {
                return Err(Fault::program("operands of different element types"));
            }
        }
        let element = cx.element()?;
        let content = self.evaluate(cx, &dims, element);
        let number =
            if self.is_cast() && content.is_none() { cast_number(&cx.inputs[0], element) } else { None };
        Ok(vec![Fact::new(element, dims).with_content(content).with_number(number)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let n = &cx.graph.nodes[node];
        let (inputs, output) = (n.inputs.clone(), n.outputs[0]);
        let from = cx.graph.fact(inputs[0]).element;
        let to = cx.graph.fact(output).element;
        if self.is_cast() {
            return cx.cast(inputs[0], output, from, to);
        }
        let function = self.function(&n.attrs, from)?;
        let operand = cx.graph.fact(inputs[usize::from(function == MapFn::Select)]).element;
        let kind = kind_of(operand).ok_or_else(|| {
            Fault::unsupported(format!("{} values that are not shape arithmetic", operand.name()))
        })?;
        if kind != Kind::Bool && function.wgsl(kind).is_empty() {
            return Err(Fault::unsupported(format!("{function:?} of {}", operand.name())));
        }
        let result = if self.truth { Kind::Bool } else { kind };
        let wrap = if self.truth || stays(function) { None } else { narrowing(operand) };
        cx.map(&inputs, output, MapOp::Fn(function), result, wrap)
    }

    fn slice_through(&self, axis: usize, inputs: &[Fact], output: &Fact) -> Option<Vec<Option<usize>>> {
        Some(
            inputs
                .iter()
                .map(|f| {
                    let own = (axis + f.dims.len()).checked_sub(output.dims.len())?;
                    (!f.dims[own].is(1)).then_some(own)
                })
                .collect(),
        )
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        use MapFn::*;
        let (row, cast) = ((self.function, self.truth), self.is_cast());
        Case::each(self.names, move |d| {
            let (function, truth) = row;
            let element = match function {
                _ if cast => d.element(ANY),
                Not => ElementType::Bool,
                And | Or | Xor if d.name.contains("logical") => ElementType::Bool,
                And | Or | Xor => d.element(INTS),
                FloorDiv => d.element(QUOTIENTS),
                Abs | Relu | Round | Add | Sub | Mul | Div | Mod | Pow => d.element(NUMBERS),
                Select | Equal | NotEqual => d.element(ANY),
                Max | Min | Greater => d.element(NUMBERS),
                _ => d.element(FLOATS),
            };
            if matches!(function, Pow | Tan) {
                d.at_most(Spice::Mild);
            }
            let dims = d.dims(0..=5);
            let broadcasts = d.name.starts_with("broadcasting_");
            let inputs = (0..if cast { 1 } else { function.arity() })
                .map(|i| {
                    let dims = if broadcasts { d.stretched(&dims, true) } else { dims.clone() };
                    let element = if function == Select && i == 0 { d.element(TRUTH) } else { element };
                    d.data(element, &dims)
                })
                .collect();
            // Registers do not tell a cast of an integer, which saturates, from one of a float, which does not.
            let small = cast && integer_range(element).is_some_and(|(_, high)| high > 255);
            let result = if small {
                d.element(WORDS)
            } else if cast {
                d.element(ANY)
            } else if truth {
                ElementType::Bool
            } else {
                element
            };
            let call = Call::new(inputs, result);
            if function == Gelu { call.with("approximate", d.rng.below(3) as u64) } else { call }
        })
    }
}

impl Row {
    /// Host evaluation of small integer tensors.
    fn evaluate(&self, cx: &mut InferCx, dims: &[Expr], element: ElementType) -> Option<Vec<Expr>> {
        let count: i64 = crate::facts::product(dims).as_const()?;
        if !(0..=crate::facts::MAX_CONTENT as i64).contains(&count) {
            return None;
        }
        let shape: Vec<i64> = dims.iter().map(Expr::as_const).collect::<Option<_>>()?;
        let operands: Vec<Vec<Expr>> =
            cx.inputs.iter().map(|f| broadcast_content(f, &shape)).collect::<Option<_>>()?;
        let mut values = Vec::with_capacity(count as usize);
        // Every operand has `count` elements now.
        for i in 0..count as usize {
            let element_of: Vec<&Expr> = operands.iter().map(|o| &o[i]).collect();
            let at = |k: usize| element_of[k];
            let value = if self.is_cast() {
                cast_int(at(0), cx.inputs[0].element, element)?
            } else {
                self.int(cx, at)?
            };
            if !fits(cx, &value, element)? {
                return None;
            }
            values.push(value);
        }
        Some(values)
    }

    fn int<'e>(&self, cx: &InferCx, at: impl Fn(usize) -> &'e Expr) -> Option<Expr> {
        let truth = |t: bool| Some(Expr::from(i64::from(t)));
        Some(match self.function {
            MapFn::Add => at(0) + at(1),
            MapFn::Sub => at(0) - at(1),
            MapFn::Mul => at(0) * at(1),
            MapFn::Div => {
                let both = cx.shapes.bounds(at(0)).min >= 0 && cx.shapes.bounds(at(1)).min > 0;
                if both {
                    Expr::func(Func::FloorDiv, at(0), at(1))
                } else {
                    let (a, b) = (at(0).as_const()?, at(1).as_const()?);
                    Expr::from(a.checked_div(b)?)
                }
            }
            MapFn::FloorDiv => {
                if cx.shapes.bounds(at(1)).min <= 0 && at(1).as_const().is_none_or(|b| b == 0) {
                    return None;
                }
                Expr::func(Func::FloorDiv, at(0), at(1))
            }
            MapFn::Mod => {
                let both = cx.shapes.bounds(at(0)).min >= 0 && cx.shapes.bounds(at(1)).min > 0;
                if !both {
                    return None;
                }
                Expr::func(Func::Mod, at(0), at(1))
            }
            MapFn::Max => cx.shapes.max(at(0), at(1)),
            MapFn::Min => cx.shapes.min(at(0), at(1)),
            MapFn::Abs if cx.shapes.bounds(at(0)).min >= 0 => at(0).clone(),
            MapFn::Abs => Expr::from(at(0).as_const()?.checked_abs()?),
            MapFn::Equal | MapFn::NotEqual => {
                let d = cx.shapes.bounds(&(at(0) - at(1)));
                let equal = if cx.shapes.same(at(0), at(1)) {
                    true
                } else if d.min > 0 || d.max < 0 {
                    false
                } else {
                    return None;
                };
                return truth(equal == (self.function == MapFn::Equal));
            }
            MapFn::Greater => {
                let d = cx.shapes.bounds(&(at(0) - at(1)));
                if d.min > 0 {
                    return truth(true);
                } else if d.max <= 0 {
                    return truth(false);
                }
                return None;
            }
            MapFn::Not => return truth(at(0).as_const()? == 0),
            MapFn::And => Expr::from(at(0).as_const()? & at(1).as_const()?),
            MapFn::Or => Expr::from(at(0).as_const()? | at(1).as_const()?),
            MapFn::Xor => Expr::from(at(0).as_const()? ^ at(1).as_const()?),
            MapFn::Select => at(if at(0).as_const()? != 0 { 1 } else { 2 }).clone(),
            MapFn::Round => at(0).clone(),
            MapFn::Relu => cx.shapes.max(at(0), &Expr::zero()),
            MapFn::Pow => {
                let (base, exponent) = (at(0).as_const()?, at(1).as_const()?);
                Expr::from(base.checked_pow(u32::try_from(exponent).ok()?)?)
            }
            _ => return None,
        })
    }
}

/// Functions whose results are among their operands' values, so that no dtype is left.
fn stays(function: MapFn) -> bool {
    use MapFn::*;
    matches!(function, Max | Min | Select | And | Or | Xor | Relu | Mod | Round)
}

/// Whether an expression stays inside its type, where arithmetic in i64 and in the type agree: proven,
/// or assumed with a guard. Runs outside of the guard get a plan with constant extents, which wraps.
fn fits(cx: &mut InferCx, value: &Expr, element: ElementType) -> Option<bool> {
    let (min, max) = integer_range(element)?;
    let name = cx.name.to_string();
    let why = || format!("{name}: {value} must fit {}", element.name());
    if element.bits() == 64 {
        // Expressions saturate where the type wraps: nothing may come near the ends.
        let bounds = cx.shapes.bounds(value);
        return Some(bounds.min > i64::MIN / 2 && bounds.max < i64::MAX / 2);
    }
    let above = cx.shapes.require_nonnegative(&(value - &Expr::from(min)), &why);
    let below = cx.shapes.require_nonnegative(&(&Expr::from(max) - value), &why);
    Some(above && below)
}

/// A size or float scalar as a float32, for ranges.
fn cast_number(from: &Fact, to: ElementType) -> Option<Dyadic> {
    if to != ElementType::F32 {
        return None;
    }
    match from.content.as_deref().map(Vec::as_slice) {
        Some([value]) => Some(Dyadic { value: value.clone(), shift: 0 }),
        Some(_) => None,
        None => from.number.clone(),
    }
}

/// Integer conversion: constants saturate (OPSET §11); of expressions the caller checks that they fit.
fn cast_int(value: &Expr, from: ElementType, to: ElementType) -> Option<Expr> {
    let from_int = is_integer(from) || from == ElementType::Bool;
    if !from_int || !(is_integer(to) || to == ElementType::Bool) {
        return None;
    }
    match value.as_const() {
        Some(v) if to == ElementType::Bool => Some(Expr::from(i64::from(v != 0))),
        Some(v) => {
            let (min, max) = integer_range(to)?;
            Some(Expr::from(v.clamp(min, max)))
        }
        None if to == ElementType::Bool => None,
        None => Some(value.clone()),
    }
}

/// The elements of a fact broadcast to `shape`.
fn broadcast_content(fact: &Fact, shape: &[i64]) -> Option<Vec<Expr>> {
    let content = fact.content.as_ref()?;
    let own: Vec<i64> = fact.dims.iter().map(Expr::as_const).collect::<Option<_>>()?;
    let count: i64 = shape.iter().product();
    let lead = shape.len().checked_sub(own.len())?;
    (0..count)
        .map(|flat| {
            let mut rest = flat;
            let mut index = vec![0i64; shape.len()];
            for (i, d) in index.iter_mut().zip(shape).rev() {
                *i = rest % d;
                rest /= d;
            }
            let mut at = 0i64;
            for (i, d) in own.iter().enumerate() {
                at = at * d + if *d == 1 { 0 } else { index[lead + i] };
            }
            content.get(usize::try_from(at).ok()?).cloned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Bounds, Sym};
    use crate::facts::Assumptions;
    use crate::plan::{Symbol, SymbolSource};

    /// `a - b` of two extents in an unsigned type.
    fn difference(shapes: &mut Assumptions, a: &Expr, b: &Expr) -> Option<Vec<Expr>> {
        let fact =
            |e: &Expr| Fact::new(ElementType::UI32, vec![Expr::one()]).with_content(Some(vec![e.clone()]));
        let inputs = [fact(a), fact(b)];
        let declared = [Fact::new(ElementType::UI32, vec![Expr::one()])];
        let name = "primitive.sub_v1";
        let mut cx =
            InferCx { name, inputs: &inputs, region: None, composite: None, declared: &declared, shapes };
        let facts = super::super::find(name)?.infer(&mut cx).ok()?;
        facts[0].content.as_ref().map(|c| c.to_vec())
    }

    #[test]
    fn an_unsigned_difference_is_guarded_against_wrapping() {
        let mut shapes = Assumptions::default();
        let bounds = Bounds { min: 1, max: i64::from(i32::MAX) };
        for axis in 0..2 {
            shapes.symbol(Symbol { source: SymbolSource::InputDim { input: 0, axis }, bounds }, None);
        }
        let (s, q) = (Expr::from(Sym(0)), Expr::from(Sym(1)));
        assert_eq!(difference(&mut shapes, &s, &q), Some(vec![&s - &q]));
        let guard = shapes.guards.iter().find(|g| g.expr == &s - &q).expect("a guard");
        assert!(guard.expr.eval(&[3, 5]) < 0, "a run with s < q is refused");
        // Constants that would wrap are left to the device.
        assert_eq!(difference(&mut shapes, &Expr::from(3i64), &Expr::from(5i64)), None);
    }
}
