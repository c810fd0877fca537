use super::*;
use crate::map::{Instr, MapFn, MapOp, MapProg};
use crate::step::Norm;

fn plain() -> Kernel {
    Kernel::MatMul { weights: 1, norm: None, epilogue: None }
}

/// `[m, k] · [n, k]ᵀ` in f64.
fn product(a: &[f32], w: &[f32], m: usize, n: usize, k: usize) -> Vec<f32> {
    let mut out = vec![];
    for i in 0..m {
        for j in 0..n {
            let sum: f64 = (0..k).map(|p| f64::from(a[i * k + p]) * f64::from(w[j * k + p])).sum();
            out.push(sum as f32);
        }
    }
    out
}

/// View of `[n, k]` data as `[k, n]`.
fn turned(buffer: BufferId, k: usize, n: usize) -> View {
    strided(buffer, 0, &[k, n], &[1, k as i64])
}

#[test]
fn plain_weights_in_every_storage() {
    for element in [ElementType::F32, ElementType::F16, ElementType::BF16] {
        for (m, n, k) in
            [(1, 50, 70), (3, 33, 64), (9, 50, 70), (40, 70, 33), (5, 3, 1), (130, 65, 16), (2, 2, 0)]
        {
            let (a, w) = (random(m * k, 1), random(n * k, 2));
            let w: Vec<f32> = w.iter().map(|&x| encode_one(x, element)).collect();
            let want = product(&a, &w, m, n, k);
            let mut case = Case::default();
            let (x, weight) = (case.floats(&a), case.constant(&w, element));
            let got = case.run_f32(plain(), vec![view(x, &[m, k]), turned(weight, k, n)], &[m, n]);
            assert_close(&got, &want, 1e-6);
            // The same weight stored [k, n], A read through a transposed view.
            let across: Vec<f32> = (0..k * n).map(|i| w[i % n * k + i / n]).collect();
            let down: Vec<f32> = (0..k * m).map(|i| a[i % m * k + i / m]).collect();
            let mut case = Case::default();
            let (x, weight) = (case.floats(&down), case.constant(&across, element));
            let reads = vec![strided(x, 0, &[m, k], &[1, m as i64]), view(weight, &[k, n])];
            assert_close(&case.run_f32(plain(), reads, &[m, n]), &want, 1e-6);
        }
    }
}

