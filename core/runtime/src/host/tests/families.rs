//! Products, windows, reductions, orders and compression, worked out by hand.

use ElementType::*;

use super::*;
use crate::host::RegionNode;

fn unsigned(values: &[i64]) -> NDArray {
    ints(UI32, &[values.len()], values)
}

fn complex(shape: &[usize], values: &[[f64; 2]]) -> NDArray {
    encode(ComplexF32, shape, &Elements::Complex(values.to_vec())).unwrap()
}

fn flag(value: bool) -> NDArray {
    ints(Bool, &[], &[i64::from(value)])
}

/// A region of one op on its two arguments.
fn region(name: &str, inputs: [usize; 2], result: ElementType) -> Region {
    let node = RegionNode {
        name: name.into(),
        attrs: vec![],
        inputs: inputs.to_vec(),
        results: vec![result],
        constant: None,
    };
    Region { nodes: vec![node], result: 2 }
}

fn folded(name: &str, region: &Region, result: ElementType, inputs: &[&NDArray]) -> Result<NDArray, Fault> {
    let call = Call { name, attrs: &[], results: &[result], region: Some(region) };
    eval(&call, inputs).map(|mut r| r.remove(0))
}

#[test]
fn products_of_wide_integers_wrap() {
    let x = ints(SI64, &[1, 2], &[i64::MAX, 3]);
    let y = ints(SI64, &[2, 1], &[2, 1 << 40]);
    let product = one("primitive.batch_matmul_v1", SI64, &[&x, &y]).unwrap();
    assert_eq!(int_values(&product), [(3 << 40) - 2]);
    let x = ints(SI8, &[1, 1], &[100]);
    assert_eq!(int_values(&one("primitive.batch_matmul_v1", SI8, &[&x, &x]).unwrap()), [16]);
}

#[test]
fn products_broadcast_batches_and_multiply_complex_numbers() {
    let x = complex(&[2, 1, 1, 1], &[[1.0, 2.0], [0.0, 1.0]]);
    let y = complex(&[3, 1, 1], &[[3.0, -1.0], [1.0, 0.0], [0.0, 1.0]]);
    let product = one("broadcasting_batch_matmul_v1", ComplexF32, &[&x, &y]).unwrap();
    assert_eq!(product.shape, [2, 3, 1, 1]);
    let expected = [[5.0, 5.0], [1.0, 2.0], [-2.0, 1.0], [1.0, 3.0], [0.0, 1.0], [-1.0, 0.0]];
    assert_eq!(decode(&product).unwrap(), Elements::Complex(expected.to_vec()));
    program_fault(one("primitive.batch_matmul_v1", ComplexF32, &[&x, &y]));
    let empty = ints(SI32, &[2, 0], &[]);
    let turned = ints(SI32, &[0, 2], &[]);
    assert_eq!(int_values(&one("primitive.batch_matmul_v1", SI32, &[&empty, &turned]).unwrap()), [0; 4]);
}

#[test]
fn a_float64_product_is_not_rounded_to_float32() {
    let x = reals(F64, &[1, 2], &[1.0, 1e-12]);
    let y = reals(F64, &[2, 1], &[1.0, 1.0]);
    assert_eq!(real_values(&one("primitive.batch_matmul_v1", F64, &[&x, &y]).unwrap()), [1.0 + 1e-12]);
}

#[test]
fn convolution_steps_groups_and_dilates() {
    let x = reals(F64, &[1, 2, 1, 5], &[1., 2., 3., 4., 5., 10., 20., 30., 40., 50.]);
    let weight = reals(F64, &[2, 1, 1, 2], &[1., 100., 1., -1.]);
    let run = |stride: &[i64], dilation: &[i64], groups: i64| {
        let groups = ints(UI32, &[], &[groups]);
        one("primitive.conv2d_v1", F64, &[&x, &weight, &unsigned(stride), &unsigned(dilation), &groups])
    };
    let out = run(&[1, 2], &[1, 2], 2).unwrap();
    assert_eq!((out.shape.as_slice(), real_values(&out)), (&[1, 2, 1, 2][..], vec![301., 503., -20., -20.]));
    for (stride, dilation, groups) in [
        ([0, 1], [1, 1], 2),
        ([1, 1], [1, 0], 2),
        ([1, 1], [1, 5], 2),
        ([1, 1], [1, 1], 1),
        ([1, 1], [1, 1], 0),
    ] {
        program_fault(run(&stride, &dilation, groups));
    }
    program_fault(run(&[1, 1], &[1, i64::from(u32::MAX)], 2));
}

