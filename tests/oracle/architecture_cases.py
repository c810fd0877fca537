"""The variants that `architectures.py` records: a configuration each, and the mistakes it must show.

A mistake is a change of the configuration that an importer makes by overlooking one of its keys. The
recorder applies it to the reference and demands that the logits move visibly, so that a test against the
recorded logits fails for an importer that overlooks the key. IGNORED lists changes that the reference does
not see.
"""

DENSE = dict(
    vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
    tie_word_embeddings=False,
)
FLAT = {"rope_type": "default", "rope_theta": 10000.0}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}
YARN_MSCALE = YARN | {"mscale": 3.0, "mscale_all_dim": 0.5, "beta_fast": 4.0, "beta_slow": 0.5}
YARN_FACTOR = YARN | {"attention_factor": 1.25, "beta_fast": 8.0, "beta_slow": 2.0}
OSS_YARN = {
    "rope_type": "yarn", "rope_theta": 150000.0, "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0,
    "truncate": False, "original_max_position_embeddings": 32,
}
GEMMA_ROPE = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
}
GEMMA_PLAIN_ROPE = {
    "full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
}
LONGROPE = {
    "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75,
    "short_factor": [1.0, 1.1, 1.25, 1.5, 1.75, 2.0], "long_factor": [1.0, 1.5, 2.5, 4.0, 8.0, 16.0],
}
QWEN_MOE = DENSE | dict(
    head_dim=16, moe_intermediate_size=32, num_experts=4, num_experts_per_tok=2, norm_topk_prob=True,
    decoder_sparse_step=1, mlp_only_layers=[], rope_parameters=FLAT | {"rope_theta": 1000000.0},
)
GPT_OSS = dict(
    vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, max_position_embeddings=128, rms_norm_eps=1e-5, num_local_experts=4,
    num_experts_per_tok=2, sliding_window=6, rope_parameters=OSS_YARN, bos_token_id=1, eos_token_id=2,
    pad_token_id=0,
)
OSS_MISTAKES = {
    "no window": {"layer_types": ["full_attention"] * 4},
    "all windows": {"layer_types": ["sliding_attention"] * 4},
    "window off by one": {"sliding_window": 7},
    "no clamp": {"swiglu_limit": 1e9},
    "no yarn": {"rope_parameters": FLAT | {"rope_theta": 150000.0}},
    "truncated yarn": {"rope_parameters": OSS_YARN | {"truncate": True}},
    "one expert": {"num_experts_per_tok": 1},
}


def gemma(layers, pattern, **changes):
    kinds = ["full_attention" if (i + 1) % pattern == 0 else "sliding_attention" for i in range(layers)]
    return DENSE | dict(
        num_hidden_layers=layers, head_dim=24, sliding_window=5, layer_types=kinds, query_pre_attn_scalar=24,
        rope_parameters=GEMMA_PLAIN_ROPE, tie_word_embeddings=True, rms_norm_eps=1e-6, pad_token_id=0,
        eos_token_id=1, bos_token_id=2,
    ) | changes


def phi3(**changes):
    return DENSE | dict(
        original_max_position_embeddings=128, rope_parameters=FLAT | {"partial_rotary_factor": 1.0},
        pad_token_id=0,
    ) | changes


NO_ROPE_SCALING = {"no scaling": {"rope_parameters": FLAT}}
NO_LONGROPE = {"no factors": {"rope_parameters": FLAT | {"partial_rotary_factor": 0.75}}}

