//! Mixtures of experts.

use coreai_asset::{Bound, BuildError, Declaration, DeclaredValue, ElementType, Graph, Size, Value};

use super::Decoder;
use crate::config::{ClampedSwiglu, Experts};
use crate::error::ConvertError;
use crate::quantize::WeightClass;

impl Decoder<'_, '_> {
    /// The layer has experts rather than a plain block.
    pub(super) fn is_sparse(&self, layer: u64) -> bool {
        let experts = self.config.experts.as_ref();
        let layer = usize::try_from(layer).unwrap_or(usize::MAX);
        experts.is_some_and(|experts| experts.layers.get(layer) == Some(&true))
    }

    /// The outputs of the experts that the router picks for each token, by its weights.
    /// `[1, query, hidden]` → the same
    pub(super) fn experts(&mut self, layer: u64, router: &str, x: Value) -> Result<Value, ConvertError> {
        let config = self.config;
        let Some(experts) = &config.experts else {
            let reason = "the configuration has no experts".to_owned();
            return Err(ConvertError::Tensor { name: router.into(), reason });
        };
        let element = self.g.element(x)?;
        let router = format!("model.layers.{layer}.{router}");
        let logits = self.linear(&router, experts.bias, x)?;
        let logits = self.g.cast(logits, ElementType::F32)?; // [1, query, experts]
        let (weights, indices) = self.routes(experts, logits)?; // [1, query, active]

        let hidden = Size::Fixed(config.hidden);
        let tokens = Size::Of(self.query_len);
        let active = Size::Fixed(experts.active);
        let one = Size::Fixed(1);
        let x = self.g.reshape(x, &[tokens, one, one, hidden])?;
        let indices = self.g.cast(indices, ElementType::UI16)?;
        let indices = self.g.reshape(indices, &[tokens, active])?;
        let path = |name: &str| format!("model.layers.{layer}.mlp.experts.{name}");
        let gate = self.expert_product(&path("gate_proj"), experts, x, indices)?;
        let up = self.expert_product(&path("up_proj"), experts, x, indices)?;
        let inner = match config.clamped_swiglu {
            Some(clamped) => self.clamped(clamped, gate, up)?,
            None => {
                let gate = self.activated(gate)?;
                self.g.mul(gate, up)?
            }
        };
        let y = self.expert_product(&path("down_proj"), experts, inner, indices)?;
        let y = self.g.reshape(y, &[one, tokens, active, hidden])?;
        // weighted sum over the active experts, in float32
        let weights = self.g.expand_dims(weights, 3)?;
        let y = self.g.cast(y, ElementType::F32)?;
        let y = self.g.mul(y, weights)?;
        let y = self.g.reduce_sum(y, &[2])?;
        let y = self.g.shrink_dims(y, 2)?;
        Ok(self.g.cast(y, element)?)
    }

    /// Weights (float32) and numbers (int32) of the experts with the greatest logits.
    fn routes(&mut self, experts: &Experts, logits: Value) -> Result<(Value, Value), ConvertError> {
        let g = &mut self.g;
        let scores = match experts.normalize {
            true => logits,
            false => g.softmax(logits, -1)?,
        };
        let (sorted, order) = g.sort(scores, -1, true)?;
        let active = Bound::At(experts.active as i32); // at most 2¹⁶
        let best = g.narrow(sorted, -1, Bound::At(0), active)?;
        let indices = g.narrow(order, -1, Bound::At(0), active)?;
        let weights = match experts.normalize {
            true => g.softmax(best, -1)?,
            false => best,
        };
        Ok((weights, indices))
    }

