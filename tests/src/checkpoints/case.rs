//! A recorded case: tensors that are drawn when they are needed, token ids, logits.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::places::root;

/// A checkpoint and what the reference computes with it.
pub struct Checkpoint {
    folder: PathBuf,
    case: Value,
    /// `config.json` as the current transformers writes it.
    pub config: Value,
    prompt: Vec<i32>,
    steps: Vec<i32>,
}

/// A tensor under its published name.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// As in the safetensors file.
    pub name: String,
    /// Extents in row-major order, outermost first.
    pub shape: Vec<usize>,
    /// In row-major order.
    pub elements: Elements,
}

/// Elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// Weights before they are rounded to the type of a file.
    Float(Vec<f32>),
    /// Codes and exponents of packed weights.
    Bytes(Vec<u8>),
}

impl Checkpoint {
    /// Every recorded variant, by name.
    pub fn all() -> Vec<Checkpoint> {
        let folder = root().join("tests/assets/architectures");
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter(|entry| entry.path().join("case.json").exists())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names.iter().map(|name| Checkpoint::named(name)).collect()
    }

    /// One variant. Panics where it was not recorded.
    pub fn named(name: &str) -> Checkpoint {
        let folder = root().join("tests/assets/architectures").join(name);
        let case = json(&folder.join("case.json"));
        let ids = |key: &str| -> Vec<i32> {
            case[key].as_array().into_iter().flatten().map(|id| whole(id) as i32).collect()
        };
        let (prompt, steps) = (ids("prompt"), ids("steps"));
        Checkpoint { config: json(&folder.join("config.json")), folder, case, prompt, steps }
    }

    /// Name of the variant.
    pub fn name(&self) -> &str {
        self.case["id"].as_str().expect("id")
    }

    /// `model_type` of the configuration.
    pub fn architecture(&self) -> &str {
        self.case["architecture"].as_str().expect("architecture")
    }

    /// Tokens of the first run.
    pub fn prompt(&self) -> &[i32] {
        &self.prompt
    }

    /// Tokens of the runs after it, one each.
    pub fn steps(&self) -> &[i32] {
        &self.steps
    }

    /// The configuration in the keys of checkpoints that were published before transformers 5.
    pub fn legacy_config(&self) -> Value {
        json(&self.folder.join("config.legacy.json"))
    }

    /// What the reference computes: logits of all positions, `[prompt + steps, vocabulary]`.
    pub fn logits(&self) -> Vec<f32> {
        let bytes = fs::read(self.folder.join("logits.safetensors")).expect("logits.safetensors");
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let tensor = file.tensor("logits").expect("logits");
        let (words, _) = tensor.data().as_chunks::<4>();
        words.iter().map(|word| f32::from_le_bytes(*word)).collect()
    }

    /// PSNR of logits of all positions to the recorded ones, in dB; the peak is the largest recorded
    /// magnitude. Infinite for equal logits; panics where the counts differ.
    pub fn psnr(&self, found: &[f32]) -> f64 {
        let expected = self.logits();
        assert_eq!(found.len(), expected.len(), "{}: count of logits", self.name());
        let pairs = || found.iter().zip(&expected).map(|(f, e)| (f64::from(*f), f64::from(*e)));
        let peak = pairs().fold(0.0, |peak: f64, (_, e)| peak.max(e.abs()));
        let error = pairs().map(|(f, e)| (f - e) * (f - e)).sum::<f64>() / expected.len() as f64;
        10.0 * (peak * peak / error).log10()
    }

    /// Panics, with the recorded mistakes that leave about as much, where the PSNR is below `decibels`.
    pub fn check(&self, found: &[f32], decibels: f64) {
        let psnr = self.psnr(found);
        let (name, mistakes) = (self.name(), &self.case["mistakes_db"]);
        // NaN is a failure, too
        assert!(psnr >= decibels, "{name}: {psnr:.1} dB; what mistakes leave: {mistakes}");
    }

    /// All tensors, by name. They are drawn anew at every call.
    pub fn tensors(&self) -> Vec<Tensor> {
        let entries = self.case["tensors"].as_array().into_iter().flatten();
        entries.map(|entry| draw(whole(&self.case["seed"]), entry)).collect()
    }
}

/// A tensor of a stream of its own: SplitMix64, with the hash of the seed and the name as its state.
fn draw(seed: u64, entry: &Value) -> Tensor {
    let name = entry["name"].as_str().expect("a name").to_owned();
    let shape: Vec<usize> =
        entry["shape"].as_array().into_iter().flatten().map(|n| whole(n) as usize).collect();
    let mut state = fnv(FNV, format!("{seed}/{name}").as_bytes());
    let values = (0..shape.iter().product::<usize>()).map(|_| next(&mut state) >> 40); // 24 bits
    let elements = if let Some(count) = entry["count"].as_u64() {
        let low = whole(&entry["low"]);
        Elements::Bytes(values.map(|u| (low + ((u * count) >> 24)) as u8).collect())
    } else {
        let float = |key: &str| entry[key].as_f64().expect("a number") as f32;
        let (center, spread) = (float("center"), float("spread"));
        let half = (1_i64 << 23) as f32;
        Elements::Float(values.map(|u| (u as i64 - (1 << 23)) as f32 / half * spread + center).collect())
    };
    Tensor { name, shape, elements }
}

/// SplitMix64, https://prng.di.unimi.it/splitmix64.c
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const FNV: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a of 64 bits, continued from `state`.
fn fnv(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |state, byte| (state ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

fn json(path: &std::path::Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn whole(value: &Value) -> u64 {
    value.as_u64().expect("a whole number")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn draws_what_the_recorder_draws() {
        let entry = json!({"name": "lm_head.weight", "shape": [3], "center": 0.5, "spread": 0.25});
        let expected = vec![0.502_680_3, 0.256_854_03, 0.500_818_85];
        assert_eq!(draw(1, &entry).elements, Elements::Float(expected));
        let name = "model.layers.0.mlp.experts.down_proj_scales";
        let entry = json!({"name": name, "shape": [2, 3], "low": 120, "count": 3});
        assert_eq!(draw(1, &entry).elements, Elements::Bytes(vec![122, 122, 121, 121, 121, 122]));
    }

    #[test]
    fn every_checkpoint_has_the_recorded_bits() {
        let all = Checkpoint::all();
        assert!(all.len() >= 27, "{} variants", all.len());
        for checkpoint in all {
            let state = checkpoint.tensors().iter().fold(FNV, |state, tensor| match &tensor.elements {
                Elements::Float(values) => values.iter().fold(state, |s, v| fnv(s, &v.to_le_bytes())),
                Elements::Bytes(bytes) => fnv(state, bytes),
            });
            assert_eq!(
                Some(format!("{state:016x}").as_str()),
                checkpoint.case["fingerprint"].as_str(),
                "{}",
                checkpoint.name()
            );
        }
    }

    #[test]
    fn logits_are_compared() {
        let checkpoint = Checkpoint::named("llama-gqa");
        let mut logits = checkpoint.logits();
        assert_eq!(logits.len(), (11 + 8) * 96);
        assert_eq!(checkpoint.psnr(&logits), f64::INFINITY);
        logits[7] += 1.0;
        assert!((30.0..60.0).contains(&checkpoint.psnr(&logits)));
        logits[7] = f32::NAN;
        assert!(std::panic::catch_unwind(|| checkpoint.check(&logits, 60.0)).is_err());
    }
}
