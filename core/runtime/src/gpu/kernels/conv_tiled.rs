//! Convolutions as implicit matrix products: tiles of weights and of the image go through workgroup
//! memory, every invocation keeps a block of results in registers.
//!
//! Words loaded per multiplication: 1/32 for 64 channels × 64 positions, 3/64 for 32 × 64, 5/64 for
//! 64 × 16; one invocation per result loads 2.

use std::fmt::Write as _;

use super::Fault;
use super::conv::Geometry;
use super::program::statements;
use super::shader::{Operand, Shader, div_ceil};
use super::space::Space;
use crate::expr::{Expr, Func};
use crate::facts::product;
use crate::gpu::dispatch::Dispatch;
use crate::map::{MapOp, MapProg};
use crate::step::{Kind, View};

/// Positions of a tile, best first: the more, the fewer words are loaded.
const POSITIONS: [i64; 3] = [64, 32, 16];
/// Fewest output channels of a group, and fewest steps of the reduction, that fill enough of a tile.
const LEAST: i64 = 16;
/// Tiles that a device should have at least before they become larger.
const FEW_TILES: i64 = 64;

/// Positions of a tile: the most that compute at most a quarter more than the fewest would.
fn tile_positions(positions: i64) -> i64 {
    let padded = |tile: i64| ((positions.max(1) - 1) / tile + 1).saturating_mul(tile);
    let least = padded(POSITIONS[2]);
    POSITIONS
        .into_iter()
        .find(|tile| padded(*tile).saturating_mul(4) <= least.saturating_mul(5))
        .unwrap_or(POSITIONS[0])
}

/// Extents of the implicit product.
struct Extents {
    /// Output channels of a group.
    outs: Expr,
    /// Input channels of a group.
    ins: Expr,
    /// Positions of all images.
    positions: Expr,
    /// Input channels × taps.
    depth: Expr,
}

fn extents(shader: &Shader<'_>, geometry: &Geometry<'_>) -> Extents {
    let (w, out) = (&shader.step.reads[1], &shader.step.writes[0]);
    let groups = Expr::from(i64::from(geometry.groups));
    let (ins, outs) = if geometry.transposed {
        (Expr::func(Func::FloorDiv, &w.dims[0], &groups), w.dims[1].clone())
    } else {
        (w.dims[1].clone(), Expr::func(Func::FloorDiv, &w.dims[0], &groups))
    };
    let positions = &out.dims[0] * &product(&out.dims[2..]);
    let depth = &ins * &product(&w.dims[2..]);
    Extents { outs, ins, positions, depth }
}

/// Whether a convolution fills the tiles: its ranks have been checked.
pub(super) fn fits(shader: &Shader<'_>, geometry: &Geometry<'_>) -> bool {
    let plan = shader.plan;
    let floats = shader.step.reads[..2].iter().all(|r| plan.buffer(r).kind == Kind::F32);
    let Extents { outs, positions, depth, .. } = extents(shader, geometry);
    let enough = |e: &Expr| shader.cx.bounds(e).max >= LEAST;
    floats && !shader.cx.caps.plain_only && enough(&outs) && enough(&positions) && enough(&depth)
}

/// Statements that split `k` into the input channel `ch` and the taps `k0…`; axes of one tap are 0.
fn split(shader: &mut Shader<'_>, taps: &[Expr]) -> String {
    let mut text = "      var rest = k;\n".to_owned();
    for (i, size) in taps.iter().enumerate().rev() {
        if size.is(1) {
            let _ = writeln!(text, "      let k{i} = 0;");
        } else {
            let size = shader.word(size);
            let _ = writeln!(text, "      let k{i} = rest % {size};\n      rest = rest / {size};");
        }
    }
    text.push_str("      let ch = rest;\n");
    text
}

/// ` + name * stride` for each.
fn terms(shader: &mut Shader<'_>, parts: &[(String, &Expr)]) -> String {
    let mut text = String::new();
    for (name, stride) in parts {
        let word = shader.word(stride);
        let _ = write!(text, " + {name} * {word}");
    }
    text
}

