//! GGUF files: their metadata as a configuration, their tensors by the names of transformers.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::names::Names;
use super::{Checkpoint, Origin, experts};
use crate::config::{Architecture, Config, RopeScaling};
use crate::error::ConvertError;
use crate::gguf::{Gguf, Metadata};
use crate::rows::{Rows, SharedRows};
use crate::tokenizer;

pub(super) fn open(path: &Path) -> Result<Checkpoint, ConvertError> {
    let gguf = Gguf::open(path)?;
    let file = path.display().to_string();
    let mut notes = Vec::new();
    let config = config(&file, &gguf, &mut notes)?;
    let names = Names::new(&config);
    let mut tensors: BTreeMap<String, SharedRows> = BTreeMap::new();
    for name in gguf.names() {
        if let Some(rows) = gguf.tensor(name)
            && let Some((name, rows)) = names.tensor(name, rows)?
        {
            tensors.insert(name, rows);
        }
    }
    experts::assemble(&config, &mut tensors)?;
    let tokenizer = tokenizer::of_gguf(&file, gguf.metadata(), &mut notes)?;
    let checkpoint = Checkpoint { config, tensors, tokenizer, origin: Origin::Gguf(path.into()), notes };
    let known = checkpoint.tensors.keys().cloned().collect::<BTreeSet<_>>();
    let checkpoint = checkpoint.checked()?;
    // a folder's extra tensors are ones that transformers does not use either; here nobody knows
    match known.into_iter().find(|name| !checkpoint.tensors.contains_key(name)) {
        Some(name) => {
            let reason = "is in the file, but not in models of this architecture".into();
            Err(ConvertError::Tensor { name, reason })
        }
        None => Ok(checkpoint),
    }
}

/// The keys of an architecture, and which of them were asked for.
struct Keys<'a> {
    metadata: &'a Metadata,
    /// `general.architecture`
    prefix: &'a str,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Keys<'a> {
    fn key(&self, key: &str) -> String {
        let key = format!("{}.{key}", self.prefix);
        self.used.borrow_mut().insert(key.clone());
        key
    }

    fn count(&self, key: &str) -> Result<Option<u64>, ConvertError> {
        self.metadata.u64(&self.key(key))
    }

    /// A number with as many digits as a float32 has: files hold 1e-5 as 9.99999974e-6.
    fn number(&self, key: &str) -> Result<Option<f64>, ConvertError> {
        let number = self.metadata.f64(&self.key(key))?;
        Ok(number.map(|number| (number as f32).to_string().parse().unwrap_or(number)))
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, ConvertError> {
        self.metadata.str(&self.key(key))
    }

    fn needed(&self, key: &str) -> Result<u64, ConvertError> {
        self.count(key)?.ok_or_else(|| self.wrong(key, "an integer"))
    }

    fn wrong(&self, key: &str, expected: &str) -> ConvertError {
        self.metadata.unexpected(&self.key(key), expected)
    }

    /// Keys that nobody asked for.
    fn unused(&self) -> Vec<&'a str> {
        let prefix = format!("{}.", self.prefix);
        let used = self.used.borrow();
        self.metadata.keys().filter(|key| key.starts_with(&prefix) && !used.contains(*key)).collect()
    }
}

fn architecture(name: &str, experts: bool) -> Result<Architecture, ConvertError> {
    match name {
        "llama" if experts => Ok(Architecture::Mixtral),
        "llama" => Ok(Architecture::Llama),
        "qwen2" => Ok(Architecture::Qwen2),
        "qwen3" => Ok(Architecture::Qwen3),
        "qwen3moe" => Ok(Architecture::Qwen3Moe),
        "gemma3" => Ok(Architecture::Gemma3),
        "phi3" => Ok(Architecture::Phi3),
        "gpt-oss" => Ok(Architecture::GptOss),
        other => Err(ConvertError::Architecture {
            found: other.into(),
            known: "llama, qwen2, qwen3, qwen3moe, gemma3, phi3, gpt-oss (names of GGUF files)".into(),
        }),
    }
}

