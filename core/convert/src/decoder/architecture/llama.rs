//! Llama, SmolLM: grouped-query attention and a gated block, each after a norm; biases are optional.

use coreai_asset::Value;

use super::super::Decoder;
use super::super::projection::Qkv::Separate as QKV;
use crate::error::ConvertError;

pub(super) fn layer(d: &mut Decoder<'_, '_>, index: u64, x: Value) -> Result<Value, ConvertError> {
    let h = d.attention_after_norm(index, QKV, x)?;
    d.block_after_norm(index, h)
}
