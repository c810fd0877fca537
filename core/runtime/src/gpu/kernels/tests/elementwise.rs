use super::*;
use crate::expr::Expr;
use crate::map::{ALL, Instr, MapFn, MapOp, MapProg};
use crate::step::{Kernel, Kind, Round, Storage};
use coreai_asset::ElementType;

fn instr(op: MapOp, args: [u16; 3], kind: Kind) -> Instr {
    Instr { op, args, kind }
}

fn unary(f: MapFn, kind: Kind) -> MapProg {
    MapProg {
        instrs: vec![instr(MapOp::Load(0), [0; 3], kind), instr(MapOp::Fn(f), [0; 3], kind)],
        scalars: vec![],
    }
}

/// Values that go wrong.
const CORNERS: [f32; 34] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    -2.0,
    3.0,
    -3.0,
    1e-3,
    -1e-3,
    10.0,
    -10.0,
    88.0,
    -88.0,
    89.0,
    -104.0,
    100.5,
    1e5,
    -1e5,
    1234.567,
    8191.9,
    -6000.25,
    1e10,
    -1e30,
    65519.0,
    65520.0,
    1e-10,
    0.999,
    -0.999,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

#[test]
fn unary_functions() {
    for f in ALL.iter().filter(|f| f.arity() == 1) {
        for kind in [Kind::F32, Kind::I32, Kind::U32] {
            if f.wgsl(kind).is_empty() || (*f == MapFn::Not && kind != Kind::U32) {
                continue;
            }
            let mut b = Bench::new(1);
            let mut words: Vec<u32> = match kind {
                Kind::F32 => CORNERS.iter().map(|v| v.to_bits()).collect(),
                _ => vec![0, 1, 2, u32::MAX, i32::MIN as u32, 77],
            };
            words.extend((0..400).map(|i| match kind {
                Kind::F32 => (b.rng.float() * [1.0, 8.0][i % 2]).to_bits(),
                _ => b.rng.word(),
            }));
            let each = words.clone();
            // One output per value, so that each is judged by its own magnitude.
            for (i, w) in each.iter().enumerate().take(CORNERS.len()) {
                let x = f32::from_bits(*w);
                let y = run_one(*f, kind, *w);
                let Some((want, got)) = y else { return };
                let (wf, gf) = (f32::from_bits(want), f32::from_bits(got));
                let ok = match kind {
                    Kind::F32 if wf.is_nan() => gf.is_nan(),
                    Kind::F32 if wf.is_finite() => (wf - gf).abs() <= 4e-6 * wf.abs().max(3e-2),
                    _ => want == got,
                };
                assert!(ok, "{f:?}({x}) value {i}: {gf} instead of {wf} ({got:#x}, {want:#x})");
            }
            let n = fixed(&[words.len() as i64]);
            let x = b.input_of(kind, &n, words);
            if kind == Kind::F32 {
                // Large results of the corners would hide errors of the others.
                b.inputs[0][..CORNERS.len()].fill(0.25f32.to_bits());
            }
            let y = b.output(kind, &n);
            b.tolerance = 4e-6;
            b.step(Kernel::Map(unary(*f, kind)), vec![x], y, Round::None);
            b.compare(&format!("{f:?} {kind:?}"));
        }
    }
}

/// Corner values, all in one run per function.
fn run_one(f: MapFn, kind: Kind, word: u32) -> Option<(u32, u32)> {
    type Table = std::collections::HashMap<(MapFn, Kind), Option<Vec<(u32, u32, u32)>>>;
    static TABLE: std::sync::LazyLock<std::sync::Mutex<Table>> = std::sync::LazyLock::new(Default::default);
    let mut table = TABLE.lock().unwrap();
    let rows = table.entry((f, kind)).or_insert_with(|| {
        let words: Vec<u32> = match kind {
            Kind::F32 => CORNERS.iter().map(|v| v.to_bits()).collect(),
            _ => vec![0, 1, 2, u32::MAX, i32::MIN as u32, 77],
        };
        let mut b = Bench::new(1);
        let n = fixed(&[words.len() as i64]);
        let x = b.input_of(kind, &n, words.clone());
        let y = b.output(kind, &n);
        b.step(Kernel::Map(unary(f, kind)), vec![x], y, Round::None);
        let (want, got) = b.both()?;
        Some(words.iter().zip(want).zip(got).map(|((x, w), g)| (*x, w, g)).collect())
    });
    let rows = rows.as_ref()?;
    let found = rows.iter().find(|r| r.0 == word);
    found.map(|r| (r.1, r.2)).or(Some((0, 0)))
}