/// Writes what the file says in the words of `config.json` and reads that, so that there is one place for
/// meanings and bounds.
fn config(file: &str, gguf: &Gguf, notes: &mut Vec<String>) -> Result<Config, ConvertError> {
    let metadata = gguf.metadata();
    let prefix = metadata
        .str("general.architecture")?
        .ok_or_else(|| metadata.unexpected("general.architecture", "the name of an architecture"))?;
    let keys = Keys { metadata, prefix, used: RefCell::default() };
    let expert_count = keys.count("expert_count")?.filter(|count| *count != 0);
    let architecture = architecture(prefix, expert_count.is_some())?;
    let embedding = gguf.tensor("token_embd.weight");
    let vocabulary = embedding.and_then(|rows| rows.shape().first().copied());
    let hidden = keys.needed("embedding_length")?;
    let heads = keys.needed("attention.head_count")?;
    let head_dim = match keys.count("attention.key_length")? {
        Some(head_dim) => head_dim,
        None => hidden.checked_div(heads).unwrap_or(0),
    };
    if keys.count("attention.value_length")?.is_some_and(|values| values != head_dim) {
        return Err(keys.wrong("attention.value_length", &format!("{head_dim}, as keys have")));
    }
    keys.used.borrow_mut().insert(format!("{prefix}.vocab_size")); // the embedding says it
    let mut json = json!({
        "model_type": architecture.model_type(),
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": keys.needed("block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": keys.count("attention.head_count_kv")?,
        "head_dim": head_dim,
        "max_position_embeddings": keys.needed("context_length")?,
        "rms_norm_eps": keys.number("attention.layer_norm_rms_epsilon")?,
        "tie_word_embeddings": gguf.tensor("output.weight").is_none(),
        "bos_token_id": metadata.u64("tokenizer.ggml.bos_token_id")?,
        "eos_token_id": tokenizer::ends(metadata, architecture)?,
    });
    let Value::Object(object) = &mut json else { return Err(metadata.unexpected(prefix, "keys")) };
    widths(&keys, architecture, expert_count, object)?;
    rope(&keys, architecture, head_dim, object)?;
    windows(&keys, architecture, object)?;
    if architecture == Architecture::Qwen3Moe {
        // llama.cpp always divides the weights of active experts by their sum
        object.insert("norm_topk_prob".into(), json!(true));
        object.insert("mlp_only_layers".into(), plain_layers(gguf, object)?);
    }
    let mut config = Config::from_file(file, &json)?;
    if architecture == Architecture::Gemma3 {
        config.norm_offset = 0.0;
        // the formula of llama.cpp: the largest model divides by the width of a head of the residual stream
        let scaled = if config.layers == 62 { config.hidden / config.heads } else { config.head_dim };
        config.query_scale = (scaled as f64).powf(-0.5);
    }
    let has = |name: &str| gguf.tensor(name).is_some();
    config.qkv_bias = has("blk.0.attn_q.bias");
    config.output_bias = has("blk.0.attn_output.bias");
    config.mlp_bias = has("blk.0.ffn_gate.bias");
    config.rope.scaling = factors(gguf, config.rope.scaling, config.rope.dims)?;
    let unused = keys.unused();
    if !unused.is_empty() {
        let shown: Vec<_> = unused.iter().take(16).copied().collect();
        notes.push(format!("{} keys are not used: {}", unused.len(), shown.join(", ")));
    }
    Ok(config)
}

fn widths(
    keys: &Keys,
    architecture: Architecture,
    expert_count: Option<u64>,
    object: &mut Map<String, Value>,
) -> Result<(), ConvertError> {
    let expert_width = keys.count("expert_feed_forward_length")?;
    let width = match (architecture, expert_width) {
        (Architecture::GptOss, Some(width)) => width,
        _ => keys.needed("feed_forward_length")?,
    };
    object.insert("intermediate_size".into(), json!(width));
    if let Some(count) = expert_count {
        object.insert("num_local_experts".into(), json!(count));
        object.insert("num_experts_per_tok".into(), json!(keys.needed("expert_used_count")?));
        object.insert("moe_intermediate_size".into(), json!(expert_width));
    }
    let caps = [
        ("attn_logit_softcapping", "attn_logit_softcapping"),
        ("final_logit_softcapping", "final_logit_softcapping"),
    ];
    for (key, name) in caps {
        if let Some(cap) = keys.number(key)?.filter(|cap| *cap != 0.0) {
            object.insert(name.into(), json!(cap));
        }
    }
    Ok(())
}

