//! Sorting and the index of the largest element, along the last axis.

use super::map::INVOCATIONS;
use super::scan::last;
use super::shader::{Operand, Shader, div_ceil};
use super::space::Space;
use super::{Fault, LowerCx};
use crate::expr::Expr;
use crate::gpu::dispatch::Dispatch;
use crate::plan::Plan;
use crate::step::{Kind, Step};

/// Longest row of which every element is compared with every other.
pub const MAX_COUNTED: i64 = 8192;
/// Elements that a workgroup sorts in its memory.
const TILE: i64 = 1024;

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

/// Rows of any length: the result first holds the numbers of the elements, which a bitonic network sorts
/// by key, ties by number. All its comparators point the same way, so that what lies beyond the row's
/// end never takes part. Distances below [`TILE`] are done in workgroup memory.
pub(super) fn sort_long(
    plan: &Plan,
    cx: &LowerCx<'_>,
    step: &Step,
    number: usize,
    descending: bool,
    indices: bool,
) -> Result<Vec<Dispatch>, Fault> {
    let shader = || Shader::new(plan, cx, step, number);
    let longest = step.writes[0].dims.last().map_or(0, |n| cx.bounds(n).max);
    let mut passes = vec![tile(shader(), descending, true)?];
    let mut size = 2 * TILE;
    while size / 2 < longest {
        passes.push(exchange(shader(), descending, size, true)?);
        let mut part = size / 2;
        while part > TILE {
            passes.push(exchange(shader(), descending, part, false)?);
            part /= 2;
        }
        passes.push(tile(shader(), descending, false)?);
        size *= 2;
    }
    if !indices {
        passes.push(take(shader())?);
    }
    Ok(passes)
}

/// What the passes of a long sort share: text of names and elements.
struct Rows {
    space: Space,
    source: Operand,
    result: Operand,
    /// Words of `n`, and of the strides along the rows.
    n: String,
    sx: String,
    so: String,
}

impl Rows {
    fn new(shader: &mut Shader<'_>) -> Result<Rows, Fault> {
        let (x, out) = (&shader.step.reads[0], &shader.step.writes[0]);
        let Some((n, outer)) = out.dims.split_last().filter(|_| x.dims.len() == out.dims.len()) else {
            return Err(Fault::broken("a sort's ranks differ".into()));
        };
        let space = Space::new(outer, &[&out.strides[..outer.len()], &x.strides[..outer.len()]], &[]);
        let (source, result) = (shader.read(0)?, shader.write()?);
        let (n, sx, so) = (shader.word(n), last(shader, &x.strides), last(shader, &out.strides));
        Ok(Rows { space, source, result, n, sx, so })
    }

    /// Statements that define `row` and `out_row` of row number `number`.
    fn bases(&self, shader: &mut Shader<'_>, number: &str) -> String {
        let coordinates = shader.coordinates(number, &self.space, "c");
        let base = shader.word(&self.source.window.offset);
        let row = shader.element(&base, &self.space, 1, "c");
        let base = shader.word(&self.result.window.offset);
        let out_row = shader.element(&base, &self.space, 0, "c");
        format!("{coordinates}  let row = {row};\n  let out_row = {out_row};\n")
    }

    /// Declares `key(x)`, and `before(k, i, l, j)`: element i of key k comes before element j of key l.
    fn declare(&self, shader: &mut Shader<'_>, descending: bool) {
        let ty = super::shader::type_of(self.source.kind);
        shader.declare(&format!(
            "fn key(x: {ty}) -> i32 {{ return {}; }}\n\
             fn before(k: i32, i: u32, l: i32, j: u32) -> bool {{ return k < l || (k == l && i < j); }}",
            key(self.source.kind, descending)
        ));
    }
}