#[test]
fn binary_functions() {
    for f in ALL.iter().filter(|f| f.arity() == 2) {
        for kind in [Kind::F32, Kind::I32, Kind::U32] {
            if f.wgsl(kind).is_empty() {
                continue;
            }
            let corners: Vec<u32> = match kind {
                Kind::F32 => [
                    0.0,
                    -0.0,
                    1.0,
                    -1.0,
                    2.0,
                    -2.0,
                    0.5,
                    3.0,
                    -3.0,
                    7.5,
                    10.0,
                    0.1,
                    1e4,
                    f32::INFINITY,
                    f32::NEG_INFINITY,
                    f32::NAN,
                ]
                .iter()
                .map(|v: &f32| v.to_bits())
                .collect(),
                _ => vec![0, 1, 2, 3, 7, 31, u32::MAX, (-3i32) as u32, i32::MIN as u32, i32::MAX as u32],
            };
            let n = corners.len();
            let (mut xs, mut ys) = (vec![], vec![]);
            for a in &corners {
                for c in &corners {
                    xs.push(*a);
                    ys.push(*c);
                }
            }
            let mut b = Bench::new(2);
            let dims = fixed(&[xs.len() as i64]);
            let truth = matches!(f, MapFn::Equal | MapFn::NotEqual | MapFn::Greater);
            let result = if truth { Kind::Bool } else { kind };
            let x = b.input_of(kind, &dims, xs.clone());
            let y = b.input_of(kind, &dims, ys.clone());
            let out = b.output(result, &dims);
            let prog = MapProg {
                instrs: vec![
                    instr(MapOp::Load(0), [0; 3], kind),
                    instr(MapOp::Load(1), [0; 3], kind),
                    instr(MapOp::Fn(*f), [0, 1, 0], result),
                ],
                scalars: vec![],
            };
            b.step(Kernel::Map(prog), vec![x, y], out, Round::None);
            let Some((want, got)) = b.both() else { return };
            for i in 0..xs.len() {
                let (w, g) = (f32::from_bits(want[i]), f32::from_bits(got[i]));
                let ok = match result {
                    Kind::F32 if w.is_nan() => g.is_nan(),
                    Kind::F32 if w.is_finite() => (w - g).abs() <= 2e-6 * w.abs(),
                    _ => want[i] == got[i],
                };
                let (a, c) = (f32::from_bits(xs[i]), f32::from_bits(ys[i]));
                assert!(ok, "{f:?} {kind:?}({a}, {c} / {:#x}, {:#x}): {g} instead of {w}", xs[i], ys[i]);
            }
            assert!(n > 0);
        }
    }
}

