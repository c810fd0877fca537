use super::*;
use crate::expr::Expr;
use crate::step::{Kernel, Kind, Norm, ReduceOp, Round, Storage, View};

#[test]
fn norms_and_softmax() {
    for n in [5i64, 64, 300] {
        for center in [false, true] {
            let mut b = Bench::new(100);
            b.tolerance = 4e-6;
            let rows = b.symbol(1, 30, 11);
            let dims = [Expr::from(2i64), rows.clone(), Expr::from(n)];
            let x = b.input(Kind::F32, &[rows, Expr::from(2i64), Expr::from(n)]).permute(&[1, 0, 2]);
            let mut reads = vec![x, b.weight(Kind::F32, Storage::F16, &[n]).broadcast(&dims)];
            if center {
                reads.push(b.weight(Kind::F32, Storage::BF16, &[n]).broadcast(&dims));
            }
            let out = b.output(Kind::F32, &dims);
            b.step(Kernel::Norm(Norm { center, eps: 1e-5 }), reads, out, Round::None);
            b.compare_on("norm", n < 10);
        }
        let mut b = Bench::new(101);
        let x = b.input(Kind::F32, &fixed(&[7, n]));
        let x = x.permute(&[1, 0]);
        let out = b.output(Kind::F32, &fixed(&[n, 7]));
        b.step(Kernel::Softmax, vec![x], out, Round::None);
        b.compare_on("softmax of columns", n < 100);
        let mut b = Bench::new(102);
        let x = b.input(Kind::F32, &fixed(&[4, n]));
        let words = &mut b.inputs[0];
        words[0] = f32::NEG_INFINITY.to_bits();
        words[n as usize] = f32::NAN.to_bits();
        words[2 * n as usize..3 * n as usize].fill(f32::NEG_INFINITY.to_bits());
        words[3 * n as usize..].fill(f32::MIN.to_bits());
        let out = b.output(Kind::F32, &fixed(&[4, n]));
        b.step(Kernel::Softmax, vec![x], out, Round::None);
        b.compare("softmax of special values");
    }
}

#[test]
fn reductions() {
    use ReduceOp::*;
    for op in [Sum, Mean, Max, Min, Product, All, Any] {
        for kind in [Kind::F32, Kind::I32, Kind::U32, Kind::Bool] {
            let logical = matches!(op, All | Any);
            if logical != (kind == Kind::Bool) || (op == Mean && kind != Kind::F32) {
                continue;
            }
            for (inner, n) in [(3i64, 4i64), (5, 60)] {
                let mut b = Bench::new(110);
                b.tolerance = 4e-6;
                let s = b.symbol(1, n, n);
                // [kept, kept | reduced, reduced] out of order.
                let x = b.input(kind, &[Expr::from(inner), Expr::from(4i64), s, Expr::from(2i64)]);
                let x = x.permute(&[3, 1, 0, 2]);
                let out = b.output(kind, &fixed(&[2, 4]));
                b.step(Kernel::Reduce { op, axes: 2 }, vec![x], out, Round::None);
                b.compare_on(&format!("{op:?} {kind:?} {n}"), n < 10);
            }
        }
    }
    for op in [Max, Min, Sum] {
        let mut b = Bench::new(111);
        let x = b.input(Kind::F32, &fixed(&[3, 50]));
        b.inputs[0][20] = f32::NAN.to_bits();
        b.inputs[0][70] = f32::INFINITY.to_bits();
        b.inputs[0][120] = f32::NEG_INFINITY.to_bits();
        let out = b.output(Kind::F32, &fixed(&[3]));
        b.step(Kernel::Reduce { op, axes: 1 }, vec![x], out, Round::None);
        b.compare("special values");
    }
}

#[test]
fn scans_sorts_and_argmax() {
    use ReduceOp::*;
    for n in [1i64, 60, 200] {
        for op in [Sum, Product, Max, Min] {
            for reverse in [false, true] {
                for kind in [Kind::F32, Kind::I32, Kind::U32] {
                    let mut b = Bench::new(120);
                    b.tolerance = 1e-5;
                    let x = b.input(kind, &fixed(&[n, 3])).permute(&[1, 0]);
                    if matches!(op, Max | Min) && kind == Kind::F32 {
                        b.inputs[0][1] = f32::NAN.to_bits();
                    }
                    let out = b.output(kind, &fixed(&[3, n]));
                    b.step(Kernel::Scan { op, reverse }, vec![x], out, Round::None);
                    b.compare(&format!("scan {op:?} {kind:?} {reverse} {n}"));
                }
            }
        }
        for descending in [false, true] {
            for indices in [false, true] {
                for kind in [Kind::F32, Kind::I32, Kind::U32] {
                    let mut b = Bench::new(121);
                    let x = b.input(kind, &fixed(&[3, n]));
                    if kind == Kind::F32 && n > 8 {
                        // Ties, both zeros and NaN.
                        for (i, v) in
                            [0.0, -0.0, f32::NAN, 0.5, 0.5, f32::INFINITY, f32::NAN].into_iter().enumerate()
                        {
                            b.inputs[0][i + 3] = f32::to_bits(v);
                        }
                    }
                    let out = b.output(if indices { Kind::I32 } else { kind }, &fixed(&[3, n]));
                    b.step(Kernel::Sort { descending, indices }, vec![x], out, Round::None);
                    b.compare(&format!("sort {kind:?} descending {descending} indices {indices} {n}"));
                }
            }
        }
        for kind in [Kind::F32, Kind::I32, Kind::U32] {
            let mut b = Bench::new(122);
            let x = b.input(kind, &fixed(&[4, n]));
            if kind == Kind::F32 {
                b.inputs[0][0] = f32::NAN.to_bits();
                b.inputs[0][n as usize..2 * n as usize].fill(f32::NEG_INFINITY.to_bits());
                b.inputs[0][2 * n as usize..3 * n as usize].fill(f32::NAN.to_bits());
            }
            let out = b.output(Kind::U32, &fixed(&[4]));
            b.step(Kernel::ArgMax, vec![x], out, Round::None);
            b.compare(&format!("argmax {kind:?} {n}"));
        }
    }
}

