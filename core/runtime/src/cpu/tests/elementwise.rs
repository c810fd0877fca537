use super::*;
use crate::map::{Instr, MapFn, MapOp, MapProg};

fn program(instrs: &[(MapOp, [u16; 3], Kind)]) -> Kernel {
    let instrs = instrs.iter().map(|&(op, args, kind)| Instr { op, args, kind }).collect();
    Kernel::Map(MapProg { instrs, scalars: vec![Expr::from(40i64)] })
}

fn copy(kind: Kind) -> Kernel {
    Kernel::Map(MapProg::copy(kind))
}

#[test]
fn strided_broadcast_and_reversed_views() {
    let mut case = Case::default();
    let values: Vec<f32> = (0..3000).map(|x| x as f32).collect();
    let (x, y) = (case.floats(&values), case.floats(&[100.0, 200.0, 300.0]));
    let add = program(&[
        (MapOp::Load(0), [0; 3], Kind::F32),
        (MapOp::Load(1), [0; 3], Kind::F32),
        (MapOp::Fn(MapFn::Add), [0, 1, 0], Kind::F32),
    ]);
    // A reversed transpose plus a row broadcast over the other axes.
    let reads =
        vec![strided(x, 2999, &[10, 100, 3], &[-1, -10, -1000]), strided(y, 0, &[10, 100, 3], &[0, 0, 1])];
    let got = case.run_f32(add, reads, &[10, 100, 3]);
    for (i, got) in got.iter().enumerate() {
        let (a, b, c) = (i / 300, i / 3 % 100, i % 3);
        assert_eq!(*got, (2999 - a - 10 * b - 1000 * c) as f32 + 100.0 * (c + 1) as f32);
    }
}

#[test]
fn index_scalar_select_and_compare() {
    let mut case = Case::default();
    let x = case.ints(&(0..1200).collect::<Vec<i32>>());
    let kernel = program(&[
        (MapOp::Load(0), [0; 3], Kind::I32),
        (MapOp::Index(1), [0; 3], Kind::I32),
        (MapOp::Scalar(0), [0; 3], Kind::I32),
        (MapOp::Fn(MapFn::Greater), [2, 1, 0], Kind::Bool),
        (MapOp::Const(-7i32 as u32), [0; 3], Kind::I32),
        (MapOp::Fn(MapFn::Select), [3, 0, 4], Kind::I32),
    ]);
    let got = case.run(kernel, vec![view(x, &[4, 100, 3])], &[4, 100, 3], Kind::I32).unwrap();
    for (i, got) in got.iter().enumerate() {
        let want = if i / 3 % 100 < 40 { i as i32 } else { -7 };
        assert_eq!(*got as i32, want);
    }
}

fn cast(kind: Kind, words: &[u32], to: ElementType, result: Kind) -> Vec<u32> {
    let mut case = Case::default();
    let x = case.words(kind, words.to_vec());
    let kernel = program(&[(MapOp::Load(0), [0; 3], kind), (MapOp::Cast(to), [0; 3], result)]);
    case.run(kernel, vec![view(x, &[words.len()])], &[words.len()], result).unwrap()
}

#[test]
fn casts_follow_the_format() {
    use ElementType as E;
    let floats = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    let ints = |values: &[i32]| values.iter().map(|&x| x as u32).collect::<Vec<u32>>();
    let x = floats(&[3e9, -1.9, 300.0, f32::NAN, f32::NEG_INFINITY]);
    assert_eq!(cast(Kind::F32, &x, E::SI32, Kind::I32), ints(&[i32::MAX, -1, 300, 0, i32::MIN]));
    assert_eq!(cast(Kind::F32, &x, E::UI8, Kind::U32), [255, 0, 255, 0, 0]);
    assert_eq!(cast(Kind::F32, &x, E::Bool, Kind::Bool), [1, 1, 1, 1, 1]);
    assert_eq!(cast(Kind::I32, &ints(&[300, -129, 5]), E::SI8, Kind::I32), ints(&[127, -128, 5]));
    assert_eq!(cast(Kind::I32, &ints(&[-1, 9]), E::UI32, Kind::U32), [0, 9]);
    assert_eq!(cast(Kind::U32, &[u32::MAX], E::SI32, Kind::I32), [i32::MAX as u32]);
    assert_eq!(cast(Kind::I32, &ints(&[16_777_217]), E::F32, Kind::F32), floats(&[16_777_216.0]));
}

