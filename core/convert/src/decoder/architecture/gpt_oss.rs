//! gpt-oss: attention with sinks, alternating windows, biases everywhere, experts that clamp.

use coreai_asset::Value;

use super::super::Decoder;
use super::super::projection::Qkv::Separate as QKV;
use crate::error::ConvertError;

pub(super) fn layer(d: &mut Decoder<'_, '_>, index: u64, x: Value) -> Result<Value, ConvertError> {
    let h = d.attention_after_norm(index, QKV, x)?;
    let normed = d.layer_norm(index, "post_attention_layernorm", h)?;
    let y = d.experts(index, "mlp.router", normed)?;
    Ok(d.g.add(h, y)?)
}
