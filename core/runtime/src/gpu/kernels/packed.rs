//! Elementwise results in half-word storage: every invocation owns a whole word.

use std::fmt::Write as _;

use super::Fault;
use super::map::{Elementwise, INVOCATIONS};
use super::shader::{Shader, div_ceil};
use crate::expr::{Expr, Func};
use crate::gpu::dispatch::Dispatch;
use crate::step::{Kind, Round, Storage};

/// Converts a program's result to the kind of the buffer it is stored in.
pub(super) fn conversion(from: Kind, to: Kind, value: &str) -> String {
    match (from, to) {
        (a, b) if a == b => value.to_owned(),
        (Kind::U32 | Kind::Bool, Kind::U32 | Kind::Bool) => value.to_owned(),
        (_, Kind::F32) => format!("f32({value})"),
        (Kind::F32, Kind::I32) => format!("f2i({value})"),
        (Kind::F32, _) => format!("f2u({value})"),
        (_, Kind::I32) => format!("i32({value})"),
        (_, _) => format!("u32({value})"),
    }
}

/// `shader` declares `fn value(t: u32) -> f32`. Words whose two halves provably both belong to the
/// result are written; otherwise each touched word is read, changed and written by one invocation.
pub(super) fn build(mut shader: Shader<'_>, map: Elementwise) -> Result<Dispatch, Fault> {
    let encode = match (&map.out.storage, shader.step.round) {
        (Storage::F16, Round::BF16) => "f16_bits(round_bf16(value(t)))",
        (Storage::F16, _) => "f16_bits(value(t))",
        (Storage::BF16, Round::F16) => "bf16_bits(round_f16(value(t)))",
        (Storage::BF16, _) => "bf16_bits(value(t))",
        (other, _) => return Err(Fault::broken(format!("results cannot be stored as {other:?}"))),
    };
    shader.declare(&format!("fn half_of(t: u32) -> u32 {{ return {encode}; }}"));
    let (space, array) = (&map.space, &map.out.array);
    let (offset, strides) = (&map.out.window.offset, &space.strides[0]);
    let rank = space.dims.len();
    let even = rank > 0
        && strides[rank - 1].is(1)
        && space.dims[rank - 1].divisible_by(2)
        && offset.divisible_by(2)
        && strides[..rank - 1].iter().all(|s| s.divisible_by(2));
    if even {
        let pairs = Expr::func(Func::FloorDiv, &space.elements(), &Expr::from(2i64));
        let count = shader.uword(&pairs);
        let coordinates = shader.coordinates("2u * pair", space, "c");
        let base = shader.word(offset);
        let element = shader.element(&base, space, 0, "c");
        let body = format!(
            "  let pair = group * WG + lid;\n  if (pair >= {count}) {{ return; }}\n{coordinates}  \
             {array}[({element}) >> 1u] = half_of(2u * pair) | (half_of(2u * pair + 1u) << 16u);\n"
        );
        return shader.finish("map_pairs", INVOCATIONS, div_ceil(&pairs, i64::from(INVOCATIONS)), &body);
    }
    let two = Expr::from(2i64);
    let reach =
        space.dims.iter().zip(strides).fold(Expr::zero(), |sum, (d, s)| &sum + &(&(d - &Expr::one()) * s));
    let first = Expr::func(Func::FloorDiv, offset, &two);
    let last = Expr::func(Func::FloorDiv, &(offset + &reach), &two);
    let one = Expr::one();
    // No words when there are no elements.
    let some = Expr::func(Func::Min, &space.elements(), &one);
    let words = &(&(&last - &first) + &one) * &some;
    let (count, first_word, base) = (shader.uword(&words), shader.word(&first), shader.word(offset));
    // fn index_of(rel): row-major index of the element at distance rel, or -1.
    let mut find = String::from(
        "fn index_of(distance: i32) -> i32 {\n  if (distance < 0) { return -1; }\n  var rest = distance;\n  var t = 0;\n",
    );
    for (dim, stride) in space.dims.iter().zip(strides) {
        let (d, s) = (shader.word(dim), shader.word(stride));
        let _ = writeln!(
            find,
            "  {{ let c = rest / {s}; if (c >= {d}) {{ return -1; }} rest -= c * {s}; t = t * {d} + c; }}"
        );
    }
    find.push_str("  return select(-1, t, rest == 0);\n}\n");
    shader.declare(&find);
    let body = format!(
        "  let n = group * WG + lid;\n  if (n >= {count}) {{ return; }}\n\
           let word = {first_word} + i32(n);\n  let low = index_of(2 * word - ({base}));\n  \
         let high = index_of(2 * word + 1 - ({base}));\n  var bits = {array}[word];\n  \
         if (low >= 0) {{ bits = (bits & 0xffff0000u) | half_of(u32(low)); }}\n  \
         if (high >= 0) {{ bits = (bits & 0xffffu) | (half_of(u32(high)) << 16u); }}\n  \
         if (low >= 0 || high >= 0) {{ {array}[word] = bits; }}\n"
    );
    shader.finish("map_halves", INVOCATIONS, div_ceil(&words, i64::from(INVOCATIONS)), &body)
}
