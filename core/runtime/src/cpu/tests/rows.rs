use super::*;
use crate::step::{Norm, ReduceOp};

#[test]
fn norms() {
    for (n, wide) in [(37, false), (64, false), (5, true)] {
        let (x, g, b) = (random(6 * n, 1), random(n, 2), random(n, 3));
        let want = |center: bool| -> Vec<f32> {
            x.chunks(n)
                .flat_map(|row| {
                    let mean = if center { row.iter().sum::<f32>() / n as f32 } else { 0.0 };
                    let v = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / n as f32;
                    (0..n)
                        .map(|i| (row[i] - mean) / (v + 1e-3).sqrt() * g[i] + if center { b[i] } else { 0.0 })
                        .collect::<Vec<f32>>()
                })
                .collect()
        };
        let mut case = Case { wide, ..Case::default() };
        let (x, g, b) = (case.floats(&x), case.floats(&g), case.floats(&b));
        let row = |id| strided(id, 0, &[2, 3, n], &[0, 0, 1]);
        let rms = Kernel::Norm(Norm { center: false, eps: 1e-3 });
        let got = case.run_f32(rms, vec![view(x, &[2, 3, n]), row(g)], &[2, 3, n]);
        assert_close(&got, &want(false), 2e-6);
        let layer = Kernel::Norm(Norm { center: true, eps: 1e-3 });
        let got = case.run_f32(layer, vec![view(x, &[2, 3, n]), row(g), row(b)], &[2, 3, n]);
        assert_close(&got, &want(true), 2e-6);
    }
}

#[test]
fn softmax_of_rows() {
    for wide in [false, true] {
        let mut case = Case { wide, ..Case::default() };
        let mut values = random(100, 4);
        values[3] = f32::NEG_INFINITY;
        values[60] = f32::NAN;
        let x = case.floats(&values);
        let got = case.run_f32(Kernel::Softmax, vec![view(x, &[2, 50])], &[2, 50]);
        let total: f32 = values[..50].iter().map(|x| x.exp()).sum();
        let want: Vec<f32> = values[..50].iter().map(|x| x.exp() / total).collect();
        assert_close(&got[..50], &want, 1e-6);
        assert!(got[50..].iter().all(|x| x.is_nan()));
    }
}

fn reduce(op: ReduceOp, kind: Kind, words: &[u32], columns: usize) -> Vec<u32> {
    let rows = words.len() / columns;
    let mut case = Case::default();
    let x = case.words(kind, words.to_vec());
    case.run(Kernel::Reduce { op, axes: 1 }, vec![view(x, &[rows, columns])], &[rows], kind).unwrap()
}

#[test]
fn reductions_of_every_kind() {
    let floats: Vec<u32> = [1.0f32, -3.0, 2.0, 4.0, f32::NAN, 0.5].iter().map(|x| x.to_bits()).collect();
    let ints: Vec<u32> = [5, -7, 2, i32::MAX, 1, 1].iter().map(|&x: &i32| x as u32).collect();
    let float = |op| reduce(op, Kind::F32, &floats, 3).into_iter().map(f32::from_bits).collect::<Vec<_>>();
    for (op, want) in [
        (ReduceOp::Sum, 0.0),
        (ReduceOp::Mean, 0.0),
        (ReduceOp::Max, 2.0),
        (ReduceOp::Min, -3.0),
        (ReduceOp::Product, -6.0),
    ] {
        let got = float(op);
        assert!(got[0] == want && got[1].is_nan(), "{op:?}: {got:?}");
    }
    let int = |op| reduce(op, Kind::I32, &ints, 3).into_iter().map(|x| x as i32).collect::<Vec<_>>();
    assert_eq!(int(ReduceOp::Sum), [0, i32::MIN + 1]);
    assert_eq!(int(ReduceOp::Max), [5, i32::MAX]);
    assert_eq!(int(ReduceOp::Min), [-7, 1]);
    assert_eq!(int(ReduceOp::Product), [-70, i32::MAX]);
    assert_eq!(reduce(ReduceOp::Max, Kind::U32, &[1, u32::MAX], 2), [u32::MAX]);
    assert_eq!(reduce(ReduceOp::All, Kind::Bool, &[1, 1, 1, 0], 2), [1, 0]);
    assert_eq!(reduce(ReduceOp::Any, Kind::Bool, &[0, 0, 1, 0], 2), [0, 1]);
    assert_eq!(reduce(ReduceOp::Sum, Kind::F32, &[], 1), Vec::<u32>::new());
}

#[test]
fn strided_and_empty_reductions() {
    let x = random(5000, 3);
    for wide in [false, true] {
        let mut case = Case { wide, ..Case::default() };
        let id = case.floats(&x);
        let read = strided(id, 0, &[2, 50, 50], &[1, 2, 100]);
        let got = case.run_f32(Kernel::Reduce { op: ReduceOp::Mean, axes: 2 }, vec![read], &[2]);
        let want: Vec<f32> = (0..2).map(|c| x.iter().skip(c).step_by(2).sum::<f32>() / 2500.0).collect();
        assert_close(&got, &want, 1e-4);
        let none = view(id, &[2, 0]);
        assert_eq!(
            case.run_f32(Kernel::Reduce { op: ReduceOp::Sum, axes: 1 }, vec![none.clone()], &[2]),
            [0.0; 2]
        );
        let max = case.run_f32(Kernel::Reduce { op: ReduceOp::Max, axes: 1 }, vec![none], &[2]);
        assert_eq!(max, [f32::NEG_INFINITY; 2]);
    }
}

