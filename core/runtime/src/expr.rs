//! Symbolic integers: polynomials over symbols, with a few non-polynomial atoms.
//!
//! Every extent, stride, offset and small integer tensor element is an [`Expr`]. Sums and products
//! are kept in one normal form, so two expressions are equal exactly when they compare equal as
//! polynomials over their atoms.

use std::fmt;
use std::sync::Arc;

/// A symbol: a dynamic extent or an element of a small integer input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sym(pub u32);

/// A function that is not a polynomial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Func {
    /// Division rounding toward negative infinity; 0 when the divisor is 0.
    FloorDiv,
    /// `a - floor(a / b) * b`; 0 when the divisor is 0.
    Mod,
    /// Smaller of the two.
    Min,
    /// Larger of the two.
    Max,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Atom {
    Sym(Sym),
    Func(Func, Arc<(Expr, Expr)>),
}

/// A normalized symbolic integer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Expr {
    /// Sorted by monomial, coefficients non-zero; the empty monomial is the constant term.
    terms: Vec<(Vec<Atom>, i64)>,
}

/// Inclusive bounds of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Least value.
    pub min: i64,
    /// Greatest value.
    pub max: i64,
}

impl From<i64> for Expr {
    fn from(value: i64) -> Self {
        let terms = if value == 0 { vec![] } else { vec![(vec![], value)] };
        Expr { terms }
    }
}

