use coreai_asset::ElementType::*;

use super::*;
use crate::host::MAX_RESULT_BYTES;

fn grid() -> NDArray {
    ints(SI64, &[2, 3], &[0, 1, 2, 3, 4, 5])
}

fn shape_and_values(array: &NDArray) -> (Vec<usize>, Vec<i64>) {
    (array.shape.clone(), int_values(array))
}

#[test]
fn reshapes_infer_one_extent() {
    let x = grid();
    let op = |shape: &[i64]| one("primitive.reshape_v2", SI64, &[&x, &vector(shape)]);
    assert_eq!(op(&[-1, 2]).unwrap().shape, [3, 2]);
    assert_eq!(op(&[3, 2]).unwrap().data, x.data);
    for wrong in [
        &[-1, 4][..],
        &[-1, -1],
        &[4],
        &[-2, -3],
        &[-1, 0],
        &[i32::MAX.into(), i32::MAX.into(), i32::MAX.into()],
    ] {
        program_fault(op(wrong));
    }
    let scalar = one("primitive.reshape_v1", SI64, &[&ints(SI64, &[1], &[7]), &vector(&[])]).unwrap();
    assert_eq!(shape_and_values(&scalar), (vec![], vec![7]));
}

#[test]
fn axes_come_and_go() {
    let x = grid();
    let wide = one("primitive.expand_dims_v1", SI64, &[&x, &vector(&[-1, 0])]).unwrap();
    assert_eq!(wide.shape, [1, 2, 3, 1]);
    let narrow = one("primitive.shrink_dims_v1", SI64, &[&wide, &vector(&[0, -1])]).unwrap();
    assert_eq!(narrow, x);
    program_fault(one("primitive.shrink_dims_v1", SI64, &[&x, &vector(&[0])]));
    program_fault(one("primitive.expand_dims_v1", SI64, &[&x, &vector(&[0, 0])]));
    program_fault(one("primitive.expand_dims_v1", SI64, &[&x, &vector(&[3])]));
}

#[test]
fn transposes() {
    let x = grid();
    let turned = one("primitive.transpose_v1", SI64, &[&x, &vector(&[1, 0])]).unwrap();
    assert_eq!(shape_and_values(&turned), (vec![3, 2], vec![0, 3, 1, 4, 2, 5]));
    for wrong in [&[0, 0][..], &[0], &[0, 2]] {
        program_fault(one("primitive.transpose_v1", SI64, &[&x, &vector(wrong)]));
    }
}

#[test]
fn broadcasts_to_shapes() {
    let column = ints(UI4, &[2, 1], &[9, 15]);
    let op = |shape: &[i64]| one("primitive.broadcast_to_v1", UI4, &[&column, &vector(shape)]);
    assert_eq!(shape_and_values(&op(&[2, 2, 2]).unwrap()), (vec![2, 2, 2], vec![9, 9, 15, 15, 9, 9, 15, 15]));
    program_fault(op(&[3, 2]));
    program_fault(op(&[2]));
    program_fault(op(&[MAX_RESULT_BYTES as i64 >> 1, 2, 2]));
    let in_dims =
        one("primitive.broadcast_in_dims_v1", UI4, &[&column, &vector(&[3]), &vector(&[-1])]).unwrap();
    assert_eq!(shape_and_values(&in_dims), (vec![2, 3], vec![9, 9, 9, 15, 15, 15]));
    let shapes =
        one("primitive.broadcast_shapes_v1", UI32, &[&vector(&[2, 1, 4]), &vector(&[3, 1])]).unwrap();
    assert_eq!(int_values(&shapes), [2, 3, 4]);
    let shape = one("primitive.get_shape_v1", SI32, &[&column]).unwrap();
    assert_eq!((shape.element, int_values(&shape)), (SI32, vec![2, 1]));
}

#[test]
fn tiles_from_the_right() {
    let x = ints(SI16, &[2], &[1, 2]);
    let op = |times: &[i64]| one("tile_v2", SI16, &[&x, &vector(times)]);
    assert_eq!(shape_and_values(&op(&[2, 2]).unwrap()), (vec![2, 4], vec![1, 2, 1, 2, 1, 2, 1, 2]));
    assert_eq!(op(&[0]).unwrap().shape, [0]);
    let more = one("tile_v1", SI64, &[&grid(), &vector(&[2])]).unwrap();
    assert_eq!(shape_and_values(&more), (vec![2, 6], vec![0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]));
}

#[test]
fn concatenates_and_splits() {
    let (x, dim) = (grid(), scalar(-1));
    let column = ints(SI64, &[2, 1], &[8, 9]);
    let joined = one("primitive.concat_v1", SI64, &[&dim, &x, &column]).unwrap();
    assert_eq!(shape_and_values(&joined), (vec![2, 4], vec![0, 1, 2, 8, 3, 4, 5, 9]));
    program_fault(one("primitive.concat_v1", SI64, &[&scalar(0), &x, &column]));
    program_fault(one("primitive.concat_v1", SI64, &[&dim]));
    let parts = all("primitive.split_v1", &[SI64; 2], &[&joined, &scalar(3), &dim]).unwrap();
    assert_eq!(parts, [x.clone(), column.clone()]);
    let parts = all("primitive.split_v1", &[SI64; 2], &[&joined, &vector(&[3, 1]), &scalar(1)]).unwrap();
    assert_eq!(parts, [x, column]);
    program_fault(all("primitive.split_v1", &[SI64; 2], &[&joined, &vector(&[3, 2]), &dim]));
    program_fault(all("primitive.split_v1", &[SI64; 3], &[&joined, &vector(&[3, 1]), &dim]));
    program_fault(all("primitive.split_v1", &[SI64; 2], &[&joined, &scalar(0), &dim]));
}

