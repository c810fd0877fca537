use super::*;
use crate::step::PadMode;

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn gather_nd_rows_and_elements() {
    let mut case = Case::default();
    let x = case.floats(&(0..24).map(|x| x as f32).collect::<Vec<_>>());
    let (rows, points) = (case.ints(&[2, -1, 0]), case.ints(&[1, 2, -2, 0]));
    let got = case.run_f32(Kernel::GatherNd, vec![view(x, &[4, 2, 3]), view(rows, &[3, 1])], &[3, 2, 3]);
    let want: Vec<f32> = [12, 18, 0].iter().flat_map(|&s| (s..s + 6).map(|x| x as f32)).collect();
    assert_eq!(got, want);
    // From a transposed view [2, 4, 3] by two indices.
    let turned = strided(x, 0, &[2, 4, 3], &[3, 6, 1]);
    let got = case.run_f32(Kernel::GatherNd, vec![turned, view(points, &[2, 2])], &[2, 3]);
    assert_eq!(got, [15.0, 16.0, 17.0, 0.0, 1.0, 2.0]);
    for bad in [4, -5, i32::MIN] {
        let index = case.ints(&[0, bad]);
        let error = case
            .run(Kernel::GatherNd, vec![view(x, &[4, 6]), view(index, &[2, 1])], &[2, 6], Kind::F32)
            .unwrap_err();
        assert!(matches!(error, Error::IndexOutOfRange { index, extent: 4, .. } if index == i64::from(bad)));
    }
}

#[test]
fn gather_nd_from_a_compressed_table() {
    let mut case = Case::default();
    let scheme = Scheme {
        code: ElementType::SI4,
        meaning: &Meaning::Plain,
        bits: 4,
        dims: &[10, 64],
        blocks: &[1, 32],
        scale: ElementType::F16,
        zero: false,
        min: false,
        unpacked: false,
        splat_scale: false,
        splat_min: false,
    };
    let weight = case.weight(&scheme, 3);
    let index = case.ints(&[7, 0]);
    let reads = vec![view(weight.buffer, &[10, 64]), view(index, &[2, 1])];
    let got = case.run_f32(Kernel::GatherNd, reads, &[2, 64]);
    assert_eq!(got[..64], weight.values[7 * 64..8 * 64]);
    assert_eq!(got[64..], weight.values[..64]);
}

#[test]
fn gather_along_each_axis() {
    let mut case = Case::default();
    let x = case.floats(&(0..12).map(|x| x as f32).collect::<Vec<_>>());
    let index = case.ints(&[0, -1, 1, 2, 2, 0]);
    let got =
        case.run_f32(Kernel::GatherAlong { axis: 0 }, vec![view(x, &[3, 4]), view(index, &[2, 3])], &[2, 3]);
    assert_eq!(got, [0.0, 9.0, 6.0, 8.0, 9.0, 2.0]);
    let got =
        case.run_f32(Kernel::GatherAlong { axis: 1 }, vec![view(x, &[3, 4]), view(index, &[2, 3])], &[2, 3]);
    assert_eq!(got, [0.0, 3.0, 1.0, 6.0, 6.0, 4.0]);
    let index = case.ints(&[4]);
    let reads = vec![view(x, &[3, 4]), view(index, &[1, 1])];
    assert!(case.run(Kernel::GatherAlong { axis: 1 }, reads, &[1, 1], Kind::F32).is_err());
}

#[test]
fn padding_modes() {
    let pad = |mode, n: usize, before: usize, after: usize| {
        let mut case = Case::default();
        let x = case.floats(&(1..=n).map(|x| x as f32).collect::<Vec<_>>());
        let kernel = Kernel::Pad { mode, before: vec![before.into()], value: (-1f32).to_bits() };
        case.run_f32(kernel, vec![view(x, &[n])], &[before + n + after])
    };
    assert_eq!(pad(PadMode::Constant, 3, 2, 1), [-1.0, -1.0, 1.0, 2.0, 3.0, -1.0]);
    assert_eq!(pad(PadMode::Reflect, 3, 2, 2), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0]);
    assert_eq!(pad(PadMode::Symmetric, 3, 2, 2), [2.0, 1.0, 1.0, 2.0, 3.0, 3.0, 2.0]);
    assert_eq!(pad(PadMode::Replicate, 2, 2, 1), [1.0, 1.0, 1.0, 2.0, 2.0]);
    assert_eq!(pad(PadMode::Circular, 3, 4, 1), [3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0]);
    assert_eq!(pad(PadMode::Reflect, 1, 1, 1), [1.0, 1.0, 1.0]);
}

