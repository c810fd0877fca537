//! Rules that replace a composite's call by one kernel. The body stays the definition: a rule
//! applies only when it computes the same function.

use coreai_asset::{Composite, ElementType};

use super::{Fault, InferCx, Op};
use crate::expr::Expr;
use crate::facts::{Fact, product};
use crate::graph::Val;
use crate::lower::Lower;
use crate::step::{Kernel, Norm, View};

/// A rule: when it matches, the call becomes a node of its op.
pub trait Rule: Sync {
    /// The composite's name.
    fn name(&self) -> &'static str;

    /// Whether the op computes this call.
    fn matches(&self, composite: &Composite, inputs: &[&Fact]) -> bool;

    /// The op.
    fn op(&'static self) -> &'static dyn Op;
}

/// Every rule.
pub static RULES: &[&dyn Rule] = &[&RmsNorm, &LayerNorm, &Attention, &Rope];

/// The rule for a composite.
pub fn find(name: &str) -> Option<&'static dyn Rule> {
    RULES.iter().find(|r| r.name() == name).copied()
}

/// Position of a named input.
fn input(composite: &Composite, name: &str) -> Option<usize> {
    composite.input_names.iter().position(|n| n == name)
}

fn named(composite: Option<&Composite>, values: &[Val], name: &str) -> Option<Val> {
    values.get(input(composite?, name)?).copied()
}

fn composite_of<'a>(cx: &'a Lower, node: usize) -> Result<&'a Composite, Fault> {
    cx.graph.nodes[node].composite.as_deref().ok_or_else(|| Fault::program("not a composite"))
}

fn only(composite: &Composite, allowed: &[&str]) -> bool {
    composite.input_names.iter().all(|n| allowed.contains(&n.as_str()))
}

/// Float operands that registers hold.
fn real(fact: &Fact) -> bool {
    matches!(fact.element, ElementType::F32 | ElementType::F16 | ElementType::BF16)
}

/// Whether `axes` (a number or a list of one) is the last axis.
fn last_axis(composite: &Composite, rank: usize) -> bool {
    let axes =
        composite.i64s("axes").or_else(|| composite.i64("axes").map(|a| vec![a])).unwrap_or_else(|| vec![-1]);
    matches!(axes.as_slice(), [a] if *a == -1 || *a == rank as i64 - 1)
}

/// Facts of the first operand with the declared dtype: what all rules here give.
fn like(cx: &InferCx, name: &str) -> Result<Vec<Fact>, Fault> {
    let composite = cx.composite.ok_or_else(|| Fault::program("not a composite"))?;
    let at = input(composite, name).ok_or_else(|| Fault::program(format!("no operand {name:?}")))?;
    Ok(vec![Fact::new(cx.element()?, cx.input(at)?.dims.clone())])
}

struct RmsNorm;

impl Rule for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn matches(&self, c: &Composite, inputs: &[&Fact]) -> bool {
        c.input_names == ["input", "scale"]
            && c.f64("eps").is_some()
            && inputs.iter().all(|f| real(f))
            && !inputs[0].dims.is_empty()
            && !inputs[1].dims.is_empty()
            && inputs[1].dims.len() <= inputs[0].dims.len()
            && inputs[0].dims.last() == inputs[1].dims.last()
            && last_axis(c, inputs[0].dims.len())
    }

    fn op(&'static self) -> &'static dyn Op {
        self
    }
}

impl Op for RmsNorm {
    fn names(&self) -> &'static [&'static str] {
        &["rms_norm"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        like(cx, "input")
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let norm = Norm { center: false, eps: composite_of(cx, node)?.f64("eps").unwrap_or(0.0) as f32 };
        let x = cx.view(inputs[0])?;
        let scale = cx.view(inputs[1])?;
        let rows = product(&x.dims[..x.dims.len() - 1]);
        // One row: matrix products can normalize it while they read it.
        if cx.fuse && rows.is(1) && Lower::is_row_vector(&scale) && cx.only_multiplied(outputs[0]) {
            let k = x.dims[x.dims.len() - 1].clone();
            let scale = scale.realign(&[k]).ok_or_else(|| Fault::program("the scale is not a vector"))?;
            cx.pending_norm(outputs[0], norm, x, scale);
            return Ok(());
        }
        let scale = scale.broadcast(&x.dims);
        cx.step(Kernel::Norm(norm), vec![x, scale], outputs[0])
    }

    fn slice_through(&self, axis: usize, inputs: &[Fact], output: &Fact) -> Option<Vec<Option<usize>>> {
        let lead = output.dims.len() - inputs[1].dims.len();
        let scaled = axis >= lead && !inputs[1].dims[axis - lead].is(1);
        (axis + 1 < output.dims.len() && !scaled).then(|| vec![Some(axis), None])
    }
}

