//! Scatters, the same on every run: duplicates count in row-major order.
//!
//! Indices are clamped; one that is out of range is recorded in the status words.

use std::fmt::Write as _;

use super::map::INVOCATIONS;
use super::packed::conversion;
use super::shader::{Operand, Shader, div_ceil, type_of};
use super::space::Space;
use super::{Fault, LowerCx};
use crate::expr::Expr;
use crate::facts::product;
use crate::gpu::dispatch::Dispatch;
use crate::plan::Plan;
use crate::step::{Kind, ScatterMode, Step};

/// Up to this many updates of a line, every result looks through all of them.
const WALK: i64 = 32;

/// WGSL expression of an element `a` with an update `b`.
fn combine(mode: ScatterMode, kind: Kind) -> &'static str {
    use ScatterMode::*;
    match (mode, kind) {
        (Update, _) => "b",
        (Add | Max, Kind::Bool) => "a | b",
        (Sub, Kind::Bool) => "a ^ b",
        (_, Kind::Bool) => "a & b",
        (Add, _) => "a + b",
        (Sub, _) => "a - b",
        (Mul, _) => "a * b",
        (Div, Kind::F32) => "a / b",
        (Div, Kind::I32) => "idiv(a, b)",
        (Div, Kind::U32) => "udiv(a, b)",
        (Max, Kind::F32) => "select(b, a, fgt(a, b) || is_nan(a) || is_nan(b))",
        (Min, Kind::F32) => "select(a, b, fgt(a, b))",
        (Max, _) => "max(a, b)",
        (Min, _) => "min(a, b)",
    }
}

/// Statements that define `at`, the index `raw` within `extent`; records one that is out of range.
fn checked(raw: &str, extent: &str, node: &str) -> String {
    format!(
        "let raw = {raw};\n    if (raw < -{extent} || raw >= {extent}) {{ fail_index(u32({node}), raw, {extent}); }}\n    \
         let at = clamp(select(raw, raw + {extent}, raw < 0), 0, {extent} - 1);\n"
    )
}

/// `scatter_along_axis`.
pub(super) fn along(shader: Shader<'_>, axis: usize, mode: ScatterMode) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let rank = step.writes[0].dims.len();
    if step.reads.len() != 3 || axis >= rank || step.reads.iter().any(|r| r.dims.len() != rank) {
        return Err(Fault::broken("scatter_along_axis: ranks differ".into()));
    }
    match shader.cx.bounds(&step.reads[1].dims[axis]).max <= WALK {
        true => walk(shader, axis, mode),
        false => tiles(shader, axis, mode),
    }
}

/// Operands of a scatter along an axis: data, index, updates, result.
fn bind(shader: &mut Shader<'_>, mode: ScatterMode) -> Result<[Operand; 4], Fault> {
    let operands = [shader.read(0)?, shader.read(1)?, shader.read(2)?, shader.write()?];
    shader.status();
    let (kind, ty) = (operands[0].kind, type_of(operands[0].kind));
    shader.declare(&format!("fn combine(a: {ty}, b: {ty}) -> {ty} {{ return {}; }}", combine(mode, kind)));
    Ok(operands)
}

/// One invocation per result, which looks through the updates of its line.
fn walk(mut shader: Shader<'_>, axis: usize, mode: ScatterMode) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let (x, index, updates, out) = (&step.reads[0], &step.reads[1], &step.reads[2], &step.writes[0]);
    let still = |strides: &[Expr]| {
        let mut strides = strides.to_vec();
        strides[axis] = Expr::zero();
        strides
    };
    let (index_lines, update_lines) = (still(&index.strides), still(&updates.strides));
    let space = Space::new(&out.dims, &[&out.strides, &x.strides, &index_lines, &update_lines], &[axis]);
    let [data, indices, changes, result] = bind(&mut shader, mode)?;
    let coordinates = shader.coordinates("t", &space, "c");
    let element = |shader: &mut Shader<'_>, operand: &Operand, n: usize| {
        let base = shader.word(&operand.window.offset);
        shader.element(&base, &space, n, "c")
    };
    let (out_at, x_at) = (element(&mut shader, &result, 0), element(&mut shader, &data, 1));
    let (index_at, update_at) = (element(&mut shader, &indices, 2), element(&mut shader, &changes, 3));
    let mine = space.axis_of[axis].map_or_else(|| "0".to_owned(), |a| format!("c{a}"));
    let (extent, updated) = (shader.word(&out.dims[axis]), shader.word(&index.dims[axis]));
    let (index_step, update_step) = (shader.word(&index.strides[axis]), shader.word(&updates.strides[axis]));
    let node = shader.param(&Expr::from(i64::from(step.origin.node)));
    let total = space.elements();
    let count = shader.uword(&total);
    let check = checked(&format!("i32({}(index_line + j * {index_step}))", indices.load), &extent, &node);
    let store = conversion(data.kind, result.kind, "value");
    let body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{coordinates}  \
         let index_line = {index_at};\n  let update_line = {update_at};\n  var value = {}({x_at});\n  \
         for (var j = 0; j < {updated}; j++) {{\n    {check}    \
         if (at == {mine}) {{ value = combine(value, {}(update_line + j * {update_step})); }}\n  }}\n  \
         st({out_at}, {store});\n",
        data.load, changes.load
    );
    shader.finish("scatter_along", INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
}

