use super::*;
use crate::error::Error;
use crate::expr::Expr;
use crate::step::{Kernel, Kind, Meaning, PadMode, QuantFormat, Round, Storage};
use coreai_asset::ElementType;

#[test]
fn rotary_embedding() {
    for interleaved in [false, true] {
        for tables in [false, true] {
            for rotated in [8usize, 6] {
                let mut b = Bench::new(200);
                b.tolerance = 4e-6;
                let t = b.symbol(1, 9, 5);
                let dims = [Expr::from(2i64), Expr::from(3i64), t.clone(), Expr::from(8i64)];
                let x = b.input(Kind::F32, &[dims[0].clone(), t.clone(), dims[1].clone(), dims[3].clone()]);
                let x = x.permute(&[0, 2, 1, 3]);
                let half = Expr::from(rotated / 2);
                let all = [dims[0].clone(), dims[1].clone(), t.clone(), half.clone()];
                let mut reads = vec![x];
                if tables {
                    for _ in 0..2 {
                        reads.push(b.input(Kind::F32, &[t.clone(), half.clone()]).broadcast(&all));
                    }
                } else {
                    let positions = vec![0, 8191, 77, 4000, 3];
                    reads.push(
                        b.input_of(Kind::I32, std::slice::from_ref(&t), positions).broadcast(&all[..3]),
                    );
                    let frequencies =
                        (0..rotated / 2).map(|i| 10000f32.powf(-(i as f32) / 4.0).to_bits()).collect();
                    reads.push(b.input_of(Kind::F32, &[half], frequencies));
                }
                let out = b.output(Kind::F32, &dims);
                b.step(Kernel::Rope { rotated, interleaved, tables }, reads, out, Round::None);
                b.compare(&format!("rope {interleaved} {tables} {rotated}"));
            }
        }
    }
}

#[test]
fn gathers() {
    let format = QuantFormat {
        code: ElementType::SI4,
        meaning: Meaning::Plain,
        dims: vec![300, 64],
        blocks: vec![1, 32],
        scale: ElementType::F16,
        zero: false,
        min: false,
    };
    for compressed in [true, false] {
        let mut b = Bench::new(210);
        let q = b.symbol(1, 10, 6);
        let table = match compressed {
            true => b.quant(format.clone()),
            false => b.weight(Kind::F32, Storage::F16, &[300, 64]),
        };
        let rows = vec![0, 299, (-1i32) as u32, (-300i32) as u32, 150, 33];
        let index = b.input_of(Kind::I32, &[Expr::one(), q.clone(), Expr::one()], rows);
        let out = b.output(Kind::F32, &[Expr::one(), q, Expr::from(64i64)]);
        b.step(Kernel::GatherNd, vec![table, index], out, Round::None);
        b.compare("rows of a table");
    }
    let mut b = Bench::new(211);
    let x = b.input(Kind::I32, &fixed(&[4, 5, 3])).permute(&[1, 0, 2]);
    let index: Vec<u32> = (0..12).map(|_| b.rng.below(4)).collect();
    let index = b.input_of(Kind::I32, &fixed(&[3, 2, 2]), index);
    let out = b.output(Kind::I32, &fixed(&[3, 2, 3]));
    b.step(Kernel::GatherNd, vec![x, index], out, Round::None);
    b.compare("two axes");
    let mut b = Bench::new(212);
    let x = b.input(Kind::F32, &fixed(&[4, 5, 3]));
    let index: Vec<u32> = (0..24)
        .map(|i| if i % 2 == 0 { b.rng.below(5) } else { (-1 - b.rng.below(5) as i32) as u32 })
        .collect();
    let index = b.input_of(Kind::I32, &fixed(&[4, 2, 3]), index);
    let out = b.output(Kind::F32, &fixed(&[4, 2, 3]));
    b.step(Kernel::GatherAlong { axis: 1 }, vec![x, index], out, Round::None);
    b.compare("along an axis");
    for along in [false, true] {
        let mut b = Bench::new(213);
        let x = b.input(Kind::F32, &fixed(&[3, 4]));
        let index = b.input_of(Kind::I32, &fixed(&[2, 1]), vec![1, (-4i32) as u32]);
        let kernel = if along { Kernel::GatherAlong { axis: 0 } } else { Kernel::GatherNd };
        let out = b.output(Kind::F32, &fixed(&[2, if along { 1 } else { 4 }]));
        b.step(kernel, vec![x, index], out, Round::None);
        match b.failure() {
            None => {}
            Some(Error::IndexOutOfRange { index: -4, extent: 3, .. }) => {}
            Some(other) => panic!("{other}"),
        }
    }
}

#[test]
fn padding() {
    use PadMode::*;
    for mode in [Circular, Constant, Reflect, Replicate, Symmetric] {
        for kind in [Kind::F32, Kind::I32, Kind::U32, Kind::Bool] {
            let mut b = Bench::new(220);
            let s = b.symbol(3, 9, 5);
            let x = b.input(kind, &[s.clone(), Expr::from(2i64), Expr::from(4i64)]).permute(&[1, 0, 2]);
            let dims = [Expr::from(2i64), &s + &Expr::from(4i64), Expr::from(7i64)];
            let before = fixed(&[0, 2, 1]);
            let out = b.output(kind, &dims);
            let value = match kind {
                Kind::F32 => f32::NEG_INFINITY.to_bits(),
                Kind::Bool => 1,
                _ => 9,
            };
            b.step(Kernel::Pad { mode, before, value }, vec![x], out, Round::None);
            b.compare(&format!("{mode:?} {kind:?}"));
        }
    }
}
