//! Products of at most 8 rows: every weight is read once, in whole words.

use std::fmt::Write as _;

use super::Fault;
use super::matmul::Product;
use super::shader::{Shader, div_ceil};
use super::storage::{code_number, merged_blocks};
use super::window::element_bits;
use crate::expr::Expr;
use crate::gpu::dispatch::Dispatch;
use crate::step::{Meaning, Storage};

/// Most rows of A.
pub(super) const MAX_ROWS: i64 = 8;
/// Invocations that share the k axis of a group of weight rows.
const INVOCATIONS: u32 = 64;
/// The same where vectors are narrow: more of them only add to what is combined at the end.
const FEWEST: u32 = 16;

/// Invocations for the device: four of its vectors, where it says how wide they are.
fn invocations(shader: &Shader<'_>) -> u32 {
    match (shader.cx.caps.subgroups, shader.cx.caps.subgroup_size) {
        (true, 1..) => (4 * shader.cx.caps.subgroup_size).next_power_of_two().clamp(FEWEST, INVOCATIONS),
        _ => INVOCATIONS,
    }
}

/// How the weights are read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Variant {
    /// k is contiguous: each invocation takes chunks of `words` words.
    Rows { words: usize },
    /// Any strides: one column per invocation, k in four slices.
    Columns,
}

/// Rows of A a kernel computes, from the bound of m: 1, 2, 4 or 8.
fn row_slots(shader: &Shader<'_>, product: &Product) -> usize {
    match shader.cx.bounds(&product.m).max {
        ..=1 => 1,
        2 => 2,
        3..=4 => 4,
        _ => 8,
    }
}

/// The variant for a product, or `None` when only the tiled kernel has it.
pub(super) fn choose(shader: &Shader<'_>, product: &Product) -> Option<Variant> {
    let slots = row_slots(shader, product);
    if product.b_strides.row.is(1) {
        let b = &product.b[0];
        let per_word = 32 / element_bits(&b.storage) as usize;
        let depth = shader.cx.bounds(&product.k).max;
        let fits = |words: usize| {
            let chunk = (words * per_word) as i64;
            let aligned = |e: &Expr| e.divisible_by(chunk);
            let block = match &b.storage {
                Storage::Quant(format) => merged_blocks(format).last().map_or(1, |a| a.1 as i64),
                _ => chunk,
            };
            aligned(&product.k)
                && aligned(&product.b_strides.col)
                && product.b.iter().all(|b| aligned(&b.window.offset))
                && product.batch.strides[2].iter().all(aligned)
                && block % chunk == 0
                && (words == 1 || words * per_word * slots.min(2) <= if slots == 1 { 32 } else { 16 })
        };
        let all: Vec<usize> = [4, 2, 1].into_iter().filter(|w| fits(*w)).collect();
        // The longest chunk that still gives every invocation one.
        let lanes = i64::from(invocations(shader));
        let busy = |w: &&usize| (**w * per_word) as i64 * lanes <= depth;
        if let Some(words) = all.iter().find(busy).or(all.last()) {
            return Some(Variant::Rows { words: *words });
        }
    }
    let sums = slots * product.b.len() + if product.norm.is_some() { slots } else { 0 };
    (sums <= 16).then_some(Variant::Columns)
}

pub(super) fn build(shader: Shader<'_>, product: &Product, variant: Variant) -> Result<Dispatch, Fault> {
    match variant {
        Variant::Rows { words } => rows(shader, product, words),
        Variant::Columns => columns(shader, product),
    }
}

/// The values in groups of up to four.
fn vectors(values: &[String]) -> Vec<String> {
    values
        .chunks(4)
        .map(|c| match c {
            [one] => one.clone(),
            many => format!("vec{}<f32>({})", many.len(), many.join(", ")),
        })
        .collect()
}

fn dot(a: &str, b: &str, lanes: usize) -> String {
    if lanes == 1 { format!("{a} * {b}") } else { format!("dot({a}, {b})") }
}