pub(super) fn build(
    mut shader: Shader<'_>,
    geometry: &Geometry<'_>,
    epilogue: Option<&MapProg>,
) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let (x, w, out) = (&step.reads[0], &step.reads[1], &step.writes[0]);
    let Extents { outs, ins, positions, depth } = extents(&shader, geometry);
    let groups = Expr::from(i64::from(geometry.groups));
    let tile_p = tile_positions(shader.cx.bounds(&positions).max);
    // Invocations along the positions, 4 each.
    let across = tile_p / 4;
    let tiles = |rows: i64| &(&div_ceil(&outs, 16 * rows) * &div_ceil(&positions, tile_p)) * &groups;
    let few = shader.cx.bounds(&outs).max <= 32 || shader.cx.bounds(&tiles(4)).max < FEW_TILES;
    let rows: i64 = if few { 2 } else { 4 };
    let tile = 16 * rows;
    let channels = format!("vec{rows}<f32>");
    shader.declare(&format!(
        "var<workgroup> tile_a: array<{channels}, {}>;\nvar<workgroup> tile_b: array<vec4<f32>, {}>;",
        16 * 17,
        16 * (across + 1)
    ));
    let input = shader.read(0)?;
    let weight = shader.read(1)?;
    // Images and positions; their numbers are p{axis} where an axis is more than one long.
    let places = Places::new(step.reads.get(2..).unwrap_or_default(), out);
    finish(&mut shader, &places, epilogue)?;
    let starts = starts(&mut shader, &places, x, geometry);
    let loads = image_loads(&mut shader, geometry, x, &input, across);

    let x0 = shader.word(&input.window.offset);
    let group_channels = shader.word(&ins);
    let x_base = format!("{x0}{}", terms(&mut shader, &[(format!("g * {group_channels}"), &x.strides[1])]));
    let w0 = shader.word(&weight.window.offset);
    let (w_out, w_in, first) = match geometry.transposed {
        true => (&w.strides[1], &w.strides[0], &ins),
        false => (&w.strides[0], &w.strides[1], &outs),
    };
    let first = shader.word(first);
    let group_stride = &w.strides[0];
    let w_base = format!("{w0}{}", terms(&mut shader, &[(format!("g * {first}"), group_stride)]));
    // A filter that lies contiguous is one axis.
    let filter_dims: Vec<Expr> = std::iter::once(ins.clone()).chain(w.dims[2..].iter().cloned()).collect();
    let filter_strides: Vec<Expr> =
        std::iter::once(w_in.clone()).chain(w.strides[2..].iter().cloned()).collect();
    let filter = Space::new(&filter_dims, &[&filter_strides], &[]);
    let filter_tap = match filter.strides[0].as_slice() {
        [] => "      let tap = filter_at;".to_owned(),
        [one] => format!("      let tap = filter_at{};", terms(&mut shader, &[("k".to_owned(), one)])),
        _ => {
            let mut parts = vec![("ch".to_owned(), w_in)];
            parts.extend(w.strides[2..].iter().enumerate().map(|(i, s)| (format!("k{i}"), s)));
            format!(
                "{}      let tap = filter_at{};",
                split(&mut shader, &w.dims[2..]),
                terms(&mut shader, &parts)
            )
        }
    };
    let image_tap = split(&mut shader, &w.dims[2..]);
    let (mut accumulators, mut multiply, mut results) = (String::new(), String::new(), String::new());
    let mut filter_loads = String::new();
    let out_stride = shader.word(w_out);
    for (i, lane) in ["x", "y", "z", "w"].iter().enumerate().take(rows as usize) {
        let _ = writeln!(accumulators, "  var acc{i} = vec4<f32>();");
        let _ = writeln!(multiply, "      acc{i} += a.{lane} * y;");
        let _ = writeln!(
            filter_loads,
            "          if (o + {i} < outs) {{ v.{lane} = {}(tap + (o + {i}) * {out_stride}); }}",
            weight.load
        );
        let _ = writeln!(results, "  let o_{i} = o0 + i32(ty) * {rows} + {i};\n  if (o_{i} < outs) {{");
        for (j, lane) in ["x", "y", "z", "w"].iter().enumerate() {
            let _ = writeln!(
                results,
                "    if (p0 + i32(tx) * 4 + {j} < positions) {{ \
                 finish(g * outs + o_{i}, u32(p0 + i32(tx) * 4 + {j}), acc{i}.{lane}); }}"
            );
        }
        results.push_str("  }\n");
    }
    let keys = [
        ("RO", rows.to_string()),
        ("TILE_O", tile.to_string()),
        ("TILE_P", tile_p.to_string()),
        ("TX", across.to_string()),
        ("PITCH", (across + 1).to_string()),
        ("CHANNELS", channels),
        ("OUTS", shader.word(&outs)),
        ("POSITIONS", shader.word(&positions)),
        ("DEPTH", shader.word(&depth)),
        ("GROUPS", shader.uword(&groups)),
        ("X_BASE", x_base),
        ("W_BASE", w_base),
        ("STARTS", starts),
        ("ACCUMULATORS", accumulators),
        ("FILTER_TAP", filter_tap),
        ("FILTER_LOADS", filter_loads),
        ("IMAGE_TAP", image_tap),
        ("IMAGE_LOADS", loads),
        ("MULTIPLY", multiply),
        ("RESULTS", results),
    ];
    let keys: Vec<(&str, &str)> = keys.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let body =
        coreai_shaders::fill(coreai_shaders::CONV_TILED, &keys).map_err(|e| Fault::broken(e.to_string()))?;
    let name = match (geometry.transposed, rows) {
        (false, 2) => "conv_tiled_32",
        (false, _) => "conv_tiled_64",
        (true, 2) => "conv_transposed_tiled_32",
        (true, _) => "conv_transposed_tiled_64",
    };
    shader.finish(name, 16 * across as u32, tiles(rows), &body)
}