#[test]
fn casts_and_wraps() {
    use ElementType::*;
    for (from, to, kind) in [
        (Kind::F32, SI32, Kind::I32),
        (Kind::F32, SI8, Kind::I32),
        (Kind::F32, UI8, Kind::U32),
        (Kind::F32, UI32, Kind::U32),
        (Kind::F32, Bool, Kind::Bool),
        (Kind::I32, UI16, Kind::U32),
        (Kind::I32, SI16, Kind::I32),
        (Kind::U32, SI32, Kind::I32),
        (Kind::U32, UI8, Kind::U32),
        (Kind::I32, F32, Kind::F32),
        (Kind::U32, F32, Kind::F32),
        (Kind::F32, F8E5M2, Kind::F32),
        (Kind::F32, F8E4M3FN, Kind::F32),
        (Kind::F32, F4E2M1FN, Kind::F32),
        (Kind::F32, F8E8M0FN, Kind::F32),
        (Kind::I32, F8E4M3FN, Kind::F32),
        (Kind::I32, Bool, Kind::Bool),
    ] {
        let mut b = Bench::new(3);
        let mut words: Vec<u32> = match from {
            Kind::F32 => CORNERS.iter().map(|v| v.to_bits()).collect(),
            _ => vec![0, 1, 255, 256, 300, 65535, 65536, u32::MAX, i32::MIN as u32, (-129i32) as u32],
        };
        if from == Kind::F32 && to.bits() <= 8 {
            // Around the ends and the ties of the small floats.
            let edges =
                [57344.0f32, 57344.004, 61440.0, 448.0, 448.0001, 464.0, 6.0, 6.1, 5.0, 2.5, 0.25, 0.75];
            let ties = [1.125f32, 1.375, 1.0625, 1.1875, 1.5, 3.0];
            let powers = (-19..-5).flat_map(|e| [1.0f32, 1.0001, 1.5, 3.0].map(|m| m * 2f32.powi(e)));
            words.extend(
                edges.into_iter().chain(ties).chain(powers).flat_map(|x| [x.to_bits(), (-x).to_bits()]),
            );
        }
        words.extend((0..64).map(|_| match from {
            Kind::F32 => (b.rng.float() * 400.0).to_bits(),
            _ => b.rng.word(),
        }));
        let n = fixed(&[words.len() as i64]);
        let x = b.input_of(from, &n, words);
        let y = b.output(kind, &n);
        let prog = MapProg {
            instrs: vec![instr(MapOp::Load(0), [0; 3], from), instr(MapOp::Cast(to), [0; 3], kind)],
            scalars: vec![],
        };
        b.step(Kernel::Map(prog), vec![x], y, Round::None);
        b.compare(&format!("cast {from:?} {to:?}"));
    }
    for (to, kind) in [(SI8, Kind::I32), (UI16, Kind::U32), (SI32, Kind::I32)] {
        let mut b = Bench::new(4);
        let words: Vec<u32> = (0..64).map(|_| b.rng.word()).collect();
        let n = fixed(&[64]);
        let x = b.input_of(kind, &n, words);
        let y = b.output(kind, &n);
        let prog = MapProg {
            instrs: vec![instr(MapOp::Load(0), [0; 3], kind), instr(MapOp::Wrap(to), [0; 3], kind)],
            scalars: vec![],
        };
        b.step(Kernel::Map(prog), vec![x], y, Round::None);
        b.compare(&format!("wrap {to:?}"));
    }
}

/// `select(index0 == scalar, a · c, b) + index2`
fn chain() -> MapProg {
    use Kind::*;
    MapProg {
        instrs: vec![
            instr(MapOp::Load(0), [0; 3], F32),
            instr(MapOp::Load(1), [0; 3], F32),
            instr(MapOp::Const(2.5f32.to_bits()), [0; 3], F32),
            instr(MapOp::Fn(MapFn::Mul), [0, 2, 0], F32),
            instr(MapOp::Index(0), [0; 3], I32),
            instr(MapOp::Scalar(0), [0; 3], I32),
            instr(MapOp::Fn(MapFn::Equal), [4, 5, 0], Bool),
            instr(MapOp::Fn(MapFn::Select), [6, 3, 1], F32),
            instr(MapOp::Index(2), [0; 3], I32),
            instr(MapOp::Cast(ElementType::F32), [8, 0, 0], F32),
            instr(MapOp::Fn(MapFn::Add), [7, 9, 0], F32),
        ],
        scalars: vec![Expr::from(1i64)],
    }
}

