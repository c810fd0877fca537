//! What the families of decoders differ in: defaults and meanings of keys.

use serde_json::Value;

use super::fields::Fields;
use super::rope::{MAX_POSITIONS, RopeRules, RopeScaling, gemma, rope};
use super::windows::windows;
use super::{Activation, Architecture, ClampedSwiglu, Config, Experts};
use crate::error::ConvertError;

// far above what real models have
const MAX_VOCABULARY: u64 = 1 << 24;
const MAX_WIDTH: u64 = 1 << 22;
const MAX_LAYERS: u64 = 10_000;
const MAX_HEADS: u64 = 1 << 16;
const MAX_EXPERTS: u64 = 1 << 16;

/// A text configuration and the file around it.
pub(super) struct Family<'a> {
    architecture: Architecture,
    /// The outermost object.
    outer: Fields<'a>,
    /// `text_config` of models that also see; otherwise the outermost object.
    fields: Fields<'a>,
    /// `fields` is nested, where transformers leaves out every key that has its default.
    nested: bool,
}

impl<'a> Family<'a> {
    pub fn new(outer: Fields<'a>) -> Result<Self, ConvertError> {
        let Some(model_type) = outer.text("model_type")? else {
            return Err(outer.wrong("model_type", "absent", "the name of an architecture"));
        };
        let architecture = Architecture::of(model_type)?;
        let text = match model_type {
            "gemma3" => outer.object("text_config")?,
            _ => None,
        };
        let nested = text.is_some();
        let fields = text.unwrap_or_else(|| outer.clone());
        Ok(Self { architecture, outer, fields, nested })
    }

    pub fn config(&self) -> Result<Config, ConvertError> {
        use Architecture as A;
        let (fields, architecture) = (&self.fields, self.architecture);
        let gemma3 = architecture == A::Gemma3;
        let [vocabulary, hidden, intermediate, layers, heads] = self.sizes()?;
        let (kv_heads, head_dim) = self.heads(hidden, heads)?;
        let max_positions =
            fields.count("max_position_embeddings", 1, MAX_POSITIONS)?.unwrap_or(self.positions());
        let (rope, local_rope) = match gemma3 {
            true => gemma(fields, head_dim, max_positions).map(|(full, local)| (full, Some(local)))?,
            false => (rope(fields, &self.rope_rules(), head_dim, max_positions)?, None),
        };
        if fields.flag("use_bidirectional_attention")? == Some(true) {
            return Err(fields.wrong("use_bidirectional_attention", "true", "false: a decoder"));
        }
        let attention_bias = fields.flag("attention_bias")?;
        let (qkv_bias, output_bias) = match architecture {
            A::Qwen2 => (true, false),
            A::Mistral | A::Phi3 | A::Mixtral => (false, false),
            A::GptOss => (attention_bias.unwrap_or(true), attention_bias.unwrap_or(true)),
            A::Llama | A::Qwen3 | A::Qwen3Moe | A::Gemma3 => {
                (attention_bias.unwrap_or(false), attention_bias.unwrap_or(false))
            }
        };
        let softcap = |key: &str| match gemma3 {
            true => fields.number(key, 1e-6, 1e9),
            false => Ok(None),
        };
        let scaled = match gemma3 {
            true => fields.number("query_pre_attn_scalar", 1e-6, 1e9)?.unwrap_or(256.0),
            false => head_dim as f64,
        };
        Ok(Config {
            architecture,
            vocabulary,
            hidden,
            intermediate,
            layers,
            heads,
            kv_heads,
            head_dim,
            rms_eps: fields.number("rms_norm_eps", 0.0, 1.0)?.unwrap_or(self.eps()),
            norm_offset: if gemma3 { 1.0 } else { 0.0 },
            // of nested files the outer key alone counts
            tied: self.outer.flag("tie_word_embeddings")?.unwrap_or(gemma3),
            max_positions,
            activation: self.activation()?,
            rope,
            local_rope,
            windows: windows(fields, architecture, layers)?,
            qkv_bias,
            output_bias,
            mlp_bias: architecture == A::Llama && fields.flag("mlp_bias")?.unwrap_or(false),
            qk_norm: matches!(architecture, A::Qwen3 | A::Qwen3Moe | A::Gemma3),
            query_scale: scaled.powf(-0.5),
            final_softcap: softcap("final_logit_softcapping")?,
            sinks: architecture == A::GptOss,
            embed_scale: if gemma3 { (hidden as f64).sqrt() } else { 1.0 },
            experts: self.experts(intermediate, layers)?,
            clamped_swiglu: self.clamped_swiglu()?,
            bos: self.token("bos_token_id")?.or(self.default_bos()),
            eos: self.outermost(|fields| fields.tokens("eos_token_id"))?.unwrap_or(self.default_eos()),
            dtype: self.dtype()?,
            quantization: self.quantization()?,
        })
    }

