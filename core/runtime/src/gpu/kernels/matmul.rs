//! Matrix products: the problem with as few batch axes as provable, the epilogue, and the kernels
//! for large and for integer products. Products of few rows are in [`super::matvec`].

use std::fmt::Write as _;

use super::program::statements;
use super::shader::{Operand, Shader, div_ceil, type_of};
use super::space::Space;
use super::{Fault, matvec, packed};
use crate::expr::Expr;
use crate::gpu::dispatch::Dispatch;
use crate::map::{MapOp, MapProg};
use crate::step::{Kind, Norm, View};

/// Strides of an operand along its last two axes.
#[derive(Clone, Debug)]
pub(super) struct Strides {
    pub row: Expr,
    pub col: Expr,
}

/// A product `[batch, m, k] · [batch, k, n]` and its operands.
pub(super) struct Product {
    pub m: Expr,
    pub n: Expr,
    pub k: Expr,
    /// Batch axes; strides are those of the result, A, B_0, then the epilogue's operands.
    pub batch: Space,
    pub a: Operand,
    pub a_strides: Strides,
    pub b: Vec<Operand>,
    pub b_strides: Strides,
    /// Norm's scale: its element at k.
    pub scale: Option<String>,
    pub norm: Option<Norm>,
}

fn matrix(view: &View) -> Result<(Strides, &[Expr]), Fault> {
    match view.strides.as_slice() {
        [batch @ .., row, col] => Ok((Strides { row: row.clone(), col: col.clone() }, batch)),
        _ => Err(Fault::broken("a matrix operand has rank below 2".into())),
    }
}

pub(super) fn build(
    mut shader: Shader<'_>,
    weights: usize,
    norm: Option<Norm>,
    epilogue: Option<&MapProg>,
) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let first_operand = 1 + weights + usize::from(norm.is_some());
    if weights == 0 || step.reads.len() < first_operand || (epilogue.is_none() && weights != 1) {
        return Err(Fault::broken("a product lacks operands".into()));
    }
    let indexed = epilogue.is_some_and(|p| p.instrs.iter().any(|i| matches!(i.op, MapOp::Index(_))));

    // Strides: result, A, B_0, epilogue operands.
    let mut views = vec![&step.writes[0], &step.reads[0], &step.reads[1]];
    views.extend(&step.reads[first_operand..]);
    let rank = step.writes[0].dims.len();
    if views.iter().any(|v| v.dims.len() != rank) || rank < 2 {
        return Err(Fault::broken("operands of a product differ in rank".into()));
    }
    let mut tails = vec![];
    let mut batch_strides: Vec<Vec<Expr>> = vec![];
    for view in &views {
        let (strides, batch) = matrix(view)?;
        tails.push(strides);
        batch_strides.push(batch.to_vec());
    }
    let mut batch_dims = step.writes[0].dims[..rank - 2].to_vec();
    let mut m = step.writes[0].dims[rank - 2].clone();
    let n = step.writes[0].dims[rank - 1].clone();
    let k = step.reads[0].dims[rank - 1].clone();
    // Batch axes over which B is the same are rows.
    while let Some(dim) = batch_dims.last().cloned() {
        let axis = batch_dims.len() - 1;
        let rows = !dim.is(1)
            && !indexed
            && batch_strides[2][axis].is(0)
            && (0..views.len())
                .filter(|i| *i != 2)
                .all(|i| m.is(1) || batch_strides[i][axis] == &tails[i].row * &m);
        if rows {
            for i in 0..views.len() {
                if m.is(1) && i != 2 {
                    tails[i].row = batch_strides[i][axis].clone();
                }
            }
            m = &m * &dim;
        } else if !dim.is(1) || indexed {
            break;
        }
        batch_dims.pop();
        batch_strides.iter_mut().for_each(|s| {
            s.pop();
        });
    }
    let slices: Vec<&[Expr]> = batch_strides.iter().map(Vec::as_slice).collect();
    let keep: Vec<usize> = if indexed { (0..batch_dims.len()).collect() } else { vec![] };
    let batch = Space::new(&batch_dims, &slices, &keep);

    let a = shader.read(0)?;
    let b = (1..=weights).map(|i| shader.read(i)).collect::<Result<Vec<_>, _>>()?;
    let scale = match norm {
        Some(_) => {
            let operand = shader.read(weights + 1)?;
            let view = shader.view(weights + 1)?;
            let stride = view.strides.last().map_or_else(|| "1".to_owned(), |s| shader.word(s));
            Some(format!("{}({} + k * {stride})", operand.load, shader.word(&operand.window.offset)))
        }
        None => None,
    };
    let kind = a.kind;
    if b.iter().any(|b| b.kind != kind) || (norm.is_some() && kind != Kind::F32) {
        return Err(Fault::broken("a product of different kinds".into()));
    }
    let (a_strides, b_strides) = (tails[1].clone(), tails[2].clone());
    let product = Product { m, n, k, batch, a, a_strides, b, b_strides, scale, norm };
    finish_function(&mut shader, &product, &tails, first_operand, epilogue)?;
    if kind != Kind::F32 {
        return simple(shader, &product);
    }
    // A norm prologue exists only in the kernels for few rows.
    let few = !shader.cx.caps.tiled_only || product.norm.is_some();
    if few
        && shader.cx.bounds(&product.m).max <= matvec::MAX_ROWS
        && let Some(variant) = matvec::choose(&shader, &product)
    {
        return matvec::build(shader, &product, variant);
    }
    tiled(shader, &product)
}