#[test]
fn compressed_weights() {
    let base = Scheme {
        code: ElementType::SI4,
        meaning: &Meaning::Plain,
        bits: 4,
        dims: &[],
        blocks: &[],
        scale: ElementType::F16,
        zero: false,
        min: false,
        unpacked: false,
        splat_scale: false,
        splat_min: false,
    };
    use ElementType as E;
    let (n, k) = (45, 576);
    let less = |zero| Meaning::Less(zero);
    let curve: Meaning = Meaning::Table((0..16).map(|i: i16| i * i - 101).collect());
    let octave = Meaning::Table((0..8).map(|i: i16| 3 * i - 2).collect());
    let long = Meaning::Table((0..64).map(|i: i16| i * 5 % 64 - 30).collect());
    let schemes = [
        Scheme { blocks: &[1, 32], ..base },
        Scheme { blocks: &[1, 64], scale: E::BF16, ..base },
        Scheme { blocks: &[1, 576], scale: E::F32, ..base },
        Scheme { blocks: &[1, 32], code: E::UI4, zero: true, ..base },
        Scheme { blocks: &[1, 32], code: E::UI4, zero: true, min: true, scale: E::F32, ..base },
        Scheme { blocks: &[1, 16], ..base },
        Scheme { blocks: &[1, 18], min: true, ..base },
        Scheme { blocks: &[45, 576], ..base },
        Scheme { blocks: &[9, 96], ..base },
        Scheme { blocks: &[1, 32], unpacked: true, zero: true, ..base },
        Scheme { blocks: &[1, 32], splat_scale: true, ..base },
        Scheme { blocks: &[1, 576], code: E::SI8, bits: 8, ..base },
        Scheme { blocks: &[1, 32], code: E::SI8, bits: 8, ..base },
        Scheme { blocks: &[1, 48], code: E::UI8, bits: 8, zero: true, scale: E::F32, ..base },
        Scheme { blocks: &[1, 32], code: E::SI2, bits: 2, ..base },
        Scheme { blocks: &[1, 64], code: E::UI3, bits: 3, zero: true, ..base },
        Scheme { blocks: &[1, 32], code: E::UI4, min: true, ..base },
        Scheme { blocks: &[1, 32], code: E::UI4, min: true, splat_min: true, ..base },
        Scheme { blocks: &[1, 32], code: E::UI4, min: true, scale: E::BF16, ..base },
        Scheme { blocks: &[1, 64], code: E::UI4, min: true, ..base },
        Scheme { blocks: &[1, 32], code: E::UI4, meaning: &less(8), min: true, ..base },
        Scheme { blocks: &[1, 16], code: E::UI4, meaning: &less(8), ..base },
        Scheme { blocks: &[1, 32], code: E::UI4, meaning: &curve, min: true, ..base },
        Scheme { blocks: &[1, 16], code: E::UI4, meaning: &curve, ..base },
        Scheme { blocks: &[1, 32], code: E::F4E2M1FN, meaning: &curve, scale: E::F8E8M0FN, ..base },
        Scheme { blocks: &[1, 32], code: E::SI8, bits: 8, min: true, ..base },
        Scheme { blocks: &[1, 16], code: E::SI8, bits: 8, meaning: &less(-3), ..base },
        Scheme { blocks: &[1, 32], code: E::UI8, bits: 8, meaning: &less(128), ..base },
        Scheme { blocks: &[1, 32], code: E::UI6, bits: 6, meaning: &less(32), ..base },
        Scheme { blocks: &[1, 16], code: E::UI6, bits: 6, meaning: &less(32), min: true, ..base },
        Scheme { blocks: &[1, 16], code: E::UI6, bits: 6, meaning: &long, ..base },
        Scheme { blocks: &[1, 16], code: E::UI3, bits: 3, meaning: &less(4), ..base },
        Scheme { blocks: &[1, 16], code: E::UI3, bits: 3, meaning: &octave, ..base },
        Scheme { blocks: &[1, 16], code: E::UI2, bits: 2, min: true, ..base },
        Scheme { blocks: &[1, 96], code: E::UI1, bits: 1, min: true, ..base },
        Scheme { blocks: &[1, 18], code: E::UI6, bits: 6, meaning: &less(32), ..base },
    ];
    for scheme in schemes {
        for m in [1, 3, 20] {
            let scheme = Scheme { dims: &[n, k], ..scheme };
            let mut case = Case::default();
            let a = random(m * k, 5);
            let weight = case.weight(&scheme, 3);
            let x = case.floats(&a);
            let got = case.run_f32(plain(), vec![view(x, &[m, k]), turned(weight.buffer, k, n)], &[m, n]);
            assert_close(&got, &product(&a, &weight.values, m, n, k), 2e-6);
            // Rows 5..25 only, and the dequantized weight itself.
            let rows = strided(weight.buffer, 5 * k as i64, &[k, 20], &[1, k as i64]);
            let part = case.run_f32(plain(), vec![view(x, &[m, k]), rows], &[m, 20]);
            assert_close(&part, &product(&a, &weight.values[5 * k..25 * k], m, 20, k), 2e-6);
        }
    }
}

#[test]
fn odd_sizes_of_compressed_weights() {
    for (n, k, block) in
        [(7, 96, 32), (5, 160, 32), (3, 10, 5), (4, 33, 33), (6, 64, 64), (3, 384, 128), (2, 40, 8)]
    {
        for (code, bits) in [(ElementType::SI4, 4), (ElementType::SI8, 8)] {
            let scheme = Scheme {
                code,
                meaning: &Meaning::Plain,
                bits,
                dims: &[n, k],
                blocks: &[1, block],
                scale: ElementType::F16,
                zero: false,
                min: false,
                unpacked: false,
                splat_scale: false,
                splat_min: false,
            };
            for m in [1, 11] {
                let mut case = Case::default();
                let a = random(m * k, 8);
                let weight = case.weight(&scheme, 4);
                let x = case.floats(&a);
                let got = case.run_f32(plain(), vec![view(x, &[m, k]), turned(weight.buffer, k, n)], &[m, n]);
                assert_close(&got, &product(&a, &weight.values, m, n, k), 2e-6);
            }
        }
    }
}

