use coreai_asset::ElementType::*;

use super::*;
use crate::host::RegionNode;

fn int_op(name: &str, element: ElementType, x: &[i64], y: &[i64]) -> Vec<i64> {
    let (x, y) = (ints(element, &[x.len()], x), ints(element, &[y.len()], y));
    int_values(&one(&format!("primitive.{name}_v1"), element, &[&x, &y]).unwrap())
}

#[test]
fn integers_wrap_at_their_width() {
    assert_eq!(int_op("add", SI8, &[127, -128], &[1, -1]), [-128, 127]);
    assert_eq!(int_op("mul", SI64, &[i64::MAX, i64::MIN], &[2, -1]), [-2, i64::MIN]);
    assert_eq!(int_op("sub", UI16, &[0, 5], &[1, 6]), [65535, 65535]);
    assert_eq!(int_op("divide", SI8, &[-128, -7], &[-1, 2]), [-128, -3]);
    assert_eq!(int_op("divide", SI64, &[i64::MIN, 1], &[-1, 0]), [i64::MIN, 0]);
    assert_eq!(int_op("modulo", SI64, &[i64::MIN, -7, 9], &[-1, 3, 0]), [0, -1, 0]);
    assert_eq!(int_op("floor_divide", SI32, &[-7, 7, -6, 1], &[2, -2, 3, 0]), [-4, -4, -2, 0]);
    assert_eq!(int_op("floor_divide", SI64, &[i64::MIN], &[-1]), [i64::MIN]);
}

#[test]
fn unsigned_64_bits_are_unsigned() {
    let big = -1; // 2^64 − 1
    assert_eq!(int_op("divide", UI64, &[big, 7], &[2, big]), [i64::MAX, 0]);
    assert_eq!(int_op("modulo", UI64, &[big, 7], &[10, 0]), [5, 0]);
    assert_eq!(int_op("maximum", UI64, &[big, 1], &[1, 2]), [big, 2]);
    assert_eq!(int_op("minimum", UI64, &[big], &[1]), [1]);
    // The inverse of 3 modulo 2^64, which 3^(2^64 − 1) is.
    assert_eq!(int_op("pow", UI64, &[3, 2], &[big, 64]), [0xaaaa_aaaa_aaaa_aaab_u64 as i64, 0]);
    let (x, y) = (ints(UI64, &[1], &[big]), ints(UI64, &[1], &[1]));
    assert_eq!(int_values(&one("primitive.greater_v1", Bool, &[&x, &y]).unwrap()), [1]);
}

#[test]
fn integer_powers() {
    assert_eq!(int_op("pow", SI32, &[-2, 2, 5, 0, 1], &[3, -1, 0, 0, -3]), [-8, 0, 1, 1, 0]);
    assert_eq!(int_op("pow", SI8, &[3], &[5]), [-13]);
}

#[test]
fn odd_floats() {
    let inf = f64::INFINITY;
    let x = reals(F32, &[6], &[inf, -5.0, 5.0, 1.0, -7.5, f64::NAN]);
    let y = reals(F32, &[6], &[2.0, inf, 0.0, 0.1, 2.0, 1.0]);
    let quotient = real_values(&one("primitive.floor_divide_v1", F32, &[&x, &y]).unwrap());
    assert!(quotient[0].is_nan() && quotient[5].is_nan());
    assert_eq!(quotient[1].to_bits(), (-0.0f64).to_bits());
    // 1 / 0.1f is 9.99999985, which float32 rounds to 10 first.
    assert_eq!(quotient[2..5], [inf, 10.0, -4.0]);
    let zeros = reals(F64, &[2], &[-0.0, 0.0]);
    assert_eq!(real_values(&one("primitive.rsqrt_v1", F64, &[&zeros]).unwrap()), [-inf, inf]);
    let kept = real_values(&one("relu_v1", F64, &[&zeros]).unwrap());
    assert!(kept[0].is_sign_negative() && kept[1].is_sign_positive());
    let nan = reals(F64, &[2], &[f64::NAN, 0.0]);
    let most = real_values(&one("primitive.maximum_v1", F64, &[&nan, &zeros]).unwrap());
    assert!(most[0].is_nan());
    assert_eq!(real_values(&one("primitive.pow_v1", F64, &[&nan, &zeros]).unwrap()), [1.0, 1.0]);
}

#[test]
fn float64_keeps_its_digits() {
    let x = reals(F64, &[1], &[0.1]);
    let y = real_values(&one("primitive.sin_v1", F64, &[&x]).unwrap());
    assert!((y[0] - 0.099_833_416_646_828_15).abs() < 1e-16);
    let erf = real_values(&one("primitive.erf_v1", F64, &[&x]).unwrap());
    assert!((erf[0] - 0.112_462_916_018_284_89).abs() < 1e-15);
}

#[test]
fn shapes_broadcast_only_where_they_may() {
    let x = ints(SI64, &[2, 1], &[10, 20]);
    let y = ints(SI64, &[3], &[1, 2, 3]);
    program_fault(one("primitive.add_v1", SI64, &[&x, &y]));
    let sum = one("broadcasting_add_v1", SI64, &[&x, &y]).unwrap();
    assert_eq!((sum.shape.as_slice(), int_values(&sum)), (&[2, 3][..], vec![11, 12, 13, 21, 22, 23]));
    program_fault(one("broadcasting_add_v1", SI64, &[&ints(SI64, &[2], &[1, 2]), &y]));
    program_fault(one("broadcasting_add_v1", SI64, &[&x]));
    let none = one("broadcasting_add_v1", SI64, &[&ints(SI64, &[0, 1], &[]), &y]).unwrap();
    assert_eq!(none.shape, [0, 3]);
}

