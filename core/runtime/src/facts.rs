//! What is known of a value before it runs: dtype, symbolic extents, and for small integer tensors
//! their elements.

use std::sync::Arc;

use coreai_asset::{ConstantRef, ElementType};

use crate::expr::{Bounds, Expr, Func, Sym};
use crate::plan::{Guard, Symbol};
use crate::step::Kind;

/// Most elements a host-evaluated integer tensor may have. Shape arithmetic stays far below;
/// larger index tables are data.
pub const MAX_CONTENT: usize = 256;

/// Facts of one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Declared element type.
    pub element: ElementType,
    /// Extents.
    pub dims: Vec<Expr>,
    /// Row-major elements when the host knows them (integers and bool).
    pub content: Option<Arc<Vec<Expr>>>,
    /// The constant this is.
    pub constant: Option<ConstantRef>,
    /// The number, when the host knows it: bounds of float ranges.
    pub number: Option<Dyadic>,
}

/// A host-known float: `value / 2^shift`. Every float is one; sizes cast to float are whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Dyadic {
    /// Numerator.
    pub value: Expr,
    /// Binary places, at most [`Dyadic::PLACES`].
    pub shift: u32,
}

impl Dyadic {
    /// Most binary places: numbers that need more are left to the device.
    pub const PLACES: u32 = 30;

    /// A float of at most [`Self::PLACES`] binary places whose numerator fits 32 bits.
    pub fn of(value: f32) -> Option<Dyadic> {
        let shift = (0..=Self::PLACES).find(|s| (f64::from(value) * f64::from(1u32 << s)).fract() == 0.0)?;
        let scaled = f64::from(value) * f64::from(1u32 << shift);
        (scaled.abs() < 2f64.powi(31)).then(|| Dyadic { value: Expr::from(scaled as i64), shift })
    }

    /// The numerator over `2^shift`, which has at least this one's binary places.
    pub fn over(&self, shift: u32) -> Expr {
        &self.value * &Expr::from(1i64 << shift.saturating_sub(self.shift).min(Self::PLACES))
    }
}

impl Fact {
    /// A value of which only type and extents are known.
    pub fn new(element: ElementType, dims: Vec<Expr>) -> Fact {
        Fact { element, dims, content: None, constant: None, number: None }
    }

    /// A token: it orders and carries nothing.
    pub fn token() -> Fact {
        Fact::new(ElementType::Bool, vec![]).with_content(Some(vec![Expr::zero()]))
    }

    /// The same with elements, when there are as many as the extents say and not too many.
    pub fn with_content(mut self, content: Option<Vec<Expr>>) -> Fact {
        self.content = content.filter(|c| c.len() <= MAX_CONTENT).map(Arc::new);
        self
    }

    /// The same with the number it is, when it has one element.
    pub fn with_number(mut self, number: Option<Dyadic>) -> Fact {
        self.number = number.filter(|_| self.elements().is(1));
        self
    }

    /// Elements that are all constant.
    pub fn const_ints(&self) -> Option<Vec<i64>> {
        self.content.as_ref()?.iter().map(Expr::as_const).collect()
    }

    /// Number of elements.
    pub fn elements(&self) -> Expr {
        product(&self.dims)
    }
}

/// Product of extents.
pub fn product(dims: &[Expr]) -> Expr {
    dims.iter().fold(Expr::one(), |n, d| &n * d)
}

/// Row-major strides.
pub fn contiguous(dims: &[Expr]) -> Vec<Expr> {
    let mut strides = vec![Expr::one(); dims.len()];
    for i in (0..dims.len().saturating_sub(1)).rev() {
        strides[i] = &strides[i + 1] * &dims[i + 1];
    }
    strides
}

/// Register kind of an element type; `None` when 32-bit registers cannot hold it.
pub fn kind_of(element: ElementType) -> Option<Kind> {
    use ElementType::*;
    Some(match element {
        F32 | F16 | BF16 | F8E5M2 | F8E4M3FN | F4E2M1FN | F8E8M0FN | TF32 => Kind::F32,
        SI32 | SI16 | SI8 | SI4 | SI2 => Kind::I32,
        UI32 | UI16 | UI8 | UI6 | UI4 | UI3 | UI2 | UI1 => Kind::U32,
        Bool => Kind::Bool,
        _ => return None,
    })
}

/// Whether an element type is an integer (bool excluded).
pub fn is_integer(element: ElementType) -> bool {
    use ElementType::*;
    matches!(
        element,
        SI64 | SI32 | SI16 | SI8 | SI4 | SI2 | UI64 | UI32 | UI16 | UI8 | UI6 | UI4 | UI3 | UI2 | UI1
    )
}

/// Least and greatest value of an integer type, within i64.
pub fn integer_range(element: ElementType) -> Option<(i64, i64)> {
    use ElementType::*;
    let bits = element.bits();
    Some(match element {
        SI64 => (i64::MIN, i64::MAX),
        UI64 => (0, i64::MAX),
        SI32 | SI16 | SI8 | SI4 | SI2 => (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1),
        UI32 | UI16 | UI8 | UI6 | UI4 | UI3 | UI2 | UI1 => (0, (1i64 << bits) - 1),
        Bool => (0, 1),
        _ => return None,
    })
}

