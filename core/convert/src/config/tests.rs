//! Configurations as transformers writes them, and what it makes of them.

use serde_json::{Value, json};

use super::*;

fn read(json: Value) -> Config {
    Config::from_json(&json).unwrap()
}

/// A small complete configuration, changed by `keys`; `null` removes nothing, it is written.
fn with(model_type: &str, keys: Value) -> Value {
    let mut json = json!({
        "model_type": model_type, "vocab_size": 96, "hidden_size": 64, "intermediate_size": 160,
        "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    });
    for (key, value) in keys.as_object().unwrap() {
        json[key] = value.clone();
    }
    json
}

fn refusal(json: Value) -> String {
    let error = Config::from_json(&json).unwrap_err();
    assert_eq!(error.code(), "convert.config", "{error}");
    error.to_string()
}

fn near(values: &[f64], expected: &[(usize, f64)]) {
    for (index, value) in expected {
        let error = (values[*index] - value).abs() / value;
        assert!(error < 2e-6, "[{index}] {} {value}", values[*index]); // float32 there
    }
}

#[test]
fn llama_old_and_new_spelling() {
    let scaling = json!({
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3",
    });
    let common = json!({
        "model_type": "llama", "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "tie_word_embeddings": false,
    });
    let mut old = common.clone();
    old["rope_theta"] = json!(500000.0);
    old["rope_scaling"] = scaling.clone();
    old["torch_dtype"] = json!("bfloat16");
    let mut new = common;
    new["rope_parameters"] = scaling;
    new["rope_parameters"]["rope_theta"] = json!(500000);
    new["dtype"] = json!("bfloat16");
    let config = read(old);
    assert_eq!(config, read(new));
    assert_eq!((config.head_dim, config.kv_heads, config.bos), (128, 8, Some(128000)));
    assert_eq!(config.eos, [128001, 128008, 128009]);
    assert_eq!(config.dtype.as_deref(), Some("bfloat16"));
    assert_eq!(config.windows, vec![0; 32]);
    assert_eq!(config.query_scale, 128f64.powf(-0.5));
    assert!(!config.tied && !config.qkv_bias && !config.mlp_bias && !config.qk_norm && !config.sinks);
    let frequencies = config.rope.frequencies(1);
    assert_eq!(frequencies.len(), 64);
    near(&frequencies, &[(0, 1.0), (1, 8.146172166e-1), (32, 5.248460220e-4), (63, 3.068925878e-7)]);
}

#[test]
fn smollm_is_a_llama() {
    let config = read(json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 49152, "hidden_size": 576,
        "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100000, "rope_scaling": null,
        "rope_interleaved": false, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2,
    }));
    assert_eq!(config.rope, Rope { base: 1e5, dims: 64, scaling: RopeScaling::None });
    assert!(config.tied && config.local_rope.is_none() && config.experts.is_none());
    assert_eq!((config.embed_scale, config.norm_offset), (1.0, 0.0));
    assert_eq!(config.activation, Activation::Silu);
}

#[test]
fn biases() {
    let biases = |model_type, keys| {
        let config = read(with(model_type, keys));
        (config.qkv_bias, config.output_bias, config.mlp_bias)
    };
    assert_eq!(biases("llama", json!({"attention_bias": true, "mlp_bias": true})), (true, true, true));
    assert_eq!(biases("mistral", json!({})), (false, false, false));
    assert_eq!(biases("qwen2", json!({})), (true, false, false));
    assert_eq!(biases("qwen3", json!({"attention_bias": true})), (true, true, false));
    assert_eq!(biases("gpt_oss", json!({})), (true, true, false));
    assert_eq!(biases("phi3", json!({})), (false, false, false));
}

