//! Direct convolutions and pooling: one invocation per result, or for a few neighbours.

use std::fmt::Write as _;

use super::map::INVOCATIONS;
use super::program::statements;
use super::reduce::operator;
use super::shader::{Operand, Shader, div_ceil, type_of};
use super::space::Space;
use super::{Fault, conv_tiled};
use crate::expr::{Expr, Func};
use crate::facts::product;
use crate::gpu::dispatch::Dispatch;
use crate::map::{MapOp, MapProg};
use crate::step::{Kind, ReduceOp};

/// Neighbouring results of an invocation, 5 loads for 4 multiplications instead of 8, where there are at
/// least [`MANY`] results: fewer would leave a device idle.
const COLUMNS: i64 = 4;
const MANY: i64 = 1 << 14;

/// Attributes of a convolution.
pub(super) struct Geometry<'a> {
    pub stride: &'a [u32],
    pub dilation: &'a [u32],
    pub padding: &'a [u32],
    pub groups: u32,
    pub transposed: bool,
}

pub(super) fn build(
    mut shader: Shader<'_>,
    geometry: &Geometry<'_>,
    epilogue: Option<&MapProg>,
) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let (x, w, out) = (&step.reads[0], &step.reads[1], &step.writes[0]);
    let spatial = geometry.stride.len();
    let rank = out.dims.len();
    let sizes = [
        geometry.dilation.len(),
        rank.wrapping_sub(2),
        x.dims.len().wrapping_sub(2),
        w.dims.len().wrapping_sub(2),
    ];
    if spatial == 0 || sizes.iter().any(|s| *s != spatial) {
        return Err(Fault::broken("a convolution's ranks differ".into()));
    }
    if conv_tiled::fits(&shader, geometry) {
        return conv_tiled::build(shader, geometry, epilogue);
    }
    let last = rank - 1;
    if [x, w].iter().any(|v| v.strides.len() != rank)
        || step.reads[2..].iter().any(|r| r.strides.len() != rank)
    {
        return Err(Fault::broken("a convolution's operand has another rank".into()));
    }
    // Results of an invocation along the last axis; they share the weights.
    let many = shader.cx.bounds(&product(&out.dims)).max >= MANY;
    let columns = if many && !geometry.transposed && !shader.cx.caps.plain_only { COLUMNS } else { 1 };
    let mut dims = out.dims.clone();
    dims[last] = div_ceil(&dims[last], columns);
    let keep: Vec<usize> = (0..rank).collect();
    let mut strides: Vec<Vec<Expr>> = vec![out.strides.clone()];
    strides.extend(step.reads[2..].iter().map(|r| r.strides.clone()));
    let along: Vec<Expr> =
        strides.iter_mut().map(|s| std::mem::replace(&mut s[last], Expr::zero())).collect();
    let strides: Vec<&[Expr]> = strides.iter().map(Vec::as_slice).collect();
    let space = Space::new(&dims, &strides, &keep);
    let input = shader.read(0)?;
    let weight = shader.read(1)?;
    let operands = (2..step.reads.len()).map(|i| shader.read(i)).collect::<Result<Vec<_>, _>>()?;
    let result = shader.write()?;
    let coordinates = shader.coordinates("t", &space, "c");
    let axis = |i: usize| match space.axis_of[i] {
        _ if i == last => "column".to_owned(),
        None => "0".to_owned(),
        Some(a) => format!("c{a}"),
    };
    let groups = Expr::from(i64::from(geometry.groups));
    // Channels of one group on either side.
    let (in_group, out_group) = if geometry.transposed {
        (Expr::func(Func::FloorDiv, &w.dims[0], &groups), w.dims[1].clone())
    } else {
        (w.dims[1].clone(), Expr::func(Func::FloorDiv, &w.dims[0], &groups))
    };
    let (cin, cout) = (shader.word(&in_group), shader.word(&out_group));
    let x0 = shader.word(&input.window.offset);
    let w0 = shader.word(&weight.window.offset);
    let xs: Vec<String> = x.strides.iter().map(|s| shader.word(s)).collect();
    let ws: Vec<String> = w.strides.iter().map(|s| shader.word(s)).collect();
    let total = space.elements();
    let count = shader.uword(&total);
    let width = shader.word(&out.dims[last]);
    let ty = type_of(input.kind);
    let (o, n) = (axis(1), axis(0));
    let first = space.axis_of[last].map_or_else(|| "0".to_owned(), |a| format!("c{a} * {columns}"));
    let mut body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{coordinates}  let g = {o} / {cout};\n  \
         let x_image = {x0} + {n} * {} + g * {cin} * {};\n",
        xs[0], xs[1]
    );
    // Columns beyond the end repeat the last one and are not stored.
    for j in 0..columns {
        let _ = writeln!(body, "  let column{j} = min({first} + {j}, {width} - 1);\n  var acc{j}: {ty};");
    }
    // Base of the filter and the stride of its input channel.
    let channel = if geometry.transposed {
        let _ = writeln!(
            body,
            "  let filter_at = {w0} + g * {cin} * {} + ({o} - g * {cout}) * {};",
            ws[0], ws[1]
        );
        &ws[0]
    } else {
        let _ = writeln!(body, "  let filter_at = {w0} + {o} * {};", ws[0]);
        &ws[1]
    };
    let mut close = String::new();
    let mut x_at = "x_image".to_owned();
    let mut w_at = "filter_at".to_owned();
    for i in 0..spatial {
        let size = shader.word(&w.dims[2 + i]);
        let number = |v: u32| Expr::from(i64::from(v));
        let (stride, dilation) =
            (shader.word(&number(geometry.stride[i])), shader.word(&number(geometry.dilation[i])));
        let position = if 2 + i == last { "column0".to_owned() } else { axis(2 + i) };
        let _ = writeln!(body, "  for (var k{i} = 0; k{i} < {size}; k{i}++) {{");
        if geometry.transposed {
            let crop = shader.word(&number(geometry.padding.get(i).copied().unwrap_or(0)));
            let extent = shader.word(&x.dims[2 + i]);
            let _ = writeln!(
                body,
                "  let s{i} = {position} + {crop} - k{i} * {dilation};\n  \
                 if (s{i} < 0 || s{i} % {stride} != 0 || s{i} / {stride} >= {extent}) {{ continue; }}\n  \
                 let p{i} = s{i} / {stride};"
            );
            let _ = write!(x_at, " + p{i} * {}", xs[2 + i]);
        } else if 2 + i == last {
            for j in 0..columns {
                let _ = writeln!(
                    body,
                    "  let shift{j} = (column{j} * {stride} + k{i} * {dilation}) * {};",
                    xs[last]
                );
            }
        } else {
            let _ = writeln!(body, "  let p{i} = {position} * {stride} + k{i} * {dilation};");
            let _ = write!(x_at, " + p{i} * {}", xs[2 + i]);
        }
        let _ = write!(w_at, " + k{i} * {}", ws[2 + i]);
        close.push_str("  }\n");
    }
    let _ = writeln!(
        body,
        "  let x_at = {x_at};\n  let w_at = {w_at};\n  for (var c = 0; c < {cin}; c++) {{\n    \
         let weight = {}(w_at + c * {channel});",
        weight.load
    );
    for j in 0..columns {
        let shift = if geometry.transposed { String::new() } else { format!(" + shift{j}") };
        let _ = writeln!(body, "    acc{j} += {}(x_at + c * {}{shift}) * weight;", input.load, xs[1]);
    }
    let _ = writeln!(body, "  }}\n{close}");
    let mut element = |operand: &Operand, i: usize| {
        let base = shader.word(&operand.window.offset);
        let at = shader.element(&base, &space, i, "c");
        let step = shader.word(&along[i]);
        format!("{at} + column * {step}")
    };
    let out_at = element(&result, 0);
    let loads: Vec<String> = (operands.iter().enumerate())
        .map(|(i, operand)| format!("{}({})", operand.load, element(operand, 1 + i)))
        .collect();
    let (text, value, kind) = match epilogue {
        None => (String::new(), "acc".to_owned(), input.kind),
        Some(prog) => {
            if prog.instrs.iter().any(|i| matches!(i.op, MapOp::Load(n) if usize::from(n) > loads.len())) {
                return Err(Fault::broken("an epilogue loads an operand that is missing".into()));
            }
            let load = |n: u16| match n {
                0 => "acc".to_owned(),
                n => loads[usize::from(n) - 1].clone(),
            };
            let (text, value) = statements(&mut shader, prog, &load, &|i| axis(usize::from(i)))?;
            (text, value, prog.result_kind())
        }
    };
    let store = super::packed::conversion(kind, result.kind, &value);
    for j in 0..columns {
        let _ = writeln!(
            body,
            "  if ({first} + {j} < {width}) {{\n  let column = column{j};\n  let acc = acc{j};\n{text}  st({out_at}, {store});\n  }}"
        );
    }
    let name = match (geometry.transposed, columns) {
        (true, _) => "conv_transposed",
        (false, 1) => "conv",
        (false, _) => "conv_columns",
    };
    shader.finish(name, INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
}