/// One workgroup per tile of a line, an element per invocation. The line's indices come in chunks of
/// a workgroup's size; bits mark those that fall into the tile, so that the others cost one load.
fn tiles(mut shader: Shader<'_>, axis: usize, mode: ScatterMode) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let (x, index, updates, out) = (&step.reads[0], &step.reads[1], &step.reads[2], &step.writes[0]);
    let without = |all: &[Expr]| {
        let mut all = all.to_vec();
        all.remove(axis);
        all
    };
    let strides = [&out.strides, &x.strides, &index.strides, &updates.strides].map(|s| without(s));
    let strides: Vec<&[Expr]> = strides.iter().map(Vec::as_slice).collect();
    let lines = Space::new(&without(&out.dims), &strides, &[]);
    let [data, indices, changes, result] = bind(&mut shader, mode)?;
    shader.declare(&format!(
        "var<workgroup> places: array<i32, {INVOCATIONS}>;\n\
         var<workgroup> hits: array<atomic<u32>, {}>;",
        INVOCATIONS / 32
    ));
    let tile_count = div_ceil(&out.dims[axis], i64::from(INVOCATIONS));
    let per_line = shader.uword(&tile_count);
    let coordinates = shader.coordinates(&format!("group / {per_line}"), &lines, "c");
    let mut line = |operand: &Operand, n: usize| {
        let base = shader.word(&operand.window.offset);
        shader.element(&base, &lines, n, "c")
    };
    let (out_line, x_line) = (line(&result, 0), line(&data, 1));
    let (index_line, update_line) = (line(&indices, 2), line(&changes, 3));
    let (extent, updated) = (shader.word(&out.dims[axis]), shader.word(&index.dims[axis]));
    let [so, sx, si, su] =
        [&out.strides, &x.strides, &index.strides, &updates.strides].map(|s| shader.word(&s[axis]));
    let node = shader.param(&Expr::from(i64::from(step.origin.node)));
    let groups = &lines.elements() * &tile_count;
    let count = shader.uword(&groups);
    let check = checked(&format!("i32({}(index_line + j * {si}))", indices.load), &extent, &node);
    let store = conversion(data.kind, result.kind, "value");
    let ty = type_of(data.kind);
    let mut body = format!(
        "  if (group >= {count}) {{ return; }}\n{coordinates}  let index_line = {index_line};\n  \
         let update_line = {update_line};\n  let first = i32(group % {per_line}) * i32(WG);\n  \
         let mine = first + i32(lid);\n  var value: {ty};\n  \
         if (mine < {extent}) {{ value = {}({x_line} + mine * {sx}); }}\n",
        data.load
    );
    let _ = write!(
        body,
        "  for (var chunk = 0; chunk < {updated}; chunk += i32(WG)) {{\n    \
         if (lid < WG / 32u) {{ atomicStore(&hits[lid], 0u); }}\n    workgroupBarrier();\n    \
         let j = chunk + i32(lid);\n    if (j < {updated}) {{\n    {check}    places[lid] = at;\n    \
         if (at >= first && at < first + i32(WG)) {{ atomicOr(&hits[lid >> 5u], 1u << (lid & 31u)); }}\n    }}\n    \
         workgroupBarrier();\n    for (var word = 0u; word < WG / 32u; word++) {{\n      \
         var bits = atomicLoad(&hits[word]);\n      for (; bits != 0u; bits = bits & (bits - 1u)) {{\n        \
         let hit = word * 32u + firstTrailingBit(bits);\n        \
         if (places[hit] == mine) {{ value = combine(value, {}(update_line + (chunk + i32(hit)) * {su})); }}\n      \
         }}\n    }}\n    workgroupBarrier();\n  }}\n  \
         if (mine < {extent}) {{ st({out_line} + mine * {so}, {store}); }}\n",
        changes.load
    );
    shader.finish("scatter_along_tiles", INVOCATIONS, groups, &body)
}

