//! Sorting and the index of the largest element, along the last axis.

use super::Fault;
use super::map::INVOCATIONS;
use super::scan::last;
use super::shader::{Shader, div_ceil};
use super::space::Space;
use crate::gpu::dispatch::Dispatch;
use crate::step::Kind;

/// Longest row that is sorted: every element is compared with every other.
pub(super) const MAX_SORTED: i64 = 8192;

/// Integers that order a value; NaN is behind everything in both directions.
fn key(kind: Kind, descending: bool) -> &'static str {
    match (kind, descending) {
        (Kind::F32, false) => "select(order_key(x), 2147483647, is_nan(x))",
        (Kind::F32, true) => "select(-order_key(x), 2147483647, is_nan(x))",
        (Kind::I32, false) => "x",
        (Kind::I32, true) => "~x",
        (_, false) => "i32(x ^ 0x80000000u)",
        (_, true) => "i32(~x ^ 0x80000000u)",
    }
}

/// Every element finds its rank: the number of elements before it.
pub(super) fn sort(mut shader: Shader<'_>, descending: bool, indices: bool) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let (x, out) = (&step.reads[0], &step.writes[0]);
    let rank = out.dims.len();
    if rank == 0 || x.dims.len() != rank {
        return Err(Fault::broken("a sort's ranks differ".into()));
    }
    let space = Space::new(&out.dims[..rank - 1], &[&out.strides[..rank - 1], &x.strides[..rank - 1]], &[]);
    let source = shader.read(0)?;
    let result = shader.write()?;
    let ty = super::shader::type_of(source.kind);
    shader.declare(&format!("fn key(x: {ty}) -> i32 {{ return {}; }}", key(source.kind, descending)));
    let total = &space.elements() * &out.dims[rank - 1];
    let (count, n) = (shader.uword(&total), shader.uword(&out.dims[rank - 1]));
    let coordinates = shader.coordinates("t / n", &space, "c");
    let base = shader.word(&source.window.offset);
    let row = shader.element(&base, &space, 1, "c");
    let base = shader.word(&result.window.offset);
    let out_row = shader.element(&base, &space, 0, "c");
    let (sx, so) = (last(&mut shader, &x.strides), last(&mut shader, &out.strides));
    let load = &source.load;
    let store = match indices {
        true => super::packed::conversion(Kind::I32, result.kind, "j"),
        false => super::packed::conversion(source.kind, result.kind, "mine"),
    };
    let body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n  let n = {n};\n{coordinates}  \
         let j = i32(t % n);\n  let row = {row};\n  let mine = {load}(row + j * {sx});\n  let k = key(mine);\n  \
         var place = 0;\n  for (var i = 0; i < i32(n); i++) {{\n    let other = key({load}(row + i * {sx}));\n    \
         place += i32(other < k || (other == k && i < j));\n  }}\n  st({out_row} + place * {so}, {store});\n"
    );
    shader.finish("sort", INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
}

/// One workgroup per row; the smallest index among the largest.
pub(super) fn arg_max(mut shader: Shader<'_>) -> Result<Dispatch, Fault> {
    const SHARED: u32 = 128;
    let step = shader.step;
    let (x, out) = (&step.reads[0], &step.writes[0]);
    let kept = out.dims.len();
    if x.dims.len() != kept + 1 {
        return Err(Fault::broken("argmax: ranks differ".into()));
    }
    let space = Space::new(&out.dims, &[&out.strides, &x.strides[..kept]], &[]);
    let source = shader.read(0)?;
    let result = shader.write()?;
    let ty = super::shader::type_of(source.kind);
    // NaN and −inf never win over the start.
    let key = match source.kind {
        Kind::F32 => "select(order_key(x), -0x7f800000, is_nan(x))",
        Kind::I32 => "x",
        _ => "i32(x ^ 0x80000000u)",
    };
    let start = if source.kind == Kind::F32 { "-0x7f7fffff" } else { "(-2147483647 - 1)" };
    shader.declare(&format!(
        "fn key(x: {ty}) -> i32 {{ return {key}; }}\n\
         var<workgroup> best_key: array<i32, {SHARED}>;\nvar<workgroup> best_at: array<u32, {SHARED}>;\n\
         fn better(a: i32, i: u32, b: i32, j: u32) -> bool {{ return a > b || (a == b && i < j); }}"
    ));
    let coordinates = shader.coordinates("group", &space, "c");
    let base = shader.word(&source.window.offset);
    let row = shader.element(&base, &space, 1, "c");
    let base = shader.word(&result.window.offset);
    let out_at = shader.element(&base, &space, 0, "c");
    let sx = last(&mut shader, &x.strides);
    let (count, n) = (shader.uword(&space.elements()), shader.uword(&x.dims[kept]));
    let store = super::packed::conversion(Kind::U32, result.kind, "index");
    let body = format!(
        "  if (group >= {count}) {{ return; }}\n{coordinates}  let row = {row};\n  var top = {start};\n  \
         var at = 0xffffffffu;\n  for (var j = lid; j < {n}; j += WG) {{\n    \
         let k = key({load}(row + i32(j) * {sx}));\n    if (k > top) {{ top = k; at = j; }}\n  }}\n  \
         best_key[lid] = top;\n  best_at[lid] = at;\n  workgroupBarrier();\n  \
         for (var s = WG / 2u; s > 0u; s = s >> 1u) {{\n    \
         if (lid < s && better(best_key[lid + s], best_at[lid + s], best_key[lid], best_at[lid])) {{\n      \
         best_key[lid] = best_key[lid + s];\n      best_at[lid] = best_at[lid + s];\n    }}\n    \
         workgroupBarrier();\n  }}\n  if (lid == 0u) {{\n    \
         let index = select(best_at[0], 0u, best_at[0] == 0xffffffffu);\n    st({out_at}, {store});\n  }}\n",
        load = source.load
    );
    shader.finish("arg_max", SHARED, space.elements(), &body)
}
