//! Rotary embedding.

use coreai_asset::{Composite, ElementType};

use super::super::{Fault, InferCx, Op};
use super::{Rule, composite_of, input, like, named, only, real};
use crate::expr::Expr;
use crate::facts::Fact;
use crate::lower::Lower;
use crate::step::{Kernel, View};

pub(super) struct Rope;

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
            && (2..=head).contains(&rotated)
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
        let rotated = c.i64("dims").or_else(|| x.dims[3].as_const());
        let rotated = rotated.and_then(|d| usize::try_from(d).ok()).unwrap_or(0);
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