# name: (model type, configuration, mistakes)
VARIANTS = {
    "llama-gqa": ("llama", DENSE | dict(rope_parameters=FLAT), {
        "other rope base": {"rope_parameters": FLAT | {"rope_theta": 500000.0}},
        "other epsilon": {"rms_norm_eps": 5e-2},
    }),
    "llama-tied-biases": ("llama", DENSE | dict(
        tie_word_embeddings=True, attention_bias=True, mlp_bias=True, num_key_value_heads=4, rms_norm_eps=1e-6,
        rope_parameters=FLAT | {"rope_theta": 500000.0},
    ), {"other rope base": {"rope_parameters": FLAT}}),
    "llama-rope-llama3": ("llama", DENSE | dict(rope_parameters=LLAMA3), NO_ROPE_SCALING | {
        "linear": {"rope_parameters": LINEAR | {"factor": 8.0}},
        "default original length": {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 8192}},
    }),
    "llama-rope-linear": ("llama", DENSE | dict(rope_parameters=LINEAR), NO_ROPE_SCALING),
    "llama-rope-yarn": ("llama", DENSE | dict(rope_parameters=YARN), NO_ROPE_SCALING | {
        "no attention factor": {"rope_parameters": YARN | {"attention_factor": 1.0}},
        "not truncated": {"rope_parameters": YARN | {"truncate": False}},
    }),
    "llama-rope-yarn-mscale": ("llama", DENSE | dict(rope_parameters=YARN_MSCALE), NO_ROPE_SCALING | {
        "no mscale": {"rope_parameters": {k: v for k, v in YARN_MSCALE.items() if "mscale" not in k}},
        "default betas": {"rope_parameters": {k: v for k, v in YARN_MSCALE.items() if "beta" not in k}},
    }),
    "llama-rope-yarn-factor": ("llama", DENSE | dict(rope_parameters=YARN_FACTOR), NO_ROPE_SCALING | {
        "no factor": {"rope_parameters": {k: v for k, v in YARN_FACTOR.items() if k != "attention_factor"}},
        "default betas": {"rope_parameters": {k: v for k, v in YARN_FACTOR.items() if "beta" not in k}},
    }),
    "mistral-window": ("mistral", DENSE | dict(rope_parameters=FLAT, sliding_window=6), {
        "no window": {"sliding_window": None},
        "window off by one": {"sliding_window": 7},
    }),
    "mistral-head-dim": ("mistral", DENSE | dict(
        rope_parameters=FLAT | {"rope_theta": 1000000.0}, sliding_window=None, head_dim=24,
    ), {"window": {"sliding_window": 6}}),
    "qwen2": ("qwen2", DENSE | dict(rope_parameters=FLAT | {"rope_theta": 1000000.0}), {
        "other rope base": {"rope_parameters": FLAT},
    }),
    "qwen2-window": ("qwen2", DENSE | dict(
        rope_parameters=FLAT | {"rope_theta": 1000000.0}, num_hidden_layers=4, use_sliding_window=True,
        sliding_window=6, max_window_layers=2, tie_word_embeddings=True,
    ), {
        "no window": {"layer_types": ["full_attention"] * 4},
        "all windows": {"layer_types": ["sliding_attention"] * 4},
        "first layers": {"layer_types": ["sliding_attention"] * 2 + ["full_attention"] * 2},
        "window off by one": {"sliding_window": 7},
    }),
    "qwen3": ("qwen3", DENSE | dict(
        head_dim=16, rope_parameters=FLAT | {"rope_theta": 1000000.0}, rms_norm_eps=1e-6,
    ), {"other rope base": {"rope_parameters": FLAT}}),
    "qwen3-tied": ("qwen3", DENSE | dict(
        head_dim=32, rope_parameters=YARN | {"rope_theta": 1000000.0}, tie_word_embeddings=True, rms_norm_eps=1e-6,
    ), {"no scaling": {"rope_parameters": FLAT | {"rope_theta": 1000000.0}}}),
    "gemma3": ("gemma3_text", gemma(
        6, 3, query_pre_attn_scalar=40, rope_parameters=GEMMA_ROPE, attention_bias=False,
    ), {
        "scale of the head": {"query_pre_attn_scalar": 24},
        "no scaling": {"rope_parameters": {**GEMMA_ROPE, "full_attention": GEMMA_PLAIN_ROPE["full_attention"]}},
        "scaled everywhere": {"rope_parameters": {
            **GEMMA_ROPE, "sliding_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5000.0},
        }},
        "default local base": {"rope_parameters": {
            **GEMMA_ROPE, "sliding_attention": GEMMA_PLAIN_ROPE["sliding_attention"],
        }},
        "no window": {"sliding_window": 128},
        "window off by one": {"sliding_window": 6},
        "another pattern": {"layer_types": (["sliding_attention"] * 5 + ["full_attention"])},
    }),
    "gemma3-plain": ("gemma3_text", gemma(6, 6), {
        "no window": {"sliding_window": 128},
        "one base": {"rope_parameters": {
            **GEMMA_PLAIN_ROPE, "sliding_attention": GEMMA_PLAIN_ROPE["full_attention"],
        }},
    }),
    "gemma3-scaled": ("gemma3_text", gemma(
        4, 2, rope_parameters=GEMMA_ROPE, num_attention_heads=2, num_key_value_heads=1,
    ), {
        "no scaling": {"rope_parameters": {**GEMMA_ROPE, "full_attention": GEMMA_PLAIN_ROPE["full_attention"]}},
        "default local base": {"rope_parameters": {
            **GEMMA_ROPE, "sliding_attention": GEMMA_PLAIN_ROPE["sliding_attention"],
        }},
        "default pattern": {"layer_types": ["sliding_attention"] * 4},
    }),
    "gemma3-softcap": ("gemma3_text", gemma(
        3, 2, final_logit_softcapping=3.0, attn_logit_softcapping=1.0, num_key_value_heads=1,
    ), {"no final capping": {"final_logit_softcapping": None}}),
    "phi3-mha": ("phi3", phi3(num_key_value_heads=4, sliding_window=7), {
        "no window": {"sliding_window": None},
        "window off by one": {"sliding_window": 8},
    }),
    "phi3-partial": ("phi3", phi3(rope_parameters=FLAT | {"partial_rotary_factor": 0.5}, tie_word_embeddings=True), {
        "other rope base": {"rope_parameters": FLAT | {"partial_rotary_factor": 0.5, "rope_theta": 500000.0}},
    }),
    "phi3-longrope-short": ("phi3", phi3(
        original_max_position_embeddings=64, rope_parameters=LONGROPE, tie_word_embeddings=True,
    ), NO_LONGROPE | {"long factors": {"rope_parameters": LONGROPE | {"short_factor": LONGROPE["long_factor"]}}}),
    "phi3-longrope-long": ("phi3", phi3(original_max_position_embeddings=8, rope_parameters=LONGROPE), NO_LONGROPE | {
        "short factors": {"rope_parameters": LONGROPE | {"long_factor": LONGROPE["short_factor"]}},
        "no attention factor": {"rope_parameters": LONGROPE | {"attention_factor": 1.0}},
    }),
    "mixtral": ("mixtral", DENSE | dict(
        intermediate_size=48, num_local_experts=4, num_experts_per_tok=2, sliding_window=None,
        rope_parameters=FLAT | {"rope_theta": 1000000.0},
    ), {"one expert": {"num_experts_per_tok": 1}, "three experts": {"num_experts_per_tok": 3}}),
    "qwen3-moe": ("qwen3_moe", QWEN_MOE, {
        "not normalized": {"norm_topk_prob": False}, "one expert": {"num_experts_per_tok": 1},
    }),
    "qwen3-moe-unnormalized": ("qwen3_moe", QWEN_MOE | dict(norm_topk_prob=False), {
        "normalized": {"norm_topk_prob": True},
    }),
    "qwen3-moe-dense-layers": ("qwen3_moe", QWEN_MOE | dict(
        num_hidden_layers=4, decoder_sparse_step=2, mlp_only_layers=[3],
    ), {"other epsilon": {"rms_norm_eps": 5e-2}}),
    "gpt-oss": ("gpt_oss", GPT_OSS, OSS_MISTAKES),
    "gpt-oss-mxfp4": ("gpt_oss", GPT_OSS | dict(quantization_config={
        "modules_to_not_convert": [
            "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head",
        ],
        "quant_method": "mxfp4",
    }), OSS_MISTAKES),
}

# Gemma 3 has no capping of attention scores: `transformers` keeps the key of Gemma 2 and never reads it.
IGNORED = {"gemma3-softcap": {"attn_logit_softcapping": None}}

# Keys that published checkpoints leave out where they have these values.
OMITTED = {
    "llama": {"head_dim": 16, "attention_bias": False, "mlp_bias": False, "num_key_value_heads": 4},
    "mistral": {"head_dim": 16},
    "mixtral": {"head_dim": None},
    "gemma3_text": {"tie_word_embeddings": True, "use_bidirectional_attention": False},
    "phi3": {"num_key_value_heads": 4, "partial_rotary_factor": 1.0},
    "gpt_oss": {"swiglu_alpha": 1.702},
}