/// Values recorded from Apple's CPU runtime.
#[test]
fn casts_to_the_smallest_floats() {
    use ElementType as E;
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let p = |e: i32| 2f32.powi(e);
    let check = |to: E, pairs: &[(f32, f32)]| {
        let x: Vec<u32> = pairs.iter().map(|(x, _)| x.to_bits()).collect();
        for (got, (x, want)) in cast(Kind::F32, &x, to, Kind::F32).into_iter().zip(pairs) {
            let got = f32::from_bits(got);
            assert!(
                got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                "{to:?} {x}: {got} {want}"
            );
        }
    };
    check(
        E::F8E5M2,
        &[
            (0.0, 0.0),
            (-0.0, -0.0),
            (nan, nan),
            (inf, inf),
            (57344.0, 57344.0),
            (57344.004, inf),
            (-61439.0, -inf),
        ],
    );
    check(
        E::F8E5M2,
        &[(p(-14), p(-14)), (p(-16), p(-16)), (p(-17), 0.0), (-p(-17), -0.0), (1.0001 * p(-17), p(-16))],
    );
    check(E::F8E5M2, &[(3.0 * p(-17), p(-15)), (1.125, 1.0), (1.375, 1.5), (1.1251, 1.25)]);
    check(
        E::F8E4M3FN,
        &[(nan, nan), (-inf, nan), (448.0, 448.0), (448.0001, nan), (-449.0, nan), (p(-9), p(-9))],
    );
    check(
        E::F8E4M3FN,
        &[(-p(-10), -0.0), (3.0 * p(-10), p(-8)), (1.0625, 1.0), (1.1875, 1.25), (1.06251, 1.125)],
    );
    check(
        E::F4E2M1FN,
        &[(nan, 0.0), (inf, 6.0), (-7.0, -6.0), (0.25, 0.0), (-0.26, -0.5), (0.75, 1.0), (-1e-30, -0.0)],
    );
    check(E::F4E2M1FN, &[(1.25, 1.0), (1.75, 2.0), (2.5, 2.0), (3.5, 4.0), (5.0, 4.0), (5.1, 6.0)]);
    check(
        E::F8E8M0FN,
        &[(0.0, nan), (-0.0, nan), (inf, nan), (-inf, nan), (nan, nan), (-1.0, p(-127)), (1e-45, p(-127))],
    );
    check(
        E::F8E8M0FN,
        &[(1.5 * p(-127), p(-127)), (1.5 * p(-126), p(-125)), (1.4, 1.0), (1.5, 2.0), (3.4e38, p(127))],
    );
}

#[test]
fn results_are_rounded() {
    for (round, want) in [(Round::F16, [1.0, f32::INFINITY, 65504.0]), (Round::BF16, [1.0, 70144.0, 65536.0])]
    {
        let mut case = Case { round: Some(round), ..Case::default() };
        let x = case.floats(&[1.0001, 70000.0, 65519.0]);
        assert_eq!(case.run_f32(copy(Kind::F32), vec![view(x, &[3])], &[3]), want);
    }
}

#[test]
fn states_are_written_in_place_by_halves() {
    for storage in [Storage::F16, Storage::BF16] {
        let mut case = Case::default();
        let one = if storage == Storage::F16 { 0x3c00u32 } else { 0x3f80 };
        case.states.push(vec![one << 16 | one; 6]);
        let x = case.floats(&[2.0, 2.0, 2.0, 2.0]);
        let state = case.buffer(Role::State(0), Kind::F32, storage, 12);
        // Rows 3 apart, from an odd element on.
        let write = strided(state, 1, &[2, 2], &[3, 1]);
        case.run_into(copy(Kind::F32), vec![view(x, &[2, 2])], write, &[0]).unwrap();
        let halves: Vec<u32> = case.states[0].iter().flat_map(|w| [w & 0xffff, w >> 16]).collect();
        let written: Vec<usize> = (0..12).filter(|&i| halves[i] != one).collect();
        assert_eq!(written, [1, 2, 4, 5]);
        assert!(written.iter().all(|&i| halves[i] == 0x4000));
    }
}

