//! Elementwise programs.

use super::Fault;
use super::packed;
use super::program::statements;
use super::shader::{Operand, Shader, div_ceil};
use super::space::Space;
use crate::gpu::dispatch::Dispatch;
use crate::map::{MapOp, MapProg};
use crate::step::Storage;

/// Invocations of a workgroup of elementwise kernels.
pub(super) const INVOCATIONS: u32 = 256;

/// An elementwise program over a space: strides `[0]` are the result's, then the reads'.
pub(super) struct Elementwise {
    pub space: Space,
    pub out: Operand,
}

pub(super) fn build(mut shader: Shader<'_>, prog: &MapProg) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let result = &step.writes[0];
    let indexed: Vec<usize> = prog
        .instrs
        .iter()
        .filter_map(|i| match i.op {
            MapOp::Index(axis) => Some(usize::from(axis)),
            _ => None,
        })
        .collect();
    let mut strides = vec![result.strides.as_slice()];
    strides.extend(step.reads.iter().map(|r| r.strides.as_slice()));
    if strides.iter().any(|s| s.len() != result.dims.len()) {
        return Err(Fault::broken("operands of an elementwise step differ in rank".into()));
    }
    let space = Space::new(&result.dims, &strides, &indexed);
    let reads = (0..step.reads.len()).map(|n| shader.read(n)).collect::<Result<Vec<_>, _>>()?;
    let out = shader.write()?;

    // fn value(t): the program at row-major index t.
    let coordinates = shader.coordinates("t", &space, "c");
    let loads: Vec<String> = reads
        .iter()
        .enumerate()
        .map(|(n, read)| {
            let base = shader.word(&read.window.offset);
            format!("{}({})", read.load, shader.element(&base, &space, n + 1, "c"))
        })
        .collect();
    let missing = prog.instrs.iter().any(|i| matches!(i.op, MapOp::Load(n) if usize::from(n) >= loads.len()));
    if missing {
        return Err(Fault::broken("an elementwise program loads an operand that is missing".into()));
    }
    let axis_of = space.axis_of.clone();
    let (text, value) =
        statements(&mut shader, prog, &|n| loads[usize::from(n)].clone(), &|axis| match axis_of
            .get(usize::from(axis))
            .copied()
            .flatten()
        {
            Some(at) => format!("c{at}"),
            None => "0".into(),
        })?;
    let ty = super::shader::type_of(out.kind);
    let store = packed::conversion(prog.result_kind(), out.kind, &value);
    let total = space.elements();

    if out.storage != Storage::Word {
        shader.declare(&format!("fn value(t: u32) -> f32 {{\n{coordinates}{text}  return f32({store});\n}}"));
        return packed::build(shader, Elementwise { space, out });
    }
    let base = shader.word(&out.window.offset);
    let element = shader.element(&base, &space, 0, "c");
    let count = shader.uword(&total);
    let body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n\
         {coordinates}{text}  let result: {ty} = {store};\n  st({element}, result);\n"
    );
    shader.finish("map", INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
}
