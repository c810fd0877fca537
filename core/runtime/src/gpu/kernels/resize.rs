//! Interpolation: nearest or linear over every axis that is resampled.

use std::fmt::Write as _;

use super::Fault;
use super::map::INVOCATIONS;
use super::shader::{Shader, div_ceil};
use super::space::Space;
use crate::expr::Expr;
use crate::gpu::dispatch::Dispatch;
use crate::step::Kind;

/// Most axes that are interpolated: 2^axes corners are read.
pub(super) const MAX_AXES: usize = 4;

/// Axes that are resampled: others have scale 1, offset 0 and unchanged extent.
fn sampled(shader: &Shader<'_>, scale: &[f32], offset: &[f32]) -> Vec<bool> {
    let (x, out) = (&shader.step.reads[0], &shader.step.writes[0]);
    (0..out.dims.len()).map(|i| scale[i] != 1.0 || offset[i] != 0.0 || x.dims[i] != out.dims[i]).collect()
}

pub(super) fn build(
    mut shader: Shader<'_>,
    nearest: bool,
    scale: &[f32],
    offset: &[f32],
) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let (x, out) = (&step.reads[0], &step.writes[0]);
    let rank = out.dims.len();
    if x.dims.len() != rank || scale.len() != rank || offset.len() != rank {
        return Err(Fault::broken("an interpolation's ranks differ".into()));
    }
    let sampled = sampled(&shader, scale, offset);
    if !nearest && sampled.iter().filter(|s| **s).count() > MAX_AXES {
        return Err(Fault::broken(format!("linear interpolation over more than {MAX_AXES} axes")));
    }
    let keep: Vec<usize> = (0..rank).collect();
    let space = Space::new(&out.dims, &[&out.strides], &keep);
    let source = shader.read(0)?;
    let result = shader.write()?;
    let coordinates = shader.coordinates("t", &space, "c");
    let base = shader.word(&result.window.offset);
    let out_at = shader.element(&base, &space, 0, "c");
    let total = space.elements();
    let count = shader.uword(&total);
    let start = shader.word(&source.window.offset);
    let mut body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{coordinates}  var e = {start};\n"
    );
    let bits = |v: f32| Expr::from(i64::from(v.to_bits()));
    let mut linear = vec![];
    for axis in 0..rank {
        let c = space.axis_of[axis].map_or_else(|| "0".to_owned(), |a| format!("c{a}"));
        let stride = shader.word(&x.strides[axis]);
        if !sampled[axis] {
            let _ = writeln!(body, "  e += {c} * {stride};");
            continue;
        }
        let n = shader.word(&x.dims[axis]);
        let (s, o) = (shader.param(&bits(scale[axis])), shader.param(&bits(offset[axis])));
        let _ = writeln!(
            body,
            "  let at{axis} = clamp((f32({c}) + 0.5 - bitcast<f32>({o})) / bitcast<f32>({s}) - 0.5, 0.0, f32({n} - 1));"
        );
        if nearest {
            let _ = writeln!(body, "  e += i32(round(at{axis})) * {stride};");
        } else {
            let _ = writeln!(
                body,
                "  let low{axis} = i32(floor(at{axis}));\n  let part{axis} = at{axis} - f32(low{axis});\n  \
                 let near{axis} = low{axis} * {stride};\n  let far{axis} = min(low{axis} + 1, {n} - 1) * {stride};"
            );
            linear.push(axis);
        }
    }
    let load = &source.load;
    let float = |at: &str| {
        if source.kind == Kind::F32 { format!("{load}({at})") } else { format!("f32({load}({at}))") }
    };
    if linear.is_empty() {
        let store = super::packed::conversion(source.kind, result.kind, &format!("{load}(e)"));
        let _ = writeln!(body, "  st({out_at}, {store});");
    } else {
        body.push_str("  var sum = 0.0;\n");
        for corner in 0..1usize << linear.len() {
            let (mut at, mut weight) = ("e".to_owned(), "1.0".to_owned());
            for (bit, axis) in linear.iter().enumerate() {
                if corner >> bit & 1 == 0 {
                    let _ = write!(at, " + near{axis}");
                    let _ = write!(weight, " * (1.0 - part{axis})");
                } else {
                    let _ = write!(at, " + far{axis}");
                    let _ = write!(weight, " * part{axis}");
                }
            }
            let _ = writeln!(body, "  sum += {weight} * {};", float(&at));
        }
        let store = super::packed::conversion(Kind::F32, result.kind, "sum");
        let _ = writeln!(body, "  st({out_at}, {store});");
    }
    let name = if nearest { "resize_nearest" } else { "resize_linear" };
    shader.finish(name, INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
}
