//! Interpolation: nearest or linear over every axis that is resampled.

use std::fmt::Write as _;

use super::Fault;
use super::map::INVOCATIONS;
use super::shader::{Operand, Shader, div_ceil};
use super::space::Space;
use crate::expr::Expr;
use crate::gpu::dispatch::Dispatch;
use crate::step::{Kind, View};

/// Most axes that are interpolated: 2^axes corners are read.
pub(super) const MAX_AXES: usize = 4;

/// What a point of the source is read from, and where along each axis it lies.
struct Point<'a> {
    /// Extents and strides of the source.
    dims: &'a [Expr],
    strides: &'a [Expr],
    /// Per axis, a WGSL expression of the coordinate as f32; `Err` with the exact index where it is one.
    at: Vec<Result<String, String>>,
}

/// Statements that read a point: `e` becomes the element of its lowest corner; the value's expression
/// is of the source's kind when nothing is interpolated, else f32.
fn read(
    shader: &mut Shader<'_>,
    source: &Operand,
    point: &Point<'_>,
    nearest: bool,
) -> (String, String, Kind) {
    let start = shader.word(&source.window.offset);
    let mut text = format!("  var e = {start};\n");
    let mut linear = vec![];
    for (axis, at) in point.at.iter().enumerate() {
        let stride = shader.word(&point.strides[axis]);
        let at = match at {
            Ok(at) => at,
            Err(index) => {
                let _ = writeln!(text, "  e += {index} * {stride};");
                continue;
            }
        };
        let n = shader.word(&point.dims[axis]);
        let _ = writeln!(
            text,
            "  let wanted{axis} = {at};\n  \
             let at{axis} = select(0.0, min(wanted{axis}, f32({n} - 1)), wanted{axis} > 0.0);"
        );
        if nearest {
            let _ = writeln!(text, "  e += i32(round(at{axis})) * {stride};");
        } else {
            let _ = writeln!(
                text,
                "  let low{axis} = i32(floor(at{axis}));\n  let part{axis} = at{axis} - f32(low{axis});\n  \
                 let near{axis} = low{axis} * {stride};\n  let far{axis} = min(low{axis} + 1, {n} - 1) * {stride};"
            );
            linear.push(axis);
        }
    }
    let load = &source.load;
    if linear.is_empty() {
        return (text, format!("{load}(e)"), source.kind);
    }
    text.push_str("  var sum = 0.0;\n");
    for corner in 0..1usize << linear.len() {
        let (mut at, mut weight) = ("e".to_owned(), String::new());
        for (bit, axis) in linear.iter().enumerate() {
            let times = if bit == 0 { "" } else { " * " };
            if corner >> bit & 1 == 0 {
                let _ = write!(at, " + near{axis}");
                let _ = write!(weight, "{times}(1.0 - part{axis})");
            } else {
                let _ = write!(at, " + far{axis}");
                let _ = write!(weight, "{times}part{axis}");
            }
        }
        // Corners without weight are not read: often whole axes have none.
        let value = super::packed::conversion(source.kind, Kind::F32, &format!("{load}({at})"));
        let _ = writeln!(
            text,
            "  {{ let weight = {weight};\n  if (weight != 0.0) {{ sum += weight * {value}; }} }}"
        );
    }
    (text, "sum".to_owned(), Kind::F32)
}

pub(super) fn build(mut shader: Shader<'_>, nearest: bool, sampled: &[bool]) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let ([x, scale, offset], out) = (step.reads.as_slice(), &step.writes[0]) else {
        return Err(Fault::broken("an interpolation needs three operands".into()));
    };
    let rank = out.dims.len();
    if x.dims.len() != rank || sampled.len() != rank || scale.dims.len() != 1 || offset.dims.len() != 1 {
        return Err(Fault::broken("an interpolation's ranks differ".into()));
    }
    let keep: Vec<usize> = (0..rank).collect();
    let space = Space::new(&out.dims, &[&out.strides], &keep);
    let source = shader.read(0)?;
    let (scales, offsets) = (shader.read(1)?, shader.read(2)?);
    let result = shader.write()?;
    let coordinates = shader.coordinates("t", &space, "c");
    let base = shader.word(&result.window.offset);
    let out_at = shader.element(&base, &space, 0, "c");
    let total = space.elements();
    let count = shader.uword(&total);
    let mut at = vec![];
    for (axis, sampled) in sampled.iter().enumerate() {
        let c = space.axis_of[axis].map_or_else(|| "0".to_owned(), |a| format!("c{a}"));
        let mut parameter = |operand: &Operand, view: &View| {
            let (base, stride) = (shader.word(&operand.window.offset), shader.word(&view.strides[0]));
            format!("{}({base} + {axis} * {stride})", operand.load)
        };
        at.push(match sampled {
            true => {
                let (s, o) = (parameter(&scales, scale), parameter(&offsets, offset));
                Ok(format!("whole_div(f32({c}) + 0.5 - {o}, {s}) - 0.5"))
            }
            false => Err(c),
        });
    }
    let point = Point { dims: &x.dims, strides: &x.strides, at };
    let (text, value, kind) = read(&mut shader, &source, &point, nearest);
    let store = super::packed::conversion(kind, result.kind, &value);
    let body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{coordinates}{text}  st({out_at}, {store});\n"
    );
    let name = if nearest { "resize_nearest" } else { "resize_linear" };
    shader.finish(name, INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
}

/// One invocation per point.
pub(super) fn sample(mut shader: Shader<'_>, nearest: bool) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let ([x, points], [out]) = (step.reads.as_slice(), step.writes.as_slice()) else {
        return Err(Fault::broken("sampling needs two operands".into()));
    };
    if points.dims.len() != 2 || out.dims.len() != 1 {
        return Err(Fault::broken("sampling: ranks differ".into()));
    }
    let source = shader.read(0)?;
    let coordinates = shader.read(1)?;
    let result = shader.write()?;
    let (base, row, column) = (
        shader.word(&coordinates.window.offset),
        shader.word(&points.strides[0]),
        shader.word(&points.strides[1]),
    );
    let at = (0..x.dims.len())
        .map(|axis| Ok(format!("{}({base} + i32(t) * {row} + {axis} * {column})", coordinates.load)))
        .collect();
    let point = Point { dims: &x.dims, strides: &x.strides, at };
    let (text, value, kind) = read(&mut shader, &source, &point, nearest);
    let store = super::packed::conversion(kind, result.kind, &value);
    let (out_base, out_step) = (shader.word(&result.window.offset), shader.word(&out.strides[0]));
    let count = shader.uword(&out.dims[0]);
    let body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{text}  \
         st({out_base} + i32(t) * {out_step}, {store});\n"
    );
    let name = if nearest { "sample_nearest" } else { "sample_linear" };
    shader.finish(name, INVOCATIONS, div_ceil(&out.dims[0], i64::from(INVOCATIONS)), &body)
}