#[test]
fn packed_constants_are_widened() {
    let mut case = Case::default();
    let bytes = case.part(&[1, 255, 128, 7, 9], false);
    let signed = case.buffer(Role::Constant(bytes.clone()), Kind::I32, Storage::Byte { signed: true }, 5);
    let unsigned = case.buffer(Role::Constant(bytes), Kind::U32, Storage::Byte { signed: false }, 5);
    let got = case.run(copy(Kind::I32), vec![view(signed, &[5])], &[5], Kind::I32).unwrap();
    assert_eq!(got.iter().map(|&x| x as i32).collect::<Vec<_>>(), [1, -1, -128, 7, 9]);
    let got = case.run(copy(Kind::U32), vec![strided(unsigned, 4, &[3], &[-2])], &[3], Kind::U32).unwrap();
    assert_eq!(got, [9, 128, 1]);
    // One stored element stands for 1000.
    let bytes = case.part(&3.5f32.to_le_bytes(), true);
    let splat = case.buffer(Role::Constant(bytes), Kind::F32, Storage::Word, 1000);
    assert_eq!(case.run_f32(copy(Kind::F32), vec![view(splat, &[10, 100])], &[10, 100]), [3.5; 1000]);
}

#[test]
fn vectorized_functions_agree_with_the_table() {
    let mut x: Vec<f32> = random(3000, 9).iter().map(|x| x * 30.0).collect();
    x.extend([0.0, -0.0, 100.0, -100.0, 88.7, -103.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN]);
    for f in [MapFn::Exp, MapFn::Sigmoid, MapFn::Silu, MapFn::GeluTanh] {
        let run = |wide| {
            let mut case = Case { wide, ..Case::default() };
            let id = case.floats(&x);
            let kernel = program(&[(MapOp::Load(0), [0; 3], Kind::F32), (MapOp::Fn(f), [0; 3], Kind::F32)]);
            case.run_f32(kernel, vec![view(id, &[x.len()])], &[x.len()])
        };
        for ((x, got), want) in x.iter().zip(run(false)).zip(run(true)) {
            let same = got == want || got.is_nan() && want.is_nan();
            // The table's tanh form of gelu cancels where the result is near 0.
            assert!(
                same || (got - want).abs()
                    <= want.abs() * 5e-7 + 4e-7 * f32::from(u8::from(f == MapFn::GeluTanh)) + 1e-37,
                "{f:?}({x}) = {got}, {want}"
            );
        }
    }
}

#[test]
fn views_outside_their_buffer_are_refused() {
    let mut case = Case::default();
    let x = case.floats(&[1.0; 10]);
    for bad in [
        strided(x, 1, &[10], &[1]),
        strided(x, 0, &[2], &[-1]),
        strided(x, 0, &[3, 3], &[4, i64::MAX]),
        strided(x, 5, &[10], &[i64::MAX / 2]),
        strided(x, 0, &[1 << 40, 1 << 40, 0], &[0, 0, 1]),
    ] {
        let dims: Vec<usize> = bad.dims.iter().map(|d| d.eval(&[]) as usize).collect();
        let dims = if dims.len() == 3 { vec![0] } else { dims };
        let error = case.run(copy(Kind::F32), vec![bad], &dims, Kind::F32).unwrap_err();
        assert_eq!(error.code(), "program", "{error}");
    }
    let dims = [4];
    let state = case.buffer(Role::State(0), Kind::F32, Storage::Word, 4);
    case.states.push(vec![0; 4]);
    for bad in [strided(state, 0, &dims, &[0]), strided(state, 2, &dims, &[1]), view(x, &dims)] {
        assert!(case.run_into(copy(Kind::F32), vec![strided(x, 0, &dims, &[1])], bad, &dims).is_err());
    }
    // A step that reads what it writes.
    assert!(case.run_into(copy(Kind::F32), vec![view(state, &dims)], view(state, &dims), &dims).is_err());
    // Programs that refer to nothing.
    for op in [MapOp::Load(1), MapOp::Scalar(1), MapOp::Index(1), MapOp::Fn(MapFn::Exp)] {
        let kernel = program(&[(op, [0; 3], Kind::F32)]);
        assert!(case.run(kernel, vec![view(x, &[10])], &[10], Kind::F32).is_err());
    }
}