/// Images × positions: strides are the result's, then those of the epilogue's operands.
struct Places {
    space: Space,
    /// Of the same operands along the channels.
    channel: Vec<Expr>,
}

impl Places {
    fn new(operands: &[View], out: &View) -> Places {
        let without = |all: &[Expr]| [&all[..1], &all[2..]].concat();
        let views = || std::iter::once(out).chain(operands);
        let strides: Vec<Vec<Expr>> = views().map(|v| without(&v.strides)).collect();
        let strides: Vec<&[Expr]> = strides.iter().map(Vec::as_slice).collect();
        let dims = without(&out.dims);
        let keep: Vec<usize> = (0..dims.len()).collect();
        let channel = views().map(|v| v.strides[1].clone()).collect();
        Places { space: Space::new(&dims, &strides, &keep), channel }
    }

    /// The number of axis `i` (0 is the image) with variables called `{prefix}…`.
    fn axis(&self, i: usize, prefix: &str) -> String {
        self.space
            .axis_of
            .get(i)
            .copied()
            .flatten()
            .map_or_else(|| "0".to_owned(), |a| format!("{prefix}{a}"))
    }
}

/// Declares `fn finish(o: i32, t: u32, acc: f32)`: the epilogue of channel `o` at position `t`.
fn finish(shader: &mut Shader<'_>, places: &Places, epilogue: Option<&MapProg>) -> Result<(), Fault> {
    let operands = (2..shader.step.reads.len()).map(|i| shader.read(i)).collect::<Result<Vec<_>, _>>()?;
    let out = shader.write()?;
    let coordinates = shader.coordinates("t", &places.space, "c");
    let mut element = |operand: &Operand, i: usize| {
        let base = shader.word(&operand.window.offset);
        let at = shader.element(&base, &places.space, i, "c");
        format!("{at}{}", terms(shader, &[("o".to_owned(), &places.channel[i])]))
    };
    let out_at = element(&out, 0);
    let loads: Vec<String> =
        operands.iter().enumerate().map(|(i, o)| format!("{}({})", o.load, element(o, 1 + i))).collect();
    let (text, value, kind) = match epilogue {
        None => (String::new(), "acc".to_owned(), Kind::F32),
        Some(prog) => {
            if prog.instrs.iter().any(|i| matches!(i.op, MapOp::Load(n) if usize::from(n) > loads.len())) {
                return Err(Fault::broken("an epilogue loads an operand that is missing".into()));
            }
            let load = |n: u16| match n {
                0 => "acc".to_owned(),
                n => loads[usize::from(n) - 1].clone(),
            };
            let index = |axis: u8| match usize::from(axis) {
                0 => places.axis(0, "c"),
                1 => "o".to_owned(),
                i => places.axis(i - 1, "c"),
            };
            let (text, value) = statements(shader, prog, &load, &index)?;
            (text, value, prog.result_kind())
        }
    };
    let store = super::packed::conversion(kind, out.kind, &value);
    shader.declare(&format!(
        "fn finish(o: i32, t: u32, acc: f32) {{\n{coordinates}{text}  st({out_at}, {store});\n}}"
    ));
    Ok(())
}

