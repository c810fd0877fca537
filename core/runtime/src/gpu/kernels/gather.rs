//! Gathers. Indices are clamped; one that is out of range is recorded in the status words.

use std::fmt::Write as _;

use super::map::INVOCATIONS;
use super::shader::{Shader, div_ceil};
use super::space::Space;
use super::window::{Window, element_bits, segment_window, window};
use super::{Fault, LowerCx};
use crate::expr::Expr;
use crate::gpu::dispatch::Dispatch;
use crate::gpu::segments::{BINDING_ALIGNMENT, Segment, segments};
use crate::plan::Plan;
use crate::step::{Step, Storage, View};

/// Rows `first..first + rows` of a table that one dispatch sees.
struct Rows {
    first: i64,
    rows: i64,
    window: Window,
}

/// `gather_nd`: one dispatch, or one per window of a table that exceeds a binding, each of which
/// writes only the rows it sees.
pub(super) fn nd(plan: &Plan, cx: &LowerCx<'_>, step: &Step, number: usize) -> Result<Vec<Dispatch>, Fault> {
    let shader = || Shader::new(plan, cx, step, number);
    let table = step.reads.first().ok_or_else(|| Fault::broken("no table".into()))?;
    match window(plan, cx, table, 0) {
        Ok(whole) => Ok(vec![nd_part(shader(), whole, None)?]),
        Err(Fault::TooLarge { operand, needed }) => {
            let parts = table_windows(plan, cx, table).ok_or(Fault::TooLarge { operand, needed })?;
            parts
                .into_iter()
                .map(|part| nd_part(shader(), part.window, Some((part.first, part.rows))))
                .collect()
        }
        Err(other) => Err(other),
    }
}

/// Windows over a row-major table of constant extents whose first axis is gathered.
fn table_windows(plan: &Plan, cx: &LowerCx<'_>, table: &View) -> Option<Vec<Rows>> {
    let (offset, total, stride) =
        (table.offset.as_const()?, table.dims.first()?.as_const()?, table.strides.first()?.as_const()?);
    let limit = cx.caps.max_binding_bytes;
    if let Storage::Quant(format) = &plan.buffer(table).storage {
        let row = i64::try_from(format.row_elements()).ok()?;
        if offset != 0 || stride != row {
            return None;
        }
        let window = |s: Segment| Rows {
            first: i64::try_from(s.first_row).unwrap_or(0),
            rows: i64::try_from(s.rows).unwrap_or(0),
            window: segment_window(table, s, format.row_elements()),
        };
        return Some(segments(format, limit).map(window).collect());
    }
    let bits = element_bits(&plan.buffer(table).storage);
    let row_bytes = (u64::try_from(stride).ok()? * bits).div_ceil(8).max(1);
    let per_window =
        i64::try_from(limit.checked_sub(2 * BINDING_ALIGNMENT)? / row_bytes).ok().filter(|n| *n > 0)?;
    let mut parts = vec![];
    let mut first = 0;
    while first < total {
        let rows = per_window.min(total - first);
        let mut part = table.slice(0, &Expr::from(first), &Expr::from(rows), 1);
        let mut window = window(plan, cx, &part, 0).ok()?;
        // Row numbers stay those of the table.
        part.offset = &window.offset - &Expr::from(first * stride);
        window.offset = part.offset;
        parts.push(Rows { first, rows, window });
        first += rows;
    }
    Some(parts)
}