#[test]
fn transposed_convolution_spreads_and_cuts() {
    let x = reals(F32, &[1, 1, 1, 2], &[1., 10.]);
    let weight = reals(F32, &[1, 1, 1, 3], &[1., 2., 3.]);
    let run = |padding: i64, extra: i64| {
        let one_group = ints(UI32, &[], &[1]);
        let [stride, padding, dilation, extra] =
            [[1, 2], [0, padding], [1, 1], [0, extra]].map(|v| unsigned(&v));
        let inputs = [&x, &weight, &stride, &padding, &dilation, &extra, &one_group];
        one("primitive.conv_transpose2d_v1", F32, &inputs)
    };
    assert_eq!(real_values(&run(0, 0).unwrap()), [1., 2., 13., 20., 30.]);
    assert_eq!(real_values(&run(1, 1).unwrap()), [2., 13., 20., 30.]);
    program_fault(run(3, 0));
    program_fault(run(i64::from(u32::MAX), 0));
    assert!(run(0, i64::from(u32::MAX)).is_err());
}

#[test]
fn pools_clip_windows_and_keep_nan() {
    let x = reals(F32, &[1, 1, 1, 5], &[1., f64::NAN, 3., -2., 7.]);
    let pool = |size: i64, stride: i64, ceil: bool| {
        let [size, stride, dilation] = [[1, size], [1, stride], [1, 1]].map(|v| unsigned(&v));
        one("primitive.max_pool_2d_v1", F32, &[&x, &size, &stride, &dilation, &flag(ceil)])
    };
    let values = real_values(&pool(2, 2, true).unwrap());
    assert!(values[0].is_nan());
    assert_eq!(values[1..], [3., 7.]);
    assert_eq!(real_values(&pool(2, 2, false).unwrap()).len(), 2);
    // the second window would start beyond the end
    program_fault(pool(1, 5, true));
    program_fault(pool(6, 1, true));
    program_fault(pool(1, 0, false));
    let x = ints(UI64, &[1, 1, 1, 2], &[1, -1]);
    let (size, steps) = (unsigned(&[1, 2]), unsigned(&[1, 1]));
    let largest = one("primitive.max_pool_2d_v1", UI64, &[&x, &size, &steps, &steps, &flag(false)]).unwrap();
    assert_eq!(int_values(&largest), [-1]);
    let sum = one("primitive.sum_pool_2d_v1", UI64, &[&x, &size, &steps, &steps]).unwrap();
    assert_eq!(int_values(&sum), [0]);
}

#[test]
fn resampling_clamps_to_the_edges() {
    let x = ints(SI64, &[3], &[1 << 60, 0, -3]);
    let run = |mode: u64, x: &NDArray, to: i64, scale: f64| {
        let inputs = [x, &vector(&[to]), &reals(F32, &[1], &[scale]), &reals(F32, &[1], &[0.0])];
        chosen("primitive.interpolate_v1", "interpolation_mode", mode, x.element, &inputs)
    };
    let near = run(1, &ints(SI64, &[2], &[(1 << 60) + 1, 5]), 4, 2.0).unwrap();
    assert_eq!(int_values(&near), [(1 << 60) + 1, (1 << 60) + 1, 5, 5]);
    let wide = run(0, &x, 6, 2.0).unwrap();
    // −0.75 and −2.25 truncate
    assert_eq!(int_values(&wide), [1 << 60, (1 << 60) / 4 * 3, 1 << 58, 0, -2, -3]);
    assert_eq!(int_values(&run(0, &x, 0, 2.0).unwrap()), [0; 0]);
    program_fault(run(0, &x, -1, 2.0));
    program_fault(run(0, &ints(SI32, &[0], &[]), 2, 2.0));
    // a scale of 0 gives no number
    assert_eq!(int_values(&run(1, &x, 1, 0.0).unwrap()), [-3]);
    assert!(run(0, &x, 1 << 31, 2.0).is_err());
}

#[test]
fn coordinates_sample_points() {
    let x = reals(F32, &[2, 2], &[0., 4., 8., f64::INFINITY]);
    let at = reals(F32, &[4, 2], &[0.5, 0., 0., 0.25, f64::NAN, -1., 9., -9.]);
    let sampled =
        chosen("primitive.interpolate_coordinates_v1", "interpolation_mode", 0, F32, &[&x, &at]).unwrap();
    assert_eq!(real_values(&sampled), [4., 1., 0., 8.]);
}