#[test]
fn windows_of_each_family() {
    let windows = |model_type, keys| read(with(model_type, keys)).windows;
    assert_eq!(windows("llama", json!({"sliding_window": 5})), [0; 8]);
    assert_eq!(windows("mistral", json!({})), [4096; 8]);
    assert_eq!(windows("mistral", json!({"sliding_window": null})), [0; 8]);
    let types = ["full_attention", "sliding_attention"].repeat(4);
    let ministral = json!({"sliding_window": 5, "layer_types": types});
    assert_eq!(windows("mistral", ministral), [0, 5, 0, 5, 0, 5, 0, 5]);
    assert_eq!(windows("mixtral", json!({})), [0; 8]);
    assert_eq!(windows("mixtral", json!({"sliding_window": 7})), [7; 8]);
    assert_eq!(windows("phi3", json!({"sliding_window": 2047})), [2047; 8]);
    assert_eq!(windows("qwen2", json!({"sliding_window": 9, "max_window_layers": 6})), [0; 8]);
    let used = json!({"sliding_window": 9, "max_window_layers": 6, "use_sliding_window": true});
    assert_eq!(windows("qwen2", used.clone()), [0, 0, 0, 0, 0, 0, 9, 9]);
    assert_eq!(windows("qwen3", used.clone()), [0, 0, 0, 0, 0, 0, 9, 9]);
    assert_eq!(windows("qwen3_moe", used), [9; 8]);
    assert_eq!(
        windows("gemma3_text", json!({"sliding_window": 512})),
        [512, 512, 512, 512, 512, 0, 512, 512]
    );
    let pattern = json!({"sliding_window": 512, "sliding_window_pattern": 2});
    assert_eq!(windows("gemma3_text", pattern), [512, 0, 512, 0, 512, 0, 512, 0]);
    assert_eq!(windows("gpt_oss", json!({})), [128, 0, 128, 0, 128, 0, 128, 0]);
    let types = ["full_attention", "sliding_attention"].repeat(4);
    assert_eq!(windows("gpt_oss", json!({"layer_types": types})), [0, 128, 0, 128, 0, 128, 0, 128]);
    let none = json!({"layer_types": types, "sliding_window": null});
    assert!(refusal(with("gpt_oss", none)).contains("sliding_window is absent"));
    assert!(refusal(with("qwen3", json!({"layer_types": ["full_attention"]}))).contains("a list of 1"));
    let linear = vec!["linear_attention"; 8];
    assert!(refusal(with("qwen3", json!({"layer_types": linear}))).contains("linear_attention"));
}

#[test]
fn gemma3_nested_and_flat() {
    // as on the hub: keys with their defaults are absent
    let old = read(json!({
        "model_type": "gemma3", "eos_token_id": [1, 106], "torch_dtype": "bfloat16",
        "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
            "num_hidden_layers": 34, "sliding_window": 1024,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        },
        "vision_config": {"hidden_size": 1152},
    }));
    assert_eq!(old.architecture, Architecture::Gemma3);
    assert_eq!((old.heads, old.kv_heads, old.head_dim, old.vocabulary), (8, 4, 256, 262_208));
    assert_eq!(old.rope, Rope { base: 1e6, dims: 256, scaling: RopeScaling::Linear { factor: 8.0 } });
    assert_eq!(old.local_rope, Some(Rope { base: 1e4, dims: 256, scaling: RopeScaling::None }));
    near(&old.rope.frequencies(1), &[(0, 1.25e-1), (3, 9.042426944e-2), (127, 1.392467368e-7)]);
    assert_eq!(old.windows.iter().filter(|window| **window == 0).count(), 5);
    assert!(old.tied && old.qk_norm);
    assert_eq!((old.norm_offset, old.embed_scale), (1.0, 2560f64.sqrt()));
    assert_eq!((old.bos, old.eos.as_slice()), (Some(2), &[1, 106][..]));
    assert_eq!(old.activation, Activation::GeluTanh);
    assert_eq!(old.query_scale, 1.0 / 16.0);

    let new = read(json!({
        "model_type": "gemma3_text", "vocab_size": 262_208, "hidden_size": 2560, "intermediate_size": 10240,
        "num_hidden_layers": 34, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
        "query_pre_attn_scalar": 168, "sliding_window": 1024, "final_logit_softcapping": 30.0,
        "rope_parameters": {
            "full_attention": {"factor": 8.0, "rope_theta": 1e6, "rope_type": "linear"},
            "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
        },
    }));
    assert_eq!((&new.rope, &new.local_rope, &new.windows), (&old.rope, &old.local_rope, &old.windows));
    assert_eq!((new.query_scale, new.final_softcap), (168f64.powf(-0.5), Some(30.0)));
    let flat = json!({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}});
    assert!(refusal(with("gemma3_text", flat)).contains("rope_parameters.rope_type"));
}

