//! Tensors of a GGUF file, from those of a checkpoint: other names, experts in one tensor, the rows of
//! llama's queries and keys in another order, Gemma's norms with their one.

use std::collections::HashMap;

use serde_json::Value;

use super::case::{Checkpoint, Elements, Tensor};
use super::folder::Storage;
use super::gguf_keys::{architecture, global_rope};

/// Type of a tensor in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F32 = 0,
    F16 = 1,
    BF16 = 30,
    Mxfp4 = 39,
}

/// A tensor of the file.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) name: String,
    /// Outermost first.
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

/// Weights on the way to the file.
struct Weights {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// Names within a layer that do not depend on the architecture: here, there.
const PARTS: [(&str, &str); 18] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.sinks", "attn_sinks"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("mlp.gate", "ffn_gate_inp"),
    ("block_sparse_moe.gate", "ffn_gate_inp"),
    ("mlp.router", "ffn_gate_inp"),
];

/// Projections of experts that are stored one by one: here, there.
const EXPERTS: [(&str, &str); 6] = [
    ("w1", "ffn_gate_exps"),
    ("w2", "ffn_down_exps"),
    ("w3", "ffn_up_exps"),
    ("gate_proj", "ffn_gate_exps"),
    ("down_proj", "ffn_down_exps"),
    ("up_proj", "ffn_up_exps"),
];

/// All tensors of the file, by name.
pub(super) fn encode(checkpoint: &Checkpoint, storage: Storage) -> Vec<Encoded> {
    let config = &checkpoint.config;
    let mut writer = Writer { config, storage, out: vec![], stacks: HashMap::new() };
    let tensors = checkpoint.tensors();
    let scales: HashMap<&str, &Tensor> = tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    for tensor in &tensors {
        match &tensor.elements {
            Elements::Float(values) => {
                let values = values.iter().map(|v| storage.round(*v)).collect();
                writer.float(&tensor.name, Weights { shape: tensor.shape.clone(), values });
            }
            Elements::Bytes(blocks) => {
                if let Some(base) = tensor.name.strip_suffix("_blocks")
                    && let Elements::Bytes(scales) = &scales[format!("{base}_scales").as_str()].elements
                {
                    writer.packed(base, &tensor.shape, blocks, scales);
                }
            }
        }
    }
    writer.rope_factors();
    writer.out.sort_by(|a, b| a.name.cmp(&b.name));
    writer.out
}

struct Writer<'a> {
    config: &'a Value,
    storage: Storage,
    out: Vec<Encoded>,
    /// Experts that wait for the others of their layer, by the name of their tensor.
    stacks: HashMap<String, Vec<(usize, Weights)>>,
}

