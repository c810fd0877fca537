//! GGUF files of every family, and wrong ones.

use serde_json::json;

use super::write::{Folder, Meta, Tensor, check, gguf, small, tensor, tensors};
use crate::checkpoint::Checkpoint;
use crate::config::{Architecture, Config, RopeScaling};
use crate::error::ConvertError;

/// What llama.cpp's converter makes of a name.
fn stored_name(architecture: Architecture, name: &str) -> String {
    let gemma = architecture == Architecture::Gemma3;
    let parts = [
        ("model.embed_tokens", "token_embd"),
        ("model.layers.", "blk."),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("input_layernorm", "attn_norm"),
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
        (
            "post_attention_layernorm",
            match architecture {
                _ if gemma => "post_attention_norm",
                Architecture::GptOss => "post_attention_norm",
                _ => "ffn_norm",
            },
        ),
        ("self_attn.sinks", "attn_sinks.weight"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.qkv_proj", "attn_qkv"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.experts.gate_proj", "ffn_gate_exps"),
        ("mlp.experts.up_proj", "ffn_up_exps"),
        ("mlp.experts.down_proj", "ffn_down_exps"),
        ("mlp.gate.", "ffn_gate_inp."),
        ("mlp.router.", "ffn_gate_inp."),
        ("mlp.gate_up_proj", "ffn_up"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    parts.iter().fold(name.to_owned(), |name, (own, stored)| name.replace(own, stored))
}

/// As the converter writes queries and keys of llamas: halves of each head become neighbours.
fn permuted(heads: usize, values: &[f32]) -> Vec<f32> {
    let (head, mut out) = (values.len() / heads, Vec::new());
    for values in values.chunks(head) {
        // 4 rows: 0 1 | 2 3 becomes 0 2 1 3
        let row = head / 4;
        [0, 2, 1, 3].iter().for_each(|at| out.extend(&values[at * row..][..row]));
    }
    out
}

fn keys(prefix: &str, more: Vec<(&str, Meta)>) -> Vec<(String, Meta)> {
    let texts = |texts: &[&str]| Meta::Texts(texts.iter().map(|text| text.to_string()).collect());
    let own = |key: &str| format!("{prefix}.{key}");
    let mut keys = vec![
        ("general.architecture".into(), Meta::Text(prefix.into())),
        (own("embedding_length"), Meta::Count(8)),
        (own("block_count"), Meta::Count(2)),
        (own("feed_forward_length"), Meta::Count(6)),
        (own("attention.head_count"), Meta::Count(2)),
        (own("attention.head_count_kv"), Meta::Count(1)),
        (own("context_length"), Meta::Count(64)),
        (own("attention.layer_norm_rms_epsilon"), Meta::Float(1e-5)),
        (own("rope.freq_base"), Meta::Float(1e6)),
        ("tokenizer.ggml.model".into(), Meta::Text("gpt2".into())),
        ("tokenizer.ggml.pre".into(), Meta::Text("qwen2".into())),
        ("tokenizer.ggml.tokens".into(), texts(&["a", "b", "ab", "<|im_end|>"])),
        ("tokenizer.ggml.token_type".into(), Meta::Integers(vec![1, 1, 1, 3])),
        ("tokenizer.ggml.merges".into(), texts(&["a b"])),
        ("tokenizer.ggml.eos_token_id".into(), Meta::Count(0)),
        ("tokenizer.chat_template".into(), Meta::Text("{{ x }}<|im_end|>".into())),
    ];
    for (key, value) in more {
        let key = if key.contains("ggml") { key.into() } else { own(key) };
        keys.retain(|(own, _)| *own != key);
        keys.push((key, value));
    }
    keys
}

fn open(name: &str, keys: &[(String, Meta)], tensors: &[Tensor]) -> Result<Checkpoint, ConvertError> {
    let folder = Folder::new(&format!("gguf-{name}"));
    folder.write("model.gguf", gguf(keys, tensors));
    Checkpoint::open(folder.path().join("model.gguf"))
}

/// The tensors as a file has them, and as they are expected.
fn both(architecture: Architecture, keys: serde_json::Value) -> (Vec<Tensor>, Vec<Tensor>) {
    let expected = tensors(&Config::from_json(&small(architecture.model_type(), keys)).unwrap());
    let llama = matches!(architecture, Architecture::Llama | Architecture::Mixtral);
    let stored = expected.iter().map(|(name, shape, values)| {
        let heads = match name {
            name if name.contains("q_proj") => 2,
            name if name.contains("k_proj") => 1,
            _ => 0,
        };
        let values = if llama && heads != 0 { permuted(heads, values) } else { values.clone() };
        (stored_name(architecture, name), shape.clone(), values)
    });
    (stored.collect(), expected)
}

#[test]
fn llama() {
    let (stored, expected) = both(Architecture::Llama, json!({}));
    let checkpoint = open("llama", &keys("llama", vec![]), &stored).unwrap();
    check(&checkpoint, &expected);
    let config = &checkpoint.config;
    assert_eq!((config.rms_eps, config.rope.base, config.head_dim), (1e-5, 1e6, 4));
    assert_eq!((config.max_positions, config.vocabulary, config.tied), (64, 11, false));
    assert_eq!(config.eos, [0, 3]); // the template ends turns with a control token
    assert_eq!(config.windows, [0, 0]);
    assert!(checkpoint.notes.is_empty(), "{:?}", checkpoint.notes);
    let names: Vec<_> = checkpoint.tokenizer.names().collect();
    assert_eq!(names, ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]);
}

#[test]
fn llama_with_biases_divisors_and_a_tied_head() {
    let keys_json = json!({"tie_word_embeddings": true, "attention_bias": true, "mlp_bias": true});
    let (mut stored, expected) = both(Architecture::Llama, keys_json);
    stored.push(("rope_freqs.weight".into(), vec![2], vec![1.0, 8.0]));
    let checkpoint = open("biases", &keys("llama", vec![("odd_key", Meta::Count(1))]), &stored).unwrap();
    check(&checkpoint, &expected);
    assert_eq!(checkpoint.config.rope.scaling, RopeScaling::Divisors { divisors: vec![1.0, 8.0] });
    assert!(checkpoint.notes[0].contains("1 keys are not used: llama.odd_key"), "{:?}", checkpoint.notes);
}

#[test]
fn experts() {
    let experts = || vec![("expert_count", Meta::Count(3)), ("expert_used_count", Meta::Count(2))];
    let (stored, expected) = both(Architecture::Mixtral, json!({}));
    let checkpoint = open("mixtral", &keys("llama", experts()), &stored).unwrap();
    check(&checkpoint, &expected);
    assert_eq!(checkpoint.config.architecture, Architecture::Mixtral);
    // a tensor for each expert
    let mut single = Vec::new();
    for (name, shape, values) in stored {
        match name.strip_suffix("_exps.weight") {
            None => single.push((name, shape, values)),
            Some(part) => single.extend(
                values
                    .chunks(values.len() / 3)
                    .enumerate()
                    .map(|(e, values)| (format!("{part}.{e}.weight"), shape[1..].to_vec(), values.to_vec())),
            ),
        }
    }
    check(&open("mixtral-old", &keys("llama", experts()), &single).unwrap(), &expected);

    let (stored, expected) = both(Architecture::Qwen3Moe, json!({"mlp_only_layers": [0]}));
    let mut more = experts();
    more.push(("expert_feed_forward_length", Meta::Count(6)));
    let checkpoint = open("qwen3moe", &keys("qwen3moe", more), &stored).unwrap();
    check(&checkpoint, &expected);
    let experts = checkpoint.config.experts.unwrap();
    assert_eq!((experts.normalize, experts.layers), (true, vec![false, true]));
}

#[test]
fn gpt_oss() {
    let (stored, expected) = both(Architecture::GptOss, json!({}));
    let more = vec![
        ("expert_count", Meta::Count(3)),
        ("expert_used_count", Meta::Count(2)),
        ("expert_feed_forward_length", Meta::Count(6)),
        ("attention.sliding_window", Meta::Count(128)),
        ("rope.scaling.type", Meta::Text("yarn".into())),
        ("rope.scaling.factor", Meta::Float(32.0)),
        ("rope.scaling.original_context_length", Meta::Count(4096)),
    ];
    let checkpoint = open("gpt-oss", &keys("gpt-oss", more), &stored).unwrap();
    check(&checkpoint, &expected);
    let config = &checkpoint.config;
    assert_eq!(config.windows, [128, 0]);
    assert!(config.sinks && config.qkv_bias && config.output_bias);
    assert_eq!(config.eos, [0]);
    assert!((config.rope.attention_factor() - (0.1 * 32f64.ln() + 1.0)).abs() < 1e-9);
    assert!(matches!(config.rope.scaling, RopeScaling::Yarn { truncate: false, factor: 32.0, .. }));
}

#[test]
fn gemma3() {
    let (stored, expected) = both(Architecture::Gemma3, json!({"tie_word_embeddings": true}));
    let more =
        || vec![("attention.sliding_window", Meta::Count(5)), ("attention.key_length", Meta::Count(4))];
    let checkpoint = open("gemma3", &keys("gemma3", more()), &stored).unwrap();
    check(&checkpoint, &expected);
    let config = &checkpoint.config;
    assert_eq!((config.norm_offset, config.query_scale, config.tied), (0.0, 0.5, true));
    assert_eq!((config.windows.as_slice(), config.local_rope.as_ref().unwrap().base), (&[5, 5][..], 1e4));
    let mut scaled = more();
    scaled.push(("rope.scaling.type", Meta::Text("linear".into())));
    scaled.push(("rope.scaling.factor", Meta::Float(8.0)));
    let config = open("gemma3-scaled", &keys("gemma3", scaled), &stored).unwrap().config;
    assert_eq!(config.rope.scaling, RopeScaling::Linear { factor: 8.0 });
    assert_eq!(config.local_rope.unwrap().scaling, RopeScaling::None);
}

#[test]
fn qwens_and_phi3() {
    for architecture in [Architecture::Qwen2, Architecture::Qwen3] {
        let name = architecture.model_type();
        let (stored, expected) = both(architecture, json!({}));
        check(&open(name, &keys(name, vec![]), &stored).unwrap(), &expected);
    }
    let (mut stored, expected) = both(Architecture::Phi3, json!({}));
    stored.push(("rope_factors_long.weight".into(), vec![1], vec![4.0]));
    stored.push(("rope_factors_short.weight".into(), vec![1], vec![1.5]));
    let more = vec![
        ("rope.dimension_count", Meta::Count(2)),
        ("rope.scaling.original_context_length", Meta::Count(16)),
        ("rope.scaling.attn_factor", Meta::Float(1.25)),
        ("attention.sliding_window", Meta::Count(0)),
    ];
    let checkpoint = open("phi3", &keys("phi3", more), &stored).unwrap();
    check(&checkpoint, &expected);
    assert_eq!(checkpoint.config.rope.dims, 2);
    assert_eq!(checkpoint.config.windows, [0, 0]);
    let expected = RopeScaling::LongRope {
        short: vec![1.5],
        long: vec![4.0],
        original_max_positions: 16,
        attention_factor: 1.25,
    };
    assert_eq!(checkpoint.config.rope.scaling, expected);
}

#[test]
fn refusals() {
    let (stored, _) = both(Architecture::Llama, json!({}));
    let refusal = |keys: &[(String, Meta)], tensors: &[Tensor]| {
        open("refused", keys, tensors).err().expect("a file that cannot be opened").to_string()
    };
    let with = |key: &'static str, value: Meta| refusal(&keys("llama", vec![(key, value)]), &stored);
    assert!(refusal(&keys("mamba", vec![]), &stored).contains("\"mamba\" is not supported"));
    assert!(with("embedding_length", Meta::Count(0)).contains("hidden_size is 0"));
    assert!(with("attention.head_count", Meta::Count(0)).contains("is 0"));
    assert!(with("block_count", Meta::Count(100_000)).contains("num_hidden_layers is 100000"));
    assert!(with("block_count", Meta::Count(3)).contains("layers.2.input_layernorm.weight\": is missing"));
    assert!(with("block_count", Meta::Text("2".into())).contains("llama.block_count"));
    assert!(with("attention.value_length", Meta::Count(5)).contains("attention.value_length"));
    assert!(with("rope.dimension_count", Meta::Count(2)).contains("rope.dimension_count"));
    assert!(with("rope.scaling.type", Meta::Text("ntk".into())).contains("rope.scaling.type"));
    assert!(with("tokenizer.ggml.eos_token_id", Meta::Count(9)).contains("eos_token_id"));
    let extra = |name: &str, shape: &[u64]| {
        let more = [stored.clone(), vec![tensor(name, shape)]].concat();
        refusal(&keys("llama", vec![]), &more)
    };
    assert!(extra("blk.0.ssm_a", &[2]).contains("\"blk.0.ssm_a\": is not known"));
    assert!(extra("blk.0.ssm_a.weight", &[2]).contains("is not known"));
    assert!(extra("blk.x.attn_q.weight", &[2]).contains("is not known"));
    assert!(extra("blk.0.attn_q_norm.weight", &[4]).contains("do not use it"));
    assert!(extra("blk.2.attn_q.weight", &[8, 8]).contains("is in the file, but not in models"));
    assert!(extra("rope_freqs.weight", &[3]).contains("expected [2]"));
    let damaged = |change: &dyn Fn(&mut Tensor)| {
        let mut changed = stored.clone();
        changed.iter_mut().filter(|(name, ..)| name == "blk.1.attn_q.weight").for_each(change);
        refusal(&keys("llama", vec![]), &changed)
    };
    assert!(damaged(&|tensor| (tensor.1, tensor.2) = (vec![7, 8], vec![0.0; 56])).contains("does not fit"));
    assert!(damaged(&|tensor| (tensor.1, tensor.2) = (vec![4, 8], vec![0.0; 32])).contains("expects [8, 8]"));
}

#[test]
fn damage() {
    let (stored, _) = both(Architecture::Llama, json!({"num_hidden_layers": 1}));
    let mut keys = keys("llama", vec![("block_count", Meta::Count(1))]);
    keys.push(("llama.rope.dimension_count".into(), Meta::Count(4)));
    let whole = gguf(&keys, &stored);
    let data: usize = stored.iter().map(|(.., values)| (4 * values.len()).next_multiple_of(32)).sum();
    let folder = Folder::new("gguf-damage");
    let path = folder.path().join("model.gguf");
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let checkpoint = Checkpoint::open(&path)?;
        for (name, rows) in &checkpoint.tensors {
            let mut values = vec![0.0; (rows.rows() * rows.columns()) as usize];
            rows.read(0, &mut values).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        Ok::<_, ConvertError>(())
    };
    open(&whole).unwrap();
    for length in (0..whole.len() - 32).step_by(29) {
        assert!(open(&whole[..length]).is_err(), "{length}");
    }
    // an error, or tensors that can be read
    let mut opened = 0;
    for at in (0..whole.len() - data).step_by(3) {
        for other in [0xff, whole[at] ^ 1] {
            let mut bytes = whole.clone();
            bytes[at] = other;
            opened += usize::from(open(&bytes).is_ok());
        }
    }
    assert!(opened > 0);
}