#[test]
fn views_broadcasts_transposes_and_indices() {
    for storage in [Storage::Word, Storage::F16, Storage::BF16] {
        let mut b = Bench::new(5);
        let s = b.symbol(1, 40, 17);
        let dims = [Expr::from(3i64), s.clone(), Expr::from(10i64)];
        let x = b.input(Kind::F32, &[s.clone(), Expr::from(3i64), Expr::from(10i64)]).permute(&[1, 0, 2]);
        let y =
            b.weight(Kind::F32, storage, &[3, 1, 20]).slice(2, &Expr::from(19i64), &Expr::from(10i64), -2);
        let out = b.output(Kind::F32, &dims);
        b.step(Kernel::Map(chain()), vec![x, y.broadcast(&dims)], out, Round::F16);
        b.tolerance = 0.0;
        b.compare("chain");
    }
    // Bytes.
    for (kind, signed) in [(Kind::I32, true), (Kind::U32, false), (Kind::Bool, false)] {
        let mut b = Bench::new(6);
        let x = b.weight(kind, Storage::Byte { signed }, &[5, 7]).permute(&[1, 0]);
        let out = b.output(kind, &x.dims.clone());
        b.step(Kernel::Map(MapProg::copy(kind)), vec![x], out, Round::None);
        b.compare("bytes");
    }
}

#[test]
fn states_are_written_in_place() {
    for storage in [Storage::F16, Storage::BF16, Storage::Word] {
        // (layer, heads, capacity, d): an aligned slice, odd slices, and a column with a stride.
        for (start, length, d0, dn) in [(3, 2, 0, 8), (1, 3, 0, 7), (0, 5, 3, 1), (2, 1, 1, 5), (0, 5, 0, 8)]
        {
            let mut b = Bench::new(7);
            let at = b.symbol(0, 5, start);
            let n = b.symbol(1, 5, length);
            let state = b.state(storage.clone(), &fixed(&[2, 3, 5, 8]));
            let mut dest = state.slice(0, &Expr::one(), &Expr::one(), 1).slice(2, &at, &n, 1);
            if (d0, dn) != (0, 8) {
                dest = dest.slice(3, &Expr::from(d0 as i64), &Expr::from(dn as i64), 1);
            }
            let dims = dest.dims.clone();
            let x = b.input(Kind::F32, &dims);
            b.step(Kernel::Map(MapProg::copy(Kind::F32)), vec![x], dest, Round::None);
            let kernels = b.compare("state");
            if storage != Storage::Word {
                let want = if dn == 8 { "map_pairs" } else { "map_halves" };
                assert_eq!(kernels, [want]);
            }
        }
    }
    // Every second element; and a state that spans several bindings.
    let mut b = Bench::new(8);
    let state = b.state(Storage::F16, &fixed(&[9, 16]));
    let dest = state.slice(1, &Expr::one(), &Expr::from(8i64), 2);
    let x = b.input(Kind::F32, &fixed(&[9, 8]));
    b.step(Kernel::Map(MapProg::copy(Kind::F32)), vec![x], dest, Round::None);
    b.compare("strided state");
    let mut b = Bench::new(9);
    let p = b.symbol(0, 30, 11);
    let state = b.state(Storage::F16, &fixed(&[6, 1, 2, 32, 64]));
    let dest = state.slice(0, &Expr::from(4i64), &Expr::one(), 1).slice(3, &p, &Expr::from(2i64), 1);
    let x = b.input(Kind::F32, &dest.dims.clone());
    b.step(Kernel::Map(MapProg::copy(Kind::F32)), vec![x], dest, Round::None);
    b.compare("state in windows");
}

#[test]
fn large_elementwise_steps_are_cut() {
    let mut b = Bench::new(10);
    let s = b.symbol(0, 60, 50);
    let dims = [s, Expr::from(3i64), Expr::from(50i64)];
    let x = b.input(Kind::F32, &dims);
    let y = b.input(Kind::F32, &fixed(&[50])).broadcast(&dims);
    let out = b.output(Kind::F32, &dims);
    b.step(Kernel::Map(chain()), vec![x, y], out, Round::None);
    b.compare("cut");
}