/// Declares `fn finish(batch: u32, m: i32, n: i32, acc0: kind, …)`: epilogue and store.
fn finish_function(
    shader: &mut Shader<'_>,
    product: &Product,
    tails: &[Strides],
    first_operand: usize,
    epilogue: Option<&MapProg>,
) -> Result<(), Fault> {
    let kind = product.a.kind;
    let weights = product.b.len();
    let operands =
        (first_operand..shader.step.reads.len()).map(|i| shader.read(i)).collect::<Result<Vec<_>, _>>()?;
    let out = shader.write()?;
    let coordinates = shader.coordinates("batch", &product.batch, "c");
    // Operand `i` of the batch space; index 0 is the result, 3.. the epilogue's.
    let mut element = |offset: &Expr, i: usize| {
        let base = shader.word(offset);
        let at = shader.element(&base, &product.batch, i, "c");
        let term = |name: &str, stride: &Expr, shader: &mut Shader<'_>| match stride.as_const() {
            Some(0) => String::new(),
            Some(1) => format!(" + {name}"),
            _ => format!(" + {name} * {}", shader.word(stride)),
        };
        let row = term("m", &tails[i].row, shader);
        let col = term("n", &tails[i].col, shader);
        format!("{at}{row}{col}")
    };
    let loads: Vec<String> = operands
        .iter()
        .enumerate()
        .map(|(i, o)| format!("{}({})", o.load, element(&o.window.offset, 3 + i)))
        .collect();
    let out_at = element(&out.window.offset, 0);
    let (text, value, value_kind) = match epilogue {
        None => (String::new(), "acc0".to_owned(), kind),
        Some(prog) => {
            let count = weights + loads.len();
            if prog.instrs.iter().any(|i| matches!(i.op, MapOp::Load(n) if usize::from(n) >= count)) {
                return Err(Fault::broken("an epilogue loads an operand that is missing".into()));
            }
            let rank = shader.step.writes[0].dims.len();
            let axis_of = product.batch.axis_of.clone();
            let (text, value) = statements(
                shader,
                prog,
                &|n| match usize::from(n) {
                    n if n < weights => format!("acc{n}"),
                    n => loads[n - weights].clone(),
                },
                &|axis| match usize::from(axis) {
                    i if i + 1 == rank => "n".into(),
                    i if i + 2 == rank => "m".into(),
                    i => axis_of.get(i).copied().flatten().map_or_else(|| "0".into(), |at| format!("c{at}")),
                },
            )?;
            (text, value, prog.result_kind())
        }
    };
    let store = packed::conversion(value_kind, out.kind, &value);
    let mut arguments = String::new();
    for w in 0..weights {
        let _ = write!(arguments, ", acc{w}: {}", type_of(kind));
    }
    shader.declare(&format!(
        "fn finish(batch: u32, m: i32, n: i32{arguments}) {{\n{coordinates}{text}  st({out_at}, {store});\n}}"
    ));
    Ok(())
}