/// Layers without a router.
fn plain_layers(gguf: &Gguf, object: &Map<String, Value>) -> Result<Value, ConvertError> {
    // more layers than there are tensors are refused later
    let layers = object.get("num_hidden_layers").and_then(Value::as_u64).unwrap_or(0);
    let layers = layers.min(gguf.names().len() as u64);
    let plain = |layer: &u64| gguf.tensor(&format!("blk.{layer}.ffn_gate_inp.weight")).is_none();
    Ok((0..layers).filter(plain).map(Value::from).collect())
}

fn rope(
    keys: &Keys,
    architecture: Architecture,
    head_dim: u64,
    object: &mut Map<String, Value>,
) -> Result<(), ConvertError> {
    let phi3 = architecture == Architecture::Phi3;
    let base = keys.number("rope.freq_base")?.unwrap_or(10_000.0);
    object.insert("rope_theta".into(), json!(base));
    if let Some(dims) = keys.count("rope.dimension_count")?
        && dims != head_dim
    {
        if !phi3 {
            return Err(keys.wrong("rope.dimension_count", &format!("{head_dim}: all of a head")));
        }
        // the half makes the product with the head, which is rounded down, exactly `dims`
        object.insert("partial_rotary_factor".into(), json!((dims as f64 + 0.5) / head_dim as f64));
    }
    if architecture == Architecture::Gemma3 {
        let local = keys.number("rope.freq_base_swa")?.unwrap_or(10_000.0);
        object.insert("rope_local_base_freq".into(), json!(local));
    }
    let linear = keys.number("rope.scale_linear")?.filter(|factor| *factor != 1.0);
    let factor = keys.number("rope.scaling.factor")?.or(linear);
    let original = keys.count("rope.scaling.original_context_length")?;
    let attention = keys.number("rope.scaling.attn_factor")?;
    let named = keys.text("rope.scaling.type")?;
    // says only who made the file
    keys.used.borrow_mut().insert(format!("{}.rope.scaling.finetuned", keys.prefix));
    let scaling = match named.unwrap_or(if linear.is_some() { "linear" } else { "none" }) {
        // Phi-3's factors are tensors
        _ if phi3 => Value::Null,
        "none" => Value::Null,
        "linear" if factor == Some(1.0) => Value::Null,
        "linear" => json!({"rope_type": "linear", "factor": factor}),
        "yarn" => {
            let mut scaling = json!({
                "rope_type": "yarn", "factor": factor, "truncate": architecture != Architecture::GptOss,
                "beta_fast": keys.number("rope.scaling.yarn_beta_fast")?,
                "beta_slow": keys.number("rope.scaling.yarn_beta_slow")?,
                "original_max_position_embeddings": original,
            });
            // a factor of its own comes on top of the one that YaRN derives
            if let (Some(own), Some(factor)) = (attention.filter(|own| *own != 1.0), factor) {
                let derived = if factor <= 1.0 { 1.0 } else { 0.1 * factor.ln() + 1.0 };
                scaling["attention_factor"] = json!(own * derived);
            }
            // the converter writes the checkpoint's whole factor under this name
            if let Some(whole) = keys.number("rope.scaling.yarn_attn_factor")? {
                scaling["attention_factor"] = json!(whole);
            }
            scaling
        }
        _ => return Err(keys.wrong("rope.scaling.type", "\"none\", \"linear\" or \"yarn\"")),
    };
    // where a file says nothing there is no scaling, not the one of the family
    let scaling = if scaling.is_null() { json!({"rope_type": "default"}) } else { scaling };
    object.insert("rope_scaling".into(), scaling);
    Ok(())
}