    /// The linear layer of each active expert. `[tokens, 1, 1, in]` or `[1, tokens, active, 1, in]` →
    /// `[1, tokens, active, 1, out]`
    fn expert_product(
        &mut self,
        name: &str,
        experts: &Experts,
        x: Value,
        indices: Value,
    ) -> Result<Value, ConvertError> {
        let rows = self.rows(&format!("{name}.weight"))?;
        let weights = &mut *self.weights;
        let weight = weights.matrix(&mut self.g, &format!("{name}.weight"), WeightClass::Expert, rows)?;
        let weight = self.g.expand_dims(weight, 0)?; // [1, experts, out, in]
        let weight = self.g.transpose(weight, &[0, 1, 3, 2])?;
        let (input, factor) = (self.g.shape(x)?.to_vec(), self.g.shape(weight)?.to_vec());
        let kind = format!("expert product {input:?} {factor:?}");
        let active = experts.active;
        let callee = match self.callees.get(&kind) {
            Some(callee) => callee.clone(),
            None => {
                let declaration = Declaration {
                    name: "gather_mm",
                    inputs: vec!["lhs", "rhs", "rhs_indices"],
                    attrs: vec![("num_batch_axes", DeclaredValue::Integer(1))],
                };
                let path = format!("{name}.gather_mm");
                let arguments = [x, weight, indices];
                let callee = self.g.composite(&path, declaration, &arguments, |g, arguments| {
                    gather_mm(g, active, arguments)
                })?;
                self.callees.insert(kind, callee.clone());
                callee
            }
        };
        let y = self.g.invoke(&callee, &[x, weight, indices])?;
        if !experts.bias {
            return Ok(y);
        }
        let bias = self.vector(&format!("{name}.bias"))?; // [experts, out]
        let chosen = self.chosen(bias, indices)?; // [tokens, active, out]
        let chosen = self.g.expand_dims(chosen, 0)?;
        let chosen = self.g.expand_dims(chosen, 3)?;
        Ok(self.g.add(y, chosen)?)
    }

    /// The vectors of the active experts. `[experts, out]`, `[tokens, active]` → `[tokens, active, out]`
    fn chosen(&mut self, vectors: Value, indices: Value) -> Result<Value, ConvertError> {
        let g = &mut self.g;
        let indices = g.cast(indices, ElementType::SI32)?;
        let indices = g.expand_dims(indices, 2)?;
        Ok(g.gather_nd(vectors, indices)?)
    }

    /// `(up + 1) · gate · sigmoid(alpha · gate)` of clamped operands.
    fn clamped(&mut self, clamped: ClampedSwiglu, gate: Value, up: Value) -> Result<Value, ConvertError> {
        let g = &mut self.g;
        let element = g.element(gate)?;
        let (limit, low) = (g.number(element, clamped.limit)?, g.number(element, -clamped.limit)?);
        let gate = g.minimum(gate, limit)?;
        let up = g.maximum(up, low)?;
        let up = g.minimum(up, limit)?;
        let alpha = g.number(element, clamped.alpha)?;
        let slope = g.mul(gate, alpha)?;
        let slope = g.cast(slope, ElementType::F32)?;
        let slope = g.sigmoid(slope)?;
        let slope = g.cast(slope, element)?;
        let gate = g.mul(gate, slope)?;
        let one = g.number(element, 1.0)?;
        let up = g.add(up, one)?;
        Ok(g.mul(gate, up)?)
    }
}

/// The body of the product: the matrices of the active experts are gathered, then multiplied.
fn gather_mm(g: &mut Graph<'_>, active: u64, arguments: &[Value]) -> Result<Value, BuildError> {
    let (x, weight, indices) = (arguments[0], arguments[1], arguments[2]);
    let tokens = g.size(indices, 0)?;
    let indices = g.cast(indices, ElementType::SI32)?;
    let indices = g.expand_dims(indices, 2)?; // [tokens, active, 1]
    let matrices = g.shrink_dims(weight, 0)?;
    let matrices = g.gather_nd(matrices, indices)?; // [tokens, active, in, out]
    let width = g.shape(x)?.last().copied().flatten().unwrap_or(0);
    let per_expert = g.shape(x)?.len() == 5;
    let copies = if per_expert { active } else { 1 };
    let fixed = Size::Fixed;
    let x = g.reshape(x, &[Size::Of(tokens), fixed(copies), fixed(1), fixed(width)])?;
    let y = g.matmul(x, matrices)?; // [tokens, active, 1, out]
    g.expand_dims(y, 0)
}
