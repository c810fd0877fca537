//! Gemma 3: norms before and after each block, windows with a rotation of their own, GELU.

use coreai_asset::Value;

use super::super::Decoder;
use super::super::projection::Qkv::Separate as QKV;
use crate::error::ConvertError;

pub(super) fn layer(d: &mut Decoder<'_, '_>, index: u64, x: Value) -> Result<Value, ConvertError> {
    let normed = d.layer_norm(index, "input_layernorm", x)?;
    let y = d.attention(index, QKV, normed)?;
    let y = d.layer_norm(index, "post_attention_layernorm", y)?;
    let h = d.g.add(x, y)?;
    let normed = d.layer_norm(index, "pre_feedforward_layernorm", h)?;
    let y = d.block(index, normed)?;
    let y = d.layer_norm(index, "post_feedforward_layernorm", y)?;
    Ok(d.g.add(h, y)?)
}
