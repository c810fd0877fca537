use coreai_asset::ElementType::*;

use super::*;

fn grid() -> NDArray {
    ints(SI64, &[2, 3], &[0, 1, 2, 3, 4, 5])
}

#[test]
fn gathers_along_an_axis() {
    let op = |index: &NDArray, axis: i64| {
        one("primitive.gather_along_axis_v1", SI64, &[&grid(), index, &scalar(axis)])
    };
    let got = op(&ints(SI32, &[2, 2], &[-1, 0, 1, -3]), 1).unwrap();
    assert_eq!((got.shape.as_slice(), int_values(&got)), (&[2, 2][..], vec![2, 0, 4, 3]));
    assert_eq!(int_values(&op(&ints(SI16, &[1, 3], &[1, 0, -1]), 0).unwrap()), [3, 1, 5]);
    let beyond = op(&ints(SI32, &[1, 1], &[3]), 1);
    assert_eq!(beyond, Err(Fault::Index { index: 3, extent: 3 }));
    assert_eq!(op(&ints(SI32, &[1, 1], &[-4]), -1), Err(Fault::Index { index: -4, extent: 3 }));
    program_fault(op(&ints(SI32, &[3, 1], &[0, 0, 0]), 1));
    program_fault(op(&ints(SI32, &[1], &[0]), 1));
}

#[test]
fn gathers_blocks() {
    let op = |index: &NDArray| one("primitive.gather_nd_v1", SI64, &[&grid(), index]);
    let rows = op(&ints(SI32, &[2, 1, 1], &[1, -2])).unwrap();
    assert_eq!((rows.shape.as_slice(), int_values(&rows)), (&[2, 1, 3][..], vec![3, 4, 5, 0, 1, 2]));
    assert_eq!(int_values(&op(&ints(SI32, &[2, 2], &[1, 1, 0, -1])).unwrap()), [4, 2]);
    assert_eq!(op(&ints(SI32, &[1], &[2])), Err(Fault::Index { index: 2, extent: 2 }));
    assert_eq!(op(&ints(SI32, &[1, 0], &[])).unwrap().shape, [1, 2, 3]);
    program_fault(op(&ints(SI32, &[1, 3], &[0, 0, 0])));
    program_fault(op(&ints(SI32, &[], &[0])));
    // Rows without numbers name the whole tensor; more than fits is refused, none at all is quick.
    program_fault(op(&NDArray::new(SI32, vec![1 << 40, 0], vec![]).unwrap()));
    let nothing = NDArray::new(SI64, vec![0, 3], vec![]).unwrap();
    let many = NDArray::new(SI32, vec![1 << 40, 0], vec![]).unwrap();
    assert_eq!(one("primitive.gather_nd_v1", SI64, &[&nothing, &many]).unwrap().shape, [1 << 40, 0, 3]);
}

#[test]
fn scatters_in_order() {
    let index = ints(SI32, &[2, 2], &[1, 1, -3, 0]);
    let new = ints(SI64, &[2, 2], &[10, 20, 30, 40]);
    let op = |mode| {
        let inputs = [&grid(), &index, &new, &scalar(1)];
        int_values(&chosen("primitive.scatter_along_axis_v1", "scatter_mode", mode, SI64, &inputs).unwrap())
    };
    assert_eq!(op(0), [0, 20, 2, 40, 4, 5]);
    assert_eq!(op(1), [0, 31, 2, 73, 4, 5]);
    assert_eq!(op(2), [0, -29, 2, -67, 4, 5]);
    assert_eq!(op(3), [0, 200, 2, 3600, 4, 5]);
    assert_eq!(op(4), [0, 0, 2, 0, 4, 5]);
    assert_eq!(op(5), [0, 20, 2, 40, 4, 5]);
    assert_eq!(op(6), [0, 1, 2, 3, 4, 5]);
    let bad = [&grid(), &ints(SI32, &[1, 1], &[7]), &ints(SI64, &[1, 1], &[1]), &scalar(1)];
    let fault = chosen("primitive.scatter_along_axis_v1", "scatter_mode", 1, SI64, &bad);
    assert_eq!(fault, Err(Fault::Index { index: 7, extent: 3 }));
}

#[test]
fn narrow_sums_wrap_and_round_each_time() {
    let index = ints(SI32, &[2], &[0, 0]);
    let x = ints(SI8, &[1], &[100]);
    let inputs = [&x, &index, &ints(SI8, &[2], &[100, 100]), &scalar(0)];
    let sum = chosen("primitive.scatter_along_axis_v1", "scatter_mode", 1, SI8, &inputs).unwrap();
    assert_eq!(int_values(&sum), [44]);
    // 2048 + 1 is a tie in float16; twice it stays.
    let inputs = [&reals(F16, &[1], &[2048.0]), &index, &reals(F16, &[2], &[1.0, 1.0]), &scalar(0)];
    let sum = chosen("primitive.scatter_along_axis_v1", "scatter_mode", 1, F16, &inputs).unwrap();
    assert_eq!(real_values(&sum), [2048.0]);
}

#[test]
fn scatters_blocks() {
    let op = |index: &NDArray, new: &NDArray| one("primitive.scatter_nd_v1", SI64, &[&grid(), index, new]);
    let rows = ints(SI64, &[2, 3], &[7, 7, 7, 8, 8, 8]);
    assert_eq!(int_values(&op(&ints(SI32, &[2, 1], &[1, -1]), &rows).unwrap()), [0, 1, 2, 8, 8, 8]);
    assert_eq!(op(&ints(SI32, &[2, 1], &[1, 2]), &rows), Err(Fault::Index { index: 2, extent: 2 }));
    program_fault(op(&ints(SI32, &[1, 1], &[1]), &rows));
}

#[test]
fn finds_what_is_not_zero() {
    let x = reals(F64, &[2, 3], &[0.0, f64::NAN, -0.0, 2.0, 0.0, -1.0]);
    let found = one("primitive.non_zero_v1", SI16, &[&x]).unwrap();
    assert_eq!((found.shape.as_slice(), int_values(&found)), (&[3, 2][..], vec![0, 1, 1, 0, 1, 2]));
    let none = one("primitive.non_zero_v1", SI32, &[&ints(SI64, &[2], &[0, 0])]).unwrap();
    assert_eq!(none.shape, [0, 1]);
}

#[test]
fn ranges() {
    let op = |element, values: [i64; 3]| {
        let [a, b, s] = values.map(|v| ints(element, &[], &[v]));
        one("primitive.range_v1", element, &[&a, &b, &s])
    };
    assert_eq!(int_values(&op(SI32, [0, 7, 3]).unwrap()), [0, 3, 6]);
    assert_eq!(int_values(&op(SI64, [5, -4, -3]).unwrap()), [5, 2, -1]);
    assert_eq!(int_values(&op(UI64, [-3, -1, 1]).unwrap()), [-3, -2]);
    assert_eq!(int_values(&op(SI64, [3, 1, 1]).unwrap()), [0i64; 0]);
    program_fault(op(SI64, [0, 1, 0]));
    program_fault(op(SI64, [i64::MIN, i64::MAX, 1]));
    let float = |values: [f64; 3]| {
        let [a, b, s] = values.map(|v| reals(F64, &[], &[v]));
        one("primitive.range_v1", F64, &[&a, &b, &s])
    };
    assert_eq!(real_values(&float([1.0, 2.0, 0.25]).unwrap()), [1.0, 1.25, 1.5, 1.75]);
    program_fault(float([0.0, f64::INFINITY, 1.0]));
    program_fault(float([0.0, 1.0, f64::NAN]));
    program_fault(float([0.0, 1e300, 1.0]));
}