fn nd_part(
    mut shader: Shader<'_>,
    table_window: Window,
    only: Option<(i64, i64)>,
) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let (x, index, out) = (&step.reads[0], &step.reads[1], &step.writes[0]);
    let Some((depth, outer)) = index.dims.split_last() else {
        return Err(Fault::broken("gather_nd needs an index axis".into()));
    };
    let depth = depth.as_const().and_then(|q| usize::try_from(q).ok()).filter(|q| *q <= x.dims.len());
    let Some(depth) = depth else {
        return Err(Fault::broken("gather_nd needs a constant index depth".into()));
    };
    let outer_rank = outer.len();
    if out.dims.len() != outer_rank + x.dims.len() - depth {
        return Err(Fault::broken("gather_nd's result has another rank".into()));
    }
    // Strides over the result's dims: result, index (outer axes), table (inner axes).
    let pad = |front: &[Expr], back: &[Expr]| -> Vec<Expr> { [front, back].concat() };
    let zeros = |n: usize| vec![Expr::zero(); n];
    let s_index = pad(&index.strides[..outer_rank], &zeros(x.dims.len() - depth));
    let s_table = pad(&zeros(outer_rank), &x.strides[depth..]);
    let space = Space::new(&out.dims, &[&out.strides, &s_index, &s_table], &[]);
    let table = shader.read_through(0, table_window)?;
    let indices = shader.read(1)?;
    let result = shader.write()?;
    shader.status();
    let coordinates = shader.coordinates("t", &space, "c");
    let base = shader.word(&indices.window.offset);
    let index_at = shader.element(&base, &space, 1, "c");
    let base = shader.word(&table.window.offset);
    let table_at = shader.element(&base, &space, 2, "c");
    let base = shader.word(&result.window.offset);
    let out_at = shader.element(&base, &space, 0, "c");
    let step_index = shader.word(&index.strides[outer_rank]);
    let node = shader.param(&Expr::from(i64::from(step.origin.node)));
    let total = space.elements();
    let count = shader.uword(&total);
    let mut body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{coordinates}  var e = {table_at};\n"
    );
    for i in 0..depth {
        let extent = shader.word(&x.dims[i]);
        let stride = shader.word(&x.strides[i]);
        let _ = writeln!(
            body,
            "  let raw{i} = i32({load}({index_at} + {i} * {step_index}));\n  \
             if (raw{i} < -{extent} || raw{i} >= {extent}) {{ fail_index(u32({node}), raw{i}, {extent}); }}\n  \
             let i{i} = clamp(select(raw{i}, raw{i} + {extent}, raw{i} < 0), 0, {extent} - 1);\n  \
             e += i{i} * {stride};",
            load = indices.load
        );
    }
    if let Some((first, rows)) = only {
        let (first_word, end) = (shader.param(&Expr::from(first)), shader.param(&Expr::from(first + rows)));
        let _ = writeln!(body, "  if (i0 < {first_word} || i0 >= {end}) {{ return; }}");
    }
    let store = super::packed::conversion(table.kind, result.kind, &format!("{}(e)", table.load));
    let _ = writeln!(body, "  st({out_at}, {store});");
    shader.finish("gather_nd", INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
}

/// `gather_along_axis`.
pub(super) fn along(mut shader: Shader<'_>, axis: usize) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let (x, index, out) = (&step.reads[0], &step.reads[1], &step.writes[0]);
    let rank = out.dims.len();
    if axis >= rank || x.dims.len() != rank || index.dims.len() != rank {
        return Err(Fault::broken("gather_along_axis: ranks differ".into()));
    }
    let mut s_table = x.strides.clone();
    let stride = std::mem::replace(&mut s_table[axis], Expr::zero());
    let space = Space::new(&out.dims, &[&out.strides, &index.strides, &s_table], &[]);
    let table = shader.read(0)?;
    let indices = shader.read(1)?;
    let result = shader.write()?;
    shader.status();
    let coordinates = shader.coordinates("t", &space, "c");
    let base = shader.word(&indices.window.offset);
    let index_at = shader.element(&base, &space, 1, "c");
    let base = shader.word(&table.window.offset);
    let table_at = shader.element(&base, &space, 2, "c");
    let base = shader.word(&result.window.offset);
    let out_at = shader.element(&base, &space, 0, "c");
    let (extent, stride) = (shader.word(&x.dims[axis]), shader.word(&stride));
    let node = shader.param(&Expr::from(i64::from(step.origin.node)));
    let total = space.elements();
    let count = shader.uword(&total);
    let load = format!("{}({table_at} + at * {stride})", table.load);
    let store = super::packed::conversion(table.kind, result.kind, &load);
    let body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{coordinates}  \
         let raw = i32({ld}({index_at}));\n  \
         if (raw < -{extent} || raw >= {extent}) {{ fail_index(u32({node}), raw, {extent}); }}\n  \
         let at = clamp(select(raw, raw + {extent}, raw < 0), 0, {extent} - 1);\n  st({out_at}, {store});\n",
        ld = indices.load
    );
    shader.finish("gather_along", INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
}