#[test]
fn cancelled_before_the_first_step() {
    let plan = Plan {
        function: "main".into(),
        buffers: vec![],
        steps: vec![],
        symbols: vec![],
        guards: vec![],
        inputs: vec![],
        outputs: vec![],
        states: vec![],
    };
    let run = |plan: Plan, cancel: bool| {
        let mut executor = CpuExecutor::with_constants(Arc::new(plan), Box::new(Bytes(vec![])), false);
        executor.run(&[], &[], &mut [], &AtomicBool::new(cancel))
    };
    assert!(run(plan.clone(), true).is_ok());
    let step = Step {
        kernel: copy(Kind::F32),
        reads: vec![],
        writes: vec![],
        round: Round::None,
        origin: Origin { op: "op".into(), node: 0, source: None },
    };
    assert!(matches!(run(Plan { steps: vec![step], ..plan }, true), Err(Error::Cancelled)));
}

#[test]
fn transposed_copies_of_every_size() {
    for (planes, lines, n) in [(1, 33, 50), (3, 16, 16), (2, 1, 40), (2, 40, 17), (1, 100, 300)] {
        let values = random(planes * lines * n, 3);
        let mut case = Case::default();
        let x = case.floats(&values);
        let dims = [planes, lines, n];
        let read = strided(x, 0, &dims, &[(lines * n) as i64, 1, lines as i64]);
        let got = case.run_f32(copy(Kind::F32), vec![read], &dims);
        for (i, got) in got.iter().enumerate() {
            let (plane, line, column) = (i / (lines * n), i / n % lines, i % n);
            assert_eq!(*got, values[(plane * n + column) * lines + line]);
        }
    }
}

#[test]
fn limits_at_the_end_of_a_program() {
    let values: Vec<f32> = random(3000, 5).into_iter().map(|x| 4.0 * x).chain([f32::NAN]).collect();
    let constant = |x: f32| (MapOp::Const(x.to_bits()), [0; 3], Kind::F32);
    let f = |f, args| (MapOp::Fn(f), args, Kind::F32);
    let load = |n| (MapOp::Load(n), [0; 3], Kind::F32);
    // min(max(x + 0.5, -1), 2), then a limit that the earlier ones decide.
    let sum = [
        load(0),
        load(1),
        f(MapFn::Add, [0, 1, 0]),
        constant(-1.0),
        f(MapFn::Max, [2, 3, 0]),
        constant(2.0),
        f(MapFn::Min, [4, 5, 0]),
        constant(3.0),
        f(MapFn::Max, [6, 7, 0]),
    ];
    let product = [load(0), load(0), f(MapFn::Mul, [0, 1, 0]), f(MapFn::Relu, [2, 0, 0])];
    type Limit<'a> = (&'a [(MapOp, [u16; 3], Kind)], fn(f32) -> f32);
    let limits: [Limit; 4] = [
        (&sum[..7], |x| (x + 0.5).clamp(-1.0, 2.0)),
        (&sum[..5], |x| if x.is_nan() { x } else { (x + 0.5).max(-1.0) }),
        (&sum, |x| if x.is_nan() { x } else { 3.0 }),
        (&product, |x| x * x),
    ];
    for (instrs, want) in limits {
        for wide in [false, true] {
            let mut case = Case { wide, ..Case::default() };
            let (x, half) = (case.floats(&values), case.floats(&[0.5]));
            let n = values.len();
            let got = case.run_f32(program(instrs), vec![view(x, &[n]), strided(half, 0, &[n], &[0])], &[n]);
            for (&got, &x) in got.iter().zip(&values) {
                assert!(got == want(x) || got.is_nan() && x.is_nan(), "{x}: {got}");
            }
        }
    }
}

#[test]
fn vectorized_error_functions() {
    let values: Vec<f32> = (-6000..6000).map(|i| i as f32 * 1e-3).chain([1e-20, f32::INFINITY]).collect();
    let n = values.len();
    for (f, want) in [
        (MapFn::Erf, libm::erf as fn(f64) -> f64),
        (MapFn::Gelu, |x| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))),
    ] {
        let mut case = Case::default();
        let x = case.floats(&values);
        let kernel = program(&[(MapOp::Load(0), [0; 3], Kind::F32), (MapOp::Fn(f), [0; 3], Kind::F32)]);
        let got = case.run_f32(kernel, vec![view(x, &[n])], &[n]);
        for (&got, &x) in got.iter().zip(&values) {
            let want = want(f64::from(x)) as f32;
            assert!(
                got == want || (got - want).abs() <= 4e-7 * want.abs().max(1.0),
                "{f:?} {x}: {got}, {want}"
            );
        }
    }
}
