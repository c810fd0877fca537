//! Compressed weights: blocks with scales, palettes, sparse masks.
//!
//! Weights that are constant become packed codes where kernels dequantize them on load, and are
//! otherwise expanded once, in the storage of their declared dtype. So do a palette's indices whose
//! entries are scaled by block: the table becomes what the codes mean, and most tables only count from
//! a number. A parameter that is one number is one, whatever shape it is declared in. Operands that are
//! computed are dequantized by elementwise expressions and gathers.

mod activation;
mod palette;
mod shift_scale;

use super::{Fault, Op};
use crate::expr::Expr;
use crate::facts::{Assumptions, Fact};
use crate::step::View;

/// The family's ops.
pub static OPS: &[&dyn Op] =
    &[&shift_scale::ShiftScale, &activation::Quantize, &activation::Dequantize, &palette::LutToDense];

/// Types of codes.
#[cfg(test)]
const CODES: &[coreai_asset::ElementType] = {
    use coreai_asset::ElementType::*;
    &[SI8, SI8, UI8, SI4, UI4, UI2, F8E4M3FN]
};

/// Extents of data, and of parameters with one element per block of it.
#[cfg(test)]
fn blocked(d: &mut super::cases::Draw) -> (Vec<usize>, Vec<usize>) {
    let (mut dims, mut blocks) = (vec![], vec![]);
    for _ in 0..1 + d.rng.below(3) {
        let (n, block) = (1 + d.rng.below(5), d.rng.pick(&[1, 2, 4, 8]));
        dims.push(n * block);
        blocks.push(if d.rng.once_in(3) { 1 } else { n });
    }
    (dims, blocks)
}

fn extents(fact: &Fact) -> Result<Vec<u64>, Fault> {
    let dims = fact.dims.iter().map(|d| d.as_const().and_then(|d| u64::try_from(d).ok()));
    dims.collect::<Option<_>>().ok_or_else(|| Fault::unsupported("compressed data of dynamic extents"))
}

/// Product of constant extents.
fn count(dims: &[u64]) -> u64 {
    dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).unwrap_or(u64::MAX)
}

/// How a parameter with one element per block lies over the axes of the data.
#[derive(Clone, Debug, PartialEq)]
enum Axis {
    /// One element for the whole axis.
    One,
    /// One for each element.
    Each,
    /// This many, each for a block.
    Blocks(Expr),
}

/// Relates the extents of a parameter to those of the data. A parameter without axes is one block.
fn axes(shapes: &mut Assumptions, data: &[Expr], parameter: &[Expr]) -> Result<Vec<Axis>, Fault> {
    if parameter.is_empty() {
        return Ok(vec![Axis::One; data.len()]);
    }
    let refuse =
        || Fault::program(format!("parameters {parameter:?} do not divide data {data:?} into blocks"));
    if parameter.len() != data.len() {
        return Err(refuse());
    }
    data.iter()
        .zip(parameter)
        .map(|(d, p)| match (d.as_const(), p.as_const()) {
            _ if p.is(1) => Ok(Axis::One),
            _ if shapes.same(d, p) => Ok(Axis::Each),
            (Some(d), Some(n)) if n > 0 && d % n == 0 => Ok(Axis::Blocks(p.clone())),
            (None, Some(n)) if n > 0 && d.divisible_by(n) => Ok(Axis::Blocks(p.clone())),
            _ if shapes.unify(d, p, &|| format!("extents {d} and {p} of data and scale")) => Ok(Axis::Each),
            _ => Err(refuse()),
        })
        .collect()
}

/// Joins what two parameters ask of the data's axes: the numbers of blocks must agree.
fn join(a: Vec<Axis>, b: Vec<Axis>) -> Result<Vec<Axis>, Fault> {
    a.into_iter()
        .zip(b)
        .map(|(a, b)| match (a, b) {
            (Axis::Blocks(n), Axis::Blocks(m)) if n != m => {
                Err(Fault::unsupported(format!("parameters with {n} and {m} blocks along one axis")))
            }
            (Axis::Blocks(n), _) | (_, Axis::Blocks(n)) => Ok(Axis::Blocks(n)),
            (a, _) => Ok(a),
        })
        .collect()
}

/// The data's extents with every axis that is cut into blocks as two: blocks and elements of a block.
fn split(dims: &[Expr], cuts: &[Axis]) -> Vec<Expr> {
    let mut out = vec![];
    for (d, cut) in dims.iter().zip(cuts) {
        match cut {
            Axis::Blocks(n) => {
                out.push(n.clone());
                out.push(Expr::func(crate::expr::Func::FloorDiv, d, n));
            }
            _ => out.push(d.clone()),
        }
    }
    out
}

/// A parameter seen with the extents that [`split`] gives to the data. `trailing` axes of the view come
/// after those of the data and stay.
fn spread(view: &View, own: &[Axis], cuts: &[Axis], data: &[Expr], trailing: usize) -> View {
    let rank = view.dims.len() - trailing;
    let stride = |i: usize| if rank == 0 { Expr::zero() } else { view.strides[i].clone() };
    let mut dims = split(data, cuts);
    let mut strides = vec![];
    for (i, cut) in cuts.iter().enumerate() {
        let step = match own[i] {
            Axis::One => Expr::zero(),
            _ => stride(i),
        };
        if let Axis::Blocks(n) = cut {
            let length = Expr::func(crate::expr::Func::FloorDiv, &data[i], n);
            if own[i] == Axis::Each {
                strides.push(&step * &length);
                strides.push(step);
            } else {
                strides.push(step);
                strides.push(Expr::zero());
            }
        } else {
            strides.push(step);
        }
    }
    dims.extend_from_slice(&view.dims[rank..]);
    strides.extend_from_slice(&view.strides[rank..]);
    View { buffer: view.buffer, offset: view.offset.clone(), dims, strides }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::BufferId;

    fn dims(d: &[i64]) -> Vec<Expr> {
        d.iter().map(|d| Expr::from(*d)).collect()
    }

    #[test]
    fn a_parameter_is_spread_over_blocks() {
        let mut shapes = Assumptions::default();
        let data = dims(&[4, 6]);
        let own = axes(&mut shapes, &data, &dims(&[1, 3])).expect("3 blocks of 2");
        assert_eq!(own, [Axis::One, Axis::Blocks(Expr::from(3i64))]);
        let seen = spread(&View::whole(BufferId(0), dims(&[1, 3])), &own, &own, &data, 0);
        assert_eq!((seen.dims, seen.strides), (dims(&[4, 3, 2]), dims(&[0, 1, 0])));
        let each = axes(&mut shapes, &data, &data).expect("one for each");
        let seen = spread(&View::whole(BufferId(0), data.clone()), &each, &own, &data, 0);
        assert_eq!((seen.dims, seen.strides), (dims(&[4, 3, 2]), dims(&[6, 2, 1])));
        assert!(axes(&mut shapes, &data, &dims(&[3, 1])).is_err(), "3 does not divide 4");
    }
}
