//! Names of tensors in GGUF files, and what llama.cpp's converter did to them.

use std::sync::Arc;

use super::views::{Order, Selected, SelectedColumns};
use crate::config::{Architecture, Config};
use crate::error::ConvertError;
use crate::formats::StoredRows;
use crate::rows::SharedRows;

/// The names of a model's tensors.
pub(super) struct Names<'a> {
    config: &'a Config,
}

impl<'a> Names<'a> {
    pub fn new(config: &'a Config) -> Self {
        Self { config }
    }

    /// A tensor as transformers names and orders it; `None` if it is a part of the configuration.
    ///
    /// Norms of Gemma are left as they are stored, with 1 added ([`Config::norm_offset`]).
    pub fn tensor(
        &self,
        name: &str,
        rows: Arc<StoredRows>,
    ) -> Result<Option<(String, SharedRows)>, ConvertError> {
        let known = match name {
            "token_embd.weight" => "model.embed_tokens.weight",
            "output_norm.weight" => "model.norm.weight",
            "output.weight" => "lm_head.weight",
            "rope_freqs.weight" | "rope_factors_long.weight" | "rope_factors_short.weight" => {
                return Ok(None);
            }
            _ => return self.layered(name, rows).map(Some),
        };
        Ok(Some((known.into(), rows)))
    }

    /// `blk.N.…`
    fn layered(&self, name: &str, rows: Arc<StoredRows>) -> Result<(String, SharedRows), ConvertError> {
        let unknown = || ConvertError::Tensor {
            name: name.into(),
            reason: format!("is not known in models of type {}", self.config.architecture.model_type()),
        };
        let (layer, own) =
            name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')).ok_or_else(unknown)?;
        let layer: u64 = layer.parse().map_err(|_| unknown())?;
        let (part, kind) = own.rsplit_once('.').ok_or_else(unknown)?;
        let known = self.part(part).ok_or_else(unknown)?;
        let permuted = matches!(self.config.architecture, Architecture::Llama | Architecture::Mixtral)
            && matches!(part, "attn_q" | "attn_k");
        let order = Order::Halves { half: self.config.head_dim / 2 };
        // a bare parameter has no kind there
        let full = match (known.as_str(), kind) {
            ("self_attn.sinks" | "mlp.experts.gate_up_proj", "weight") => {
                format!("model.layers.{layer}.{known}")
            }
            (_, "weight" | "bias") => format!("model.layers.{layer}.{known}.{kind}"),
            _ => return Err(unknown()),
        };
        let rows: SharedRows = match kind {
            "weight" if permuted => Arc::new(Selected::new(name, rows, order)?),
            "bias" if permuted => Arc::new(SelectedColumns::new(name, rows, order)?),
            _ => rows,
        };
        Ok((full, rows))
    }

    fn part(&self, part: &str) -> Option<String> {
        use Architecture as A;
        let architecture = self.config.architecture;
        let known = match part {
            "attn_norm" => "input_layernorm",
            "ffn_norm" if architecture == A::Gemma3 => "pre_feedforward_layernorm",
            "ffn_norm" | "post_attention_norm" => "post_attention_layernorm",
            "post_ffw_norm" => "post_feedforward_layernorm",
            "attn_q" => "self_attn.q_proj",
            "attn_k" => "self_attn.k_proj",
            "attn_v" => "self_attn.v_proj",
            "attn_qkv" => "self_attn.qkv_proj",
            "attn_output" => "self_attn.o_proj",
            "attn_q_norm" => "self_attn.q_norm",
            "attn_k_norm" => "self_attn.k_norm",
            "attn_sinks" => "self_attn.sinks",
            "ffn_up" if architecture == A::Phi3 => "mlp.gate_up_proj",
            "ffn_gate" => "mlp.gate_proj",
            "ffn_up" => "mlp.up_proj",
            "ffn_down" => "mlp.down_proj",
            "ffn_gate_inp" if architecture == A::GptOss => "mlp.router",
            "ffn_gate_inp" => "mlp.gate",
            // gate above up, as transformers has it for all but gpt-oss
            "ffn_gate_up_exps" if architecture != A::GptOss => "mlp.experts.gate_up_proj",
            "ffn_gate_exps" => "mlp.experts.gate_proj",
            "ffn_up_exps" => "mlp.experts.up_proj",
            "ffn_down_exps" => "mlp.experts.down_proj",
            // old files have a tensor for each expert
            _ => {
                let (part, expert) = part.rsplit_once('.')?;
                let expert: u64 = expert.parse().ok()?;
                let known = match part {
                    "ffn_gate" => "gate_proj",
                    "ffn_up" => "up_proj",
                    "ffn_down" => "down_proj",
                    _ => return None,
                };
                return Some(format!("mlp.experts.{expert}.{known}"));
            }
        };
        Some(known.into())
    }
}