/// Symbols, what has been assumed of them, and the guards that protect the assumptions.
#[derive(Clone, Debug, Default)]
pub struct Assumptions {
    /// Symbols of the plan.
    pub symbols: Vec<Symbol>,
    /// Values fixed for this variant or assumed equal to an expression.
    known: Vec<Option<Expr>>,
    /// Conditions to check at bind.
    pub guards: Vec<Guard>,
}

impl Assumptions {
    /// Adds a symbol; `fixed` makes it a constant of this variant.
    pub fn symbol(&mut self, symbol: Symbol, fixed: Option<i64>) -> Expr {
        let sym = Sym(self.symbols.len() as u32);
        self.symbols.push(symbol);
        self.known.push(fixed.map(Expr::from));
        match fixed {
            Some(v) => Expr::from(v),
            None => Expr::from(sym),
        }
    }

    fn resolve(&self, e: &Expr) -> Expr {
        let mut out = e.clone();
        // Each assumption maps a symbol to later-resolved ones; a few rounds reach a fixed point.
        for _ in 0..4 {
            let mut involved = vec![];
            out.symbols(&mut |s| involved.push(s));
            let Some((sym, with)) =
                involved.iter().find_map(|s| self.known.get(s.0 as usize)?.clone().map(|k| (*s, k)))
            else {
                break;
            };
            out = replace(&out, sym, &with);
        }
        out
    }

    /// Whether two extents are equal for every run this plan accepts.
    pub fn same(&self, a: &Expr, b: &Expr) -> bool {
        a == b || self.resolve(&(a - b)).is(0)
    }

    /// Makes two extents equal: proven, or assumed with a guard. `false` when they cannot be.
    pub fn unify(&mut self, a: &Expr, b: &Expr, reason: &dyn Fn() -> String) -> bool {
        if self.same(a, b) {
            return true;
        }
        let difference = self.resolve(&(a - b));
        if difference.as_const().is_some() {
            return false;
        }
        self.guards.push(Guard { expr: a - b, equal: true, reason: reason() });
        // Where the difference is ±sym + rest, the symbol is known from now on.
        let mut symbols = vec![];
        difference.symbols(&mut |s| symbols.push(s));
        for s in symbols.into_iter().rev() {
            for sign in [1i64, -1] {
                let rest = &difference - &(&Expr::from(s) * &Expr::from(sign));
                let mut free = true;
                rest.symbols(&mut |t| free &= t != s);
                if free {
                    self.known[s.0 as usize] = Some(&rest * &Expr::from(-sign));
                    return true;
                }
            }
        }
        true
    }

    /// Makes an expression non-negative: proven, or assumed with a guard.
    pub fn require_nonnegative(&mut self, e: &Expr, reason: &dyn Fn() -> String) -> bool {
        let bounds = self.bounds(e);
        if bounds.min >= 0 {
            return true;
        }
        if bounds.max < 0 {
            return false;
        }
        if !self.guards.iter().any(|g| !g.equal && g.expr == *e) {
            self.guards.push(Guard { expr: e.clone(), equal: false, reason: reason() });
        }
        true
    }

    /// Bounds of an expression, also using the guards that state it directly.
    pub fn bounds(&self, e: &Expr) -> Bounds {
        let of = |s: Sym| {
            self.symbols.get(s.0 as usize).map_or(Bounds { min: i64::MIN, max: i64::MAX }, |s| s.bounds)
        };
        let mut bounds = self.resolve(e).bounds(&of);
        for guard in &self.guards {
            // e = guard + c with the guard non-negative gives e ≥ c.
            if let Some(c) = (e - &guard.expr).as_const() {
                bounds.min = bounds.min.max(c);
                if guard.equal {
                    bounds.max = bounds.max.min(c);
                }
            }
        }
        bounds
    }

    /// The smaller of two, decided by bounds where possible.
    pub fn min(&self, a: &Expr, b: &Expr) -> Expr {
        let d = self.bounds(&(a - b));
        if d.max <= 0 {
            a.clone()
        } else if d.min >= 0 {
            b.clone()
        } else {
            Expr::func(Func::Min, a, b)
        }
    }

    /// The larger of two, decided by bounds where possible.
    pub fn max(&self, a: &Expr, b: &Expr) -> Expr {
        let d = self.bounds(&(a - b));
        if d.min >= 0 {
            a.clone()
        } else if d.max <= 0 {
            b.clone()
        } else {
            Expr::func(Func::Max, a, b)
        }
    }
}

fn replace(e: &Expr, sym: Sym, with: &Expr) -> Expr {
    if let Some(c) = with.as_const() {
        return e.substitute(&|s| (s == sym).then_some(c));
    }
    e.replace(sym, with)
}