#[test]
fn results_are_capped() {
    let x = ints(UI8, &[1 << 20, 1], &vec![1; 1 << 20]);
    let y = ints(UI8, &[1, 1 << 20], &vec![1; 1 << 20]);
    program_fault(one("broadcasting_add_v1", UI8, &[&x, &y]));
}

#[test]
fn where_moves_bits() {
    let condition = ints(Bool, &[2], &[1, 0]);
    let payload = NDArray::new(F32, vec![2], vec![1, 2, 0xa0, 0x7f, 0, 0, 0, 0]).unwrap();
    let other = reals(F32, &[2], &[0.0, -0.0]);
    let got = one("primitive.where_v1", F32, &[&condition, &payload, &other]).unwrap();
    assert_eq!(got.data, [1, 2, 0xa0, 0x7f, 0, 0, 0, 0x80]);
}

#[test]
fn casts_saturate_and_round_once() {
    let cast = |x: &NDArray, to| one("primitive.cast_v1", to, &[x]).unwrap();
    let x = reals(F64, &[5], &[1e20, -1e20, f64::NAN, -1.9, 300.5]);
    assert_eq!(int_values(&cast(&x, SI64)), [i64::MAX, i64::MIN, 0, -1, 300]);
    assert_eq!(int_values(&cast(&x, UI64)), [-1, 0, 0, 0, 300]);
    assert_eq!(int_values(&cast(&x, UI8)), [255, 0, 0, 0, 255]);
    assert_eq!(int_values(&cast(&x, SI4)), [7, -8, 0, -1, 7]);
    assert_eq!(int_values(&cast(&x, Bool)), [1, 1, 1, 1, 1]);
    let large = ints(UI64, &[2], &[-1, 5]);
    assert_eq!(int_values(&cast(&large, SI64)), [i64::MAX, 5]);
    assert_eq!(real_values(&cast(&large, F64)), [18446744073709551616.0, 5.0]);
    // Just above the tie of two float32 neighbours; through float64 it would become the tie.
    let tie = ints(SI64, &[1], &[(1 << 62) + (1 << 38) + 1]);
    assert_eq!(real_values(&cast(&tie, F32)), [((1i64 << 62) + (1 << 39)) as f64]);
    assert_eq!(cast(&reals(F32, &[1], &[2.5]), ComplexF32).data, [0, 0, 0x20, 0x40, 0, 0, 0, 0]);
}

#[test]
fn complex_numbers() {
    let z =
        |pairs: &[[f64; 2]]| encode(ComplexF32, &[pairs.len()], &Elements::Complex(pairs.to_vec())).unwrap();
    let (x, y) = (z(&[[1.0, 2.0], [3.0, -1.0]]), z(&[[3.0, -1.0], [0.0, 2.0]]));
    let op = |name: &str, inputs: &[&NDArray]| one(name, ComplexF32, inputs).unwrap();
    assert_eq!(op("primitive.mul_v1", &[&x, &y]), z(&[[5.0, 5.0], [2.0, 6.0]]));
    assert_eq!(op("primitive.divide_v1", &[&x, &y]), z(&[[0.1, 0.7], [-0.5, -1.5]]));
    let same = one("primitive.equal_v1", Bool, &[&x, &x]).unwrap();
    assert_eq!(int_values(&same), [1, 1]);
    let parts = [one("primitive.real_part_v1", F32, &[&x]), one("primitive.imaginary_part_v1", F32, &[&x])];
    let [re, im] = parts.map(|p| p.unwrap());
    assert_eq!(real_values(&im), [2.0, -1.0]);
    assert_eq!(op("primitive.create_complex_v1", &[&re, &im]), x);
    let log = op("primitive.log_v1", &[&z(&[[0.0, 1.0]])]);
    assert_eq!(log, z(&[[0.0, std::f64::consts::FRAC_PI_2]]));
    assert!(matches!(one("primitive.acos_v1", ComplexF32, &[&x]), Err(Fault::Unsupported(_))));
}

/// max(acc, 2·elem).
fn region() -> Region {
    let node = |name: &str, inputs: &[usize], constant| RegionNode {
        name: name.into(),
        attrs: vec![],
        inputs: inputs.to_vec(),
        results: vec![SI64],
        constant,
    };
    Region {
        nodes: vec![
            node("primitive.constant_v1", &[], Some(ints(SI64, &[], &[2]))),
            node("primitive.mul_v1", &[1, 2], None),
            node("primitive.maximum_v1", &[0, 3], None),
        ],
        result: 4,
    }
}

#[test]
fn regions_apply_to_whole_tensors() {
    let (acc, elem) = (ints(SI64, &[3], &[5, 6, -9]), ints(SI64, &[3], &[1, 4, -4]));
    let value = crate::host::region::apply(&region(), &acc, &elem).unwrap();
    assert_eq!(int_values(&value), [5, 8, -8]);
    let early = Region { result: 9, ..region() };
    program_fault(crate::host::region::apply(&early, &acc, &elem));
    let mut unknown = region();
    unknown.nodes[1].inputs = vec![1, 7];
    program_fault(crate::host::region::apply(&unknown, &acc, &elem));
    program_fault(crate::host::region::apply(&region(), &acc, &ints(SI64, &[1], &[1])));
}

#[test]
fn scatters_with_regions_in_order() {
    let x = ints(SI64, &[3], &[0, 10, 0]);
    let index = ints(SI32, &[3, 1], &[1, -1, 2]);
    let updates = ints(SI64, &[3], &[4, 3, 1]);
    let region = region();
    let call = Call { name: "primitive.scatter_nd_v1", attrs: &[], results: &[SI64], region: Some(&region) };
    assert_eq!(int_values(&eval(&call, &[&x, &index, &updates]).unwrap()[0]), [0, 10, 6]);
}