/// Unscaled values of one word.
fn decode(storage: &Storage, load: &str, word: &str) -> Vec<String> {
    match storage {
        Storage::Word => vec![format!("bitcast<f32>({word})")],
        Storage::F16 => vec![format!("unpack2x16float({word}).x"), format!("unpack2x16float({word}).y")],
        Storage::BF16 => {
            vec![format!("bitcast<f32>({word} << 16u)"), format!("bitcast<f32>({word} & 0xffff0000u)")]
        }
        Storage::Byte { signed } => codes(word, 8, *signed),
        Storage::Quant(format) => {
            let bits = format.code_bits();
            let number = |i| match counted(storage) {
                Some(_) => format!("f32(({word} >> {}u) & {}u)", i * bits, (1u64 << bits) - 1),
                None => code_number(load, format, word, &format!("{}u", i * bits)),
            };
            (0..32 / bits).map(number).collect()
        }
    }
}

/// Signed codes are read as codes that count from 0, which takes no sign extension of each: what all
/// codes of a word are flipped with, and what they are more then.
fn counted(storage: &Storage) -> Option<(u32, f32)> {
    let Storage::Quant(format) = storage else { return None };
    if !format.signed() || matches!(format.meaning, Meaning::Table(_)) {
        return None;
    }
    let bits = format.code_bits() as u32;
    let top = 1u32 << (bits - 1);
    Some(((0..32).step_by(bits as usize).fold(0, |all, at| all | top << at), top as f32))
}

fn codes(word: &str, bits: u64, signed: bool) -> Vec<String> {
    let cast = if signed { "i32" } else { "u32" };
    (0..32 / bits).map(|i| format!("f32(extractBits({cast}({word}), {}u, {bits}u))", i * bits)).collect()
}