    /// Vocabulary, hidden, intermediate, layers, heads. Files write them, unless they are nested ones.
    fn sizes(&self) -> Result<[u64; 5], ConvertError> {
        let read = |key: &str, limit: u64, default: u64| {
            let absent = || self.fields.wrong(key, "absent", format!("an integer from 1 to {limit}"));
            let default = self.nested.then_some(default);
            self.fields.count(key, 1, limit)?.or(default).ok_or_else(absent)
        };
        // the defaults are those of Gemma 3, the only family with nested files
        Ok([
            read("vocab_size", MAX_VOCABULARY, 262_208)?,
            read("hidden_size", MAX_WIDTH, 2304)?,
            read("intermediate_size", MAX_WIDTH, 9216)?,
            read("num_hidden_layers", MAX_LAYERS, 26)?,
            read("num_attention_heads", MAX_HEADS, 8)?,
        ])
    }

    /// Key-value heads and the values of a head.
    fn heads(&self, hidden: u64, heads: u64) -> Result<(u64, u64), ConvertError> {
        use Architecture as A;
        let fields = &self.fields;
        let written = fields.count("num_key_value_heads", 1, MAX_HEADS)?;
        // an absent key and `null` differ: null stands for as many as there are query heads
        let absent = match self.architecture {
            A::Mistral | A::Mixtral | A::GptOss => Some(8),
            A::Gemma3 | A::Qwen3Moe => Some(4),
            A::Qwen2 | A::Qwen3 => Some(32),
            A::Llama | A::Phi3 => None,
        };
        let absent = absent.filter(|_| !fields.has("num_key_value_heads")).unwrap_or(heads);
        let kv_heads = written.unwrap_or(absent);
        if !heads.is_multiple_of(kv_heads) {
            let expected = format!("a divisor of num_attention_heads, {heads}");
            return Err(fields.wrong("num_key_value_heads", kv_heads.to_string(), expected));
        }
        let fixed = match self.architecture {
            A::Qwen3 => Some(128),
            A::Gemma3 => Some(256),
            A::GptOss => Some(64),
            _ => None,
        };
        let head_dim = match fields.count("head_dim", 1, MAX_WIDTH)?.or(fixed) {
            Some(head_dim) => head_dim,
            None if hidden.is_multiple_of(heads) => hidden / heads,
            None => {
                let expected = format!("a multiple of num_attention_heads, {heads}");
                return Err(fields.wrong("hidden_size", hidden.to_string(), expected));
            }
        };
        // the widest projection; bounds every product of sizes that follows
        if heads.saturating_mul(head_dim) > MAX_WIDTH {
            let expected = format!("at most {MAX_WIDTH} values in all {heads} heads");
            return Err(fields.wrong("head_dim", head_dim.to_string(), expected));
        }
        Ok((kv_heads, head_dim))
    }

    fn positions(&self) -> u64 {
        use Architecture as A;
        match self.architecture {
            A::Llama => 2048,
            A::Phi3 => 4096,
            A::Qwen2 | A::Qwen3 | A::Qwen3Moe => 32_768,
            A::Mistral | A::Mixtral | A::Gemma3 | A::GptOss => 131_072,
        }
    }

    fn eps(&self) -> f64 {
        match self.architecture {
            Architecture::Phi3 | Architecture::Mixtral | Architecture::GptOss => 1e-5,
            _ => 1e-6,
        }
    }

    fn default_bos(&self) -> Option<u32> {
        use Architecture as A;
        let absent = !self.outer.has("bos_token_id") && !self.fields.has("bos_token_id");
        let default = match self.architecture {
            A::Llama | A::Mistral | A::Mixtral | A::Phi3 => Some(1),
            A::Gemma3 => Some(2),
            A::Qwen2 | A::Qwen3 | A::Qwen3Moe | A::GptOss => None,
        };
        default.filter(|_| absent)
    }

    fn default_eos(&self) -> Vec<u32> {
        use Architecture as A;
        let absent = !self.outer.has("eos_token_id") && !self.fields.has("eos_token_id");
        let default = match self.architecture {
            A::Llama | A::Mistral | A::Mixtral => Some(2),
            A::Phi3 => Some(32_000),
            A::Gemma3 => Some(1),
            A::Qwen2 | A::Qwen3 | A::Qwen3Moe | A::GptOss => None,
        };
        default.filter(|_| absent).into_iter().collect()
    }

    fn rope_rules(&self) -> RopeRules {
        use Architecture as A;
        let base = match self.architecture {
            A::Mixtral => 1e6,
            A::GptOss => 150_000.0,
            _ => 10_000.0,
        };
        let phi3 = self.architecture == A::Phi3;
        let scaling = match self.architecture {
            A::GptOss => RopeScaling::Yarn {
                factor: 32.0,
                beta_fast: 32.0,
                beta_slow: 1.0,
                attention_factor: 0.1 * 32f64.ln() + 1.0,
                original_max_positions: 4096,
                truncate: false,
            },
            _ => RopeScaling::None,
        };
        RopeRules { base, partial: phi3, long: phi3, original: phi3.then_some(4096), scaling }
    }