#[test]
fn attention() {
    struct Shape {
        t: i64,
        s: i64,
        d: i64,
        dv: i64,
    }
    let shapes = [
        Shape { t: 1, s: 1, d: 64, dv: 64 },
        Shape { t: 1, s: 300, d: 64, dv: 64 },
        Shape { t: 5, s: 140, d: 16, dv: 24 },
        Shape { t: 3, s: 40, d: 7, dv: 200 },
        Shape { t: 4, s: 4, d: 256, dv: 256 },
    ];
    for Shape { t, s, d, dv } in shapes {
        for storage in [Storage::Word, Storage::F16] {
            for (causal, window, mask, sinks) in [
                (false, 0, None, false),
                (true, 0, None, true),
                (true, 30, None, false),
                (false, 0, Some(Kind::F32), true),
                (true, 0, Some(Kind::Bool), false),
            ] {
                let mut b = Bench::new(130);
                b.tolerance = 5e-6;
                let keys = b.symbol(1, s + 20, s);
                let queries = b.symbol(1, t, t);
                let (hq, layer) = (Expr::from(6i64), Expr::one());
                let two = Expr::from(2i64);
                let q = b.input(Kind::F32, &[two.clone(), queries.clone(), hq.clone(), Expr::from(d)]);
                let q = q.permute(&[0, 2, 1, 3]);
                // (layer, b, h, capacity, d), seen up to the keys there are.
                let mut cache = |d: i64| {
                    let state = b.state(storage.clone(), &fixed(&[2, 2, 2, s + 20, d]));
                    let one = state.slice(0, &layer, &Expr::one(), 1).slice(3, &Expr::zero(), &keys, 1);
                    View { dims: one.dims[1..].to_vec(), strides: one.strides[1..].to_vec(), ..one }
                };
                let (k, v) = (cache(d), cache(dv));
                let mut reads = vec![q, k, v];
                let full = [two.clone(), hq.clone(), queries.clone(), keys.clone()];
                if let Some(kind) = mask {
                    let m = b.input(kind, &[queries.clone(), keys.clone()]);
                    if kind == Kind::F32 && s > 3 {
                        b.inputs.last_mut().unwrap()[2] = f32::NEG_INFINITY.to_bits();
                    }
                    if kind == Kind::Bool {
                        // The first query sees no key.
                        let words = b.inputs.last_mut().unwrap();
                        words[..s as usize].fill(0);
                    }
                    reads.push(m.broadcast(&full));
                }
                if sinks {
                    reads.push(b.input(Kind::F32, std::slice::from_ref(&hq)));
                }
                let out = b.output(Kind::F32, &[two, hq, queries, Expr::from(dv)]);
                // Small, so that the sums of a row that sees nothing are not coarse.
                let hidden = -32.0;
                let kernel =
                    Kernel::Attention { scale: 0.3, causal, window, mask: mask.is_some(), hidden, sinks };
                b.step(kernel, reads, out, Round::None);
                let what = format!(
                    "t {t} s {s} d {d} dv {dv} {storage:?} causal {causal} window {window} mask {mask:?}"
                );
                b.compare_on(&what, false);
            }
        }
    }
}

/// Longer than one workgroup sorts; ties and NaN across its tiles.
#[test]
fn long_sorts() {
    for (kind, descending, indices) in [
        (Kind::F32, false, true),
        (Kind::F32, true, false),
        (Kind::I32, true, true),
        (Kind::U32, false, false),
    ] {
        let mut b = Bench::new(130);
        let n = b.symbol(1, 9000, 8500);
        let x = b.input(kind, &[n.clone(), Expr::from(2i64)]).permute(&[1, 0]);
        if kind == Kind::F32 {
            for at in (0..17000).step_by(37) {
                b.inputs[0][at] = f32::NAN.to_bits();
            }
        }
        let out = b.output(if indices { Kind::I32 } else { kind }, &[Expr::from(2i64), n]);
        b.step(Kernel::Sort { descending, indices }, vec![x], out, Round::None);
        let used = b.compare_on(&format!("long sort {kind:?} descending {descending}"), false);
        // Blocks of 2048, 4096, 8192 and 16384.
        assert_eq!(used.len(), 1 + 2 + 3 + 4 + 5 + usize::from(!indices), "{used:?}");
    }
}
