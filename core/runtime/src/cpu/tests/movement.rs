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
        bits: 4,
        dims: &[10, 64],
        blocks: &[1, 32],
        scale: ElementType::F16,
        zero: false,
        min: false,
        unpacked: false,
        splat_scale: false,
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
    let resize =
        |nearest, scale: f32| Kernel::Resize { nearest, scale: vec![scale; 2], offset: vec![0.0; 2] };
    let got = case.run_f32(resize(false, 2.0), vec![view(x, &[2, 2])], &[4, 4]);
    let want = [1.0, 1.25, 1.75, 2.0, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3.0, 3.25, 3.75, 4.0];
    assert_close(&got, &want, 1e-6);
    // Coordinates −0.25, 0.25, 0.75, 1.25: nearest 0, 0, 1, 1.
    let got = case.run_f32(resize(true, 2.0), vec![view(x, &[2, 2])], &[4, 4]);
    assert_eq!(got, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 3.0, 3.0, 4.0, 4.0]);
    // Coordinate 0.5 is a tie and goes to the even neighbour 0; 2.5 goes to 2.
    let got = case.run_f32(
        Kernel::Resize { nearest: true, scale: vec![0.5], offset: vec![0.0] },
        vec![view(x, &[4])],
        &[2],
    );
    assert_eq!(got, [1.0, 3.0]);
}
