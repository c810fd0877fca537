//! Padding.

use std::fmt::Write as _;

use super::Fault;
use super::map::INVOCATIONS;
use super::program::constant;
use super::shader::{Shader, div_ceil};
use super::space::Space;
use crate::expr::Expr;
use crate::gpu::dispatch::Dispatch;
use crate::step::PadMode;

pub(super) fn build(
    mut shader: Shader<'_>,
    mode: PadMode,
    before: &[Expr],
    value: u32,
) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let (x, out) = (&step.reads[0], &step.writes[0]);
    let rank = out.dims.len();
    if x.dims.len() != rank || before.len() != rank {
        return Err(Fault::broken("a padding's ranks differ".into()));
    }
    // Every axis is kept: its coordinate decides between data and padding.
    let keep: Vec<usize> = (0..rank).collect();
    let space = Space::new(&out.dims, &[&out.strides], &keep);
    let source = shader.read(0)?;
    let result = shader.write()?;
    let coordinates = shader.coordinates("t", &space, "c");
    let base = shader.word(&result.window.offset);
    let out_at = shader.element(&base, &space, 0, "c");
    let total = space.elements();
    let count = shader.uword(&total);
    let offset = shader.word(&source.window.offset);
    let mut body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{coordinates}  var e = {offset};\n  \
         var inside = true;\n"
    );
    for (axis, first) in before.iter().enumerate() {
        let c = space.axis_of[axis].map_or_else(|| "0".to_owned(), |a| format!("c{a}"));
        let (first, n, stride) =
            (shader.word(first), shader.word(&x.dims[axis]), shader.word(&x.strides[axis]));
        let source_index = match mode {
            PadMode::Constant => {
                let _ = writeln!(body, "  inside = inside && {c} >= {first} && {c} - {first} < {n};");
                format!("{c} - {first}")
            }
            PadMode::Replicate => format!("clamp({c} - {first}, 0, {n} - 1)"),
            PadMode::Circular => format!("wrap_index({c} - {first}, {n})"),
            // Periods of 2n (edge repeated) and 2n − 2 (not repeated).
            PadMode::Symmetric => format!("mirror(wrap_index({c} - {first}, 2 * {n}), 2 * {n} - 1)"),
            PadMode::Reflect => {
                format!("mirror(wrap_index({c} - {first}, max(2 * {n} - 2, 1)), 2 * {n} - 2)")
            }
        };
        let _ = writeln!(body, "  e += ({source_index}) * {stride};");
    }
    if matches!(mode, PadMode::Circular | PadMode::Symmetric | PadMode::Reflect) {
        shader.declare(
            "fn wrap_index(i: i32, n: i32) -> i32 { let r = i % n; return select(r, r + n, r < 0); }",
        );
    }
    if matches!(mode, PadMode::Symmetric | PadMode::Reflect) {
        shader.declare("fn mirror(i: i32, far: i32) -> i32 { return min(i, far - i); }");
    }
    let ty = super::shader::type_of(source.kind);
    let fill = constant(value, source.kind);
    let _ = writeln!(
        body,
        "  var v: {ty} = {fill};\n  if (inside) {{ v = {}(e); }}\n  st({out_at}, {});",
        source.load,
        super::packed::conversion(source.kind, result.kind, "v")
    );
    shader.finish("pad", INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
}
