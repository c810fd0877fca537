//! Rules that replace a composite's call by fewer steps. The body stays the definition: a rule
//! applies only when it computes the same function.
//!
//! | composite | steps of the rule | steps of the body |
//! |---|---|---|
//! | `scaled_dot_product_attention` | 1, no T×S buffer | 4 or more |
//! | `rope` with positions | 1 | 5 or more |
//! | `rms_norm`, `layer_norm`, `instance_norm` | 1 | 4 to 6 |
//! | `group_norm` | 2, the second fuses with what follows | 6 |
//! | `batch_norm` with constant parameters | none: fuses, also into a convolution | 1, and 1 to fuse |
//! | `log_softmax` | 4 | 6 |
//! | `gather_mm` | gathers whole matrices, or multiplies by all and selects | gathers each element |
//! | `gated_delta_update` | 3 for a token | a loop |
//!
//! The bodies of the others are what a rule would emit, so they have none:
//!
//! | composite | the body |
//! |---|---|
//! | `hard_sigmoid` | one fused expression |
//! | `linalg_vector_norm` | one expression, one reduction, one expression that fuses with what follows |
//! | `pixel_shuffle` | views and one copy |
//! | `avg_pool_2d`, `avg_pool_3d` | a pad when there is padding, one pooling, a division that fuses |

mod attention;
mod experts;
mod norm;
mod recurrent;
mod rope;
mod softmax;

use coreai_asset::{Composite, ElementType};

use super::{Fault, InferCx, Op};
use crate::expr::Expr;
use crate::facts::Fact;
use crate::graph::Val;
use crate::lower::Lower;
use crate::step::View;

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
pub static RULES: &[&dyn Rule] = &[
    &norm::RmsNorm,
    &norm::LayerNorm,
    &norm::GroupNorm,
    &norm::InstanceNorm,
    &norm::BatchNorm,
    &attention::Attention,
    &rope::Rope,
    &softmax::LogSoftmax,
    &experts::GatherMatMul,
    &recurrent::GatedDelta,
];

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

/// Facts of the first operand with the declared dtype: what most rules here give.
fn like(cx: &InferCx, name: &str) -> Result<Vec<Fact>, Fault> {
    let composite = cx.composite.ok_or_else(|| Fault::program("not a composite"))?;
    let at = input(composite, name).ok_or_else(|| Fault::program(format!("no operand {name:?}")))?;
    Ok(vec![Fact::new(cx.element()?, cx.input(at)?.dims.clone())])
}

/// The view with other extents of the same elements in row-major order, copied when its strides do not
/// allow it.
fn flattened(cx: &mut Lower, view: View, dims: &[Expr]) -> View {
    if let Some(flat) = view.reshape(dims, &cx.shapes) {
        return flat;
    }
    let whole = if view.is_row_major() { view } else { cx.copy_to_temp(view) };
    View { offset: whole.offset, ..View::whole(whole.buffer, dims.to_vec()) }
}