#[test]
fn yarn() {
    let config = read(json!({
        "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016,
        "num_hidden_layers": 2, "num_attention_heads": 32, "num_key_value_heads": 8, "rope_theta": 1000000,
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
    }));
    assert_eq!(config.head_dim, 128);
    let frequencies = config.rope.frequencies(1);
    near(
        &frequencies,
        &[(1, 8.058422208e-1), (3, 5.232991576e-1), (32, 6.029411452e-4), (63, 3.102344408e-7)],
    );
    assert!((config.rope.attention_factor() - 1.138629436111989).abs() < 1e-12);
    let mscale = with(
        "llama",
        json!({"rope_scaling": {
            "type": "yarn", "factor": 40.0, "mscale": 0.5, "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 4096,
        }}),
    );
    let expected = (0.05 * 40f64.ln() + 1.0) / (0.1 * 40f64.ln() + 1.0);
    assert!((read(mscale).rope.attention_factor() - expected).abs() < 1e-12);
}

#[test]
fn gpt_oss() {
    let parameters = json!({
        "rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": false,
        "original_max_position_embeddings": 4096,
    });
    let mut json = json!({
        "model_type": "gpt_oss", "vocab_size": 201088, "hidden_size": 2880, "intermediate_size": 2880,
        "num_hidden_layers": 36, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64,
        "num_local_experts": 32, "num_experts_per_tok": 4, "experts_per_token": 4, "swiglu_limit": 7.0,
        "rope_theta": 150000, "rope_scaling": parameters, "sliding_window": 128, "attention_bias": true,
        "quantization_config": {"quant_method": "mxfp4"}, "rms_norm_eps": 1e-5, "eos_token_id": 200002,
    });
    let config = read(json.clone());
    let frequencies = config.rope.frequencies(1);
    near(&frequencies, &[(1, 6.890442967e-1), (16, 4.564839182e-4), (31, 3.023511397e-7)]);
    assert!((config.rope.attention_factor() - 1.3465735902799727).abs() < 1e-12);
    let experts = config.experts.clone().unwrap();
    assert_eq!((experts.count, experts.active, experts.intermediate), (32, 4, 2880));
    assert!(experts.normalize && experts.bias && experts.layers.iter().all(|sparse| *sparse));
    assert_eq!(config.clamped_swiglu, Some(ClampedSwiglu { alpha: 1.702, limit: 7.0 }));
    assert!(config.sinks && config.qkv_bias && config.output_bias);
    assert_eq!(config.quantization.as_deref(), Some("mxfp4"));
    json["rope_scaling"] = Value::Null;
    assert_eq!(read(json).rope, config.rope); // the default of the class
}

#[test]
fn long_rope_of_phi3() {
    let mut json = with(
        "phi3",
        json!({
            "max_position_embeddings": 131072, "original_max_position_embeddings": 4096,
            "partial_rotary_factor": 0.75,
            "rope_scaling": {
                "type": "su", "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
                "long_factor": [1, 2, 4, 8, 16, 32],
            },
        }),
    );
    let config = read(json.clone());
    assert_eq!(config.rope.dims, 12);
    near(&config.rope.frequencies(4096), &[(1, 1.958576888e-1), (5, 3.094393178e-4)]);
    near(&config.rope.frequencies(4097), &[(1, 1.077217236e-1), (5, 1.450496711e-5)]);
    assert!((config.rope.attention_factor() - 1.1902380714238083).abs() < 1e-12);
    json["rope_scaling"]["long_factor"] = json!([1, 2]);
    assert!(refusal(json.clone()).contains("rope_scaling.long_factor is a list of 2; expected 6"));
    json["rope_scaling"]["long_factor"] = json!([1, 2, 4, 8, 16, 0]);
    refusal(json);
}

