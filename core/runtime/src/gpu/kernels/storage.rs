//! One load function per bound operand: from any storage to a register.

use std::fmt::Write as _;

use coreai_asset::ElementType;

use super::shader::{Shader, type_of};
use crate::expr::Expr;
use crate::gpu::segments::Segment;
use crate::step::{Kind, Meaning, QuantFormat, Storage};

/// Text of `fn {name}(e: i32) -> kind` over the words of `array`.
pub(super) fn load_function(
    shader: &mut Shader<'_>,
    name: &str,
    array: &str,
    kind: Kind,
    storage: &Storage,
    segment: Option<&Segment>,
) -> String {
    let ty = type_of(kind);
    let head = format!("fn {name}(e: i32) -> {ty} {{");
    match storage {
        Storage::Word => format!("{head} return bitcast<{ty}>({array}[e]); }}\n"),
        Storage::F16 => format!(
            "{head} let v = unpack2x16float({array}[u32(e) >> 1u]); return {ty}(select(v.x, v.y, (e & 1) == 1)); }}\n"
        ),
        Storage::BF16 => format!(
            "{head} let w = {array}[u32(e) >> 1u]; \
             return {ty}(bitcast<f32>(select(w << 16u, w & 0xffff0000u, (e & 1) == 1))); }}\n"
        ),
        Storage::Byte { signed } => {
            let word = if *signed { "i32" } else { "u32" };
            format!(
                "{head} return {ty}(extractBits({word}({array}[u32(e) >> 2u]), (u32(e) & 3u) * 8u, 8u)); }}\n"
            )
        }
        Storage::Quant(format) => {
            let mut text = block_functions(shader, name, array, format, segment);
            let code = code_expression(name, array, format, "e");
            let _ = writeln!(
                text,
                "{head} let block = {name}_block(e); return {ty}({name}_value({code}, block)); }}"
            );
            text
        }
    }
}

/// `f32` number that the code of element `e` stands for.
fn code_expression(name: &str, array: &str, format: &QuantFormat, e: &str) -> String {
    let bits = format.code_bits();
    let per_word = 32 / bits;
    let word = format!("{array}[u32({e}) >> {}u]", per_word.trailing_zeros());
    let number = code_number(name, format, &word, &format!("(u32({e}) & {}u) * {bits}u", per_word - 1));
    match format.meaning {
        Meaning::Less(zero) => format!("({number} - {zero:.1})", zero = f32::from(zero)),
        Meaning::Plain | Meaning::Table(_) => number,
    }
}

/// The code at bit `at` of a word as `f32`: its number, or its entry of the table. What all codes are less
/// is not subtracted.
pub(super) fn code_number(name: &str, format: &QuantFormat, word: &str, at: &str) -> String {
    let bits = format.code_bits();
    match format.meaning {
        Meaning::Table(_) => format!("{name}_table[extractBits({word}, {at}, {bits}u)]"),
        Meaning::Plain | Meaning::Less(_) => {
            let cast = if format.signed() { "i32" } else { "u32" };
            format!("f32(extractBits({cast}({word}), {at}, {bits}u))")
        }
    }
}

