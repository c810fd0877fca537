//! The layers of each architecture, over shared blocks.

mod gemma3;
mod gpt_oss;
mod llama;
mod mistral;
mod mixtral;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3_moe;

use coreai_asset::Value;

use super::Decoder;
use crate::config::Architecture;
use crate::error::ConvertError;

/// A decoder layer. `[1, query, hidden]` → the same
pub(super) fn layer(d: &mut Decoder<'_, '_>, index: u64, x: Value) -> Result<Value, ConvertError> {
    match d.config.architecture {
        Architecture::Llama => llama::layer(d, index, x),
        Architecture::Mistral => mistral::layer(d, index, x),
        Architecture::Qwen2 => qwen2::layer(d, index, x),
        Architecture::Qwen3 => qwen3::layer(d, index, x),
        Architecture::Gemma3 => gemma3::layer(d, index, x),
        Architecture::Phi3 => phi3::layer(d, index, x),
        Architecture::Mixtral => mixtral::layer(d, index, x),
        Architecture::Qwen3Moe => qwen3_moe::layer(d, index, x),
        Architecture::GptOss => gpt_oss::layer(d, index, x),
    }
}