pub(super) fn pool(
    mut shader: Shader<'_>,
    op: ReduceOp,
    kernel: &[u32],
    stride: &[u32],
    dilation: &[u32],
) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let (x, out) = (&step.reads[0], &step.writes[0]);
    let (rank, spatial) = (out.dims.len(), kernel.len());
    if x.dims.len() != rank || rank < spatial || stride.len() != spatial || dilation.len() != spatial {
        return Err(Fault::broken("a pooling's ranks differ".into()));
    }
    let lead = rank - spatial;
    let keep: Vec<usize> = (0..rank).collect();
    let mut moving = x.strides[..lead].to_vec();
    moving.resize(rank, Expr::zero());
    let space = Space::new(&out.dims, &[&out.strides, &moving], &keep);
    let input = shader.read(0)?;
    let result = shader.write()?;
    let ty = type_of(input.kind);
    let (first, combine) = match (op, input.kind) {
        (ReduceOp::Max, Kind::F32) => ("-finf()", "nan_max(a, b)"),
        _ => operator(op, input.kind),
    };
    shader.declare(&format!("fn combine(a: {ty}, b: {ty}) -> {ty} {{ return {combine}; }}"));
    let coordinates = shader.coordinates("t", &space, "c");
    let base = shader.word(&result.window.offset);
    let out_at = shader.element(&base, &space, 0, "c");
    let base = shader.word(&input.window.offset);
    let image = shader.element(&base, &space, 1, "c");
    let total = space.elements();
    let count = shader.uword(&total);
    let mut body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{coordinates}  let image = {image};\n  \
         var acc: {ty} = {first};\n"
    );
    let mut at = "image".to_owned();
    let mut close = String::new();
    for i in 0..spatial {
        let number = |v: u32| Expr::from(i64::from(v));
        let position = space.axis_of[lead + i].map_or_else(|| "0".to_owned(), |a| format!("c{a}"));
        let (size, s, d) = (
            shader.word(&number(kernel[i])),
            shader.word(&number(stride[i])),
            shader.word(&number(dilation[i])),
        );
        let (extent, x_stride) = (shader.word(&x.dims[lead + i]), shader.word(&x.strides[lead + i]));
        // In ceil mode the last window may reach over the end.
        let _ = writeln!(
            body,
            "  for (var k{i} = 0; k{i} < {size}; k{i}++) {{\n  let p{i} = {position} * {s} + k{i} * {d};\n  \
             if (p{i} >= {extent}) {{ break; }}"
        );
        let _ = write!(at, " + p{i} * {x_stride}");
        close.push_str("  }\n");
    }
    let store = super::packed::conversion(input.kind, result.kind, "acc");
    let _ = writeln!(body, "  acc = combine(acc, {}({at}));\n{close}  st({out_at}, {store});", input.load);
    shader.finish("pool", INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
}
