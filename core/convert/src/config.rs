//! The configuration of a decoder, as transformers writes it.

mod family;
mod fields;
mod rope;
#[cfg(test)]
mod tests;
mod windows;

use serde_json::Value;

use crate::error::ConvertError;
use family::Family;
pub(crate) use fields::Fields;
pub use rope::{Rope, RopeScaling};

/// The decoders that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Architecture {
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    Gemma3,
    Phi3,
    Mixtral,
    Qwen3Moe,
    GptOss,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Llama,
        Self::Mistral,
        Self::Qwen2,
        Self::Qwen3,
        Self::Gemma3,
        Self::Phi3,
        Self::Mixtral,
        Self::Qwen3Moe,
        Self::GptOss,
    ];

    /// `model_type` of its text configuration.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma3 => "gemma3_text",
            Self::Phi3 => "phi3",
            Self::Mixtral => "mixtral",
            Self::Qwen3Moe => "qwen3_moe",
            Self::GptOss => "gpt_oss",
        }
    }

    /// The architecture of a `model_type`.
    pub fn of(model_type: &str) -> Result<Self, ConvertError> {
        let named = |architecture: &Self| architecture.model_type() == model_type;
        let known = || {
            let names: Vec<_> = Self::ALL.iter().map(|architecture| architecture.model_type()).collect();
            format!("{}, gemma3", names.join(", "))
        };
        match model_type {
            "gemma3" => Ok(Self::Gemma3),
            _ => Self::ALL
                .into_iter()
                .find(named)
                .ok_or_else(|| ConvertError::Architecture { found: model_type.into(), known: known() }),
        }
    }
}

/// The function between the two halves of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(x)`
    Silu,
    /// GELU by the hyperbolic tangent.
    GeluTanh,
    /// GELU by the error function.
    Gelu,
}

/// Blocks of which a router picks a few for each token.
#[derive(Clone, Debug, PartialEq)]
pub struct Experts {
    /// Experts of a layer.
    pub count: u64,
    /// Experts that a token goes through; the ones with the greatest router logits.
    pub active: u64,
    /// Rows of an expert's gate and up projections.
    pub intermediate: u64,
    /// The weights of the active experts are divided by their sum (softmax over the active logits);
    /// otherwise they are those of the softmax over all.
    pub normalize: bool,
    /// Router and experts have biases.
    pub bias: bool,
    /// For each layer whether it has experts; others have a plain block of [`Config::intermediate`].
    pub layers: Vec<bool>,
}

/// `(up + 1) · gate · sigmoid(alpha · gate)`, with `gate ≤ limit` and `−limit ≤ up ≤ limit`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClampedSwiglu {
    /// Slope of the sigmoid.
    pub alpha: f64,
    /// Bound of the operands.
    pub limit: f64,
}

/// What a decoder is, apart from its weights. Every field is checked: sizes are in bounds, heads are
/// multiples of key-value heads, lists have a value for each layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The kind of decoder.
    pub architecture: Architecture,
    /// Rows of the embedding.
    pub vocabulary: u64,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Rows of the gate and up projections of plain blocks.
    pub intermediate: u64,
    /// Decoder layers.
    pub layers: u64,
    /// Query heads.
    pub heads: u64,
    /// Key-value heads; divides the query heads.
    pub kv_heads: u64,
    /// Values of a head.
    pub head_dim: u64,
    /// Added to the mean square in norms.
    pub rms_eps: f64,
    /// Norms multiply by `norm_offset + weight`: 1 for Gemma, 0 for others. 0 for Gemma from GGUF files too,
    /// whose weights have the 1 in them already; subtracting it would round.
    pub norm_offset: f64,
    /// Logits come from the embedding; there is no `lm_head.weight`.
    pub tied: bool,
    /// Positions of the longest sequence.
    pub max_positions: u64,
    /// Activation of feed-forward blocks.
    pub activation: Activation,
    /// Position embedding.
    pub rope: Rope,
    /// Position embedding of the layers that have a window, where it differs.
    pub local_rope: Option<Rope>,
    /// For each layer how many positions a query sees, itself included; 0 for all before it.
    pub windows: Vec<u64>,
    /// Query, key and value projections have biases.
    pub qkv_bias: bool,
    /// The output projection of attention has a bias.
    pub output_bias: bool,
    /// The projections of plain blocks have biases.
    pub mlp_bias: bool,
    /// Queries and keys are normed per head before they are rotated.
    pub qk_norm: bool,
    /// Factor of the products of queries and keys.
    pub query_scale: f64,
    /// `cap · tanh(logit / cap)` of logits.
    pub final_softcap: Option<f64>,
    /// Each head has a learned logit that takes part in the softmax and has no value (`self_attn.sinks`).
    pub sinks: bool,
    /// Factor of embeddings; 1 for most.
    pub embed_scale: f64,
    /// Mixture of experts.
    pub experts: Option<Experts>,
    /// Activation of experts that clamps, in place of `activation`.
    pub clamped_swiglu: Option<ClampedSwiglu>,
    /// Token that begins a text.
    pub bos: Option<u32>,
    /// Tokens that end a text.
    pub eos: Vec<u32>,
    /// Type the weights were trained in, by its name in the file (`bfloat16`).
    pub dtype: Option<String>,
    /// `quantization_config.quant_method` where weights are stored packed; only `mxfp4` (gpt-oss) is taken.
    pub quantization: Option<String>,
}

impl Config {
    /// Reads `config.json`. Keys that are absent have the values that transformers gives them.
    pub fn from_json(json: &Value) -> Result<Self, ConvertError> {
        Self::from_file("config.json", json)
    }

    /// [`Config::from_json`] with the name of the file for messages.
    pub fn from_file(file: &str, json: &Value) -> Result<Self, ConvertError> {
        Family::new(Fields::new(file, json)?)?.config()
    }
}