/// `{name}_block(e) -> i32`: number of the scale of element `e`; `{name}_scale(block)`,
/// `{name}_shift(block)`; `{name}_value(code, block) -> f32`.
fn block_functions(
    shader: &mut Shader<'_>,
    name: &str,
    array: &str,
    format: &QuantFormat,
    segment: Option<&Segment>,
) -> String {
    let parts = segment.map_or_else(|| format.parts(0), |s| s.parts);
    let word_of = |bytes: u64| Expr::from(i64::try_from(bytes / 4).unwrap_or(0));
    let mut text = block_number(shader, name, format);
    if let Meaning::Table(halves) = &format.meaning {
        // Device codes may be wider than those of the asset, and never name an entry beyond theirs.
        let entries: Vec<String> =
            halves.iter().map(|half| format!("{:?}", f32::from(*half) * 0.5)).collect();
        let ty = format!("array<f32, {}>", entries.len());
        let _ = writeln!(text, "var<private> {name}_table: {ty} = {ty}({});", entries.join(", "));
    }
    let scalar = |at: &str| match format.scale {
        ElementType::F32 => format!("return bitcast<f32>({array}[{at} + block]);"),
        ElementType::F8E8M0FN => format!(
            "let x = extractBits({array}[{at} + (block >> 2u)], (u32(block) & 3u) * 8u, 8u); \
             return bitcast<f32>(select(select(x << 23u, 0x400000u, x == 0u), 0x7fc00000u, x == 255u));"
        ),
        ElementType::BF16 => format!(
            "let w = {array}[{at} + (block >> 1u)]; \
             return bitcast<f32>(select(w << 16u, w & 0xffff0000u, (block & 1) == 1));"
        ),
        _ => format!(
            "let v = unpack2x16float({array}[{at} + (block >> 1u)]); return select(v.x, v.y, (block & 1) == 1);"
        ),
    };
    let at = shader.param(&word_of(parts.scale));
    let _ = writeln!(text, "fn {name}_scale(block: i32) -> f32 {{ {} }}", scalar(&at));
    let mut value = "code".to_owned();
    if format.zero {
        let at = shader.param(&word_of(parts.zero));
        let word = if format.signed() { "i32" } else { "u32" };
        let _ = writeln!(
            text,
            "fn {name}_zero(block: i32) -> f32 {{ \
             return f32(extractBits({word}({array}[{at} + (block >> 2u)]), (u32(block) & 3u) * 8u, 8u)); }}"
        );
        value = format!("(code - {name}_zero(block))");
    }
    value = format!("{name}_scale(block) * {value}");
    if format.min {
        let at = shader.param(&word_of(parts.min));
        let _ = writeln!(text, "fn {name}_min(block: i32) -> f32 {{ {} }}", scalar(&at));
        value = format!("{value} + {name}_min(block)");
    }
    let _ = writeln!(text, "fn {name}_value(code: f32, block: i32) -> f32 {{ return {value}; }}");
    text
}

/// Extents and blocks with as few axes as possible. Neighbours merge when the inner one is a single
/// block or the outer one has blocks of 1.
pub(super) fn merged_blocks(format: &QuantFormat) -> Vec<(u64, u64)> {
    let mut axes: Vec<(u64, u64)> = vec![];
    for (dim, block) in format.dims.iter().zip(&format.blocks) {
        match axes.last_mut() {
            Some((outer, outer_block)) if block == dim => {
                *outer *= dim;
                *outer_block *= block;
            }
            Some((outer, outer_block)) if *outer_block == 1 => {
                *outer *= dim;
                *outer_block = *block;
            }
            _ => axes.push((*dim, *block)),
        }
    }
    axes
}

fn block_number(shader: &mut Shader<'_>, name: &str, format: &QuantFormat) -> String {
    let head = format!("fn {name}_block(e: i32) -> i32 {{");
    let axes = merged_blocks(format);
    let number = |n: u64| Expr::from(i64::try_from(n).unwrap_or(i64::MAX));
    if let [] | [_] = axes.as_slice() {
        let block = axes.first().map_or(1, |a| a.1).max(1);
        if block.is_power_of_two() {
            let shift = shader.param(&number(u64::from(block.trailing_zeros())));
            return format!("{head} return e >> u32({shift}); }}\n");
        }
        let block = shader.param(&number(block));
        return format!("{head} return i32(u32(e) / u32({block})); }}\n");
    }
    let mut text = format!("{head} var r = u32(e); var n = 0u;\n");
    let mut stride = 1;
    for (i, (dim, block)) in axes.iter().enumerate().rev() {
        let (d, b, s) =
            (shader.uword(&number(*dim)), shader.uword(&number(*block)), shader.uword(&number(stride)));
        if i > 0 {
            let _ = writeln!(text, "  n += (r % {d}) / {b} * {s}; r = r / {d};");
        } else {
            let _ = writeln!(text, "  n += r / {b} * {s};");
        }
        stride *= dim / block;
    }
    text.push_str("  return i32(n);\n}\n");
    text
}
