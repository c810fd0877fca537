//! Scaled dot-product attention.

use coreai_asset::{Composite, ElementType};

use super::super::{Fault, InferCx, Op};
use super::{Rule, composite_of, input, named, only, real};
use crate::facts::{Fact, product};
use crate::lower::Lower;
use crate::step::Kernel;

/// Largest head size the attention kernels take.
const MAX_HEAD: i64 = 256;

/// What the bodies of these composites add to a score that a mask of truths hides.
const HIDDEN: f32 = -1e4;

/// [`HIDDEN`] in the scores' type: scaled so that a float32 sum is as coarse as that type's sum with it, which
/// decides the softmax of rows that see nothing.
fn hidden(scores: ElementType) -> f32 {
    match scores {
        ElementType::F16 => HIDDEN * 8192.0,
        ElementType::BF16 => HIDDEN * 65536.0,
        _ => HIDDEN,
    }
}

pub(super) struct Attention;

impl Rule for Attention {
    fn name(&self) -> &'static str {
        "scaled_dot_product_attention"
    }

    fn matches(&self, c: &Composite, inputs: &[&Fact]) -> bool {
        let names = ["query", "key", "value", "attn_mask", "sinks"];
        let (Some(q), Some(k), Some(v)) = (input(c, "query"), input(c, "key"), input(c, "value")) else {
            return false;
        };
        let (q, k, v) = (inputs[q], inputs[k], inputs[v]);
        if !only(c, &names) || [q, k, v].iter().any(|f| f.dims.len() != 4 || !real(f)) {
            return false;
        }
        let constant = |f: &Fact, axis: usize| f.dims[axis].as_const();
        let (Some(hq), Some(hk)) = (constant(q, 1), constant(k, 1)) else { return false };
        let (Some(d), Some(dv)) = (constant(q, 3), constant(v, 3)) else { return false };
        let mask = input(c, "attn_mask").map(|i| inputs[i]);
        let sinks = input(c, "sinks").map(|i| inputs[i]);
        let causal = c.bool("is_causal").unwrap_or(false);
        hk > 0
            && hq % hk == 0
            && constant(v, 1) == Some(hk)
            && constant(k, 3) == Some(d)
            && d <= MAX_HEAD
            && dv <= MAX_HEAD
            && (causal || c.i64("window_size").unwrap_or(0) == 0)
            && mask.is_none_or(|m| m.dims.len() <= 4 && (real(m) || m.element == ElementType::Bool))
            && sinks.is_none_or(|s| real(s) && product(&s.dims).is(hq))
    }

    fn op(&'static self) -> &'static dyn Op {
        self
    }
}

impl Op for Attention {
    fn names(&self) -> &'static [&'static str] {
        &["scaled_dot_product_attention"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let c = cx.composite.ok_or_else(|| Fault::program("not a composite"))?;
        let at = |name: &str| input(c, name).ok_or_else(|| Fault::program(format!("no operand {name:?}")));
        let (q, k, v) =
            (cx.input(at("query")?)?.clone(), cx.input(at("key")?)?.clone(), cx.input(at("value")?)?.clone());
        cx.unify(&q.dims[0], &k.dims[0])?;
        cx.unify(&k.dims[0], &v.dims[0])?;
        cx.unify(&k.dims[2], &v.dims[2])?;
        if let Some(m) = input(c, "attn_mask") {
            let mask = cx.input(m)?.dims.clone();
            let scores = [q.dims[0].clone(), q.dims[1].clone(), q.dims[2].clone(), k.dims[2].clone()];
            let joint = cx.broadcast(&scores, &mask)?;
            if joint.len() != 4 {
                return Err(Fault::program("a mask of more than four axes"));
            }
        }
        let mut dims = q.dims;
        dims[3] = v.dims[3].clone();
        Ok(vec![Fact::new(cx.element()?, dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let c = composite_of(cx, node)?.clone();
        let operand = |name: &str| named(Some(&c), &inputs, name);
        let (Some(q), Some(k), Some(v)) = (operand("query"), operand("key"), operand("value")) else {
            return Err(Fault::program("query, key and value are needed"));
        };
        let mut reads = vec![cx.view(q)?, cx.view(k)?, cx.view(v)?];
        let (t, d) = (reads[0].dims[2].clone(), reads[0].dims[3].as_const().unwrap_or(1));
        let mask = operand("attn_mask");
        if let Some(m) = mask {
            let scores = [reads[0].dims[0].clone(), reads[0].dims[1].clone(), t, reads[1].dims[2].clone()];
            reads.push(cx.view(m)?.broadcast(&scores));
        }
        let sinks = operand("sinks");
        if let Some(s) = sinks {
            let view = cx.view(s)?;
            let flat = view.reshape(&[reads[0].dims[1].clone()], &cx.shapes);
            reads.push(flat.ok_or_else(|| Fault::unsupported("sinks that are not contiguous"))?);
        }
        let kernel = Kernel::Attention {
            scale: c.f64("scale").map_or_else(|| 1.0 / (d as f32).sqrt(), |s| s as f32),
            causal: c.bool("is_causal").unwrap_or(false),
            window: u32::try_from(c.i64("window_size").unwrap_or(0)).unwrap_or(0),
            mask: mask.is_some(),
            hidden: hidden(cx.fact(q).element),
            sinks: sinks.is_some(),
        };
        cx.step(kernel, reads, outputs[0])
    }
}
