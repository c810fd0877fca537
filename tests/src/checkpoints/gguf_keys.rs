//! Metadata of a GGUF file, from the keys of a configuration.

use serde_json::Value;

use super::case::Checkpoint;
use super::folder::Storage;
use super::gguf::Meta;
use super::tokenizer;

/// The layer that llama.cpp gives global attention in Gemma 3 where the file says nothing.
const GEMMA3_PATTERN: usize = 6;

/// What the metadata have no key for.
pub(super) fn gap(config: &Value) -> Option<&'static str> {
    let rope = &config["rope_parameters"];
    let window = config["sliding_window"].is_u64();
    let not = |key: &str, value: Value| config[key] != value;
    match model_type(config) {
        "llama" | "mistral" | "mixtral" if window => Some("llama files have no sliding window"),
        "qwen2" | "qwen3" if window => Some("qwen2 and qwen3 files have no sliding window"),
        "qwen3_moe" if not("norm_topk_prob", true.into()) => Some("qwen3moe always normalizes"),
        "qwen3_moe"
            if not("mlp_only_layers", Value::Array(vec![])) || not("decoder_sparse_step", 1.into()) =>
        {
            Some("qwen3moe has experts in every layer")
        }
        "gemma3_text" if config["query_pre_attn_scalar"] != config["head_dim"] => {
            Some("gemma3 files scale scores by the head's width")
        }
        "gemma3_text" if !config["attn_logit_softcapping"].is_null() => {
            Some("gemma3 files have no capping of attention scores")
        }
        _ if rope["mscale"].is_number() => Some("the converter drops mscale"),
        _ => None,
    }
}

/// Value of `general.architecture`.
pub(super) fn architecture(config: &Value) -> &'static str {
    match model_type(config) {
        "llama" | "mistral" | "mixtral" => "llama",
        "qwen2" => "qwen2",
        "qwen3" => "qwen3",
        "qwen3_moe" => "qwen3moe",
        "gemma3_text" => "gemma3",
        "phi3" => "phi3",
        "gpt_oss" => "gpt-oss",
        other => panic!("no GGUF architecture for {other}"),
    }
}

pub(super) fn model_type(config: &Value) -> &str {
    config["model_type"].as_str().expect("model_type")
}

/// Keys under the name of the architecture.
struct Keys<'a> {
    config: &'a Value,
    prefix: &'static str,
    entries: Vec<(String, Meta)>,
}

impl Keys<'_> {
    fn push(&mut self, key: &str, value: Meta) {
        self.entries.push((format!("{}.{key}", self.prefix), value));
    }

    fn u32(&mut self, key: &str, value: &Value) {
        if let Some(value) = value.as_u64() {
            self.push(key, Meta::U32(value as u32));
        }
    }

    fn f32(&mut self, key: &str, value: &Value) {
        if let Some(value) = value.as_f64() {
            self.push(key, Meta::F32(value as f32));
        }
    }

    fn sizes(&mut self) {
        let config = self.config;
        self.u32("block_count", &config["num_hidden_layers"]);
        self.u32("context_length", &config["max_position_embeddings"]);
        self.u32("embedding_length", &config["hidden_size"]);
        self.u32("feed_forward_length", &config["intermediate_size"]);
        self.u32("attention.head_count", &config["num_attention_heads"]);
        self.u32("attention.head_count_kv", &config["num_key_value_heads"]);
        self.f32("attention.layer_norm_rms_epsilon", &config["rms_norm_eps"]);
        self.u32("attention.key_length", &config["head_dim"]);
        self.u32("attention.value_length", &config["head_dim"]);
        self.u32("expert_count", &config["num_local_experts"]);
        if config["num_local_experts"].is_u64() {
            self.u32("expert_used_count", &config["num_experts_per_tok"]);
        }
    }

    fn rope(&mut self) {
        let rope = global_rope(self.config);
        self.f32("rope.freq_base", &rope["rope_theta"]);
        match rope["rope_type"].as_str() {
            Some("linear") => {
                self.push("rope.scaling.type", Meta::Text("linear".into()));
                self.f32("rope.scaling.factor", &rope["factor"]);
            }
            Some("yarn") => {
                self.push("rope.scaling.type", Meta::Text("yarn".into()));
                self.f32("rope.scaling.factor", &rope["factor"]);
                self.u32("rope.scaling.original_context_length", &rope["original_max_position_embeddings"]);
                self.f32("rope.scaling.yarn_attn_factor", &rope["attention_factor"]);
                self.f32("rope.scaling.yarn_beta_fast", &rope["beta_fast"]);
                self.f32("rope.scaling.yarn_beta_slow", &rope["beta_slow"]);
            }
            _ => {} // llama3 and longrope are tensors
        }
    }

    /// What one architecture alone has.
    fn own(&mut self) {
        let config = self.config;
        let head =
            config["hidden_size"].as_u64().unwrap_or(0) / config["num_attention_heads"].as_u64().unwrap_or(1);
        match model_type(config) {
            "llama" | "mistral" | "mixtral" => {
                self.u32("vocab_size", &config["vocab_size"]);
                let width = config["head_dim"].as_u64().unwrap_or(head);
                self.push("rope.dimension_count", Meta::U32(width as u32));
            }
            "qwen3_moe" => self.u32("expert_feed_forward_length", &config["moe_intermediate_size"]),
            "gpt_oss" => {
                self.u32("expert_feed_forward_length", &config["intermediate_size"]);
                self.u32("attention.sliding_window", &config["sliding_window"]);
            }
            "gemma3_text" => {
                self.u32("attention.sliding_window", &config["sliding_window"]);
                self.f32("final_logit_softcapping", &config["final_logit_softcapping"]);
                self.f32("rope.freq_base_swa", &config["rope_parameters"]["sliding_attention"]["rope_theta"]);
                let kinds = config["layer_types"].as_array().into_iter().flatten();
                let pattern = 1 + kinds.take_while(|kind| *kind != "full_attention").count();
                if pattern != GEMMA3_PATTERN {
                    self.push("attention.sliding_window_pattern", Meta::U32(pattern as u32));
                }
            }
            "phi3" => {
                let rope = &config["rope_parameters"];
                let part = rope["partial_rotary_factor"].as_f64().unwrap_or(1.0);
                self.push("rope.dimension_count", Meta::U32((part * head as f64) as u32));
                let original = &config["original_max_position_embeddings"];
                self.u32("rope.scaling.original_context_length", original);
                self.push(
                    "attention.sliding_window",
                    Meta::U32(config["sliding_window"].as_u64().unwrap_or(0) as u32), // 0: none
                );
                if rope["rope_type"] == "longrope" {
                    let (longest, original) = (config["max_position_embeddings"].as_f64(), original.as_f64());
                    let (longest, original) = (longest.unwrap_or(1.0), original.unwrap_or(1.0));
                    let scale = longest / original;
                    let factor = if scale > 1.0 { (1.0 + scale.ln() / original.ln()).sqrt() } else { 1.0 };
                    self.push("rope.scaling.attn_factor", Meta::F32(factor as f32));
                }
            }
            _ => {}
        }
    }
}