/// Sorts every tile, from the beginning or (`whole` false) from a sequence of which only distances below
/// a tile are out of order.
fn tile(mut shader: Shader<'_>, descending: bool, whole: bool) -> Result<Dispatch, Fault> {
    let n = shader.step.writes[0].dims.last().cloned().unwrap_or_else(Expr::one);
    let rows = Rows::new(&mut shader)?;
    rows.declare(&mut shader, descending);
    shader.declare(&format!(
        "const TILE: u32 = {TILE}u;\nvar<workgroup> keys: array<i32, TILE>;\nvar<workgroup> numbers: array<u32, TILE>;\n\
         fn order(a: u32, b: u32) {{\n  let k = keys[a];\n  let l = keys[b];\n  let i = numbers[a];\n  let j = numbers[b];\n  \
         if (before(l, j, k, i)) {{ keys[a] = l; keys[b] = k; numbers[a] = j; numbers[b] = i; }}\n}}"
    ));
    let tiles = div_ceil(&n, TILE);
    let groups = &rows.space.elements() * &tiles;
    let (count, per_row) = (shader.uword(&groups), shader.uword(&tiles));
    let bases = rows.bases(&mut shader, &format!("group / {per_row}"));
    let Rows { source, result, n, sx, so, .. } = &rows;
    let number = if whole { "u32(at)".to_owned() } else { format!("{}[out_row + at * {so}]", result.array) };
    let apart = "for (; part > 1u; part = part >> 1u) {\n    \
         for (var pair = lid; pair < TILE / 2u; pair += WG) {\n      let a = pair / (part / 2u) * part + pair % (part / 2u);\n      \
         order(a, a + part / 2u);\n    }\n    workgroupBarrier();\n  }\n";
    let network = if whole {
        format!(
            "  for (var size = 2u; size <= TILE; size = size << 1u) {{\n    \
             for (var pair = lid; pair < TILE / 2u; pair += WG) {{\n      let first = pair / (size / 2u) * size;\n      \
             let i = pair % (size / 2u);\n      order(first + i, first + size - 1u - i);\n    }}\n    \
             workgroupBarrier();\n    var part = size / 2u;\n    {apart}  }}\n"
        )
    } else {
        format!("  var part = TILE;\n  {apart}")
    };
    let body = format!(
        "  if (group >= {count}) {{ return; }}\n{bases}  let first = i32((group % {per_row}) * TILE);\n  \
         for (var i = lid; i < TILE; i += WG) {{\n    let at = first + i32(i);\n    keys[i] = 2147483647;\n    \
         numbers[i] = 0xffffffffu;\n    if (at < {n}) {{\n      let number = {number};\n      numbers[i] = number;\n      \
         keys[i] = key({load}(row + i32(number) * {sx}));\n    }}\n  }}\n  workgroupBarrier();\n{network}  \
         for (var i = lid; i < TILE; i += WG) {{\n    let at = first + i32(i);\n    \
         if (at < {n}) {{ {array}[out_row + at * {so}] = numbers[i]; }}\n  }}\n",
        load = source.load,
        array = result.array
    );
    let name = if whole { "sort_tile" } else { "sort_merge" };
    shader.finish(name, INVOCATIONS, groups, &body)
}

/// Compares elements within blocks of `size`: the first with the last and so on (`mirrored`), or each of
/// the first half with the one half a block later.
fn exchange(mut shader: Shader<'_>, descending: bool, size: i64, mirrored: bool) -> Result<Dispatch, Fault> {
    let n = shader.step.writes[0].dims.last().cloned().unwrap_or_else(Expr::one);
    let rows = Rows::new(&mut shader)?;
    rows.declare(&mut shader, descending);
    let half = Expr::from(size / 2);
    let pairs = &div_ceil(&n, size) * &half;
    let total = &rows.space.elements() * &pairs;
    let (count, per_row) = (shader.uword(&total), shader.uword(&pairs));
    let half = format!("u32({})", shader.param(&half));
    let bases = rows.bases(&mut shader, &format!("t / {per_row}"));
    let Rows { source, result, n, sx, so, .. } = &rows;
    let partner = if mirrored { "first + 2u * half - 1u - i" } else { "first + half + i" };
    let body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{bases}  let pair = t % {per_row};\n  \
         let half = {half};\n  let first = pair / half * 2u * half;\n  let i = pair % half;\n  let b = i32({partner});\n  \
         if (b >= {n}) {{ return; }}\n  let ea = out_row + i32(first + i) * {so};\n  let eb = out_row + b * {so};\n  \
         let na = {array}[ea];\n  let nb = {array}[eb];\n  let ka = key({load}(row + i32(na) * {sx}));\n  \
         let kb = key({load}(row + i32(nb) * {sx}));\n  \
         if (before(kb, nb, ka, na)) {{ {array}[ea] = nb; {array}[eb] = na; }}\n",
        load = source.load,
        array = result.array
    );
    let name = if mirrored { "sort_mirror" } else { "sort_exchange" };
    shader.finish(name, INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
}

/// Replaces the number of every element by the element.
fn take(mut shader: Shader<'_>) -> Result<Dispatch, Fault> {
    let n = shader.step.writes[0].dims.last().cloned().unwrap_or_else(Expr::one);
    let rows = Rows::new(&mut shader)?;
    let total = &rows.space.elements() * &n;
    let count = shader.uword(&total);
    let bases = rows.bases(&mut shader, &format!("t / u32({})", rows.n));
    let Rows { source, result, n, sx, so, .. } = &rows;
    let value = format!("{}(row + i32({}[e]) * {sx})", source.load, result.array);
    let store = super::packed::conversion(source.kind, result.kind, &value);
    let body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{bases}  \
         let e = out_row + i32(t % u32({n})) * {so};\n  st(e, {store});\n"
    );
    shader.finish("sort_take", INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
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