fn rows(mut shader: Shader<'_>, product: &Product, words: usize) -> Result<Dispatch, Fault> {
    let slots = row_slots(&shader, product);
    let weights = product.b.len();
    let wide = shader.cx.bounds(&product.n).max;
    let most = if slots >= 4 || weights > 1 { 2 } else { 4 };
    let lanes = invocations(&shader);
    let per_group = match wide {
        4096.. => most,
        1024.. if lanes < INVOCATIONS => most,
        1024.. => 2,
        _ => 1,
    };
    let storage = product.b[0].storage.clone();
    let per_word = 32 / element_bits(&storage) as usize;
    let chunk = words * per_word;
    let sums = slots * weights * per_group;
    let squares = if product.norm.is_some() { slots } else { 0 };
    shader.declare(&format!("var<workgroup> sums_of: array<f32, {}>;", (sums + squares) * lanes as usize));

    let groups = div_ceil(&product.n, per_group as i64);
    let (group_word, batch_word) = (shader.uword(&groups), shader.uword(&product.batch.elements()));
    let (m, n, k) = (shader.word(&product.m), shader.word(&product.n), shader.word(&product.k));
    let coordinates = shader.coordinates("batch", &product.batch, "c");
    let a_base = product.a_base(&mut shader);
    let (am, ak) = (shader.word(&product.a_strides.row), shader.word(&product.a_strides.col));
    let bn = shader.word(&product.b_strides.col);
    let mut body = format!(
        "  if (group >= {group_word} * {batch_word}) {{ return; }}\n  let batch = group / {group_word};\n  \
         let n0 = i32(group % {group_word}) * {per_group};\n{coordinates}  let a0 = {a_base};\n"
    );
    for w in 0..weights {
        let base = product.b_base(&mut shader, w);
        for r in 0..per_group {
            let _ = writeln!(body, "  let w{w}_{r} = {base} + min(n0 + {r}, {n} - 1) * {bn};");
            for i in 0..slots {
                let _ = writeln!(body, "  var acc{w}_{r}_{i} = 0.0;");
            }
        }
    }
    for i in 0..slots {
        let _ = writeln!(body, "  let a_{i} = a0 + min({i}, {m} - 1) * {am};");
        if squares > 0 {
            let _ = writeln!(body, "  var square{i} = 0.0;");
        }
    }
    let _ = writeln!(body, "  for (var k0 = i32(lid) * {chunk}; k0 < {k}; k0 += i32(WG) * {chunk}) {{");
    if let Some(scale) = &product.scale {
        for e in 0..chunk {
            let _ = writeln!(body, "    var s{e}: f32; {{ let k = k0 + {e}; s{e} = {scale}; }}");
        }
    }
    // A's values of the chunk, and their sums where the weights have zero points.
    let quant = match &storage {
        Storage::Quant(format) => Some(format.clone()),
        _ => None,
    };
    let needs_sum = quant.as_ref().is_some_and(|f| f.zero || f.min || matches!(f.meaning, Meaning::Less(_)));
    let parts: Vec<usize> = (0..chunk).collect::<Vec<_>>().chunks(4).map(<[usize]>::len).collect();
    for i in 0..slots {
        for e in 0..chunk {
            let _ = writeln!(body, "    let x{i}_{e} = {}(a_{i} + (k0 + {e}) * {ak});", product.a.load);
        }
        let raw = vectors(&(0..chunk).map(|e| format!("x{i}_{e}")).collect::<Vec<_>>());
        if squares > 0 {
            for (v, l) in raw.iter().zip(&parts) {
                let _ = writeln!(body, "    square{i} += {};", dot(v, v, *l));
            }
        }
        let scaled: Vec<String> = (0..chunk)
            .map(|e| if product.scale.is_some() { format!("x{i}_{e} * s{e}") } else { format!("x{i}_{e}") })
            .collect();
        for (j, v) in vectors(&scaled).iter().enumerate() {
            let _ = writeln!(body, "    let y{i}_{j} = {v};");
        }
        if needs_sum {
            let ones = |l: usize| if l == 1 { "1.0".to_owned() } else { format!("vec{l}<f32>(1.0)") };
            let sum: Vec<String> =
                parts.iter().enumerate().map(|(j, l)| dot(&format!("y{i}_{j}"), &ones(*l), *l)).collect();
            let _ = writeln!(body, "    let total{i} = {};", sum.join(" + "));
        }
    }
    for (w, b) in product.b.iter().enumerate() {
        for r in 0..per_group {
            let shift = per_word.trailing_zeros();
            let _ =
                writeln!(body, "    {{\n      let e = w{w}_{r} + k0;\n      let at = u32(e) >> {shift}u;");
            let mut values = vec![];
            let offset = counted(&storage);
            for j in 0..words {
                let flip = offset.map_or(String::new(), |(flip, _)| format!(" ^ {flip:#x}u"));
                let _ = writeln!(body, "      let q{j} = {}[at + {j}u]{flip};", b.array);
                values.extend(decode(&storage, &b.load, &format!("q{j}")));
            }
            let less = offset.map_or(String::new(), |(_, bias)| format!(" - {bias:.1}"));
            for (j, v) in vectors(&values).iter().enumerate() {
                let _ = writeln!(body, "      let d{j} = {v}{less};");
            }
            if quant.is_some() {
                let _ = writeln!(
                    body,
                    "      let block = {}_block(e);\n      let scale = {}_scale(block);",
                    b.load, b.load
                );
            }
            for i in 0..slots {
                let terms: Vec<String> = parts
                    .iter()
                    .enumerate()
                    .map(|(j, l)| dot(&format!("y{i}_{j}"), &format!("d{j}"), *l))
                    .collect();
                let mut value = terms.join(" + ");
                if let Some(format) = &quant {
                    if let Meaning::Less(zero) = format.meaning {
                        value = format!("{value} - {:.1} * total{i}", f32::from(zero));
                    }
                    if format.zero {
                        value = format!("{value} - {}_zero(block) * total{i}", b.load);
                    }
                    value = format!("scale * ({value})");
                    if format.min {
                        value = format!("{value} + {}_min(block) * total{i}", b.load);
                    }
                }
                let _ = writeln!(body, "      acc{w}_{r}_{i} += {value};");
            }
            body.push_str("    }\n");
        }
    }
    body.push_str("  }\n");

    // sums_of[s * WG + …]: sums of weight w, row slot i, weight row r, then the squares.
    let index = |w: usize, i: usize, r: usize| (w * slots + i) * per_group + r;
    let mut values = vec![String::new(); sums + squares];
    for w in 0..weights {
        for i in 0..slots {
            for r in 0..per_group {
                values[index(w, i, r)] = format!("acc{w}_{r}_{i}");
            }
        }
    }
    for i in 0..squares {
        values[sums + i] = format!("square{i}");
    }
    body.push_str(&reduction(&mut shader, &values));
    let _ = writeln!(
        body,
        "  if (lid < {}u) {{\n    let i = lid / {per_group}u;\n    let r = lid % {per_group}u;\n    \
         let m = i32(i);\n    let n = n0 + i32(r);\n    if (m < {m} && n < {n}) {{",
        slots * per_group
    );
    let factor = inverse(&mut shader, product, &mut body, &k, sums);
    let list = product.list(|w| format!("reduced({}u + lid){factor}", w * slots * per_group));
    let _ = writeln!(body, "      finish(batch, m, n{list});\n    }}\n  }}");
    let name = match &storage {
        Storage::Quant(_) => "matvec_quant",
        Storage::Word => "matvec_f32",
        _ => "matvec_packed",
    };
    shader.finish(name, lanes, &groups * &product.batch.elements(), &body)
}