#[test]
fn empty_reductions_give_the_identity() {
    let axis = vector(&[1]);
    for (name, element, expected) in [
        ("reduce_sum_v1", SI16, 0),
        ("reduce_product_v1", UI8, 1),
        ("reduce_max_v1", SI32, i64::from(i32::MIN)),
        ("reduce_min_v1", UI16, 65535),
        ("reduce_min_v1", UI64, -1),
        ("reduce_max_v1", SI64, i64::MIN),
    ] {
        let x = ints(element, &[1, 0], &[]);
        assert_eq!(int_values(&one(name, element, &[&x, &axis]).unwrap()), [expected], "{name} {element}");
    }
    let x = reals(F32, &[1, 0], &[]);
    assert_eq!(real_values(&one("reduce_max_v1", F32, &[&x, &axis]).unwrap()), [f64::NEG_INFINITY]);
    assert!(real_values(&one("reduce_mean_v1", F32, &[&x, &axis]).unwrap())[0].is_nan());
    let x = ints(Bool, &[1, 0], &[]);
    assert_eq!(int_values(&one("all_v1", Bool, &[&x, &axis]).unwrap()), [1]);
    assert_eq!(int_values(&one("any_v1", Bool, &[&x, &axis]).unwrap()), [0]);
    let wide = NDArray::new(F32, vec![1 << 40, 0], vec![]).unwrap();
    program_fault(one("reduce_sum_v1", F32, &[&wide, &axis]));
}

#[test]
fn reductions_keep_dims_and_unsigned_order() {
    let x = ints(UI64, &[2, 2, 2], &[1, -1, 3, 4, 5, 6, i64::MIN, 8]);
    let both = vector(&[0, -1]);
    let largest = one("reduce_max_v1", UI64, &[&x, &both]).unwrap();
    assert_eq!((largest.shape.as_slice(), int_values(&largest)), (&[1, 2, 1][..], vec![-1, i64::MIN]));
    let sum = one("reduce_sum_v1", UI64, &[&x, &both]).unwrap();
    assert_eq!(int_values(&sum), [11, i64::MIN + 15]);
    program_fault(one("reduce_sum_v1", UI64, &[&x, &vector(&[1, -2])]));
    let whole = one("reduce_sum_v1", UI64, &[&x, &vector(&[])]).unwrap();
    assert_eq!((whole.shape.as_slice(), int_values(&whole)), (&[1, 1, 1][..], vec![i64::MIN + 26]));
    let x = reals(F16, &[4], &[60000., 60000., -60000., 1.]);
    // the sum passes the type's greatest value on the way
    assert_eq!(real_values(&one("reduce_sum_v1", F16, &[&x, &vector(&[0])]).unwrap()), [60000.]);
}

#[test]
fn scans_run_both_ways_and_skip_nan_for_bounds() {
    let scan = |x: &NDArray, combiner: u64, reverse: bool| {
        let inputs = [x, &ints(UI32, &[], &[0]), &flag(reverse)];
        chosen("primitive.scan_v1", "combiner", combiner, x.element, &inputs).unwrap()
    };
    let x = ints(SI64, &[3], &[i64::MAX, 1, 2]);
    assert_eq!(int_values(&scan(&x, 0, false)), [i64::MAX, i64::MIN, i64::MIN + 2]);
    assert_eq!(int_values(&scan(&x, 1, true)), [-2, 2, 2]);
    let x = reals(F32, &[3], &[f64::NAN, 2., 1.]);
    assert_eq!(real_values(&scan(&x, 2, false)), [f64::INFINITY, 2., 1.]);
    assert_eq!(real_values(&scan(&x, 3, true)), [2., 2., 1.]);
    assert_eq!(int_values(&scan(&ints(UI64, &[2], &[-1, 1]), 2, false)), [-1, 1]);
}

#[test]
fn regions_fold_in_order() {
    let x = ints(SI32, &[2, 3], &[1, 2, 3, 10, 20, 30]);
    let take = region("primitive.sub_v1", [1, 0], SI32);
    let init = scalar(5);
    let out = folded("primitive.reduce_v1", &take, SI32, &[&x, &vector(&[1]), &init]).unwrap();
    // 3 − (2 − (1 − 5))
    assert_eq!((out.shape.as_slice(), int_values(&out)), (&[2, 1][..], vec![-3, 15]));
    let out = folded("primitive.reduce_v1", &take, SI32, &[&x, &vector(&[0, 1]), &init]).unwrap();
    assert_eq!(int_values(&out), [30 - (20 - (10 - (3 - (2 - (1 - 5)))))]);
    program_fault(folded("primitive.reduce_v1", &take, SI32, &[&x, &vector(&[2]), &init]));
    program_fault(one("primitive.reduce_v1", SI32, &[&x, &vector(&[1]), &init]));
}

