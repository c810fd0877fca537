//! Phi 3: one tensor for queries, keys and values, and one for gate and up; partial rotation, LongRoPE.

use coreai_asset::Value;

use super::super::Decoder;
use super::super::projection::Qkv::Fused as QKV;
use crate::error::ConvertError;

pub(super) fn layer(d: &mut Decoder<'_, '_>, index: u64, x: Value) -> Result<Value, ConvertError> {
    let h = d.attention_after_norm(index, QKV, x)?;
    let normed = d.layer_norm(index, "post_attention_layernorm", h)?;
    let y = d.fused_block(index, normed)?;
    Ok(d.g.add(h, y)?)
}