struct LayerNorm;

impl Rule for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn matches(&self, c: &Composite, inputs: &[&Fact]) -> bool {
        c.input_names == ["input", "gamma", "beta"]
            && c.f64("eps").is_some()
            && inputs.iter().all(|f| real(f))
            && inputs[1..].iter().all(|f| f.dims.len() == 1 && inputs[0].dims.last() == f.dims.last())
            && last_axis(c, inputs[0].dims.len())
    }

    fn op(&'static self) -> &'static dyn Op {
        self
    }
}

impl Op for LayerNorm {
    fn names(&self) -> &'static [&'static str] {
        &["layer_norm"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        like(cx, "input")
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let norm = Norm { center: true, eps: composite_of(cx, node)?.f64("eps").unwrap_or(0.0) as f32 };
        let x = cx.view(inputs[0])?;
        let scale = cx.view(inputs[1])?.broadcast(&x.dims);
        let bias = cx.view(inputs[2])?.broadcast(&x.dims);
        cx.step(Kernel::Norm(norm), vec![x, scale, bias], outputs[0])
    }

    fn slice_through(&self, axis: usize, _: &[Fact], output: &Fact) -> Option<Vec<Option<usize>>> {
        (axis + 1 < output.dims.len()).then(|| vec![Some(axis), None, None])
    }
}

/// Largest head size the attention kernels take.
const MAX_HEAD: i64 = 256;

struct Attention;

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
            sinks: sinks.is_some(),
        };
        cx.step(kernel, reads, outputs[0])
    }
}

struct Rope;

impl Rule for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn matches(&self, c: &Composite, inputs: &[&Fact]) -> bool {
        let (Some(x), Some(p)) = (input(c, "input"), input(c, "position_ids")) else { return false };
        let (x, p) = (inputs[x], inputs[p]);
        let head = x.dims.last().and_then(Expr::as_const);
        let freqs = input(c, "freqs").map(|i| inputs[i]);
        let (Some(head), true) = (head, only(c, &["input", "position_ids", "freqs"])) else { return false };
        let rotated = c.i64("dims").unwrap_or(head);
        x.dims.len() == 4
            && real(x)
            && p.element == ElementType::SI32
            && p.dims.len() == 2
            && p.dims[1] == x.dims[2]
            && (p.dims[0].is(1) || p.dims[0] == x.dims[0])
            && rotated % 2 == 0
            && rotated == head
            && match freqs {
                Some(f) => {
                    real(f)
                        && f.dims.len() == 1
                        && f.dims[0].is(rotated / 2)
                        && c.f64("scale").unwrap_or(1.0) == 1.0
                }
                None => c.f64("base").is_some(),
            }
    }

    fn op(&'static self) -> &'static dyn Op {
        self
    }
}

impl Op for Rope {
    fn names(&self) -> &'static [&'static str] {
        &["rope"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        like(cx, "input")
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let c = composite_of(cx, node)?.clone();
        let operand = |name: &str| named(Some(&c), &inputs, name);
        let (Some(x), Some(p)) = (operand("input"), operand("position_ids")) else {
            return Err(Fault::program("input and position_ids are needed"));
        };
        let x = cx.view(x)?; // [b, h, t, d]
        let positions = cx.view(p)?.expand(1).broadcast(&x.dims[..3]); // [b, t] as [b, h, t]
        let rotated = x.dims[3].as_const().and_then(|d| usize::try_from(d).ok()).unwrap_or(0);
        let half = rotated / 2;
        let scale = c.f64("scale").unwrap_or(1.0);
        let freqs: View = match operand("freqs") {
            Some(f) => cx.view(f)?,
            None => {
                // RoFormer (arXiv:2104.09864) eq. 15: theta_j = base^(-2j/d)
                let base = c.f64("base").unwrap_or(10_000.0);
                let values: Vec<f32> =
                    (0..half).map(|j| (scale / base.powf(j as f64 / half as f64)) as f32).collect();
                cx.host_floats(&values, vec![Expr::from(half)])
            }
        };
        let interleaved = c.bool("interleaved").unwrap_or(false);
        let kernel = Kernel::Rope { rotated, interleaved, tables: false };
        cx.step(kernel, vec![x, positions, freqs], outputs[0])
    }
}
