//! The tensors that a configuration asks for, by their Hugging Face names, and their shapes.

use crate::config::{Architecture, Config};

/// Calls `each` with the name and the shape of every tensor, layer by layer, until it fails.
///
/// Names are those of transformers' models, with one exception: the experts of a layer are three tensors,
/// `mlp.experts.gate_proj.weight` and `up_proj.weight` `[experts, intermediate, hidden]` and
/// `down_proj.weight` `[experts, hidden, intermediate]`, with biases `[experts, ..]`, whatever the checkpoint
/// has. Their router is `mlp.gate`, or `mlp.router` in gpt-oss.
pub(crate) fn tensors<E>(
    config: &Config,
    mut each: impl FnMut(&str, &[u64]) -> Result<(), E>,
) -> Result<(), E> {
    let hidden = config.hidden;
    each("model.embed_tokens.weight", &[config.vocabulary, hidden])?;
    let experts = config.experts.as_ref();
    for layer in 0..config.layers {
        let prefix = format!("model.layers.{layer}.");
        let mut named = |name: &str, shape: &[u64]| each(&format!("{prefix}{name}"), shape);
        attention(config, &mut named)?;
        let sparse = |flags: &[bool]| usize::try_from(layer).ok().and_then(|layer| flags.get(layer).copied());
        match experts.filter(|experts| sparse(&experts.layers) == Some(true)) {
            Some(experts) => {
                let (count, width) = (experts.count, experts.intermediate);
                let router = match config.architecture {
                    Architecture::GptOss => "mlp.router",
                    _ => "mlp.gate",
                };
                named(&format!("{router}.weight"), &[count, hidden])?;
                named("mlp.experts.gate_proj.weight", &[count, width, hidden])?;
                named("mlp.experts.up_proj.weight", &[count, width, hidden])?;
                named("mlp.experts.down_proj.weight", &[count, hidden, width])?;
                if experts.bias {
                    named(&format!("{router}.bias"), &[count])?;
                    named("mlp.experts.gate_proj.bias", &[count, width])?;
                    named("mlp.experts.up_proj.bias", &[count, width])?;
                    named("mlp.experts.down_proj.bias", &[count, hidden])?;
                }
            }
            None => block(config, &mut named)?,
        }
    }
    each("model.norm.weight", &[hidden])?;
    if !config.tied {
        each("lm_head.weight", &[config.vocabulary, hidden])?;
    }
    Ok(())
}

/// Ends of the names of buffers that checkpoints hold and no model needs: rotary frequencies and causal masks
/// follow from the configuration.
const BUFFERS: [&str; 3] = ["rotary_emb.inv_freq", "masked_bias", "attn.bias"];

impl Config {
    /// Whether a tensor that the configuration does not ask for stands where the model computes: in one of its
    /// layers, its last norm, its embedding or its head. The head of a tied model is the embedding, whatever else
    /// is stored; layers after the last one predict further tokens.
    pub(super) fn would_use(&self, name: &str) -> bool {
        if BUFFERS.iter().any(|buffer| name.ends_with(buffer)) {
            return false;
        }
        if let Some(rest) = name.strip_prefix("model.layers.") {
            let layer = rest.split('.').next().and_then(|layer| layer.parse::<u64>().ok());
            return layer.is_none_or(|layer| layer < self.layers);
        }
        let parts = ["model.norm.", "model.embed_tokens.", "lm_head."];
        parts.iter().any(|part| name.starts_with(part)) && !(self.tied && name == "lm_head.weight")
    }
}

/// Norms and attention of a layer.
fn attention<E>(config: &Config, named: &mut impl FnMut(&str, &[u64]) -> Result<(), E>) -> Result<(), E> {
    let (hidden, head) = (config.hidden, config.head_dim);
    let (queries, keys) = (config.heads * head, config.kv_heads * head);
    named("input_layernorm.weight", &[hidden])?;
    named("post_attention_layernorm.weight", &[hidden])?;
    if config.architecture == Architecture::Gemma3 {
        named("pre_feedforward_layernorm.weight", &[hidden])?;
        named("post_feedforward_layernorm.weight", &[hidden])?;
    }
    if config.architecture == Architecture::Phi3 {
        named("self_attn.qkv_proj.weight", &[queries + 2 * keys, hidden])?;
    } else {
        for (name, rows) in [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)] {
            named(&format!("self_attn.{name}.weight"), &[rows, hidden])?;
            if config.qkv_bias {
                named(&format!("self_attn.{name}.bias"), &[rows])?;
            }
        }
    }
    named("self_attn.o_proj.weight", &[hidden, queries])?;
    if config.output_bias {
        named("self_attn.o_proj.bias", &[hidden])?;
    }
    if config.qk_norm {
        named("self_attn.q_norm.weight", &[head])?;
        named("self_attn.k_norm.weight", &[head])?;
    }
    if config.sinks {
        named("self_attn.sinks", &[config.heads])?;
    }
    Ok(())
}

/// A plain feed-forward block.
fn block<E>(config: &Config, named: &mut impl FnMut(&str, &[u64]) -> Result<(), E>) -> Result<(), E> {
    let (hidden, width) = (config.hidden, config.intermediate);
    if config.architecture == Architecture::Phi3 {
        named("mlp.gate_up_proj.weight", &[2 * width, hidden])?;
        return named("mlp.down_proj.weight", &[hidden, width]);
    }
    for (name, shape) in
        [("gate_proj", [width, hidden]), ("up_proj", [width, hidden]), ("down_proj", [hidden, width])]
    {
        named(&format!("mlp.{name}.weight"), &shape)?;
        if config.mlp_bias {
            named(&format!("mlp.{name}.bias"), &shape[..1])?;
        }
    }
    Ok(())
}