#[test]
fn slices_clamp_and_run_backwards() {
    let x = grid();
    let op = |start: &[i64], end: &[i64], step: &[i64]| {
        one("primitive.slice_v1", SI64, &[&x, &vector(start), &vector(end), &vector(step)])
    };
    let most = i64::from(i32::MAX);
    assert_eq!(
        shape_and_values(&op(&[0, -2], &[most, most], &[1, 1]).unwrap()),
        (vec![2, 2], vec![1, 2, 4, 5])
    );
    assert_eq!(shape_and_values(&op(&[1, 9], &[-9, 0], &[-1, -1]).unwrap()), (vec![2, 2], vec![5, 4, 2, 1]));
    assert_eq!(op(&[0, 2], &[2, 1], &[1, 1]).unwrap().shape, [2, 0]);
    assert_eq!(int_values(&op(&[0, 0], &[2, 3], &[most, most]).unwrap()), [0]);
    program_fault(op(&[0, 0], &[2, 3], &[1, 0]));
    program_fault(op(&[0], &[2], &[1]));
}

#[test]
fn slices_are_replaced() {
    let x = grid();
    let op = |update: &NDArray| {
        let inputs = [&x, &vector(&[0, 2]), &vector(&[1, -9]), &vector(&[1, -2]), update];
        one("primitive.slice_update_v1", SI64, &inputs)
    };
    assert_eq!(int_values(&op(&ints(SI64, &[1, 2], &[7, 8])).unwrap()), [8, 1, 7, 3, 4, 5]);
    program_fault(op(&ints(SI64, &[2], &[7, 8])));
}

#[test]
fn pads_in_every_mode() {
    let x = ints(SI64, &[3], &[1, 2, 3]);
    let op = |mode, padding: &[i64]| {
        let call = |x: &NDArray| {
            chosen(
                "primitive.pad_v1",
                "padding_mode",
                mode,
                SI64,
                &[x, &vector(padding), &ints(SI64, &[], &[9])],
            )
        };
        call(&x)
    };
    assert_eq!(int_values(&op(0, &[2, 4]).unwrap()), [2, 3, 1, 2, 3, 1, 2, 3, 1]);
    assert_eq!(int_values(&op(1, &[2, 1]).unwrap()), [9, 9, 1, 2, 3, 9]);
    assert_eq!(int_values(&op(2, &[2, 2]).unwrap()), [3, 2, 1, 2, 3, 2, 1]);
    assert_eq!(int_values(&op(3, &[2, 1]).unwrap()), [1, 1, 1, 2, 3, 3]);
    assert_eq!(int_values(&op(4, &[2, 2]).unwrap()), [2, 1, 1, 2, 3, 3, 2]);
    program_fault(op(1, &[1]));
    let empty = ints(SI64, &[0], &[]);
    let inputs = [&empty, &vector(&[1, 0]), &ints(SI64, &[], &[9])];
    for mode in [0, 2, 3, 4] {
        program_fault(chosen("primitive.pad_v1", "padding_mode", mode, SI64, &inputs));
    }
}

#[test]
fn reverses() {
    let both = one("primitive.reverse_v1", SI64, &[&grid(), &vector(&[0, -1])]).unwrap();
    assert_eq!(int_values(&both), [5, 4, 3, 2, 1, 0]);
    program_fault(one("primitive.reverse_v1", SI64, &[&grid(), &vector(&[1, -1])]));
}

#[test]
fn moved_bits_stay() {
    // A signalling NaN, a sub-byte type and a complex number, through every kind of copy.
    for (element, data) in [
        (F32, vec![1, 0, 0xa0, 0xff, 0, 0, 0, 0x80]),
        (F8E4M3FN, vec![0x7f, 0xff]),
        (F4E2M1FN, vec![15, 8]),
        (ComplexF32, (0..16).collect()),
    ] {
        let x = NDArray::new(element, vec![2], data).unwrap();
        let there = one("primitive.reverse_v1", element, &[&x, &vector(&[0])]).unwrap();
        assert_ne!(there, x);
        assert_eq!(one("primitive.reverse_v1", element, &[&there, &vector(&[0])]).unwrap(), x);
        assert_eq!(one("ax.copy_with_constraints_v1", element, &[&x]).unwrap(), x);
        program_fault(one("ax.copy_with_constraints_v1", SI64, &[&x]));
        let tiled = one("tile_v2", element, &[&x, &vector(&[2])]).unwrap();
        assert_eq!(tiled.data, [x.data.clone(), x.data].concat());
    }
}
