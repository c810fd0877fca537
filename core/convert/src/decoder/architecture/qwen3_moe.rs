//! Qwen 3 with experts in some or all layers.

use coreai_asset::Value;

use super::super::Decoder;
use crate::error::ConvertError;

pub(super) fn layer(d: &mut Decoder<'_, '_>, index: u64, x: Value) -> Result<Value, ConvertError> {
    if !d.is_sparse(index) {
        return super::qwen3::layer(d, index, x);
    }
    super::mixtral::layer(d, index, x)
}
