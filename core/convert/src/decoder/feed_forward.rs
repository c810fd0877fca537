//! Gated feed-forward blocks.

use coreai_asset::{Bound, Value};

use super::Decoder;
use crate::config::Activation;
use crate::error::ConvertError;

impl Decoder<'_, '_> {
    /// x + block(norm(x))
    pub(super) fn block_after_norm(&mut self, layer: u64, x: Value) -> Result<Value, ConvertError> {
        let normed = self.layer_norm(layer, "post_attention_layernorm", x)?;
        let y = self.block(layer, normed)?;
        Ok(self.g.add(x, y)?)
    }

    /// down(up(x) · activation(gate(x))). `[1, query, hidden]` → the same
    pub(super) fn block(&mut self, layer: u64, x: Value) -> Result<Value, ConvertError> {
        let bias = self.config.mlp_bias;
        let path = |name: &str| format!("model.layers.{layer}.mlp.{name}");
        let up = self.linear(&path("up_proj"), bias, x)?;
        let gate = self.linear(&path("gate_proj"), bias, x)?;
        let gate = self.activated(gate)?;
        let y = self.g.mul(up, gate)?;
        self.linear(&path("down_proj"), bias, y)
    }

    /// As [`Decoder::block`], with gate and up as halves of one product.
    pub(super) fn fused_block(&mut self, layer: u64, x: Value) -> Result<Value, ConvertError> {
        let path = |name: &str| format!("model.layers.{layer}.mlp.{name}");
        let both = self.linear(&path("gate_up_proj"), false, x)?; // [1, query, 2 intermediate]
        let middle = Bound::At(self.config.intermediate as i32); // at most 2²²
        let gate = self.g.narrow(both, -1, Bound::At(0), middle)?;
        let up = self.g.narrow(both, -1, middle, Bound::End)?;
        let gate = self.activated(gate)?;
        let y = self.g.mul(gate, up)?;
        self.linear(&path("down_proj"), false, y)
    }

    pub(super) fn activated(&mut self, x: Value) -> Result<Value, ConvertError> {
        Ok(match self.config.activation {
            Activation::Silu => self.g.silu(x)?,
            Activation::GeluTanh => self.g.gelu(x, true)?,
            Activation::Gelu => self.g.gelu(x, false)?,
        })
    }
}