/// Text that gives `reduced(s)`: the sum of value `s` over the workgroup. Declares the function.
fn reduction(shader: &mut Shader<'_>, values: &[String]) -> String {
    let mut text = String::new();
    if shader.cx.caps.subgroups {
        for (s, value) in values.iter().enumerate() {
            let _ = writeln!(text, "  let sum{s} = subgroupAdd({value});");
        }
        text.push_str("  if (lane == 0u) {\n");
        for s in 0..values.len() {
            let _ = writeln!(text, "    sums_of[{s}u * WG + sgid] = sum{s};");
        }
        text.push_str(
            "  }\n  workgroupBarrier();\n  if (lid == 0u) { subgroups = sgn; }\n  workgroupBarrier();\n",
        );
        shader.declare(
            "var<workgroup> subgroups: u32;\nfn reduced(s: u32) -> f32 {\n  var sum = 0.0;\n  \
             for (var i = 0u; i < subgroups; i++) { sum += sums_of[s * WG + i]; }\n  return sum;\n}",
        );
        return text;
    }
    for (s, value) in values.iter().enumerate() {
        let _ = writeln!(text, "  sums_of[{s}u * WG + lid] = {value};");
    }
    // Eight values each, then eight of those.
    let _ = writeln!(
        text,
        "  workgroupBarrier();\n  for (var t = lid; t < {}u; t += WG) {{\n    var sum = 0.0;\n    \
         for (var i = 0u; i < 8u; i++) {{ sum += sums_of[t * 8u + i]; }}\n    sums_of[t * 8u] = sum;\n  }}\n  \
         workgroupBarrier();",
        values.len() * 8
    );
    shader.declare(
        "fn reduced(s: u32) -> f32 {\n  var sum = 0.0;\n  \
         for (var i = 0u; i < 8u; i++) { sum += sums_of[s * WG + i * 8u]; }\n  return sum;\n}",
    );
    text
}

/// With a norm: defines `inverse` of row slot `i` and gives the factor.
fn inverse(
    shader: &mut Shader<'_>,
    product: &Product,
    body: &mut String,
    k: &str,
    sums: usize,
) -> &'static str {
    let Some(norm) = product.norm else { return "" };
    let eps = shader.param(&Expr::from(i64::from(norm.eps.to_bits())));
    let _ = writeln!(
        body,
        "      let inverse = 1.0 / sqrt(reduced({sums}u + i) / f32({k}) + bitcast<f32>({eps}));"
    );
    " * inverse"
}