#[test]
fn the_winner_is_the_last_one_the_region_prefers() {
    let x = ints(SI32, &[2, 4], &[3, 9, 9, 1, -5, -6, -7, -7]);
    let greater = region("primitive.greater_v1", [1, 0], Bool);
    let run = |axis: i64| {
        let inputs = [&x, &scalar(axis), &scalar(-6), &ints(UI32, &[], &[77])];
        folded("primitive.reduce_index_v1", &greater, UI32, &inputs)
    };
    assert_eq!(int_values(&run(1).unwrap()), [1, 0]);
    assert_eq!(int_values(&run(0).unwrap()), [0; 4]);
    let inputs = [&x, &scalar(1), &scalar(10), &ints(UI32, &[], &[77])];
    let none = folded("primitive.reduce_index_v1", &greater, UI32, &inputs).unwrap();
    assert_eq!(int_values(&none), [77, 77]);
    program_fault(run(2));
}

#[test]
fn nan_never_wins_and_sorts_last() {
    let nan = f64::NAN;
    let x = reals(F64, &[2, 3], &[1., nan, 3., nan, f64::NEG_INFINITY, nan]);
    let largest = one("argmax_v1", UI32, &[&x, &scalar(-1)]).unwrap();
    assert_eq!(int_values(&largest), [2, 0]);
    let x = reals(F32, &[5], &[2., nan, -0.0, 0.0, 3.]);
    for (descending, places) in [(false, [2, 3, 0, 4, 1]), (true, [4, 0, 2, 3, 1])] {
        let inputs = [&x, &scalar(0), &flag(descending), &flag(true)];
        assert_eq!(int_values(&one("primitive.argsort_v1", SI32, &inputs).unwrap()), places);
        let values = real_values(&one("sort_v1", F32, &inputs).unwrap());
        assert!(values[4].is_nan());
        let signs: Vec<bool> = values.iter().filter(|v| **v == 0.0).map(|v| v.is_sign_negative()).collect();
        assert_eq!(signs, [true, false]);
    }
    let x = ints(UI64, &[3], &[-1, 1, i64::MIN]);
    let inputs = [&x, &scalar(0), &flag(false), &flag(false)];
    assert_eq!(int_values(&one("sort_v1", UI64, &inputs).unwrap()), [1, i64::MIN, -1]);
    assert_eq!(int_values(&one("argmax_v1", UI32, &[&x, &scalar(0)]).unwrap()), [0]);
}

#[test]
fn shifts_and_scales_hold_for_blocks() {
    let data = ints(SI4, &[2, 4], &[-8, 7, 0, 1, 2, 3, 4, 5]);
    let scale = reals(F16, &[1, 2], &[0.5, 2.0]);
    let zero = ints(SI4, &[1, 2], &[-8, 1]);
    let bias = reals(F16, &[1, 2], &[100.0, 0.0]);
    let name = "primitive.blockwise_shift_scale_v2";
    let out = one(name, F16, &[&data, &scale, &zero, &bias]).unwrap();
    assert_eq!(real_values(&out), [100., 107.5, -2., 0., 105., 105.5, 6., 8.]);
    let plain = one("primitive.blockwise_shift_scale_v1", F16, &[&data, &scale, &zero]).unwrap();
    assert_eq!(real_values(&plain)[..2], [0., 7.5]);
    let (half, none) = (reals(F16, &[], &[0.5]), ints(SI4, &[], &[0]));
    let whole = one(name, F16, &[&data, &half, &none, &reals(F16, &[], &[0.0])]).unwrap();
    assert_eq!(real_values(&whole)[..2], [-4., 3.5]);
    let mask = ints(UI1, &[2, 4], &[1, 0, 1, 1, 0, 0, 0, 1]);
    let name = "primitive.sparse_with_bitmask_blockwise_shift_scale_v1";
    let sparse = one(name, F16, &[&data, &scale, &zero, &mask]).unwrap();
    assert_eq!(real_values(&sparse), [0., 0., -2., 0., 0., 0., 0., 8.]);
    let uneven = reals(F16, &[1, 3], &[1., 1., 1.]);
    let zeros = ints(SI4, &[1, 3], &[0, 0, 0]);
    program_fault(one("primitive.blockwise_shift_scale_v1", F16, &[&data, &uneven, &zeros]));
}