impl Writer<'_> {
    fn float(&mut self, name: &str, mut weights: Weights) {
        let (base, ending) = name.rsplit_once('.').expect("a dot");
        let (base, ending) = match ending {
            "weight" | "bias" => (base, ending),
            _ => (name, "weight"), // sinks and fused experts
        };
        let arch = architecture(self.config);
        if arch == "gemma3" && base.ends_with("norm") {
            weights.values.iter_mut().for_each(|value| *value += 1.0);
        }
        if arch == "llama" {
            if base.ends_with("q_proj") {
                weights = interleaved(weights, count(self.config, "num_attention_heads"));
            } else if base.ends_with("k_proj") {
                weights = interleaved(weights, count(self.config, "num_key_value_heads"));
            }
        }
        let whole = match base {
            "model.embed_tokens" => Some("token_embd"),
            "model.norm" => Some("output_norm"),
            "lm_head" => Some("output"),
            _ => None,
        };
        if let Some(there) = whole {
            return self.push(format!("{there}.{ending}"), weights);
        }
        let (layer, part) = layer(base);
        if let Some((_, expert)) = part.split_once("experts.") {
            return self.expert(layer, expert, weights);
        }
        let there = match part {
            "post_attention_layernorm" if matches!(arch, "gemma3" | "gpt-oss") => "post_attention_norm",
            "post_attention_layernorm" => "ffn_norm",
            _ => PARTS.iter().find(|(here, _)| *here == part).expect("a known name").1,
        };
        self.push(format!("blk.{layer}.{there}.{ending}"), weights);
    }

    /// One expert of a layer, or those of gpt-oss, which are fused: gate and up in turns along the outputs.
    fn expert(&mut self, layer: usize, name: &str, weights: Weights) {
        if let Some((index, projection)) = name.split_once('.') {
            let there = EXPERTS.iter().find(|(here, _)| *here == projection).expect("a known name").1;
            let name = format!("blk.{layer}.{there}.weight");
            let stack = self.stacks.entry(name.clone()).or_default();
            stack.push((index.parse().expect("an index"), weights));
            if stack.len() == count(self.config, "num_local_experts") {
                let mut stack = self.stacks.remove(&name).unwrap_or_default();
                stack.sort_by_key(|(index, _)| *index);
                let shape = [&[stack.len()], stack[0].1.shape.as_slice()].concat();
                let values = stack.into_iter().flat_map(|(_, weights)| weights.values).collect();
                self.push(name, Weights { shape, values });
            }
            return;
        }
        let (projection, ending) = match name.strip_suffix("_bias") {
            Some(projection) => (projection, "bias"),
            None => (name, "weight"),
        };
        let weights = if ending == "weight" { transposed(&weights) } else { weights };
        if projection == "down_proj" {
            return self.push(format!("blk.{layer}.ffn_down_exps.{ending}"), weights);
        }
        for (first, there) in [(0, "ffn_gate_exps"), (1, "ffn_up_exps")] {
            let part = every_second(&weights.shape, &weights.values, first);
            let weights = Weights { shape: part.0, values: part.1 };
            self.push(format!("blk.{layer}.{there}.{ending}"), weights);
        }
    }

    /// MXFP4 experts: `[experts, outputs, blocks, 16]` and a scale for each block.
    fn packed(&mut self, base: &str, shape: &[usize], blocks: &[u8], scales: &[u8]) {
        let (layer, part) = layer(base);
        let (names, step) = match part.strip_prefix("mlp.experts.") {
            Some("down_proj") => (&["ffn_down_exps"][..], 1),
            _ => (&["ffn_gate_exps", "ffn_up_exps"][..], 2),
        };
        let (rows, groups) = (shape[0] * shape[1], shape[2]);
        for (first, there) in names.iter().enumerate() {
            let mut bytes = vec![];
            for row in (first..rows).step_by(step) {
                for block in row * groups..(row + 1) * groups {
                    bytes.push(scales[block]);
                    bytes.extend(halves(&blocks[block * 16..][..16]));
                }
            }
            let shape = vec![shape[0], shape[1] / step, groups * 32];
            let name = format!("blk.{layer}.{there}.weight");
            self.out.push(Encoded { name, shape, kind: Kind::Mxfp4, bytes });
        }
    }

    /// Scaling of rope that files hold as divisors of the frequencies.
    fn rope_factors(&mut self) {
        let config = self.config;
        let rope = global_rope(config);
        let numbers = |key: &str| -> Vec<f32> {
            rope[key].as_array().into_iter().flatten().filter_map(|n| n.as_f64()).map(|n| n as f32).collect()
        };
        let mut push = |name: &str, values: Vec<f32>| {
            self.push(format!("{name}.weight"), Weights { shape: vec![values.len()], values });
        };
        match rope["rope_type"].as_str() {
            Some("longrope") => {
                push("rope_factors_long", numbers("long_factor"));
                push("rope_factors_short", numbers("short_factor"));
            }
            Some("llama3") => push("rope_freqs", llama3_factors(config)),
            _ => {}
        }
    }

    fn push(&mut self, name: String, weights: Weights) {
        let matrix = weights.shape.len() > 1 && name.ends_with(".weight") && !name.contains("ffn_gate_inp");
        let storage = if matrix { self.storage } else { Storage::F32 };
        let kind = match storage {
            Storage::F32 => Kind::F32,
            Storage::F16 => Kind::F16,
            Storage::BF16 => Kind::BF16,
        };
        self.out.push(Encoded { name, shape: weights.shape, kind, bytes: storage.bytes(&weights.values) });
    }
}

fn count(config: &Value, key: &str) -> usize {
    config[key].as_u64().expect("a count") as usize
}

/// `model.layers.N.PART` as N and PART.
fn layer(base: &str) -> (usize, &str) {
    let rest = base.strip_prefix("model.layers.").expect("a layer");
    let (index, part) = rest.split_once('.').expect("a part");
    (index.parse().expect("an index"), part)
}