#[test]
fn scans_in_both_directions() {
    let scan = |op, reverse, values: &[f32]| {
        let mut case = Case::default();
        let x = case.floats(values);
        case.run_f32(Kernel::Scan { op, reverse }, vec![view(x, &[1, values.len()])], &[1, values.len()])
    };
    assert_eq!(scan(ReduceOp::Sum, false, &[1.0, 2.0, 3.0]), [1.0, 3.0, 6.0]);
    assert_eq!(scan(ReduceOp::Sum, true, &[1.0, 2.0, 3.0]), [6.0, 5.0, 3.0]);
    assert_eq!(scan(ReduceOp::Product, false, &[2.0, 3.0, 4.0]), [2.0, 6.0, 24.0]);
    assert_eq!(scan(ReduceOp::Max, false, &[1.0, f32::NAN, 0.5, 2.0]), [1.0, 1.0, 1.0, 2.0]);
    assert_eq!(scan(ReduceOp::Min, true, &[3.0, f32::NAN, 5.0]), [3.0, 5.0, 5.0]);
    let mut case = Case::default();
    let x = case.ints(&[i32::MAX, 1]);
    let got =
        case.run(Kernel::Scan { op: ReduceOp::Sum, reverse: false }, vec![view(x, &[2])], &[2], Kind::I32);
    assert_eq!(got.unwrap(), [i32::MAX as u32, i32::MIN as u32]);
}

#[test]
fn argmax_ignores_nan_and_takes_the_first() {
    let argmax = |values: &[f32]| {
        let mut case = Case::default();
        let x = case.floats(values);
        case.run(Kernel::ArgMax, vec![view(x, &[1, values.len()])], &[1], Kind::U32).unwrap()[0]
    };
    assert_eq!(argmax(&[1.0, f32::NAN, 3.0]), 2);
    assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
    assert_eq!(argmax(&[f32::NEG_INFINITY; 3]), 0);
    let mut case = Case::default();
    let x = case.ints(&[-5, -2, -9, 4, 4, 1]);
    let turned = strided(x, 0, &[3, 2], &[1, 3]);
    assert_eq!(case.run(Kernel::ArgMax, vec![turned], &[3], Kind::U32).unwrap(), [1, 1, 1]);
}

#[test]
fn rotary_embeddings() {
    let (b, h, t, d, rotated) = (2, 3, 4, 10, 8);
    let half = rotated / 2;
    let x = random(b * h * t * d, 1);
    let positions: Vec<i32> = (0..b * t).map(|i| (i * 5) as i32).collect();
    let frequencies: Vec<f32> = (0..half).map(|i| 0.5f32.powi(i as i32)).collect();
    for interleaved in [false, true] {
        for wide in [false, true] {
            let mut want = x.clone();
            let (mut cos, mut sin) = (vec![], vec![]);
            for line in 0..b * h * t {
                let position = positions[line / (h * t) * t + line % t] as f32;
                for (i, frequency) in frequencies.iter().enumerate() {
                    let (s, c) = (position * frequency).sin_cos();
                    let (p, q) = if interleaved { (2 * i, 2 * i + 1) } else { (i, i + half) };
                    let (a, b) = (x[line * d + p], x[line * d + q]);
                    want[line * d + p] = a * c - b * s;
                    want[line * d + q] = b * c + a * s;
                    cos.push(c);
                    sin.push(s);
                }
            }
            let mut case = Case { wide, ..Case::default() };
            let (x, p, f) = (case.floats(&x), case.ints(&positions), case.floats(&frequencies));
            let rope = |tables| Kernel::Rope { rotated, interleaved, tables };
            let dims = [b, h, t, d];
            let shared = strided(p, 0, &[b, h, t], &[t as i64, 0, 1]);
            let got = case.run_f32(rope(false), vec![view(x, &dims), shared, view(f, &[half])], &dims);
            assert_close(&got, &want, 1e-6);
            let (cos, sin) = (case.floats(&cos), case.floats(&sin));
            let tables = [b, h, t, half];
            let got =
                case.run_f32(rope(true), vec![view(x, &dims), view(cos, &tables), view(sin, &tables)], &dims);
            assert_close(&got, &want, 1e-6);
        }
    }
}

#[test]
fn reductions_across_a_contiguous_kept_axis() {
    let (a, r, q, n) = (2, 5, 3, 1100);
    let x = random(a * r * q * n, 7);
    let mut case = Case::default();
    let id = case.floats(&x);
    // [a, n] kept of [a, r, q, n].
    let read = strided(id, 0, &[a, n, r, q], &[(r * q * n) as i64, 1, (q * n) as i64, n as i64]);
    for op in [ReduceOp::Sum, ReduceOp::Mean, ReduceOp::Max, ReduceOp::Min, ReduceOp::Product] {
        let want: Vec<f32> = (0..a * n)
            .map(|i| {
                let values = (0..r * q).map(|j| x[(i / n * r * q + j) * n + i % n]);
                match op {
                    ReduceOp::Sum => values.sum(),
                    ReduceOp::Mean => values.sum::<f32>() / (r * q) as f32,
                    ReduceOp::Max => values.fold(f32::NEG_INFINITY, f32::max),
                    ReduceOp::Min => values.fold(f32::INFINITY, f32::min),
                    _ => values.product(),
                }
            })
            .collect();
        let got = case.run_f32(Kernel::Reduce { op, axes: 2 }, vec![read.clone()], &[a, n]);
        assert_close(&got, &want, 1e-6);
    }
}