impl Product {
    /// Statement that defines `{name}` as the base of B_w for the batch coordinates `c…`.
    pub fn b_base(&self, shader: &mut Shader<'_>, w: usize) -> String {
        let base = shader.word(&self.b[w].window.offset);
        shader.element(&base, &self.batch, 2, "c")
    }

    /// The same for A.
    pub fn a_base(&self, shader: &mut Shader<'_>) -> String {
        let base = shader.word(&self.a.window.offset);
        shader.element(&base, &self.batch, 1, "c")
    }

    /// `acc0, acc1 …` with `f` applied to each number.
    pub fn list(&self, f: impl Fn(usize) -> String) -> String {
        (0..self.b.len()).map(|w| format!(", {}", f(w))).collect()
    }
}

/// One invocation per result; any kind, any strides.
fn simple(mut shader: Shader<'_>, product: &Product) -> Result<Dispatch, Fault> {
    let ty = type_of(product.a.kind);
    let plane = &product.m * &product.n;
    let total = &product.batch.elements() * &plane;
    let (count, plane_word, n) = (shader.uword(&total), shader.uword(&plane), shader.uword(&product.n));
    let coordinates = shader.coordinates("batch", &product.batch, "c");
    let k = shader.word(&product.k);
    let a0 = product.a_base(&mut shader);
    let (am, ak) = (shader.word(&product.a_strides.row), shader.word(&product.a_strides.col));
    let (bk, bn) = (shader.word(&product.b_strides.row), shader.word(&product.b_strides.col));
    let mut body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n  let batch = t / {plane_word};\n  \
         let n = i32(t % {n});\n  let m = i32((t % {plane_word}) / {n});\n{coordinates}"
    );
    for w in 0..product.b.len() {
        let _ = writeln!(body, "  var acc{w}: {ty};");
    }
    let _ = writeln!(
        body,
        "  for (var k = 0; k < {k}; k++) {{\n    let a = {}({a0} + m * {am} + k * {ak});",
        product.a.load
    );
    for (w, b) in product.b.iter().enumerate() {
        let base = product.b_base(&mut shader, w);
        let _ = writeln!(body, "    acc{w} += a * {}({base} + k * {bk} + n * {bn});", b.load);
    }
    let list = product.list(|w| format!("acc{w}"));
    let _ = writeln!(body, "  }}\n  finish(batch, m, n{list});");
    shader.finish("matmul_simple", 256, div_ceil(&total, 256), &body)
}