/// Rope of the layers that see everything.
pub(super) fn global_rope(config: &Value) -> &Value {
    let rope = &config["rope_parameters"];
    rope.get("full_attention").unwrap_or(rope)
}

/// All metadata of a checkpoint.
pub(super) fn keys(checkpoint: &Checkpoint, storage: Storage) -> Vec<(String, Meta)> {
    let config = &checkpoint.config;
    let prefix = architecture(config);
    let mut keys = Keys { config, prefix, entries: vec![] };
    keys.sizes();
    keys.rope();
    keys.own();
    let packed = config["quantization_config"]["quant_method"] == "mxfp4";
    let file_type = match storage {
        _ if packed => 38, // mostly MXFP4
        Storage::F32 => 0,
        Storage::F16 => 1,
        Storage::BF16 => 32,
    };
    let text = |text: &str| Meta::Text(text.to_owned());
    let mut all = vec![
        ("general.architecture".to_owned(), text(prefix)),
        ("general.type".to_owned(), text("model")),
        ("general.name".to_owned(), text(checkpoint.name())),
        ("general.file_type".to_owned(), Meta::U32(file_type)),
        ("general.quantization_version".to_owned(), Meta::U32(2)),
    ];
    all.extend(keys.entries);
    all.extend(vocabulary(config).into_iter().map(|(key, value)| (format!("tokenizer.{key}"), value)));
    all
}

fn vocabulary(config: &Value) -> Vec<(&'static str, Meta)> {
    let text = |text: &str| Meta::Text(text.to_owned());
    let bytes = matches!(model_type(config), "qwen2" | "qwen3" | "qwen3_moe" | "gpt_oss");
    let tokens = if bytes { tokenizer::bytes(config) } else { tokenizer::pieces(config) };
    let mut keys = if bytes {
        let splitter = if model_type(config) == "gpt_oss" { "gpt-4o" } else { "qwen2" };
        vec![
            ("ggml.model", text("gpt2")),
            ("ggml.pre", text(splitter)),
            ("ggml.merges", Meta::Texts(tokenizer::merges())),
        ]
    } else {
        let space = Meta::Bool(model_type(config) != "gemma3_text");
        vec![
            ("ggml.model", text("llama")),
            ("ggml.pre", text("default")),
            ("ggml.scores", Meta::F32s(tokens.scores)),
            ("ggml.unknown_token_id", Meta::U32(0)),
            ("ggml.add_space_prefix", space),
        ]
    };
    keys.push(("ggml.tokens", Meta::Texts(tokens.texts)));
    keys.push(("ggml.token_type", Meta::I32s(tokens.types)));
    for (key, of) in [("ggml.bos_token_id", "bos_token_id"), ("ggml.eos_token_id", "eos_token_id")] {
        if let Some(id) = config[of].as_u64() {
            keys.push((key, Meta::U32(id as u32)));
        }
    }
    keys.push(("ggml.add_bos_token", Meta::Bool(!bytes)));
    keys.push(("chat_template", text(tokenizer::CHAT_TEMPLATE)));
    keys
}