/// Rows of each head so that the two of a rotated pair are neighbours: from `[heads, 2, half, ..]` to
/// `[heads, half, 2, ..]`.
fn interleaved(weights: Weights, heads: usize) -> Weights {
    let columns: usize = weights.shape[1..].iter().product();
    let half = weights.shape[0] / heads / 2;
    let row = |head: usize, i: usize, side: usize| (head * 2 + side) * half + i;
    let values = (0..heads)
        .flat_map(|head| (0..half).flat_map(move |i| [row(head, i, 0), row(head, i, 1)]))
        .flat_map(|row| weights.values[row * columns..][..columns].iter().copied())
        .collect();
    Weights { shape: weights.shape, values }
}

/// `[experts, in, out]` as `[experts, out, in]`.
fn transposed(weights: &Weights) -> Weights {
    let (experts, rows, columns) = (weights.shape[0], weights.shape[1], weights.shape[2]);
    let at =
        |expert: usize, row: usize, column: usize| weights.values[(expert * rows + row) * columns + column];
    let at = &at;
    let values = (0..experts)
        .flat_map(|e| (0..columns).flat_map(move |c| (0..rows).map(move |r| at(e, r, c))))
        .collect();
    Weights { shape: vec![experts, columns, rows], values }
}

/// Every second index of the second axis.
fn every_second(shape: &[usize], values: &[f32], first: usize) -> (Vec<usize>, Vec<f32>) {
    let inner: usize = shape[2..].iter().product();
    let rows = values.chunks(inner).skip(first).step_by(2); // the axis has an even extent
    let shape = [&[shape[0], shape[1] / 2], &shape[2..]].concat();
    (shape, rows.flatten().copied().collect())
}

/// A block of 32 codes, two neighbours to a byte, as the file has it: the first 16 in the low halves of its
/// bytes, the others in the high halves.
fn halves(neighbours: &[u8]) -> Vec<u8> {
    let codes: Vec<u8> = neighbours.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect();
    (0..16).map(|i| codes[i] | codes[i + 16] << 4).collect()
}

/// By how much llama3 scaling divides each frequency.
fn llama3_factors(config: &Value) -> Vec<f32> {
    let rope = global_rope(config);
    let number = |key: &str| rope[key].as_f64().expect("a number");
    let head = config["head_dim"].as_u64().expect("head_dim");
    let (factor, low, high) = (number("factor"), number("low_freq_factor"), number("high_freq_factor"));
    let original = number("original_max_position_embeddings");
    (0..head / 2)
        .map(|i| {
            let turns =
                original / std::f64::consts::TAU * number("rope_theta").powf(-2.0 * i as f64 / head as f64);
            let part = ((turns - low) / (high - low)).clamp(0.0, 1.0); // of the frequency that stays
            (1.0 / ((1.0 - part) / factor + part)) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_neighbours() {
        let weights = Weights { shape: vec![8], values: (0..8).map(|i| i as f32).collect() };
        assert_eq!(interleaved(weights, 2).values, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }

    #[test]
    fn codes_of_a_block_change_places() {
        let code = |k: u8| if k < 16 { k } else { 31 - k };
        let neighbours: Vec<u8> = (0..16).map(|i| code(2 * i) | code(2 * i + 1) << 4).collect();
        assert_eq!(halves(&neighbours), (0..16).map(|i| i | (15 - i) << 4).collect::<Vec<u8>>());
    }

    #[test]
    fn every_expressible_checkpoint_is_encoded_whole() {
        for checkpoint in Checkpoint::all().iter().filter(|c| c.gguf_gap().is_none()) {
            let elements = |shape: &[usize]| shape.iter().product::<usize>();
            let here: usize = checkpoint
                .tensors()
                .iter()
                .map(|t| match t.name.as_str() {
                    name if name.ends_with("_blocks") => elements(&t.shape) * 2, // two codes to a byte
                    name if name.ends_with("_scales") => 0,
                    _ => elements(&t.shape),
                })
                .sum();
            let encoded = encode(checkpoint, Storage::F16);
            let factors = |t: &&Encoded| !t.name.starts_with("rope_f");
            let there: usize = encoded.iter().filter(factors).map(|t| elements(&t.shape)).sum();
            assert_eq!(there, here, "{}", checkpoint.name());
            for tensor in encoded {
                let bytes = match tensor.kind {
                    Kind::F32 => elements(&tensor.shape) * 4,
                    Kind::F16 | Kind::BF16 => elements(&tensor.shape) * 2,
                    Kind::Mxfp4 => elements(&tensor.shape) / 32 * 17,
                };
                assert_eq!(tensor.bytes.len(), bytes, "{}: {}", checkpoint.name(), tensor.name);
            }
        }
    }
}