fn columns(mut shader: Shader<'_>, product: &Product) -> Result<Dispatch, Fault> {
    let slots = row_slots(&shader, product);
    let weights = product.b.len();
    let squares = if product.norm.is_some() { slots } else { 0 };
    let sums = slots * weights;
    shader.declare(&format!(
        "var<workgroup> sums_of: array<f32, {}>;\nfn reduced(s: u32, lid: u32) -> f32 {{\n  \
         let at = s * 256u + lid;\n  \
         return (sums_of[at] + sums_of[at + 64u]) + (sums_of[at + 128u] + sums_of[at + 192u]);\n}}",
        (sums + squares) * 256
    ));
    let groups = div_ceil(&product.n, 64);
    let (group_word, batch_word) = (shader.uword(&groups), shader.uword(&product.batch.elements()));
    let (m, n, k) = (shader.word(&product.m), shader.word(&product.n), shader.word(&product.k));
    let coordinates = shader.coordinates("batch", &product.batch, "c");
    let a_base = product.a_base(&mut shader);
    let (am, ak) = (shader.word(&product.a_strides.row), shader.word(&product.a_strides.col));
    let (bk, bn) = (shader.word(&product.b_strides.row), shader.word(&product.b_strides.col));
    let mut body = format!(
        "  if (group >= {group_word} * {batch_word}) {{ return; }}\n  let batch = group / {group_word};\n  \
         let n = i32(group % {group_word}) * 64 + i32(lid % 64u);\n  let column = min(n, {n} - 1) * {bn};\n\
         {coordinates}  let a0 = {a_base};\n"
    );
    for w in 0..weights {
        let base = product.b_base(&mut shader, w);
        let _ = writeln!(body, "  let w{w} = {base} + column;");
    }
    for i in 0..slots {
        let _ = writeln!(body, "  let a_{i} = a0 + min({i}, {m} - 1) * {am};");
        for w in 0..weights {
            let _ = writeln!(body, "  var acc{w}_{i} = 0.0;");
        }
        if squares > 0 {
            let _ = writeln!(body, "  var square{i} = 0.0;");
        }
    }
    let _ = writeln!(body, "  for (var k = i32(lid / 64u); k < {k}; k += 4) {{");
    if let Some(scale) = &product.scale {
        let _ = writeln!(body, "    let factor = {scale};");
    }
    for (w, b) in product.b.iter().enumerate() {
        let factor = if product.scale.is_some() { " * factor" } else { "" };
        let _ = writeln!(body, "    let y{w} = {}(w{w} + k * {bk}){factor};", b.load);
    }
    for i in 0..slots {
        let _ = writeln!(body, "    let x{i} = {}(a_{i} + k * {ak});", product.a.load);
        if squares > 0 {
            let _ = writeln!(body, "    square{i} += x{i} * x{i};");
        }
        for w in 0..weights {
            let _ = writeln!(body, "    acc{w}_{i} += x{i} * y{w};");
        }
    }
    body.push_str("  }\n");
    for i in 0..slots {
        for w in 0..weights {
            let _ = writeln!(body, "  sums_of[{}u + lid] = acc{w}_{i};", (w * slots + i) * 256);
        }
        if squares > 0 {
            let _ = writeln!(body, "  sums_of[{}u + lid] = square{i};", (sums + i) * 256);
        }
    }
    let _ = writeln!(body, "  workgroupBarrier();\n  if (lid < 64u && n < {n}) {{");
    for i in 0..slots {
        let _ = writeln!(body, "    if ({i} < {m}) {{");
        let mut factor = "";
        if let Some(norm) = product.norm {
            let eps = shader.param(&Expr::from(i64::from(norm.eps.to_bits())));
            let _ = writeln!(
                body,
                "      let inverse = 1.0 / sqrt(reduced({}u, lid) / f32({k}) + bitcast<f32>({eps}));",
                sums + i
            );
            factor = " * inverse";
        }
        let list = product.list(|w| format!("reduced({}u, lid){factor}", w * slots + i));
        let _ = writeln!(body, "      finish(batch, {i}, n{list});\n    }}");
    }
    body.push_str("  }\n");
    shader.finish("matvec_columns", 256, &groups * &product.batch.elements(), &body)
}
