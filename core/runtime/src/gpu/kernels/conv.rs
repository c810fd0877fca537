//! Direct convolutions and pooling: one invocation per result.

use std::fmt::Write as _;

use super::Fault;
use super::map::INVOCATIONS;
use super::program::statements;
use super::reduce::operator;
use super::shader::{Shader, div_ceil, type_of};
use super::space::Space;
use crate::expr::{Expr, Func};
use crate::gpu::dispatch::Dispatch;
use crate::map::{MapOp, MapProg};
use crate::step::{Kind, ReduceOp};

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
    if sizes.iter().any(|s| *s != spatial) {
        return Err(Fault::broken("a convolution's ranks differ".into()));
    }
    let keep: Vec<usize> = (0..rank).collect();
    let mut strides: Vec<&[Expr]> = vec![&out.strides];
    strides.extend(step.reads[2..].iter().map(|r| r.strides.as_slice()));
    if strides.iter().any(|s| s.len() != rank) {
        return Err(Fault::broken("a convolution's epilogue has another rank".into()));
    }
    let space = Space::new(&out.dims, &strides, &keep);
    let input = shader.read(0)?;
    let weight = shader.read(1)?;
    let operands = (2..step.reads.len()).map(|i| shader.read(i)).collect::<Result<Vec<_>, _>>()?;
    let result = shader.write()?;
    let coordinates = shader.coordinates("t", &space, "c");
    let axis = |i: usize| space.axis_of[i].map_or_else(|| "0".to_owned(), |a| format!("c{a}"));
    let base = shader.word(&result.window.offset);
    let out_at = shader.element(&base, &space, 0, "c");
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
    let ty = type_of(input.kind);
    let (o, n) = (axis(1), axis(0));
    let mut body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{coordinates}  let g = {o} / {cout};\n  \
         let x_image = {x0} + {n} * {} + g * {cin} * {};\n",
        xs[0], xs[1]
    );
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
    let _ = writeln!(body, "  var acc: {ty};");
    let mut close = String::new();
    for i in 0..spatial {
        let size = shader.word(&w.dims[2 + i]);
        let number = |v: u32| Expr::from(i64::from(v));
        let (stride, dilation) =
            (shader.word(&number(geometry.stride[i])), shader.word(&number(geometry.dilation[i])));
        let position = axis(2 + i);
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
        } else {
            let _ = writeln!(body, "  let p{i} = {position} * {stride} + k{i} * {dilation};");
        }
        close.push_str("  }\n");
    }
    let mut x_at = "x_image".to_owned();
    let mut w_at = "filter_at".to_owned();
    for i in 0..spatial {
        let _ = write!(x_at, " + p{i} * {}", xs[2 + i]);
        let _ = write!(w_at, " + k{i} * {}", ws[2 + i]);
    }
    let _ = writeln!(
        body,
        "  let x_at = {x_at};\n  let w_at = {w_at};\n  for (var c = 0; c < {cin}; c++) {{\n    \
         acc += {}(x_at + c * {}) * {}(w_at + c * {channel});\n  }}\n{close}",
        input.load, xs[1], weight.load
    );
    let loads: Vec<String> = operands
        .iter()
        .enumerate()
        .map(|(i, operand)| {
            let base = shader.word(&operand.window.offset);
            format!("{}({})", operand.load, shader.element(&base, &space, 1 + i, "c"))
        })
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
    let _ = writeln!(body, "{text}  st({out_at}, {store});");
    let name = if geometry.transposed { "conv_transposed" } else { "conv" };
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
