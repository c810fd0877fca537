//! Inclusive scans along the last axis: one workgroup per row, in pieces of its size.

use super::Fault;
use super::reduce::operator;
use super::shader::{Shader, type_of};
use super::space::Space;
use crate::expr::Expr;
use crate::gpu::dispatch::Dispatch;
use crate::step::{Kind, ReduceOp};

const INVOCATIONS: u32 = 128;

pub(super) fn build(mut shader: Shader<'_>, op: ReduceOp, reverse: bool) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let (x, out) = (&step.reads[0], &step.writes[0]);
    let Some((n, outer)) = out.dims.split_last() else {
        return Err(Fault::broken("a scan needs an axis".into()));
    };
    let rank = outer.len();
    if x.dims.len() != rank + 1 {
        return Err(Fault::broken("a scan's ranks differ".into()));
    }
    let space = Space::new(outer, &[&out.strides[..rank], &x.strides[..rank]], &[]);
    let source = shader.read(0)?;
    let result = shader.write()?;
    let ty = type_of(source.kind);
    let (first, combine) = match (op, source.kind) {
        // Scans skip NaN, which stands for no number here; reductions propagate it.
        (ReduceOp::Max, Kind::F32) => {
            ("fnan()", "select(a, b, is_nan(a) || (!is_nan(b) && order_key(b) > order_key(a)))")
        }
        (ReduceOp::Min, Kind::F32) => {
            ("fnan()", "select(a, b, is_nan(a) || (!is_nan(b) && order_key(b) < order_key(a)))")
        }
        (op, kind) => operator(op, kind),
    };
    // Where there has been no number yet.
    let start = match (op, source.kind) {
        (ReduceOp::Max, Kind::F32) => "-finf()",
        (ReduceOp::Min, Kind::F32) => "finf()",
        _ => first,
    };
    shader.declare(&format!(
        "fn combine(a: {ty}, b: {ty}) -> {ty} {{ return {combine}; }}\n\
         var<workgroup> values: array<{ty}, {INVOCATIONS}>;"
    ));
    let coordinates = shader.coordinates("group", &space, "c");
    let base = shader.word(&source.window.offset);
    let row = shader.element(&base, &space, 1, "c");
    let base = shader.word(&result.window.offset);
    let out_row = shader.element(&base, &space, 0, "c");
    let (sx, so) = (last(&mut shader, &x.strides), last(&mut shader, &out.strides));
    let count = shader.uword(&space.elements());
    let n = shader.word(n);
    let at = if reverse { format!("{n} - 1 - j") } else { "j".to_owned() };
    let body = format!(
        "  if (group >= {count}) {{ return; }}\n{coordinates}  let row = {row};\n  let out_row = {out_row};\n  \
         var carry: {ty} = {start};\n  for (var j0 = 0; j0 < {n}; j0 += i32(WG)) {{\n    \
         let j = j0 + i32(lid);\n    var value: {ty} = {first};\n    \
         if (j < {n}) {{ value = {load}(row + ({at}) * {sx}); }}\n    values[lid] = value;\n    workgroupBarrier();\n    \
         for (var s = 1u; s < WG; s = s << 1u) {{\n      var sum = values[lid];\n      \
         if (lid >= s) {{ sum = combine(values[lid - s], sum); }}\n      workgroupBarrier();\n      \
         values[lid] = sum;\n      workgroupBarrier();\n    }}\n    \
         if (j < {n}) {{ st(out_row + ({at}) * {so}, combine(carry, values[lid])); }}\n    \
         carry = combine(carry, values[WG - 1u]);\n    workgroupBarrier();\n  }}\n",
        load = source.load
    );
    shader.finish("scan", INVOCATIONS, space.elements(), &body)
}

/// Stride of the last axis.
pub(super) fn last(shader: &mut Shader<'_>, strides: &[Expr]) -> String {
    strides.last().map_or_else(|| "1".to_owned(), |s| shader.word(s))
}