    fn activation(&self) -> Result<Activation, ConvertError> {
        let (key, default) = match self.architecture {
            Architecture::Gemma3 => ("hidden_activation", "gelu_pytorch_tanh"),
            _ => ("hidden_act", "silu"),
        };
        match self.fields.text(key)?.unwrap_or(default) {
            "silu" | "swish" => Ok(Activation::Silu),
            "gelu_pytorch_tanh" | "gelu_new" => Ok(Activation::GeluTanh),
            "gelu" => Ok(Activation::Gelu),
            other => {
                let expected = "\"silu\", \"gelu\" or \"gelu_pytorch_tanh\"";
                Err(self.fields.wrong(key, format!("{other:?}"), expected))
            }
        }
    }

    fn experts(&self, intermediate: u64, layers: u64) -> Result<Option<Experts>, ConvertError> {
        use Architecture as A;
        let fields = &self.fields;
        let (default_count, default_active, active_key) = match self.architecture {
            A::Mixtral => (8, 2, "num_experts_per_tok"),
            A::Qwen3Moe => (128, 8, "num_experts_per_tok"),
            A::GptOss => (128, 4, "num_experts_per_tok"),
            _ => return Ok(None),
        };
        let count = match fields.count("num_local_experts", 1, MAX_EXPERTS)? {
            Some(count) => count,
            None => fields.count("num_experts", 1, MAX_EXPERTS)?.unwrap_or(default_count),
        };
        let active = fields.count(active_key, 1, MAX_EXPERTS)?.unwrap_or(default_active);
        if active > count {
            return Err(fields.wrong(active_key, active.to_string(), format!("at most the {count} experts")));
        }
        let sparse = self.architecture == A::Qwen3Moe;
        let experts = Experts {
            count,
            active,
            intermediate: match sparse {
                true => fields.count("moe_intermediate_size", 1, MAX_WIDTH)?.unwrap_or(768),
                false => intermediate,
            },
            normalize: !sparse || fields.flag("norm_topk_prob")?.unwrap_or(false),
            bias: self.architecture == A::GptOss,
            layers: if sparse { self.sparse_layers(layers)? } else { (0..layers).map(|_| true).collect() },
        };
        Ok(Some(experts))
    }

    /// Layer `l` has experts unless `mlp_only_layers` has it or `decoder_sparse_step` does not divide `l + 1`.
    fn sparse_layers(&self, layers: u64) -> Result<Vec<bool>, ConvertError> {
        const KEY: &str = "mlp_only_layers";
        let step = self.fields.count("decoder_sparse_step", 1, u64::MAX)?.unwrap_or(1);
        let mut sparse: Vec<bool> = (1..=layers).map(|layer| layer % step == 0).collect();
        let plain = match self.fields.value(KEY) {
            None => &[][..],
            Some(Value::Array(plain)) => plain,
            Some(_) => return Err(self.fields.wrong(KEY, "no list", "numbers of layers")),
        };
        for layer in plain {
            let Some(layer) = layer.as_u64() else {
                return Err(self.fields.wrong(KEY, layer.to_string(), "numbers of layers"));
            };
            // numbers beyond the last layer change nothing in the reference either
            if let Some(flag) = usize::try_from(layer).ok().and_then(|layer| sparse.get_mut(layer)) {
                *flag = false;
            }
        }
        Ok(sparse)
    }

    fn clamped_swiglu(&self) -> Result<Option<ClampedSwiglu>, ConvertError> {
        if self.architecture != Architecture::GptOss {
            return Ok(None);
        }
        let number = |key: &str| self.fields.number(key, 1e-6, 1e9);
        let (alpha, limit) = (number("swiglu_alpha")?, number("swiglu_limit")?);
        Ok(Some(ClampedSwiglu { alpha: alpha.unwrap_or(1.702), limit: limit.unwrap_or(7.0) }))
    }

    fn token(&self, key: &str) -> Result<Option<u32>, ConvertError> {
        let ids = self.outermost(|fields| fields.tokens(key))?;
        Ok(ids.and_then(|ids| ids.first().copied()))
    }

    fn dtype(&self) -> Result<Option<String>, ConvertError> {
        let read = |fields: &Fields<'a>| match fields.text("dtype")? {
            Some(dtype) => Ok(Some(dtype)),
            None => fields.text("torch_dtype"),
        };
        Ok(self.outermost(read)?.map(String::from))
    }

    fn quantization(&self) -> Result<Option<String>, ConvertError> {
        const KEY: &str = "quantization_config";
        let Some(quantization) = self.outermost(|fields| fields.object(KEY))? else { return Ok(None) };
        match quantization.text("quant_method")? {
            Some("mxfp4") if self.architecture == Architecture::GptOss => Ok(Some("mxfp4".into())),
            other => {
                let found = other.map_or("absent".into(), |name| format!("{name:?}"));
                let expected = "a checkpoint of plain weights (import the original and quantize here)";
                Err(quantization.wrong("quant_method", found, expected))
            }
        }
    }

    /// What the outermost object says, or else the nested one.
    fn outermost<T>(
        &self,
        read: impl Fn(&Fields<'a>) -> Result<Option<T>, ConvertError>,
    ) -> Result<Option<T>, ConvertError> {
        match read(&self.outer)? {
            Some(value) => Ok(Some(value)),
            None if self.nested => read(&self.fields),
            None => Ok(None),
        }
    }
}
