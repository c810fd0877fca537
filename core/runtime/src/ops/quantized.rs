//! Compressed weights.

use coreai_asset::ElementType;

use super::{Fault, InferCx, Op, constant};
use crate::facts::Fact;
use crate::graph::Val;
use crate::lower::Lower;
use crate::step::{QuantFormat, QuantSource};

/// The family's ops.
pub static OPS: &[&dyn Op] = &[&ShiftScale, &LutToDense];

/// `scale * (data - offset1) + offset2` per block.
struct ShiftScale;

impl Op for ShiftScale {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.blockwise_shift_scale_v2", "primitive.blockwise_shift_scale_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        blocks(&x, cx.input(1)?)?;
        // zero points
        cx.input(2)?;
        Ok(vec![Fact::new(cx.element()?, x.dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let (x, scale) = (cx.fact(inputs[0]).clone(), cx.fact(inputs[1]).clone());
        let blocks = blocks(&x, &scale)?;
        let dims = extents(&x)?;
        let min = inputs.get(3).copied();
        match packed(cx, &inputs, min, &dims, &blocks)? {
            Some((format, source)) => {
                cx.define_quant(outputs[0], format, source);
                Ok(())
            }
            None => expand(cx, &inputs, min, outputs[0], &dims, &blocks),
        }
    }
}

fn extents(fact: &Fact) -> Result<Vec<u64>, Fault> {
    let dims = fact.dims.iter().map(|d| d.as_const().and_then(|d| u64::try_from(d).ok()));
    dims.collect::<Option<_>>().ok_or_else(|| Fault::unsupported("compressed data of dynamic extents"))
}

/// Block extents: `data / scale` per axis, exact.
fn blocks(x: &Fact, scale: &Fact) -> Result<Vec<u64>, Fault> {
    let (d, s) = (extents(x)?, extents(scale)?);
    if d.len() != s.len() || d.iter().zip(&s).any(|(d, s)| *s == 0 || d % s != 0) {
        return Err(Fault::program(format!("scales {s:?} do not divide data {d:?} into blocks")));
    }
    Ok(d.iter().zip(&s).map(|(d, s)| d / s).collect())
}

/// Whether a constant is zero everywhere.
fn is_zero(cx: &Lower, v: Val) -> Result<bool, Fault> {
    let fact = cx.fact(v);
    let Some(data) = &fact.constant else { return Ok(false) };
    Ok(constant::bytes(cx.asset, data)?.iter().all(|b| *b == 0))
}

/// The packed form, when the device can dequantize it on load.
fn packed(
    cx: &Lower,
    inputs: &[Val],
    min: Option<Val>,
    dims: &[u64],
    blocks: &[u64],
) -> Result<Option<(QuantFormat, QuantSource)>, Fault> {
    use ElementType::*;
    let (x, scale) = (cx.fact(inputs[0]), cx.fact(inputs[1]));
    let (Some(codes), Some(scale_data)) = (&x.constant, &scale.constant) else {
        return Ok(None);
    };
    let integer = matches!(x.element, SI8 | UI8 | SI4 | UI4 | SI2 | UI2 | UI1);
    if !integer || !matches!(scale.element, F16 | BF16 | F32) || codes.splat || dims.is_empty() {
        return Ok(None);
    }
    let count = dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).unwrap_or(u64::MAX);
    let bits = u64::from(x.element.bits());
    let stored = codes.range.end - codes.range.start;
    let zero = inputs[2];
    let zero = match (&cx.fact(zero).constant, is_zero(cx, zero)?) {
        (_, true) => None,
        (Some(data), false) if cx.fact(zero).element == x.element => {
            let zeros: u64 = dims.iter().zip(blocks).map(|(d, b)| d / b).product();
            let bytes = data.range.end - data.range.start;
            let unpacked = bits < 8 && !data.splat && bytes == zeros && bytes != (zeros * bits).div_ceil(8);
            Some((data.clone(), unpacked))
        }
        _ => return Ok(None),
    };
    let min = match min {
        Some(v) if !is_zero(cx, v)? => match &cx.fact(v).constant {
            Some(data) if cx.fact(v).element == scale.element => Some(data.clone()),
            _ => return Ok(None),
        },
        _ => None,
    };
    let format = QuantFormat {
        code: x.element,
        dims: dims.to_vec(),
        blocks: blocks.to_vec(),
        scale: scale.element,
        zero: zero.is_some(),
        min: min.is_some(),
    };
    let source = QuantSource {
        codes: codes.clone(),
        codes_unpacked: bits < 8 && stored == count && stored != count.saturating_mul(bits).div_ceil(8),
        scale: scale_data.clone(),
        zero,
        min,
    };
    Ok(Some((format, source)))
}

/// Float and palette codes are expanded on the host, and the report says so.
fn expand(
    cx: &mut Lower,
    inputs: &[Val],
    min: Option<Val>,
    out: Val,
    dims: &[u64],
    blocks: &[u64],
) -> Result<(), Fault> {
    let floats = |cx: &Lower, v: Val| -> Result<Vec<f32>, Fault> {
        let fact = cx.fact(v);
        match &fact.constant {
            Some(data) => constant::floats(cx.asset, fact, data),
            None => Err(Fault::unsupported("dequantization of computed data")),
        }
    };
    let mut data = match cx.expanded(inputs[0]) {
        Some(values) => values,
        None => floats(cx, inputs[0])?,
    };
    let scale = floats(cx, inputs[1])?;
    let zero = floats(cx, inputs[2])?;
    let offset = min.map(|v| floats(cx, v)).transpose()?;
    let counts: Vec<u64> = dims.iter().zip(blocks).map(|(d, b)| d / b).collect();
    for (flat, value) in data.iter_mut().enumerate() {
        let (mut rest, mut at, mut step) = (flat as u64, 0u64, 1u64);
        for axis in (0..dims.len()).rev() {
            at += rest % dims[axis] / blocks[axis] * step;
            step *= counts[axis];
            rest /= dims[axis];
        }
        let at = at as usize;
        let get = |v: &[f32]| v.get(at).copied().unwrap_or(0.0);
        *value = get(&scale) * (*value - get(&zero)) + offset.as_deref().map_or(0.0, get);
    }
    let element = cx.fact(inputs[0]).element.name().to_string();
    cx.note("expanded_weight", format!("{element} weights are expanded to float32"));
    cx.define_expanded(out, data);
    Ok(())
}

/// `out[p] = lut[block(p), indices[p]]`, vectors of `V` along `axis`.
struct LutToDense;

impl Op for LutToDense {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.lut_to_dense_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let (indices, lut) = (cx.input(0)?.clone(), cx.input(1)?.clone());
        let rank = indices.dims.len();
        if lut.dims.len() != rank + 2 {
            return Err(Fault::program("the table needs two axes more than the indices"));
        }
        let axis = cx.axis(2, rank.max(1))?;
        let mut dims = indices.dims;
        if rank > 0 {
            dims[axis] = &dims[axis] * &lut.dims[rank + 1];
        }
        Ok(vec![Fact::new(lut.element, dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let (indices, lut) = (cx.fact(inputs[0]).clone(), cx.fact(inputs[1]).clone());
        let (Some(index_data), Some(lut_data)) = (&indices.constant, &lut.constant) else {
            return Err(Fault::unsupported("a palette that is not constant"));
        };
        let (dims, table) = (extents(&indices)?, extents(&lut)?);
        let rank = dims.len();
        if dims.iter().zip(&table).any(|(d, t)| *t == 0 || d % t != 0) {
            return Err(Fault::program(format!("palettes {table:?} do not divide indices {dims:?}")));
        }
        let out_dims = extents(cx.fact(outputs[0]))?;
        let (entries, width) = (table[rank], table[rank + 1]);
        let axis = (0..rank).find(|a| out_dims[*a] != dims[*a]).unwrap_or(0);
        let count = dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).unwrap_or(u64::MAX);
        let codes =
            constant::integers(cx.asset, &indices, index_data, usize::try_from(count).unwrap_or(usize::MAX))?;
        let values = constant::floats(cx.asset, &lut, lut_data)?;
        let total = out_dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
        let total =
            total.and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= constant::MAX_EXPANDED_BYTES / 4);
        let Some(total) = total else {
            return Err(Fault::unsupported("palettized weights too large to expand"));
        };
        let mut out = vec![0f32; total];
        for (flat, value) in out.iter_mut().enumerate() {
            let mut rest = flat as u64;
            let (mut code_at, mut code_step, mut group, mut group_step, mut lane) =
                (0u64, 1u64, 0u64, 1u64, 0u64);
            for a in (0..rank).rev() {
                let mut i = rest % out_dims[a];
                rest /= out_dims[a];
                if a == axis {
                    lane = i % width;
                    i /= width;
                }
                code_at += i * code_step;
                code_step *= dims[a];
                group += i / (dims[a] / table[a]) * group_step;
                group_step *= table[a];
            }
            let code = codes.get(code_at as usize).copied().unwrap_or(0) as u64;
            let at = (group * entries + code.min(entries - 1)) * width + lane;
            *value = values.get(at as usize).copied().unwrap_or(0.0);
        }
        cx.note("expanded_weight", "palettized weights are expanded to float32".into());
        cx.define_expanded(outputs[0], out);
        Ok(())
    }
}
