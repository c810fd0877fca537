//! Attention over the cache.

use coreai_asset::{Size, Value};

use super::Decoder;
use super::projection::Qkv;
use crate::error::ConvertError;

impl Decoder<'_, '_> {
    /// x + attention(norm(x))
    pub(super) fn attention_after_norm(
        &mut self,
        layer: u64,
        qkv: Qkv,
        x: Value,
    ) -> Result<Value, ConvertError> {
        let normed = self.layer_norm(layer, "input_layernorm", x)?;
        let y = self.attention(layer, qkv, normed)?;
        Ok(self.g.add(x, y)?)
    }

    /// `[1, query, hidden]` → the same
    pub(super) fn attention(&mut self, layer: u64, qkv: Qkv, x: Value) -> Result<Value, ConvertError> {
        let config = self.config;
        let (heads, kv_heads) = (config.heads, config.kv_heads);
        let all = self.heads(layer, qkv, x)?; // [1, heads + 2 kv heads, query, head dim]
        let mut query_key = self.head_range(all, 0, heads + kv_heads)?;
        if config.qk_norm {
            query_key = self.query_key_norm(layer, query_key)?;
        }
        let query_key = self.rotated(layer, query_key)?;
        let query = self.head_range(query_key, 0, heads)?;
        let key = self.head_range(query_key, heads, heads + kv_heads)?;
        let value = self.head_range(all, heads + kv_heads, heads + 2 * kv_heads)?;
        let (key, value) = self.cached(layer, key, value)?;
        let y = self.attended(layer, query, key, value)?; // [1, heads, query, head dim]
        let y = self.g.transpose(y, &[0, 2, 1, 3])?;
        let width = Size::Fixed(heads * config.head_dim);
        let y = self.g.reshape(y, &[Size::Fixed(1), Size::Of(self.query_len), width])?;
        self.linear(&format!("model.layers.{layer}.self_attn.o_proj"), config.output_bias, y)
    }
}
