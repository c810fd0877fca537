//! Inherent attributes by operation (§2.4).

/// Name and whether it is optional.
pub(crate) type Property = (&'static str, bool);

/// The attributes of an operation, in the order of the file: alphabetical.
pub(crate) fn schema(op: &str) -> Option<&'static [Property]> {
    Some(match op {
        "serialization.asset" => &[("source", true), ("version", true)],
        "dataflow.graph_v1" => &[
            ("argAttrs", false),
            ("compositeDecl", true),
            ("externalize", false),
            ("functionType", false),
            ("isPrivate", false),
            ("name", false),
            ("noInline", false),
            ("paramDecls", false),
            ("resAttrs", false),
        ],
        "dataflow.invoke_v1" => &[("arg_attrs", false), ("callee", false), ("res_attrs", false)],
        "dataflow.isolated_group_v1" => &[("arg_attrs", false), ("delegate_id", false), ("res_attrs", false)],
        "dataflow.namespace_v1" => &[("name", false), ("paramDecls", false)],
        "execution.target_spec_v1" => &[("compilation", false), ("spec", false)],
        "primitive.constant_v1" => &[("value", false)],
        "primitive.gelu_v1" => &[("approximate", false)],
        "primitive.pad_v1" => &[("padding_mode", false)],
        "primitive.scan_v1" => &[("combiner", false)],
        "primitive.scatter_along_axis_v1" => &[("scatter_mode", false)],
        "primitive.interpolate_v1" | "primitive.interpolate_coordinates_v1" => {
            &[("interpolation_mode", false)]
        }
        "metal.metal4_kernel_v1" => &[("kernel_name", false), ("kernel_source", false)],
        "udml.placeholder_v1" => &[("annotations", false), ("keep_placeholder", true), ("opname", false)],
        "debuginfo.record_v1" => &[("id", false)],
        "debuginfo.value_v1" => &[("variable", false)],
        _ => return None,
    })
}