#[test]
fn palettes_give_vectors_along_the_axis() {
    let indices = ints(UI1, &[2, 2], &[0, 1, 1, 0]);
    // (1, 2 blocks, 2 entries, 2 values)
    let lut = ints(SI16, &[1, 2, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8]);
    let run =
        |axis: i64| one("primitive.lut_to_dense_v1", SI16, &[&indices, &lut, &ints(SI16, &[], &[axis])]);
    let tall = run(0).unwrap();
    assert_eq!((tall.shape.as_slice(), int_values(&tall)), (&[4, 2][..], vec![1, 7, 2, 8, 3, 5, 4, 6]));
    assert_eq!(int_values(&run(-1).unwrap()), [1, 2, 7, 8, 3, 4, 5, 6]);
    program_fault(run(2));
    let mask = ints(UI1, &[2, 2], &[1, 0, 1, 1]);
    let axis = ints(SI16, &[], &[0]);
    let name = "primitive.lut_to_sparse_with_bitmask_v1";
    let sparse = one(name, SI16, &[&indices, &lut, &axis, &mask]).unwrap();
    assert_eq!(int_values(&sparse), [1, 0, 2, 0, 3, 5, 4, 6]);
    let wrong = ints(UI8, &[2, 2], &[0, 1, 2, 0]);
    let fault = one("primitive.lut_to_dense_v1", SI16, &[&wrong, &lut, &axis]);
    assert_eq!(fault, Err(Fault::Index { index: 2, extent: 2 }));
}

#[test]
fn masks_place_stored_values() {
    let mask = ints(UI1, &[2, 3], &[0, 1, 0, 1, 0, 1]);
    let name = "primitive.build_sparse_with_bitmask_v1";
    let built = one(name, UI3, &[&ints(UI3, &[3], &[5, 6, 7]), &mask]).unwrap();
    assert_eq!(int_values(&built), [0, 5, 0, 6, 0, 7]);
    assert_eq!(one("primitive.sparse_with_bitmask_to_dense_v1", UI3, &[&built]).unwrap(), built);
    program_fault(one(name, UI3, &[&ints(UI3, &[2], &[5, 6]), &mask]));
}

#[test]
fn quantization_rounds_half_to_even_and_clips() {
    let x = reals(F32, &[2, 4], &[0.5, 1.5, -2.5, 1e9, 1., 3., f64::NAN, f64::NEG_INFINITY]);
    let (scale, zero) = (reals(F32, &[2], &[1.0, 2.0]), ints(SI4, &[2], &[0, -3]));
    let bias = reals(F32, &[2], &[0.0, 0.0]);
    let axis = scalar(0);
    let q = one("quantize_v2", SI4, &[&x, &scale, &zero, &bias, &axis]).unwrap();
    assert_eq!(int_values(&q), [0, 2, -2, 7, -3, -1, 0, -8]);
    assert_eq!(one("quantize_v1", SI4, &[&x, &scale, &zero, &axis]).unwrap(), q);
    let back =
        one("dequantize_v2", F32, &[&q, &scale, &zero, &reals(F32, &[2], &[0.25, 0.0]), &axis]).unwrap();
    assert_eq!(real_values(&back), [0.25, 2.25, -1.75, 7.25, 0., 4., 6., -10.]);
    program_fault(one("dequantize_v1", F32, &[&q, &scale, &zero, &scalar(1)]));
    let x = reals(F32, &[3], &[0.3, 500.0, -1e9]);
    let (scale, zero, all) = (reals(F32, &[], &[1.0]), reals(F8E4M3FN, &[], &[0.0]), vector(&[0]));
    let q = one("quantize_v1", F8E4M3FN, &[&x, &scale, &zero, &all]).unwrap();
    assert_eq!(real_values(&q), [0.3125, 448.0, -448.0]);
}

#[test]
fn statistics_cover_the_channel_and_zero() {
    let x = reals(F32, &[2, 2], &[-100., 4., 100., 8.]);
    let range = ints(SI8, &[2], &[-128, 127]);
    let scale = one("symmetric_quantization_statistics_v1", F32, &[&x, &range, &scalar(1)]).unwrap();
    assert_eq!(real_values(&scale), [200. / 255., 16. / 255.].map(|v| f64::from(v as f32)));
    let both = all("asymmetric_quantization_statistics_v1", &[F32, SI8], &[&x, &range, &scalar(1)]).unwrap();
    assert_eq!(real_values(&both[0]), [200. / 255., 8. / 255.].map(|v| f64::from(v as f32)));
    assert_eq!(int_values(&both[1]), [0, -128]);
    let back = ints(SI8, &[2], &[127, -128]);
    assert!(all("asymmetric_quantization_statistics_v1", &[F32, SI8], &[&x, &back, &scalar(1)]).is_ok());
}