fn windows(
    keys: &Keys,
    architecture: Architecture,
    object: &mut Map<String, Value>,
) -> Result<(), ConvertError> {
    let window = match architecture {
        Architecture::Phi3 | Architecture::Gemma3 | Architecture::GptOss => {
            keys.count("attention.sliding_window")?.filter(|window| *window != 0)
        }
        // llama.cpp has no windows in the others
        _ => None,
    };
    object.insert("sliding_window".into(), json!(window));
    if let Some(pattern) = keys.metadata.get(&keys.key("attention.sliding_window_pattern")) {
        match pattern {
            crate::gguf::Value::Unsigned(pattern) => {
                object.insert("sliding_window_pattern".into(), json!(pattern));
            }
            crate::gguf::Value::Numbers(numbers) => {
                let Some(flags) = numbers.bools() else {
                    return Err(keys.wrong("attention.sliding_window_pattern", "an integer or bools"));
                };
                let name = |slides| if slides { "sliding_attention" } else { "full_attention" };
                object.insert("layer_types".into(), flags.map(name).map(Value::from).collect());
            }
            _ => return Err(keys.wrong("attention.sliding_window_pattern", "an integer or bools")),
        }
    }
    if window.is_none() && matches!(architecture, Architecture::Gemma3 | Architecture::GptOss) {
        return Err(keys.wrong("attention.sliding_window", "a number of positions"));
    }
    Ok(())
}

/// Scaling that the file holds as tensors: one divisor for each rotated pair.
fn factors(gguf: &Gguf, scaling: RopeScaling, dims: u64) -> Result<RopeScaling, ConvertError> {
    let read = |name: &str| -> Result<Option<Vec<f64>>, ConvertError> {
        let Some(rows) = gguf.tensor(name) else { return Ok(None) };
        let failed = |reason: String| ConvertError::Tensor { name: name.into(), reason };
        if rows.shape() != [dims / 2] {
            return Err(failed(format!("has shape {:?}; expected [{}]", rows.shape(), dims / 2)));
        }
        let mut values = vec![0.0f32; (dims / 2) as usize];
        rows.read(0, &mut values)?;
        match values.iter().find(|value| !(**value > 0.0 && value.is_finite())) {
            Some(value) => Err(failed(format!("holds {value}; expected positive numbers"))),
            None => Ok(Some(values.into_iter().map(f64::from).collect())),
        }
    };
    let (long, short) = (read("rope_factors_long.weight")?, read("rope_factors_short.weight")?);
    match (read("rope_freqs.weight")?, long.zip(short), scaling) {
        (Some(divisors), None, RopeScaling::None) => Ok(RopeScaling::Divisors { divisors }),
        (None, None, scaling) => Ok(scaling),
        (None, Some((long, short)), RopeScaling::None) => long_rope(gguf.metadata(), long, short),
        _ => Err(ConvertError::Tensor {
            name: "rope_freqs.weight".into(),
            reason: "frequencies are scaled in two ways; expected one".into(),
        }),
    }
}

fn long_rope(metadata: &Metadata, long: Vec<f64>, short: Vec<f64>) -> Result<RopeScaling, ConvertError> {
    let positions = metadata.u64("phi3.context_length")?.unwrap_or(0);
    let key = "phi3.rope.scaling.original_context_length";
    let original = metadata.u64(key)?.filter(|original| (2..1 << 32).contains(original));
    let original = original.ok_or_else(|| metadata.unexpected(key, "a number of positions"))?;
    let factor = positions as f64 / original as f64;
    let attention_factor = match metadata.f64("phi3.rope.scaling.attn_factor")? {
        Some(factor) => factor,
        None if factor <= 1.0 => 1.0,
        None => (1.0 + factor.ln() / (original as f64).ln()).sqrt(),
    };
    Ok(RopeScaling::LongRope { short, long, original_max_positions: original, attention_factor })
}
