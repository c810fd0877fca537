//! Elementwise programs and the table of elementwise functions.
//!
//! One row per function: name, arity, closure, WGSL expression. Fused chains are straight-line
//! programs over the rows; both units execute the same program.

use coreai_asset::ElementType;

use crate::expr::Expr;
use crate::step::Kind;

/// A straight-line program evaluated once per element. The last instruction is the result.
#[derive(Clone, Debug, PartialEq)]
pub struct MapProg {
    /// Instructions; arguments refer to earlier ones.
    pub instrs: Vec<Instr>,
    /// Values of [`MapOp::Scalar`], evaluated on the host for each run, as i32.
    pub scalars: Vec<Expr>,
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instr {
    /// Operation.
    pub op: MapOp,
    /// Indices of the argument instructions; the first `op.arity()` count.
    pub args: [u16; 3],
    /// Kind of the result.
    pub kind: Kind,
}

/// Operations of an elementwise program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapOp {
    /// Element of operand `n`.
    Load(u16),
    /// Bit pattern.
    Const(u32),
    /// Host-evaluated integer `n` of [`MapProg::scalars`] (kind I32 or U32).
    Scalar(u16),
    /// Index of the element along axis `n` of the iteration dims (kind I32).
    Index(u8),
    /// A row of the table; the kind of its first argument (second for `Select`) picks the column.
    Fn(MapFn),
    /// Conversion to an element type with the format's rules: float → integer truncates and
    /// saturates with NaN → 0; integer → integer saturates; anything → bool is `!= 0`.
    Cast(ElementType),
    /// Wraps a 32-bit integer result to a narrower integer type.
    Wrap(ElementType),
}

macro_rules! rows {
    ($( $(#[$doc:meta])* $name:ident $arity:literal
        f: $f:expr, $wf:literal; i: $i:expr, $wi:literal; u: $u:expr, $wu:literal; )*) => {
        /// The elementwise functions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum MapFn { $( $(#[$doc])* $name, )* }

        /// Every function, in table order.
        pub const ALL: &[MapFn] = &[ $( MapFn::$name, )* ];

        impl MapFn {
            /// Number of arguments.
            pub fn arity(self) -> usize { match self { $( MapFn::$name => $arity, )* } }

            /// WGSL expression over `$0`, `$1`, `$2` for the given kind of the first argument;
            /// empty when the function has no such column. Comparisons yield WGSL `bool`.
            pub fn wgsl(self, kind: Kind) -> &'static str {
                match self { $( MapFn::$name => match kind {
                    Kind::F32 => $wf, Kind::I32 => $wi, Kind::U32 | Kind::Bool => $wu, }, )* }
            }

            /// Applies the function to whole slices: `out[i] = f(a[i], b[i], c[i])`.
            /// Unused arguments are ignored. Values are bit patterns of the kind; for comparisons
            /// the output is 0 or 1.
            pub fn apply(self, kind: Kind, a: &[u32], b: &[u32], c: &[u32], out: &mut [u32]) {
                match self { $( MapFn::$name => match kind {
                    Kind::F32 => block_f(a, b, c, out, $f),
                    Kind::I32 => block_i(a, b, c, out, $i),
                    Kind::U32 | Kind::Bool => block_u(a, b, c, out, $u), }, )* }
            }
        }
    };
}

/// Result of a row: a value of the argument's kind, or a truth value.
trait Bits {
    fn bits(self) -> u32;
}
impl Bits for f32 {
    fn bits(self) -> u32 {
        self.to_bits()
    }
}
impl Bits for i32 {
    fn bits(self) -> u32 {
        self as u32
    }
}
impl Bits for u32 {
    fn bits(self) -> u32 {
        self
    }
}
impl Bits for bool {
    fn bits(self) -> u32 {
        u32::from(self)
    }
}

#[inline(always)]
fn block<R: Bits>(a: &[u32], b: &[u32], c: &[u32], out: &mut [u32], f: impl Fn(u32, u32, u32) -> R) {
    for (((o, &a), &b), &c) in out.iter_mut().zip(a).zip(b).zip(c) {
        *o = f(a, b, c).bits();
    }
}
#[inline(always)]
fn block_f<R: Bits>(a: &[u32], b: &[u32], c: &[u32], o: &mut [u32], f: impl Fn(f32, f32, f32) -> R) {
    block(a, b, c, o, |a, b, c| f(f32::from_bits(a), f32::from_bits(b), f32::from_bits(c)));
}
#[inline(always)]
fn block_i<R: Bits>(a: &[u32], b: &[u32], c: &[u32], o: &mut [u32], f: impl Fn(i32, i32, i32) -> R) {
    block(a, b, c, o, |a, b, c| f(a as i32, b as i32, c as i32));
}
#[inline(always)]
fn block_u<R: Bits>(a: &[u32], b: &[u32], c: &[u32], o: &mut [u32], f: impl Fn(u32, u32, u32) -> R) {
    block(a, b, c, o, f);
}