fn tiled(mut shader: Shader<'_>, product: &Product) -> Result<Dispatch, Fault> {
    let weights = product.b.len();
    let rows = if weights >= 3 || shader.cx.bounds(&product.m).max <= 32 { 2 } else { 4 };
    let tile_m = 16 * rows;
    let pitch = tile_m + 4;
    shader.declare(&format!(
        "var<workgroup> tile_a: array<f32, {}>;\nvar<workgroup> tile_b: array<f32, {}>;",
        16 * pitch,
        weights * 16 * 68
    ));
    let coordinates = shader.coordinates("batch", &product.batch, "c");
    let a_base = product.a_base(&mut shader);
    let mut b_bases = String::new();
    let mut accumulators = String::new();
    let mut b_loads = String::new();
    let mut multiply = String::new();
    let scale = product.scale.as_ref();
    if let Some(scale) = scale {
        let _ = writeln!(
            b_loads,
            "      var factor = 0.0;\n      if (inside) {{ let k = k0 + i32(kk); factor = {scale}; }}"
        );
    }
    for i in 0..rows {
        let _ = writeln!(multiply, "      let x{i} = tile_a[ra + {i}u];");
        if product.norm.is_some() {
            let _ = writeln!(accumulators, "  var square{i} = 0.0;");
            let _ = writeln!(multiply, "      square{i} += x{i} * x{i};");
        }
    }
    for w in 0..weights {
        let base = product.b_base(&mut shader, w);
        let _ = writeln!(b_bases, "  let w{w} = {base};");
        let factor = if scale.is_some() { " * factor" } else { "" };
        let at = w * 16 * 68;
        let _ = writeln!(
            b_loads,
            "      var v{w} = 0.0;\n      if (inside) {{ v{w} = {}(w{w} + e){factor}; }}\n      \
             tile_b[{at}u + at] = v{w};",
            product.b[w].load
        );
        let _ = writeln!(
            multiply,
            "      let y{w} = vec4<f32>(tile_b[{at}u + rb], tile_b[{at}u + rb + 1u], tile_b[{at}u + rb + 2u], tile_b[{at}u + rb + 3u]);"
        );
        for i in 0..rows {
            let _ = writeln!(accumulators, "  var acc{w}_{i} = vec4<f32>();");
            let _ = writeln!(multiply, "      acc{w}_{i} += x{i} * y{w};");
        }
    }
    let (m, n, k) = (shader.word(&product.m), shader.word(&product.n), shader.word(&product.k));
    let mut results = String::new();
    for i in 0..rows {
        let _ = writeln!(results, "  let m_{i} = m0 + i32(ty) * {rows} + {i};");
        if let Some(norm) = product.norm {
            let eps = shader.param(&Expr::from(i64::from(norm.eps.to_bits())));
            let _ = writeln!(
                results,
                "  let inverse{i} = 1.0 / sqrt(square{i} / f32({k}) + bitcast<f32>({eps}));"
            );
        }
        let factor = if product.norm.is_some() { format!(" * inverse{i}") } else { String::new() };
        let _ = writeln!(results, "  if (m_{i} < {m}) {{");
        for (j, lane) in ["x", "y", "z", "w"].iter().enumerate() {
            let list = product.list(|w| format!("acc{w}_{i}.{lane}{factor}"));
            let _ = writeln!(
                results,
                "    if (n0 + i32(tx) * 4 + {j} < {n}) {{ finish(batch, m_{i}, n0 + i32(tx) * 4 + {j}{list}); }}"
            );
        }
        results.push_str("  }\n");
    }
    let batches = product.batch.elements();
    let batch_word = shader.uword(&batches);
    let (am, ak) = (shader.word(&product.a_strides.row), shader.word(&product.a_strides.col));
    let (bk, bn) = (shader.word(&product.b_strides.row), shader.word(&product.b_strides.col));
    let a_along_k = !product.a_strides.row.is(1);
    let b_along_k = product.b_strides.row.is(1);
    let tile = tile_m.to_string();
    let keys = [
        ("RM", rows.to_string()),
        ("TILE_M", tile.clone()),
        ("PITCH_M", pitch.to_string()),
        ("M", m),
        ("N", n),
        ("K", k),
        ("BATCHES", batch_word),
        ("COORDINATES", coordinates),
        ("A_BASE", a_base),
        ("B_BASES", b_bases),
        ("ACCUMULATORS", accumulators),
        ("A_KK", if a_along_k { "i % 16u".into() } else { format!("i / {tile}u") }),
        ("A_MM", if a_along_k { "i / 16u".into() } else { format!("i % {tile}u") }),
        ("A_LOAD", product.a.load.clone()),
        ("A_M", am),
        ("A_K", ak),
        ("B_KK", if b_along_k { "i % 16u".into() } else { "i / 64u".into() }),
        ("B_NN", if b_along_k { "i / 16u".into() } else { "i % 64u".into() }),
        ("B_N", bn),
        ("B_K", bk),
        ("B_LOADS", b_loads),
        ("MULTIPLY", multiply),
        ("RESULTS", results),
    ];
    let keys: Vec<(&str, &str)> = keys.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let body = coreai_shaders::fill(coreai_shaders::MATMUL_TILED, &keys)
        .map_err(|e| Fault::broken(e.to_string()))?;
    let tiles = &div_ceil(&product.m, i64::from(tile_m)) * &div_ceil(&product.n, 64);
    let name = if rows == 2 { "matmul_tiled_32" } else { "matmul_tiled_64" };
    shader.finish(name, 256, &tiles * &batches, &body)
}
