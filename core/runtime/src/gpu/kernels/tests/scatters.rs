use super::*;
use crate::error::Error;
use crate::expr::Expr;
use crate::step::ScatterMode;
use crate::step::{Kernel, Kind, Round};

const MODES: [ScatterMode; 7] = [
    ScatterMode::Update,
    ScatterMode::Add,
    ScatterMode::Sub,
    ScatterMode::Mul,
    ScatterMode::Div,
    ScatterMode::Max,
    ScatterMode::Min,
];

/// Indices within `extent`, every third one negative.
fn indices(b: &mut Bench, count: usize, extent: u32) -> Vec<u32> {
    (0..count)
        .map(|i| {
            let at = b.rng.below(extent);
            if i % 3 == 0 { at.wrapping_sub(extent) } else { at }
        })
        .collect()
}

#[test]
fn along_an_axis() {
    for mode in MODES {
        for kind in [Kind::F32, Kind::I32, Kind::U32, Kind::Bool] {
            // Few and many updates of a line; a line longer than one tile.
            for (dims, axis, updated) in [
                ([3i64, 7, 2], 1usize, 9i64),
                ([2, 5, 3], 2, 70),
                ([2, 300, 2], 1, 513),
                ([600, 1, 1], 0, 40),
            ] {
                let mut b = Bench::new(370);
                let x = b.input(kind, &fixed(&dims));
                let mut index_dims = dims;
                index_dims[axis] = updated;
                let count = index_dims.iter().product::<i64>() as usize;
                let index = indices(&mut b, count, dims[axis] as u32);
                // The index lies transposed.
                let index =
                    b.input_of(Kind::I32, &fixed(&[index_dims[2], index_dims[0], index_dims[1]]), index);
                let updates = b.input(kind, &fixed(&index_dims));
                if kind == Kind::F32 {
                    let last = b.inputs.len() - 1;
                    b.inputs[last][1] = f32::NAN.to_bits();
                    b.inputs[0][2] = f32::NAN.to_bits();
                }
                let out = b.output(kind, &fixed(&dims));
                let kernel = Kernel::ScatterAlong { axis, mode };
                b.step(kernel, vec![x, index.permute(&[1, 2, 0]), updates], out, Round::None);
                let name = format!("{mode:?} {kind:?} {dims:?} along {axis} by {updated}");
                let used = b.compare_on(&name, dims.iter().product::<i64>() < 1000 && count < 1000);
                assert_eq!(used, [if updated > 32 { "scatter_along_tiles" } else { "scatter_along" }]);
            }
        }
    }
}

#[test]
fn many_dimensions() {
    let mut b = Bench::new(380);
    let n = b.symbol(0, 50, 29);
    let x = b.input(Kind::F32, &fixed(&[4, 3, 5])).permute(&[1, 0, 2]);
    let index: Vec<u32> = (0..29).flat_map(|_| [indices(&mut b, 1, 3)[0], b.rng.below(4)]).collect();
    let index = b.input_of(Kind::I32, &[n.clone(), Expr::from(2i64)], index);
    let updates = b.input(Kind::F32, &[n, Expr::from(5i64)]);
    let out = b.output(Kind::F32, &fixed(&[3, 4, 5]));
    b.step(Kernel::ScatterNd, vec![x, index, updates], out, Round::None);
    assert_eq!(b.compare("rows at two axes"), ["scatter_clear", "scatter_winners", "scatter_values"]);

    let mut b = Bench::new(381);
    let x = b.input(Kind::Bool, &fixed(&[6]));
    let index = indices(&mut b, 10, 6);
    let index = b.input_of(Kind::I32, &fixed(&[5, 2, 1]), index);
    let updates = b.input(Kind::Bool, &fixed(&[2, 5])).permute(&[1, 0]);
    let out = b.output(Kind::Bool, &fixed(&[6]));
    b.step(Kernel::ScatterNd, vec![x, index, updates], out, Round::None);
    b.compare("elements by a matrix of indices");
}

#[test]
fn indices_out_of_range() {
    for (kernel, updated) in [
        (Kernel::ScatterNd, vec![2i64, 4]),
        (Kernel::ScatterAlong { axis: 0, mode: ScatterMode::Add }, vec![2, 1]),
        (Kernel::ScatterAlong { axis: 0, mode: ScatterMode::Add }, vec![70, 1]),
    ] {
        let mut b = Bench::new(390);
        let along = kernel != Kernel::ScatterNd;
        let x = b.input(Kind::F32, &fixed(&[3, if along { 1 } else { 4 }]));
        let mut index = vec![1; updated[0] as usize];
        index[1] = (-4i32) as u32;
        let index = b.input_of(Kind::I32, &fixed(&[updated[0], 1]), index);
        let updates = b.input(Kind::F32, &fixed(&updated));
        let out = b.output(Kind::F32, &fixed(&[3, if along { 1 } else { 4 }]));
        b.step(kernel, vec![x, index, updates], out, Round::None);
        match b.failure() {
            None | Some(Error::IndexOutOfRange { index: -4, extent: 3, .. }) => {}
            Some(other) => panic!("{other}"),
        }
    }
}