/// Statements that define, for the 4 positions that an invocation loads, whether there is one
/// (`inside{i}`), its image (`start{i}`) and, per spatial axis, its first tap (`s{axis}_{i}`).
fn starts(shader: &mut Shader<'_>, places: &Places, x: &View, geometry: &Geometry<'_>) -> String {
    let mut text = String::new();
    for i in 0..4 {
        let coordinates = shader.coordinates(&format!("place{i}"), &places.space, &format!("q{i}_"));
        let _ = write!(
            text,
            "  let inside{i} = p0 + i32(tx) * 4 + {i} < positions;\n  \
             let place{i} = u32(min(p0 + i32(tx) * 4 + {i}, positions - 1));\n{coordinates}"
        );
        let image = places.axis(0, &format!("q{i}_"));
        let _ = writeln!(text, "  let start{i} = image{};", terms(shader, &[(image, &x.strides[0])]));
        for axis in 0..geometry.stride.len() {
            let at = places.axis(1 + axis, &format!("q{i}_"));
            let number = |v: u32| Expr::from(i64::from(v));
            let first = if geometry.transposed {
                let crop = shader.word(&number(geometry.padding.get(axis).copied().unwrap_or(0)));
                format!("{at} + {crop}")
            } else {
                let stride = shader.word(&number(geometry.stride[axis]));
                format!("{at} * {stride}")
            };
            let _ = writeln!(text, "  let s{axis}_{i} = {first};");
        }
    }
    text
}

/// Statements that load the 4 positions of tap `k` into `tile_b`, of `across` vectors a row.
fn image_loads(
    shader: &mut Shader<'_>,
    geometry: &Geometry<'_>,
    x: &View,
    input: &Operand,
    across: i64,
) -> String {
    let spatial = geometry.stride.len();
    let number = |v: u32| Expr::from(i64::from(v));
    let channel = terms(shader, &[("ch".to_owned(), &x.strides[1])]);
    let mut text = String::new();
    for axis in 0..spatial {
        let dilation = shader.word(&number(geometry.dilation[axis]));
        let _ = writeln!(text, "      let d{axis} = k{axis} * {dilation};");
    }
    for i in 0..4 {
        let mut at = format!("start{i}{channel}");
        let mut reaches = format!("k < depth && inside{i}");
        for axis in 0..spatial {
            let step = shader.word(&x.strides[2 + axis]);
            if geometry.transposed {
                let (stride, extent) =
                    (shader.word(&number(geometry.stride[axis])), shader.word(&x.dims[2 + axis]));
                let _ = writeln!(text, "      let t{axis}_{i} = s{axis}_{i} - d{axis};");
                let _ = write!(
                    reaches,
                    " && t{axis}_{i} >= 0 && t{axis}_{i} % {stride} == 0 && t{axis}_{i} / {stride} < {extent}"
                );
                let _ = write!(at, " + t{axis}_{i} / {stride} * {step}");
            } else {
                let _ = write!(at, " + (s{axis}_{i} + d{axis}) * {step}");
            }
        }
        let _ =
            writeln!(text, "      var v{i} = 0.0;\n      if ({reaches}) {{ v{i} = {}({at}); }}", input.load);
    }
    let pitch = across + 1;
    let _ = writeln!(text, "      tile_b[ty * {pitch}u + tx] = vec4<f32>(v0, v1, v2, v3);");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_fit_the_positions() {
        let of = |side: i64| tile_positions(side * side);
        assert_eq!([1, 4, 5, 7, 14, 28].map(of), [16, 16, 32, 64, 64, 64]);
        // 64 would compute a third more than 48.
        assert_eq!((tile_positions(33), tile_positions(i64::MAX)), (16, 64));
    }
}