impl From<usize> for Expr {
    fn from(value: usize) -> Self {
        Expr::from(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<Sym> for Expr {
    fn from(sym: Sym) -> Self {
        Expr { terms: vec![(vec![Atom::Sym(sym)], 1)] }
    }
}

impl Expr {
    /// The constant 0.
    pub fn zero() -> Expr {
        Expr { terms: vec![] }
    }

    /// The constant 1.
    pub fn one() -> Expr {
        Expr::from(1i64)
    }

    /// The value when no symbol is involved.
    pub fn as_const(&self) -> Option<i64> {
        match self.terms.as_slice() {
            [] => Some(0),
            [(atoms, c)] if atoms.is_empty() => Some(*c),
            _ => None,
        }
    }

    /// Whether this is the constant `value`.
    pub fn is(&self, value: i64) -> bool {
        self.as_const() == Some(value)
    }

    /// Applies a non-polynomial function, folding constants and trivial cases.
    pub fn func(func: Func, a: &Expr, b: &Expr) -> Expr {
        if let (Some(x), Some(y)) = (a.as_const(), b.as_const()) {
            return Expr::from(apply(func, x, y));
        }
        match func {
            Func::FloorDiv if b.is(1) => return a.clone(),
            Func::FloorDiv => {
                if let Some(q) = a.exact_div(b) {
                    return q;
                }
            }
            Func::Mod => {
                if b.is(1) || a.exact_div(b).is_some() {
                    return Expr::zero();
                }
            }
            Func::Min | Func::Max if a == b => return a.clone(),
            Func::Min | Func::Max => {}
        }
        let args = if matches!(func, Func::Min | Func::Max) && b < a {
            (b.clone(), a.clone())
        } else {
            (a.clone(), b.clone())
        };
        Expr { terms: vec![(vec![Atom::Func(func, Arc::new(args))], 1)] }
    }

    /// The exact quotient when the divisor is one monomial that divides every term.
    pub fn exact_div(&self, divisor: &Expr) -> Option<Expr> {
        if self == divisor && !divisor.terms.is_empty() {
            return Some(Expr::one());
        }
        let [(d_atoms, d_coef)] = divisor.terms.as_slice() else {
            return None;
        };
        let mut terms = Vec::with_capacity(self.terms.len());
        for (atoms, coef) in &self.terms {
            if coef % d_coef != 0 {
                return None;
            }
            let mut rest = atoms.clone();
            for atom in d_atoms {
                let at = rest.iter().position(|a| a == atom)?;
                rest.remove(at);
            }
            terms.push((rest, coef / d_coef));
        }
        terms.sort();
        Some(Expr { terms })
    }

    /// Whether every value this can take is a multiple of `n` (sufficient test).
    pub fn divisible_by(&self, n: i64) -> bool {
        self.terms.iter().all(|(_, c)| c % n == 0)
    }

    /// Evaluates with `values[sym]`; arithmetic saturates. Does not allocate.
    pub fn eval(&self, values: &[i64]) -> i64 {
        let mut sum = 0i64;
        for (atoms, coef) in &self.terms {
            let mut product = *coef;
            for atom in atoms {
                let v = match atom {
                    Atom::Sym(s) => values.get(s.0 as usize).copied().unwrap_or(0),
                    Atom::Func(f, args) => apply(*f, args.0.eval(values), args.1.eval(values)),
                };
                product = product.saturating_mul(v);
            }
            sum = sum.saturating_add(product);
        }
        sum
    }

    /// Replaces symbols that `known` gives a value for.
    pub fn substitute(&self, known: &dyn Fn(Sym) -> Option<i64>) -> Expr {
        let mut sum = Expr::zero();
        for (atoms, coef) in &self.terms {
            let mut product = Expr::from(*coef);
            for atom in atoms {
                let factor = match atom {
                    Atom::Sym(s) => known(*s).map_or_else(|| Expr::from(*s), Expr::from),
                    Atom::Func(f, args) => {
                        Expr::func(*f, &args.0.substitute(known), &args.1.substitute(known))
                    }
                };
                product = &product * &factor;
            }
            sum = &sum + &product;
        }
        sum
    }

    /// Replaces a symbol by an expression.
    pub fn replace(&self, sym: Sym, with: &Expr) -> Expr {
        let mut sum = Expr::zero();
        for (atoms, coef) in &self.terms {
            let mut product = Expr::from(*coef);
            for atom in atoms {
                let factor = match atom {
                    Atom::Sym(s) if *s == sym => with.clone(),
                    Atom::Sym(s) => Expr::from(*s),
                    Atom::Func(f, args) => {
                        Expr::func(*f, &args.0.replace(sym, with), &args.1.replace(sym, with))
                    }
                };
                product = &product * &factor;
            }
            sum = &sum + &product;
        }
        sum
    }

    /// Interval bounds, given bounds of each symbol. Saturating; `None`-free by design.
    pub fn bounds(&self, of: &dyn Fn(Sym) -> Bounds) -> Bounds {
        let mut total = Bounds { min: 0, max: 0 };
        for (atoms, coef) in &self.terms {
            let mut b = Bounds { min: *coef, max: *coef };
            for atom in atoms {
                let x = match atom {
                    Atom::Sym(s) => of(*s),
                    Atom::Func(f, args) => func_bounds(*f, args.0.bounds(of), args.1.bounds(of)),
                };
                let products = [
                    b.min.saturating_mul(x.min),
                    b.min.saturating_mul(x.max),
                    b.max.saturating_mul(x.min),
                    b.max.saturating_mul(x.max),
                ];
                b.min = products.into_iter().min().unwrap_or(0);
                b.max = products.into_iter().max().unwrap_or(0);
            }
            total.min = total.min.saturating_add(b.min);
            total.max = total.max.saturating_add(b.max);
        }
        total
    }

    /// Calls `f` for every symbol in the expression.
    pub fn symbols(&self, f: &mut dyn FnMut(Sym)) {
        for (atoms, _) in &self.terms {
            for atom in atoms {
                match atom {
                    Atom::Sym(s) => f(*s),
                    Atom::Func(_, args) => {
                        args.0.symbols(f);
                        args.1.symbols(f);
                    }
                }
            }
        }
    }

    fn combine(a: &Expr, b: &Expr, sign: i64) -> Expr {
        let mut terms = Vec::with_capacity(a.terms.len() + b.terms.len());
        let (mut i, mut j) = (0, 0);
        while i < a.terms.len() || j < b.terms.len() {
            let order = match (a.terms.get(i), b.terms.get(j)) {
                (Some(x), Some(y)) => x.0.cmp(&y.0),
                (Some(_), None) => std::cmp::Ordering::Less,
                _ => std::cmp::Ordering::Greater,
            };
            match order {
                std::cmp::Ordering::Less => {
                    terms.push(a.terms[i].clone());
                    i += 1;
                }
                std::cmp::Ordering::Greater => {
                    terms.push((b.terms[j].0.clone(), b.terms[j].1.saturating_mul(sign)));
                    j += 1;
                }
                std::cmp::Ordering::Equal => {
                    let c = a.terms[i].1.saturating_add(b.terms[j].1.saturating_mul(sign));
                    if c != 0 {
                        terms.push((a.terms[i].0.clone(), c));
                    }
                    i += 1;
                    j += 1;
                }
            }
        }
        Expr { terms }
    }
}

fn apply(func: Func, a: i64, b: i64) -> i64 {
    match func {
        Func::FloorDiv if b == 0 => 0,
        Func::Mod if b == 0 => 0,
        Func::FloorDiv => a.wrapping_div_euclid(b) - i64::from(b < 0 && a.wrapping_rem_euclid(b) != 0),
        Func::Mod => a.wrapping_rem(b).wrapping_add(b).wrapping_rem(b),
        Func::Min => a.min(b),
        Func::Max => a.max(b),
    }
}

fn func_bounds(func: Func, a: Bounds, b: Bounds) -> Bounds {
    match func {
        Func::Min => Bounds { min: a.min.min(b.min), max: a.max.min(b.max) },
        Func::Max => Bounds { min: a.min.max(b.min), max: a.max.max(b.max) },
        Func::FloorDiv if b.min > 0 => {
            let c = [
                apply(func, a.min, b.min),
                apply(func, a.min, b.max),
                apply(func, a.max, b.min),
                apply(func, a.max, b.max),
            ];
            Bounds { min: c.into_iter().min().unwrap_or(0), max: c.into_iter().max().unwrap_or(0) }
        }
        Func::Mod if b.min > 0 => Bounds { min: 0, max: b.max.saturating_sub(1) },
        _ => Bounds { min: i64::MIN, max: i64::MAX },
    }
}

impl std::ops::Add for &Expr {
    type Output = Expr;
    fn add(self, other: &Expr) -> Expr {
        Expr::combine(self, other, 1)
    }
}

impl std::ops::Sub for &Expr {
    type Output = Expr;
    fn sub(self, other: &Expr) -> Expr {
        Expr::combine(self, other, -1)
    }
}

impl std::ops::Mul for &Expr {
    type Output = Expr;
    fn mul(self, other: &Expr) -> Expr {
        let mut sum = Expr::zero();
        for (xa, xc) in &self.terms {
            let mut terms: Vec<(Vec<Atom>, i64)> = other
                .terms
                .iter()
                .map(|(ya, yc)| {
                    let mut atoms = [xa.as_slice(), ya.as_slice()].concat();
                    atoms.sort();
                    (atoms, xc.saturating_mul(*yc))
                })
                .collect();
            terms.sort();
            sum = Expr::combine(&sum, &Expr { terms }, 1);
        }
        sum
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            return f.write_str("0");
        }
        for (i, (atoms, coef)) in self.terms.iter().enumerate() {
            if i > 0 {
                f.write_str("+")?;
            }
            if atoms.is_empty() || *coef != 1 {
                write!(f, "{coef}")?;
                if !atoms.is_empty() {
                    f.write_str("*")?;
                }
            }
            for (k, atom) in atoms.iter().enumerate() {
                if k > 0 {
                    f.write_str("*")?;
                }
                match atom {
                    Atom::Sym(s) => write!(f, "s{}", s.0)?,
                    Atom::Func(func, args) => write!(f, "{func:?}({}, {})", args.0, args.1)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_have_one_normal_form() {
        let (s, q) = (Expr::from(Sym(0)), Expr::from(Sym(1)));
        let a = &(&s + &q) * &(&s - &q);
        let b = &(&s * &s) - &(&q * &q);
        assert_eq!(a, b);
        assert_eq!(a.eval(&[7, 3]), 40);
        assert_eq!(&a - &b, Expr::zero());
    }

    #[test]
    fn division_is_exact_only_when_proven() {
        let s = Expr::from(Sym(0));
        let x = &s * &Expr::from(6i64);
        assert_eq!(Expr::func(Func::FloorDiv, &x, &Expr::from(3i64)), &s * &Expr::from(2i64));
        let d = Expr::func(Func::FloorDiv, &s, &Expr::from(4i64));
        assert_eq!(d.eval(&[-1]), -1);
        assert_eq!(d.eval(&[7]), 1);
        assert_eq!(Expr::func(Func::Mod, &s, &Expr::from(4i64)).eval(&[-1]), 3);
    }

    #[test]
    fn bounds_follow_symbols() {
        let s = Expr::from(Sym(0));
        let e = &(&s * &Expr::from(-2i64)) + &Expr::from(5i64);
        assert_eq!(e.bounds(&|_| Bounds { min: 1, max: 10 }), Bounds { min: -15, max: 3 });
    }
}