#[test]
fn padding_two_axes_of_a_transposed_view() {
    let mut case = Case::default();
    let x = case.floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let turned = strided(x, 0, &[3, 2], &[1, 3]);
    for (mode, want) in [
        (PadMode::Constant, [0.0, 0.0, 0.0, 1.0, 4.0, 0.0, 2.0, 5.0, 0.0, 3.0, 6.0, 0.0]),
        (PadMode::Replicate, [1.0, 4.0, 4.0, 1.0, 4.0, 4.0, 2.0, 5.0, 5.0, 3.0, 6.0, 6.0]),
    ] {
        let kernel = Kernel::Pad { mode, before: vec![Expr::one(), Expr::zero()], value: 0 };
        assert_eq!(case.run_f32(kernel, vec![turned.clone()], &[4, 3]), want);
    }
    let kernel =
        Kernel::Pad { mode: PadMode::Constant, before: vec![Expr::from(3i64), Expr::zero()], value: 0 };
    assert!(case.run(kernel, vec![turned], &[4, 3], Kind::F32).is_err());
}

#[test]
fn sorting_is_stable_with_nan_last() {
    let nan = f32::NAN;
    let sort = |descending, indices| {
        let mut case = Case::default();
        let x = case.floats(&[2.0, nan, -1.0, 2.0, f32::INFINITY, 1.0, 1.0, nan, 0.0, nan]);
        let kind = if indices { Kind::I32 } else { Kind::F32 };
        case.run(Kernel::Sort { descending, indices }, vec![view(x, &[2, 5])], &[2, 5], kind).unwrap()
    };
    assert_eq!(sort(false, true), [2, 0, 3, 4, 1, 3, 0, 1, 2, 4]);
    assert_eq!(sort(true, true), [4, 0, 3, 2, 1, 0, 1, 3, 2, 4]);
    let values = sort(true, false);
    assert_eq!(values[..4], bits(&[f32::INFINITY, 2.0, 2.0, -1.0]));
    assert!(f32::from_bits(values[4]).is_nan());
    let mut case = Case::default();
    let x = case.ints(&[3, -5, 7]);
    let kernel = Kernel::Sort { descending: true, indices: false };
    assert_eq!(case.run(kernel, vec![view(x, &[3])], &[3], Kind::I32).unwrap(), [7, 3, -5i32 as u32]);
}

#[test]
fn linear_and_nearest_resampling() {
    let mut case = Case::default();
    let x = case.floats(&[1.0, 2.0, 3.0, 4.0]);
    let (twice, half, none) = (case.floats(&[2.0; 2]), case.floats(&[0.5]), case.floats(&[0.0; 2]));
    let reads = vec![view(x, &[2, 2]), view(twice, &[2]), view(none, &[2])];
    let resize = |nearest| Kernel::Resize { nearest, sampled: vec![true; 2] };
    let got = case.run_f32(resize(false), reads.clone(), &[4, 4]);
    let want = [1.0, 1.25, 1.75, 2.0, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3.0, 3.25, 3.75, 4.0];
    assert_close(&got, &want, 1e-6);
    // Coordinates −0.25, 0.25, 0.75, 1.25: nearest 0, 0, 1, 1.
    let got = case.run_f32(resize(true), reads, &[4, 4]);
    assert_eq!(got, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 3.0, 3.0, 4.0, 4.0]);
    // Coordinate 0.5 is a tie and goes to the even neighbour 0; 2.5 goes to 2.
    let reads = vec![view(x, &[4]), view(half, &[1]), view(none, &[1])];
    let got = case.run_f32(Kernel::Resize { nearest: true, sampled: vec![true] }, reads, &[2]);
    assert_eq!(got, [1.0, 3.0]);
}