/// `silu(load 0) * load 1`
fn gated() -> MapProg {
    let instr = |op, args| Instr { op, args, kind: Kind::F32 };
    MapProg {
        instrs: vec![
            instr(MapOp::Load(0), [0; 3]),
            instr(MapOp::Load(1), [0; 3]),
            instr(MapOp::Fn(MapFn::Silu), [0; 3]),
            instr(MapOp::Fn(MapFn::Mul), [2, 1, 0]),
        ],
        scalars: vec![],
    }
}

#[test]
fn two_weights_with_norm_and_epilogue() {
    let (n, k) = (96, 128);
    for m in [1, 4, 20] {
        for element in [ElementType::F32, ElementType::F16] {
            let (a, gain) = (random(m * k, 1), random(k, 2));
            let (g, u) = (random(n * k, 3), random(n * k, 4));
            let (g, u): (Vec<f32>, Vec<f32>) =
                g.iter().zip(&u).map(|(&g, &u)| (encode_one(g, element), encode_one(u, element))).unzip();
            let normal: Vec<f32> = a
                .chunks(k)
                .flat_map(|row| {
                    let square = row.iter().map(|x| x * x).sum::<f32>() / k as f32;
                    let inverse = 1.0 / (square + 1e-5).sqrt();
                    row.iter().zip(&gain).map(move |(x, g)| x * inverse * g).collect::<Vec<f32>>()
                })
                .collect();
            let want: Vec<f32> = product(&normal, &g, m, n, k)
                .iter()
                .zip(product(&normal, &u, m, n, k))
                .map(|(g, u)| g / (1.0 + (-g).exp()) * u)
                .collect();
            let mut case = Case::default();
            let (x, gain) = (case.floats(&a), case.floats(&gain));
            let (g, u) = (case.constant(&g, element), case.constant(&u, element));
            let kernel = Kernel::MatMul {
                weights: 2,
                norm: Some(Norm { center: false, eps: 1e-5 }),
                epilogue: Some(gated()),
            };
            let reads = vec![view(x, &[m, k]), turned(g, k, n), turned(u, k, n), view(gain, &[k])];
            assert_close(&case.run_f32(kernel, reads, &[m, n]), &want, 3e-6);
        }
    }
}

#[test]
fn batches_and_broadcast_batches() {
    for (m, shared) in [(1, false), (5, false), (30, false), (5, true), (1, true)] {
        let (b, n, k) = (6, 40, 24);
        let (a, w) = (random(b * m * k, 1), random(b * n * k, 2));
        let want: Vec<f32> = (0..b)
            .flat_map(|i| {
                let w = if shared { &w[..n * k] } else { &w[i * n * k..(i + 1) * n * k] };
                product(&a[i * m * k..(i + 1) * m * k], w, m, n, k)
            })
            .collect();
        let mut case = Case::default();
        let (x, weight) = (case.floats(&a), case.floats(&w));
        let step = if shared { 0 } else { (n * k) as i64 };
        let reads =
            vec![view(x, &[2, 3, m, k]), strided(weight, 0, &[2, 3, k, n], &[3 * step, step, 1, k as i64])];
        assert_close(&case.run_f32(plain(), reads, &[2, 3, m, n]), &want, 1e-6);
    }
}

#[test]
fn integers_wrap_and_wide_sums_exactly() {
    let mut case = Case::default();
    let (a, b) = (case.ints(&[i32::MAX, 3, -2, 5]), case.ints(&[2, -1, 7, 1]));
    let got = case.run(plain(), vec![view(a, &[2, 2]), view(b, &[2, 2])], &[2, 2], Kind::I32).unwrap();
    let wrapped = i32::MAX.wrapping_mul(2).wrapping_add(21);
    assert_eq!(got, [wrapped, -i32::MAX + 3, 31, 7].map(|x| x as u32));

    let mut case = Case { wide: true, ..Case::default() };
    let (a, b) = (case.floats(&[1e8, 1.0, -1e8]), case.floats(&[1.0, 1.0, 1.0]));
    assert_eq!(case.run_f32(plain(), vec![view(a, &[1, 3]), view(b, &[3, 1])], &[1, 1]), [1.0]);
}

#[test]
fn deep_products_are_blocked() {
    let (m, n, k) = (20, 33, 4500);
    let (a, w) = (random(m * k, 1), random(n * k, 2));
    let mut case = Case::default();
    let (x, weight) = (case.floats(&a), case.floats(&w));
    let got = case.run_f32(plain(), vec![view(x, &[m, k]), turned(weight, k, n)], &[m, n]);
    assert_close(&got, &product(&a, &w, m, n, k), 2e-6);
}
