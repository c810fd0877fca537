//! Reductions: one workgroup per result, or one invocation where few elements are reduced.

use super::Fault;
use super::map::INVOCATIONS;
use super::shader::{Shader, div_ceil, type_of};
use super::space::Space;
use crate::gpu::dispatch::Dispatch;
use crate::step::{Kind, ReduceOp};

/// Up to this many reduced elements one invocation does it alone.
const ALONE: i64 = 32;
/// Invocations of a workgroup that shares one result.
const SHARED: u32 = 128;

/// First value, and the expression that combines `a` and `b`.
pub(super) fn operator(op: ReduceOp, kind: Kind) -> (&'static str, &'static str) {
    use ReduceOp::*;
    match (op, kind) {
        (Sum | Mean, Kind::F32) => ("0.0", "a + b"),
        (Sum | Mean, Kind::I32) => ("0", "a + b"),
        (Sum | Mean, _) => ("0u", "a + b"),
        (Product, Kind::F32) => ("1.0", "a * b"),
        (Product, Kind::I32) => ("1", "a * b"),
        (Product, _) => ("1u", "a * b"),
        (Max, Kind::F32) => ("-finf()", "nan_max(a, b)"),
        (Max, Kind::I32) => ("(-2147483647 - 1)", "max(a, b)"),
        (Max, _) => ("0u", "max(a, b)"),
        (Min, Kind::F32) => ("finf()", "nan_min(a, b)"),
        (Min, Kind::I32) => ("2147483647", "min(a, b)"),
        (Min, _) => ("0xffffffffu", "min(a, b)"),
        (All, Kind::F32) => ("1.0", "f32(ftruth(a) & ftruth(b))"),
        (All, Kind::I32) => ("1", "i32(a != 0 && b != 0)"),
        (All, _) => ("1u", "min(a, 1u) & min(b, 1u)"),
        (Any, Kind::F32) => ("0.0", "f32(ftruth(a) | ftruth(b))"),
        (Any, Kind::I32) => ("0", "i32(a != 0 || b != 0)"),
        (Any, _) => ("0u", "min(a, 1u) | min(b, 1u)"),
    }
}

pub(super) fn build(mut shader: Shader<'_>, op: ReduceOp, axes: usize) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let (x, out) = (&step.reads[0], &step.writes[0]);
    let kept = out.dims.len();
    if x.dims.len() != kept + axes {
        return Err(Fault::broken("a reduction's ranks differ".into()));
    }
    let outer = Space::new(&out.dims, &[&out.strides, &x.strides[..kept]], &[]);
    let inner = Space::new(&x.dims[kept..], &[&x.strides[kept..]], &[]);
    let source = shader.read(0)?;
    let result = shader.write()?;
    let ty = type_of(source.kind);
    let (first, combine) = operator(op, source.kind);
    shader.declare(&format!("fn combine(a: {ty}, b: {ty}) -> {ty} {{ return {combine}; }}"));
    let base = shader.word(&result.window.offset);
    let out_at = shader.element(&base, &outer, 0, "c");
    let base = shader.word(&source.window.offset);
    let row = shader.element(&base, &outer, 1, "c");
    let inner_at = shader.element("row", &inner, 0, "r");
    let inner_coordinates = shader.coordinates("j", &inner, "r");
    let length = inner.elements();
    let n = shader.uword(&length);
    let value = match op {
        ReduceOp::Mean if source.kind == Kind::F32 => format!("acc / f32({n})"),
        ReduceOp::Mean if source.kind == Kind::I32 => format!("idiv(acc, i32({n}))"),
        ReduceOp::Mean => format!("udiv(acc, {n})"),
        _ => "acc".to_owned(),
    };
    let store = super::packed::conversion(source.kind, result.kind, &value);
    let total = outer.elements();
    let count = shader.uword(&total);
    let load = &source.load;
    if shader.cx.bounds(&length).max <= ALONE {
        let coordinates = shader.coordinates("t", &outer, "c");
        let body = format!(
            "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{coordinates}  let row = {row};\n  \
             var acc: {ty} = {first};\n  for (var j = 0u; j < {n}; j++) {{\n{inner_coordinates}    \
             acc = combine(acc, {load}({inner_at}));\n  }}\n  st({out_at}, {store});\n"
        );
        return shader.finish("reduce_alone", INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body);
    }
    shader.declare(&format!("var<workgroup> shared_values: array<{ty}, {SHARED}>;"));
    let coordinates = shader.coordinates("group", &outer, "c");
    let body = format!(
        "  if (group >= {count}) {{ return; }}\n{coordinates}  let row = {row};\n  var part: {ty} = {first};\n  \
         for (var j = lid; j < {n}; j += WG) {{\n{inner_coordinates}    part = combine(part, {load}({inner_at}));\n  }}\n  \
         shared_values[lid] = part;\n  workgroupBarrier();\n  for (var s = WG / 2u; s > 0u; s = s >> 1u) {{\n    \
         if (lid < s) {{ shared_values[lid] = combine(shared_values[lid], shared_values[lid + s]); }}\n    \
         workgroupBarrier();\n  }}\n  if (lid == 0u) {{\n    let acc = shared_values[0];\n    st({out_at}, {store});\n  }}\n"
    );
    shader.finish("reduce", SHARED, total, &body)
}
