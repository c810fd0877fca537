//! Elementwise programs as WGSL statements.

use std::fmt::Write as _;

use coreai_asset::ElementType;

use super::Fault;
use super::shader::{Shader, type_of};
use crate::facts::integer_range;
use crate::map::{Instr, MapFn, MapOp, MapProg};
use crate::step::Kind;

/// Statements that evaluate `prog` and the name of its result. `load(n)` and `index(axis)` give WGSL
/// expressions of the operand's kind and of type i32.
pub(super) fn statements(
    shader: &mut Shader<'_>,
    prog: &MapProg,
    load: &dyn Fn(u16) -> String,
    index: &dyn Fn(u8) -> String,
) -> Result<(String, String), Fault> {
    let mut text = String::new();
    let mut last = String::new();
    for (at, instr) in prog.instrs.iter().enumerate() {
        let value = expression(shader, prog, at, instr, load, index)?;
        last = format!("v{at}");
        let _ = writeln!(text, "  let {last}: {} = {value};", type_of(instr.kind));
    }
    Ok((text, last))
}

fn expression(
    shader: &mut Shader<'_>,
    prog: &MapProg,
    at: usize,
    instr: &Instr,
    load: &dyn Fn(u16) -> String,
    index: &dyn Fn(u8) -> String,
) -> Result<String, Fault> {
    let kind = instr.kind;
    let arg = |i: usize| format!("v{}", instr.args[i]);
    let kind_of = |i: usize| prog.instrs.get(usize::from(instr.args[i])).map_or(Kind::F32, |a| a.kind);
    if (0..instr.op.arity()).any(|i| usize::from(instr.args[i]) >= at) {
        return Err(Fault::broken("an elementwise program refers forward".into()));
    }
    Ok(match instr.op {
        MapOp::Load(n) => load(n),
        MapOp::Const(bits) => constant(bits, kind),
        MapOp::Scalar(n) => {
            let e = prog.scalars.get(usize::from(n)).ok_or_else(|| Fault::broken("missing scalar".into()))?;
            let word = shader.param(e);
            if kind == Kind::I32 { word } else { format!("{}({word})", type_of(kind)) }
        }
        MapOp::Index(axis) => index(axis),
        MapOp::Fn(f) => {
            let column = kind_of(usize::from(f == MapFn::Select));
            let pattern = f.wgsl(column);
            if pattern.is_empty() {
                return Err(Fault::broken(format!("{f:?} has no {column:?} column")));
            }
            let mut value = pattern.to_owned();
            for i in 0..f.arity() {
                value = value.replace(&format!("${i}"), &arg(i));
            }
            if f == MapFn::Select {
                value = value.replace("!= 0u", if kind_of(0) == Kind::I32 { "!= 0" } else { "!= 0u" });
            }
            if matches!(f, MapFn::Equal | MapFn::NotEqual | MapFn::Greater) {
                format!("u32({value})")
            } else {
                value
            }
        }
        MapOp::Cast(to) => cast(&arg(0), kind_of(0), to, kind),
        MapOp::Wrap(to) => wrap(&arg(0), to),
    })
}

/// A literal. Bit patterns that are not finite must not become constant expressions.
pub(super) fn constant(bits: u32, kind: Kind) -> String {
    match kind {
        Kind::F32 if bits & 0x7f80_0000 == 0x7f80_0000 => format!("from_bits({bits}u)"),
        Kind::F32 => format!("bitcast<f32>({bits}u)"),
        Kind::I32 => format!("bitcast<i32>({bits}u)"),
        Kind::U32 | Kind::Bool => format!("{bits}u"),
    }
}

fn cast(x: &str, from: Kind, to: ElementType, kind: Kind) -> String {
    let range =
        integer_range(to).map(|(low, high)| (low.max(i64::from(i32::MIN)), high.min(i64::from(u32::MAX))));
    match (kind, from) {
        (Kind::F32, Kind::F32) => small_float(x, to),
        (Kind::F32, _) => small_float(&format!("f32({x})"), to),
        (Kind::Bool, Kind::F32) => format!("ftruth({x})"),
        (Kind::Bool, Kind::I32) => format!("u32({x} != 0)"),
        (Kind::Bool, _) => format!("u32({x} != 0u)"),
        (Kind::I32, _) => {
            let value = match from {
                Kind::F32 => format!("f2i({x})"),
                Kind::I32 => x.to_owned(),
                _ => format!("i32(min({x}, 0x7fffffffu))"),
            };
            match range {
                Some((low, high)) if high < i64::from(i32::MAX) => format!("clamp({value}, {low}, {high})"),
                _ => value,
            }
        }
        (Kind::U32, _) => {
            let value = match from {
                Kind::F32 => format!("f2u({x})"),
                Kind::I32 => format!("u32(max({x}, 0))"),
                _ => x.to_owned(),
            };
            match range {
                Some((_, high)) if high < i64::from(u32::MAX) => format!("min({value}, {high}u)"),
                _ => value,
            }
        }
    }
}

/// Rounds to a float type of at most 8 bits. Wider types keep the value: results are rounded where they
/// are materialized.
fn small_float(x: &str, to: ElementType) -> String {
    match to {
        ElementType::F8E5M2 => format!("round_small({x}, 2, -14, 57344.0, 0x7f800000u, 0x7fc00000u)"),
        ElementType::F8E4M3FN => format!("round_small({x}, 3, -6, 448.0, 0x7fc00000u, 0x7fc00000u)"),
        ElementType::F4E2M1FN => format!("round_small({x}, 1, 0, 6.0, 0x40c00000u, 0u)"),
        ElementType::F8E8M0FN => format!("round_power({x})"),
        _ => x.to_owned(),
    }
}

fn wrap(x: &str, to: ElementType) -> String {
    let bits = to.bits();
    match integer_range(to) {
        Some(_) if bits >= 32 => x.to_owned(),
        Some(_) => format!("extractBits({x}, 0u, {bits}u)"),
        None => x.to_owned(),
    }
}
