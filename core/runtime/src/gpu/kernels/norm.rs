//! Normalizations and softmax over the last axis: one workgroup per row.

use super::Fault;
use super::shader::Shader;
use super::space::Space;
use crate::expr::Expr;
use crate::gpu::dispatch::Dispatch;
use crate::step::{Kind, Norm};

/// Invocations per row.
const INVOCATIONS: u32 = 128;

/// The rows of a step whose operands all have the dims of the result, and what indexes them.
struct Rows {
    space: Space,
    /// Coordinates of row `group`.
    coordinates: String,
    /// Extent of the last axis.
    n: Expr,
    count: String,
}

fn rows(shader: &mut Shader<'_>) -> Result<Rows, Fault> {
    let step = shader.step;
    let Some((n, outer)) = step.writes[0].dims.split_last() else {
        return Err(Fault::broken("a row kernel needs an axis".into()));
    };
    let views = step.writes.iter().chain(&step.reads);
    let strides: Vec<&[Expr]> = views.map(|v| v.strides.get(..outer.len()).unwrap_or(&[])).collect();
    if strides.iter().any(|s| s.len() != outer.len()) {
        return Err(Fault::broken("operands of a row kernel differ in rank".into()));
    }
    let space = Space::new(outer, &strides, &[]);
    let coordinates = shader.coordinates("group", &space, "c");
    let count = shader.uword(&space.elements());
    Ok(Rows { space, coordinates, n: n.clone(), count })
}

/// `base of the row + i · stride` of space operand `operand` (0 is the result, then the reads).
fn at(shader: &mut Shader<'_>, rows: &Rows, operand: usize, offset: &Expr) -> String {
    let step = shader.step;
    let view = if operand == 0 { &step.writes[0] } else { &step.reads[operand - 1] };
    let base = shader.word(offset);
    let row = shader.element(&base, &rows.space, operand, "c");
    let stride = view.strides.last().cloned().unwrap_or_else(Expr::one);
    match stride.as_const() {
        Some(0) => row,
        Some(1) => format!("{row} + i"),
        _ => format!("{row} + i * {}", shader.word(&stride)),
    }
}

fn load(shader: &mut Shader<'_>, rows: &Rows, n: usize) -> Result<String, Fault> {
    let operand = shader.read(n)?;
    if operand.kind != Kind::F32 {
        return Err(Fault::broken("a row kernel takes floats".into()));
    }
    Ok(format!("{}({})", operand.load, at(shader, rows, n + 1, &operand.window.offset)))
}

fn fill(template: &str, keys: &[(&str, &str)]) -> Result<String, Fault> {
    coreai_shaders::fill(template, keys).map_err(|e| Fault::broken(e.to_string()))
}

pub(super) fn build(mut shader: Shader<'_>, norm: Norm) -> Result<Dispatch, Fault> {
    let rows = rows(&mut shader)?;
    let x = load(&mut shader, &rows, 0)?;
    let scale = load(&mut shader, &rows, 1)?;
    let bias = match shader.step.reads.len() {
        3 => format!(" + {}", load(&mut shader, &rows, 2)?),
        _ => String::new(),
    };
    let out = shader.write()?;
    let out_at = at(&mut shader, &rows, 0, &out.window.offset);
    let n = shader.word(&rows.n);
    let eps = shader.param(&Expr::from(i64::from(norm.eps.to_bits())));
    let mean = if norm.center {
        format!(
            "  for (var i = i32(lid); i < n; i += i32(WG)) {{ sum += {x}; }}\n  \
             let mean = workgroup_sum(sum, lid) / f32(n);\n  sum = 0.0;"
        )
    } else {
        "  let mean = 0.0;".to_owned()
    };
    let keys = [
        ("ROWS", rows.count.as_str()),
        ("COORDINATES", &rows.coordinates),
        ("N", &n),
        ("MEAN", &mean),
        ("X", &x),
        ("EPS", &eps),
        ("OUT", &out_at),
        ("SCALE", &scale),
        ("BIAS", &bias),
    ];
    let body = fill(coreai_shaders::NORM, &keys)?;
    let name = if norm.center { "layer_norm" } else { "rms_norm" };
    shader.finish(name, INVOCATIONS, rows.space.elements(), &body)
}

pub(super) fn softmax(mut shader: Shader<'_>) -> Result<Dispatch, Fault> {
    let rows = rows(&mut shader)?;
    let x = load(&mut shader, &rows, 0)?;
    let out = shader.write()?;
    let out_at = at(&mut shader, &rows, 0, &out.window.offset);
    let n = shader.word(&rows.n);
    let keys = [
        ("ROWS", rows.count.as_str()),
        ("COORDINATES", &rows.coordinates),
        ("N", &n),
        ("X", &x),
        ("OUT", &out_at),
    ];
    let body = fill(coreai_shaders::SOFTMAX, &keys)?;
    shader.finish("softmax", INVOCATIONS, rows.space.elements(), &body)
}
