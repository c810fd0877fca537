use super::*;

struct Shape {
    b: usize,
    hq: usize,
    hk: usize,
    t: usize,
    s: usize,
    d: usize,
    dv: usize,
}

#[derive(Clone, Copy, Default)]
struct Flags {
    causal: bool,
    window: u32,
    /// 1: added, 2: kept where true.
    mask: u8,
    sinks: bool,
}

/// Rows of softmax(q·k)·v in f64.
fn naive(
    shape: &Shape,
    flags: Flags,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    mask: &[f32],
    sinks: &[f32],
) -> Vec<f32> {
    let Shape { b, hq, hk, t, s, d, dv } = *shape;
    let mut out = vec![];
    for row in 0..b * hq * t {
        let (batch, head, i) = (row / (hq * t), row / t % hq, row % t);
        let plane = batch * hk + head / (hq / hk);
        let mut total = if flags.sinks { f64::from(sinks[head]).exp() } else { 0.0 };
        let mut sums = vec![0f64; dv];
        for j in 0..s {
            let last = (i + s) as i64 - t as i64;
            let hidden = flags.causal && j as i64 > last
                || flags.window > 0 && j as i64 <= last - i64::from(flags.window)
                || flags.mask == 2 && mask[row * s + j] == 0.0;
            if hidden {
                continue;
            }
            let dot: f64 =
                (0..d).map(|x| f64::from(q[row * d + x]) * f64::from(k[(plane * s + j) * d + x])).sum();
            let added = if flags.mask == 1 { f64::from(mask[row * s + j]) } else { 0.0 };
            let weight = (dot * 0.3 + added).exp();
            total += weight;
            (0..dv).for_each(|x| sums[x] += weight * f64::from(v[(plane * s + j) * dv + x]));
        }
        out.extend(sums.iter().map(|sum| (sum / total) as f32));
    }
    out
}

fn check(shape: &Shape, flags: Flags, packed: bool, wide: bool) {
    let Shape { b, hq, hk, t, s, d, dv } = *shape;
    // The cache has room for 7 more keys than are in use.
    let room = s + 7;
    let element = if packed { ElementType::F16 } else { ElementType::F32 };
    let q = random(b * hq * t * d, 1);
    let cache = |seed, d: usize| -> Vec<f32> {
        random(b * hk * room * d, seed).iter().map(|&x| encode_one(x * 2.0, element)).collect()
    };
    let (kc, vc) = (cache(2, d), cache(3, dv));
    let used = |cache: &[f32], d: usize| -> Vec<f32> {
        cache.chunks(room * d).flat_map(|plane| plane[..s * d].to_vec()).collect()
    };
    let mut mask = random(b * hq * t * s, 4);
    if flags.mask == 2 {
        mask.iter_mut().enumerate().for_each(|(i, x)| *x = f32::from(u8::from(*x > -0.5 || i % s == 0)));
    }
    let sinks = random(hq, 5);
    let want = naive(shape, flags, &q, &used(&kc, d), &used(&vc, dv), &mask, &sinks);

    let mut case = Case { wide, ..Case::default() };
    let x = case.floats(&q);
    let (key, value) = (case.constant(&kc, element), case.constant(&vc, element));
    let window = |id, d: usize| {
        strided(id, 0, &[b, hk, s, d], &[(hk * room * d) as i64, (room * d) as i64, d as i64, 1])
    };
    let mut reads = vec![view(x, &[b, hq, t, d]), window(key, d), window(value, dv)];
    match flags.mask {
        1 => {
            let id = case.floats(&mask);
            reads.push(view(id, &[b, hq, t, s]));
        }
        2 => {
            let id = case.words(Kind::Bool, mask.iter().map(|&x| x as u32).collect());
            reads.push(view(id, &[b, hq, t, s]));
        }
        _ => {}
    }
    if flags.sinks {
        let id = case.floats(&sinks);
        reads.push(view(id, &[hq]));
    }
    let Flags { causal, window, mask, sinks } = flags;
    let kernel = Kernel::Attention { scale: 0.3, causal, window, mask: mask > 0, hidden: -1e4, sinks };
    assert_close(&case.run_f32(kernel, reads, &[b, hq, t, dv]), &want, 2e-6);
}

#[test]
fn every_mask_and_grouping() {
    let shapes = [
        Shape { b: 1, hq: 9, hk: 3, t: 1, s: 100, d: 64, dv: 64 },
        Shape { b: 2, hq: 4, hk: 2, t: 33, s: 70, d: 16, dv: 40 },
        Shape { b: 1, hq: 2, hk: 2, t: 17, s: 17, d: 5, dv: 3 },
        Shape { b: 1, hq: 6, hk: 1, t: 5, s: 130, d: 48, dv: 32 },
        Shape { b: 3, hq: 1, hk: 1, t: 2, s: 2, d: 1, dv: 1 },
    ];
    for shape in &shapes {
        for mask in 0..3 {
            for causal in [false, true] {
                for packed in [false, true] {
                    let flags = Flags { causal, mask, sinks: mask == 1, window: 0 };
                    check(shape, flags, packed, false);
                    check(shape, flags, packed, true);
                }
            }
        }
        check(shape, Flags { causal: true, window: 3, ..Flags::default() }, true, false);
        check(shape, Flags { causal: true, window: 3, sinks: true, ..Flags::default() }, false, true);
    }
}

#[test]
fn a_row_that_sees_nothing_has_its_softmax_or_zero_with_a_sink() {
    for sinks in [false, true] {
        let mut case = Case::default();
        let (q, kv, sink) = (case.floats(&[1.0, 1.0]), case.floats(&[2.0, 3.0]), case.floats(&[0.0]));
        let mask = case.words(Kind::Bool, vec![0, 0, 1, 1]);
        let mut reads = vec![view(q, &[1, 1, 2, 1]), view(kv, &[1, 1, 2, 1]), view(kv, &[1, 1, 2, 1])];
        reads.push(view(mask, &[1, 1, 2, 2]));
        if sinks {
            reads.push(view(sink, &[1]));
        }
        let kernel =
            Kernel::Attention { scale: 1.0, causal: false, window: 0, mask: true, hidden: -1e4, sinks };
        let got = case.run_f32(kernel, reads, &[1, 1, 2, 1]);
        // Scores of 2 and 3, as a float of the size of 10⁴ holds them.
        let softmax = (2.0 + 3.0 * 1f32.exp()) / (1.0 + 1f32.exp());
        let want = if sinks { 0.0 } else { softmax };
        assert!((got[0] - want).abs() < 1e-3, "{got:?}");
        assert!(got[1] > 2.0);
    }
}