#[test]
fn experts() {
    let mixtral = read(with("mixtral", json!({"num_local_experts": 8, "num_experts_per_tok": 2})));
    let experts = mixtral.experts.unwrap();
    assert_eq!((experts.count, experts.active, experts.intermediate, experts.normalize), (8, 2, 160, true));
    let qwen = read(with(
        "qwen3_moe",
        json!({
            "num_experts": 16, "num_experts_per_tok": 3, "moe_intermediate_size": 24, "norm_topk_prob": true,
            "decoder_sparse_step": 2, "mlp_only_layers": [3],
        }),
    ));
    let experts = qwen.experts.unwrap();
    assert_eq!((experts.count, experts.active, experts.intermediate, experts.normalize), (16, 3, 24, true));
    assert_eq!(experts.layers, [false, true, false, false, false, true, false, true]);
    let many = json!({"num_experts": 4, "num_experts_per_tok": 5});
    assert!(refusal(with("qwen3_moe", many)).contains("at most the 4 experts"));
}

#[test]
fn refusals_name_key_found_and_expected() {
    let refused = |key: &str, value: Value| {
        let message = refusal(with("llama", json!({ key: value })));
        assert!(message.starts_with(&format!("config.json: {key} is ")), "{message}");
    };
    refused("vocab_size", json!(0));
    refused("vocab_size", json!(1u64 << 40));
    refused("hidden_size", json!(-64));
    refused("hidden_size", json!("64"));
    refused("hidden_size", json!(64.5));
    refused("num_hidden_layers", json!(10_001));
    refused("num_hidden_layers", json!(u64::MAX));
    refused("num_attention_heads", json!(0));
    refused("num_attention_heads", json!(null));
    refused("num_key_value_heads", json!(3));
    refused("head_dim", json!(15));
    refused("head_dim", json!(1u64 << 22));
    refused("rms_norm_eps", json!(-1e-6));
    refused("rms_norm_eps", json!("1e-6"));
    refused("max_position_embeddings", json!(0));
    refused("rope_theta", json!(0.0));
    refused("rope_theta", json!(1.0));
    refused("hidden_act", json!("relu2"));
    refused("tie_word_embeddings", json!(1));
    refused("eos_token_id", json!(-1));
    refused("eos_token_id", json!(vec![0; 300]));
    refused("partial_rotary_factor", json!(0.5));
    refused("rope_scaling", json!([]));
    let scaling = |value: Value| refusal(with("llama", json!({ "rope_scaling": value })));
    assert!(scaling(json!({"rope_type": "dynamic", "factor": 2.0})).contains("\"dynamic\""));
    assert!(scaling(json!({"rope_type": "linear"})).contains("rope_scaling.factor is absent"));
    assert!(scaling(json!({"rope_type": "linear", "factor": 0.0})).contains("rope_scaling.factor is 0.0"));
    assert!(scaling(json!({"full_attention": {}})).contains("rope_scaling.full_attention"));
    let quantized = json!({"quantization_config": {"quant_method": "gptq", "bits": 4}});
    assert!(refusal(with("llama", quantized)).contains("quantization_config.quant_method is \"gptq\""));
    let mut odd = with("llama", json!({"num_attention_heads": 7, "num_key_value_heads": 7}));
    odd["head_dim"] = Value::Null;
    assert!(refusal(odd).contains("hidden_size is 64; expected a multiple of num_attention_heads, 7"));
    assert!(refusal(json!([])).contains("the outermost value"));
    assert!(refusal(json!({})).contains("model_type is absent"));
    let error = Config::from_json(&with("mamba", json!({}))).unwrap_err();
    assert_eq!(error.code(), "convert.architecture");
    assert!(error.to_string().contains("\"mamba\"") && error.to_string().contains("gpt_oss, gemma3"));
}