/// `scatter_nd` that replaces. The result serves as its own table of winners: zeros, then 1 + the number
/// of the last update of every element, then the values.
pub(super) fn nd(plan: &Plan, cx: &LowerCx<'_>, step: &Step, number: usize) -> Result<Vec<Dispatch>, Fault> {
    let shader = || Shader::new(plan, cx, step, number);
    let [x, index, updates] = step.reads.as_slice() else {
        return Err(Fault::broken("scatter_nd needs three operands".into()));
    };
    let out = &step.writes[0];
    let depth = index.dims.last().and_then(Expr::as_const).and_then(|q| usize::try_from(q).ok());
    let Some(depth) = depth.filter(|q| *q <= out.dims.len()) else {
        return Err(Fault::broken("scatter_nd needs a constant index depth".into()));
    };
    let outer = index.dims.len() - 1;
    if x.dims.len() != out.dims.len() || updates.dims.len() != outer + out.dims.len() - depth {
        return Err(Fault::broken("scatter_nd: ranks differ".into()));
    }
    Ok(vec![clear(shader())?, winners(shader(), depth, outer)?, values(shader(), depth, outer)?])
}

fn clear(mut shader: Shader<'_>) -> Result<Dispatch, Fault> {
    let out = &shader.step.writes[0];
    let space = Space::new(&out.dims, &[&out.strides], &[]);
    let result = shader.write()?;
    let coordinates = shader.coordinates("t", &space, "c");
    let base = shader.word(&result.window.offset);
    let at = shader.element(&base, &space, 0, "c");
    let total = space.elements();
    let count = shader.uword(&total);
    let body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{coordinates}  {}[{at}] = 0u;\n",
        result.array
    );
    shader.finish("scatter_clear", INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
}

fn winners(mut shader: Shader<'_>, depth: usize, outer: usize) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let (index, updates, out) = (&step.reads[1], &step.reads[2], &step.writes[0]);
    let zeros = |n: usize| vec![Expr::zero(); n];
    let s_index = [&index.strides[..outer], &zeros(out.dims.len() - depth)].concat();
    let s_out = [&zeros(outer), &out.strides[depth..]].concat();
    let space = Space::new(&updates.dims, &[&s_index, &s_out], &[]);
    let indices = shader.read(1)?;
    let result = shader.write_atomic()?;
    shader.status();
    let coordinates = shader.coordinates("t", &space, "c");
    let base = shader.word(&indices.window.offset);
    let index_at = shader.element(&base, &space, 0, "c");
    let base = shader.word(&result.window.offset);
    let out_at = shader.element(&base, &space, 1, "c");
    let step_index = shader.word(&index.strides[outer]);
    let node = shader.param(&Expr::from(i64::from(step.origin.node)));
    let width = shader.uword(&product(&out.dims[depth..]));
    let total = space.elements();
    let count = shader.uword(&total);
    let mut body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{coordinates}  var e = {out_at};\n"
    );
    for i in 0..depth {
        let (extent, stride) = (shader.word(&out.dims[i]), shader.word(&out.strides[i]));
        let raw = format!("i32({}({index_at} + {i} * {step_index}))", indices.load);
        let _ = write!(body, "  {{\n    {}    e += at * {stride};\n  }}\n", checked(&raw, &extent, &node));
    }
    let _ = writeln!(body, "  atomicMax(&{}[e], t / {width} + 1u);", result.array);
    shader.finish("scatter_winners", INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
}

fn values(mut shader: Shader<'_>, depth: usize, outer: usize) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let (x, updates, out) = (&step.reads[0], &step.reads[2], &step.writes[0]);
    let s_updates = [&vec![Expr::zero(); depth], &updates.strides[outer..]].concat();
    let space = Space::new(&out.dims, &[&out.strides, &x.strides, &s_updates], &[]);
    let rows = Space::new(&updates.dims[..outer], &[&updates.strides[..outer]], &[]);
    let data = shader.read(0)?;
    let changes = shader.read(2)?;
    let result = shader.write()?;
    let coordinates = shader.coordinates("t", &space, "c");
    let base = shader.word(&result.window.offset);
    let out_at = shader.element(&base, &space, 0, "c");
    let base = shader.word(&data.window.offset);
    let x_at = shader.element(&base, &space, 1, "c");
    let base = shader.word(&changes.window.offset);
    let within = shader.element(&base, &space, 2, "c");
    let row_coordinates = shader.coordinates("(winner - 1u)", &rows, "r");
    let row = shader.element(&within, &rows, 0, "r");
    let total = space.elements();
    let count = shader.uword(&total);
    let load = |operand: &Operand, at: &str| {
        conversion(operand.kind, result.kind, &format!("{}({at})", operand.load))
    };
    let body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{coordinates}  let e = {out_at};\n  \
         let winner = {}[e];\n  if (winner == 0u) {{\n    st(e, {});\n    return;\n  }}\n{row_coordinates}  \
         st(e, {});\n",
        result.array,
        load(&data, &x_at),
        load(&changes, &row)
    );
    shader.finish("scatter_values", INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
}
