//! Which serialized ops this table leaves to others. A test holds the table to the format's list.

/// Ops of the graph itself: `graph.rs` inlines them or follows them.
const STRUCTURE: &[&str] = &[
    "primitive.constant_v1",
    "controlflow.if_v1",
    "controlflow.while_v1",
    "controlflow.condition_v1",
    "dataflow.yield_v1",
    "dataflow.output_v1",
    "dataflow.invoke_v1",
    "dataflow.isolated_group_v1",
];

/// Ops that run as their decomposition body: an expression, a reduction and an expression that fuses.
const BODIES: &[&str] = &["symmetric_quantization_statistics_v1", "asymmetric_quantization_statistics_v1"];

/// Ops that the host evaluates: extents that depend on data, regions, 64-bit and complex elements, images.
const HOST: &[&str] = &[
    "primitive.reduce_v1",
    "primitive.reduce_index_v1",
    "primitive.non_zero_v1",
    "primitive.build_sparse_with_bitmask_v1",
    "primitive.sparse_with_bitmask_to_dense_v1",
    "primitive.lut_to_sparse_with_bitmask_v1",
    "primitive.sparse_with_bitmask_blockwise_shift_scale_v1",
    "primitive.create_complex_v1",
    "primitive.real_part_v1",
    "primitive.imaginary_part_v1",
    "primitive.image_to_tensor_v1",
    "primitive.tensor_to_image_v1",
];

/// Ops that compute nothing here, or that no portable runtime can run.
const OUTSIDE: &[&str] = &[
    "metal.metal4_kernel_v1",
    "execution.target_spec_v1",
    "udml.placeholder_v1",
    "debuginfo.record_v1",
    "debuginfo.value_v1",
];

#[test]
fn every_serialized_op_is_implemented_or_left_to_someone() {
    let elsewhere = [STRUCTURE, BODIES, HOST, OUTSIDE].concat();
    let names: Vec<&str> = include_str!("names.txt").lines().collect();
    assert!(names.len() > 140, "the list of the format's ops is short");
    for name in &names {
        let (here, there) = (super::find(name).is_some(), elsewhere.contains(name));
        assert!(here || there, "{name} has no entry in the op table and is left to no one");
        assert!(!(here && BODIES.contains(name)), "{name} is said to run as its body");
    }
    for name in elsewhere {
        assert!(names.contains(&name), "{name} is no op of the format");
    }
    let implemented = super::OPS.iter().flat_map(|f| f.iter()).flat_map(|op| op.names());
    for name in implemented {
        assert!(names.contains(name), "{name} is no op of the format");
    }
}