fn nan_max(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        f32::NAN
    } else if b > a {
        b
    } else {
        a
    }
}
fn nan_min(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        f32::NAN
    } else if b < a {
        b
    } else {
        a
    }
}
/// Logistic function.
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
fn gelu_erf(x: f32) -> f32 {
    0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))
}
fn gelu_tanh(x: f32) -> f32 {
    0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044_715 * x * x * x)).tanh())
}
fn ipow(base: i32, exponent: i32) -> i32 {
    match exponent {
        e if e >= 0 => base.wrapping_pow(e as u32),
        _ => 0,
    }
}

rows! {
    /// x + y
    Add 2 f: |a, b, _| a + b, "($0 + $1)"; i: |a, b, _| a.wrapping_add(b), "($0 + $1)"; u: |a, b, _| a.wrapping_add(b), "($0 + $1)";
    /// x − y
    Sub 2 f: |a, b, _| a - b, "($0 - $1)"; i: |a, b, _| a.wrapping_sub(b), "($0 - $1)"; u: |a, b, _| a.wrapping_sub(b), "($0 - $1)";
    /// x · y
    Mul 2 f: |a, b, _| a * b, "($0 * $1)"; i: |a, b, _| a.wrapping_mul(b), "($0 * $1)"; u: |a, b, _| a.wrapping_mul(b), "($0 * $1)";
    /// x / y; integers truncate, division by zero gives 0
    Div 2 f: |a, b, _| a / b, "($0 / $1)"; i: |a, b, _| if b == 0 { 0 } else { a.wrapping_div(b) }, "idiv($0, $1)"; u: |a, b, _| a.checked_div(b).unwrap_or(0), "udiv($0, $1)";
    /// floor(x / y), with the CPU runtime's results for infinities (OPSET §14)
    FloorDiv 2 f: |a, b, _| floor_div(a, b), "floor_div($0, $1)"; i: |a, b, _| if b == 0 { 0 } else { a.wrapping_div(b) - i32::from(a.wrapping_rem(b) != 0 && (a < 0) != (b < 0)) }, "ifloordiv($0, $1)"; u: |a, b, _| a.checked_div(b).unwrap_or(0), "udiv($0, $1)";
    /// x − trunc(x / y) · y
    Mod 2 f: |a, b, _| a % b, "fmod($0, $1)"; i: |a, b, _| if b == 0 { 0 } else { a.wrapping_rem(b) }, "imod($0, $1)"; u: |a, b, _| if b == 0 { 0 } else { a % b }, "umod($0, $1)";
    /// x ^ y
    Pow 2 f: |a, b, _| a.powf(b), "fpow($0, $1)"; i: |a, b, _| ipow(a, b), "ipow($0, $1)"; u: |a, b, _| a.wrapping_pow(b), "upow($0, $1)";
    /// Larger; NaN propagates, ties return x
    Max 2 f: |a, b, _| nan_max(a, b), "nan_max($0, $1)"; i: |a, b, _| a.max(b), "max($0, $1)"; u: |a, b, _| a.max(b), "max($0, $1)";
    /// Smaller; NaN propagates
    Min 2 f: |a, b, _| nan_min(a, b), "nan_min($0, $1)"; i: |a, b, _| a.min(b), "min($0, $1)"; u: |a, b, _| a.min(b), "min($0, $1)";
    /// x = y → bool
    Equal 2 f: |a, b, _| a == b, "feq($0, $1)"; i: |a, b, _| a == b, "($0 == $1)"; u: |a, b, _| a == b, "($0 == $1)";
    /// x ≠ y → bool
    NotEqual 2 f: |a, b, _| a != b, "(!feq($0, $1))"; i: |a, b, _| a != b, "($0 != $1)"; u: |a, b, _| a != b, "($0 != $1)";
    /// x > y → bool
    Greater 2 f: |a, b, _| a > b, "fgt($0, $1)"; i: |a, b, _| a > b, "($0 > $1)"; u: |a, b, _| a > b, "($0 > $1)";
    /// Bitwise (and, for bool, logical) and
    And 2 f: |a, _, _| a, ""; i: |a, b, _| a & b, "($0 & $1)"; u: |a, b, _| a & b, "($0 & $1)";
    /// Bitwise or
    Or 2 f: |a, _, _| a, ""; i: |a, b, _| a | b, "($0 | $1)"; u: |a, b, _| a | b, "($0 | $1)";
    /// Bitwise exclusive or
    Xor 2 f: |a, _, _| a, ""; i: |a, b, _| a ^ b, "($0 ^ $1)"; u: |a, b, _| a ^ b, "($0 ^ $1)";
    /// Logical not
    Not 1 f: |a, _, _| a, ""; i: |a, _, _| i32::from(a == 0), "select(0, 1, $0 == 0)"; u: |a, _, _| u32::from(a == 0), "(1u - min($0, 1u))";
    /// cond ? x : y; the first argument is Bool, the column is chosen by the second
    Select 3 f: |_, b, _| b, "select($2, $1, $0 != 0u)"; i: |_, b, _| b, "select($2, $1, $0 != 0u)"; u: |a, b, c| if a != 0 { b } else { c }, "select($2, $1, $0 != 0u)";
    /// |x|
    Abs 1 f: |a, _, _| a.abs(), "abs($0)"; i: |a, _, _| a.wrapping_abs(), "abs($0)"; u: |a, _, _| a, "$0";
    /// Arc cosine
    Acos 1 f: |a, _, _| a.acos(), "facos($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// Inverse hyperbolic cosine
    Acosh 1 f: |a, _, _| if a < 1.0 { f32::NAN } else { libm::acoshf(a) }, "facosh($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// Arc sine
    Asin 1 f: |a, _, _| a.asin(), "fasin($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// Inverse hyperbolic sine
    Asinh 1 f: |a, _, _| libm::asinhf(a), "fasinh($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// Arc tangent
    Atan 1 f: |a, _, _| a.atan(), "fatan($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// Inverse hyperbolic tangent
    Atanh 1 f: |a, _, _| libm::atanhf(a), "fatanh($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// Cosine
    Cos 1 f: |a, _, _| a.cos(), "fcos($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// Hyperbolic cosine
    Cosh 1 f: |a, _, _| a.cosh(), "fcosh($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// Sine
    Sin 1 f: |a, _, _| a.sin(), "fsin($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// Hyperbolic sine
    Sinh 1 f: |a, _, _| a.sinh(), "fsinh($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// Tangent
    Tan 1 f: |a, _, _| a.tan(), "ftan($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// Hyperbolic tangent
    Tanh 1 f: |a, _, _| a.tanh(), "ftanh($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// Error function
    Erf 1 f: |a, _, _| libm::erff(a), "ferf($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// e^x
    Exp 1 f: |a, _, _| a.exp(), "fexp($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// Natural logarithm
    Log 1 f: |a, _, _| a.ln(), "flog($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// Square root
    Sqrt 1 f: |a, _, _| a.sqrt(), "fsqrt($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// 1/√x; −0 gives −inf as the CPU runtime does
    Rsqrt 1 f: |a, _, _| 1.0 / a.sqrt(), "frsqrt($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// Nearest integer, ties to even
    Round 1 f: |a, _, _| a.round_ties_even(), "round($0)"; i: |a, _, _| a, "$0"; u: |a, _, _| a, "$0";
    /// Gaussian error linear unit, exact
    Gelu 1 f: |a, _, _| gelu_erf(a), "gelu_erf($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// The same by tanh
    GeluTanh 1 f: |a, _, _| gelu_tanh(a), "gelu_tanh($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// The same by the logistic function: x·σ(1.702x)
    GeluSigmoid 1 f: |a, _, _| a * sigmoid(1.702 * a), "($0 * sigmoid(1.702 * $0))"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// max(x, 0); NaN propagates, −0 stays
    Relu 1 f: |a, _, _| if a < 0.0 { 0.0 } else { a }, "relu($0)"; i: |a, _, _| a.max(0), "max($0, 0)"; u: |a, _, _| a, "$0";
    /// Logistic function
    Sigmoid 1 f: |a, _, _| sigmoid(a), "sigmoid($0)"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
    /// x·σ(x)
    Silu 1 f: |a, _, _| a * sigmoid(a), "($0 * sigmoid($0))"; i: |a, _, _| a, ""; u: |a, _, _| a, "";
}

fn floor_div(a: f32, b: f32) -> f32 {
    if a.is_infinite() && b.is_finite() && b != 0.0 { f32::NAN } else { (a / b).floor() }
}

impl MapOp {
    /// Number of argument instructions.
    pub fn arity(self) -> usize {
        match self {
            MapOp::Load(_) | MapOp::Const(_) | MapOp::Scalar(_) | MapOp::Index(_) => 0,
            MapOp::Cast(_) | MapOp::Wrap(_) => 1,
            MapOp::Fn(f) => f.arity(),
        }
    }
}

impl MapProg {
    /// The program that copies operand 0.
    pub fn copy(kind: Kind) -> MapProg {
        MapProg { instrs: vec![Instr { op: MapOp::Load(0), args: [0; 3], kind }], scalars: vec![] }
    }

    /// Kind of the result.
    pub fn result_kind(&self) -> Kind {
        self.instrs.last().map_or(Kind::F32, |i| i.kind)
    }
}