/// Values recorded from Apple's CPU runtime.
#[test]
fn scatter_modes() {
    use crate::step::ScatterMode::*;
    let nan = f32::NAN;
    for (mode, want, others) in [
        (Update, [nan, 0.0, 3.0, 3.0], [1.0, 7.0, 0.0, 4.0]),
        (Add, [nan, 2.0, 3.0, 7.0], [1.0, nan, 0.0, 4.0]),
        (Sub, [nan, 2.0, 3.0, 1.0], [1.0, nan, -0.0, 4.0]),
        (Mul, [nan, 0.0, 3.0, 12.0], [1.0, nan, -0.0, 4.0]),
        (Div, [nan, f32::INFINITY, 3.0, 4.0 / 3.0], [1.0, nan, nan, 4.0]),
        (Max, [1.0, 2.0, 3.0, 4.0], [1.0, nan, 0.0, 4.0]),
        (Min, [0.5, 0.0, 3.0, 3.0], [1.0, nan, -0.0, 4.0]),
    ] {
        for (x, index, updates, want) in [
            ([1.0, 2.0, 3.0, 4.0], [0, 0, -1, 1], [0.5, nan, 3.0, 0.0], want),
            ([1.0, nan, -0.0, 4.0], [1, 1, 2, 1], [5.0, nan, 0.0, 7.0], others),
        ] {
            let mut case = Case::default();
            let (x, updates, index) = (case.floats(&x), case.floats(&updates), case.ints(&index));
            let reads = vec![view(x, &[4]), view(index, &[4]), view(updates, &[4])];
            let got = case.run_f32(Kernel::ScatterAlong { axis: 0, mode }, reads, &[4]);
            for (got, want) in got.iter().zip(want) {
                assert!(
                    got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                    "{mode:?} {got} {want}"
                );
            }
        }
    }
    for (mode, want) in [(Update, 0b0011), (Add, 0b0111), (Sub, 0b0110), (Mul, 0b0000), (Max, 0b0111)] {
        let mut case = Case::default();
        let x = case.words(Kind::Bool, vec![1, 0, 1, 0]);
        let updates = case.words(Kind::Bool, vec![0, 1, 1, 0]);
        let index = case.ints(&[0, 0, 1, 2]);
        let reads = vec![view(x, &[4]), view(index, &[4]), view(updates, &[4])];
        let got = case.run(Kernel::ScatterAlong { axis: 0, mode }, reads, &[4], Kind::Bool).unwrap();
        assert_eq!(got.iter().rev().fold(0, |bits, b| bits << 1 | b), want, "{mode:?}");
    }
}

#[test]
fn scatter_nd_keeps_the_last() {
    let mut case = Case::default();
    let x = case.floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let updates = case.floats(&[10.0, 11.0, 20.0, 21.0, 30.0, 31.0]);
    let index = case.ints(&[0, -1, 0]);
    let reads = |index| vec![view(x, &[3, 2]), view(index, &[3, 1]), view(updates, &[3, 2])];
    assert_eq!(case.run_f32(Kernel::ScatterNd, reads(index), &[3, 2]), [30.0, 31.0, 2.0, 3.0, 20.0, 21.0]);
    let index = case.ints(&[0, 3, 0]);
    let error = case.run(Kernel::ScatterNd, reads(index), &[3, 2], Kind::F32).unwrap_err();
    assert!(matches!(error, Error::IndexOutOfRange { index: 3, extent: 3, .. }));
}

/// Values recorded from Apple's CPU runtime.
#[test]
fn resampling() {
    let mut case = Case::default();
    let (scale, offset) = (case.floats(&[2.0]), case.floats(&[0.0]));
    let x = case.ints(&[-5, 2, 9, 1]);
    let reads = vec![view(x, &[4]), view(scale, &[1]), view(offset, &[1])];
    let kernel = |nearest| Kernel::Resize { nearest, sampled: vec![true] };
    let got = case.run(kernel(false), reads.clone(), &[8], Kind::I32).unwrap();
    assert_eq!(got.iter().map(|x| *x as i32).collect::<Vec<_>>(), [-5, -3, 0, 3, 7, 7, 3, 1]);
    let got = case.run(kernel(true), reads, &[8], Kind::I32).unwrap();
    assert_eq!(got.iter().map(|x| *x as i32).collect::<Vec<_>>(), [-5, -5, 2, 2, 9, 9, 1, 1]);
    let x = case.floats(&[-5.0, 2.0, 9.0, 1.0]);
    let points = case.floats(&[-1.0, 0.0, 0.25, 0.5, 1.0, 1.5, 2.5, 3.0, 7.0, 3.5, f32::NAN, f32::INFINITY]);
    let reads = vec![view(x, &[4]), view(points, &[12, 1])];
    let got = case.run_f32(Kernel::Sample { nearest: false }, reads.clone(), &[12]);
    assert_eq!(got, [-5.0, -5.0, -3.25, -1.5, 2.0, 5.5, 5.0, 1.0, 1.0, 1.0, -5.0, 1.0]);
    let got = case.run_f32(Kernel::Sample { nearest: true }, reads, &[12]);
    assert_eq!(got, [-5.0, -5.0, -5.0, -5.0, 2.0, 9.0, 9.0, 1.0, 1.0, 1.0, -5.0, 1.0]);
}
