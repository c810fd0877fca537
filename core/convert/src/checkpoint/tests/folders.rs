//! Folders of every family, and wrong ones.

use std::fs;

use serde_json::{Value, json};

use super::write::{Folder, Tensor, check, safetensors, small, tensor, tensors, values};
use crate::config::Config;
use crate::error::ConvertError;

fn config(json: &Value) -> Config {
    Config::from_json(json).unwrap()
}

fn error(folder: &Folder) -> ConvertError {
    folder.open().err().expect("a folder that cannot be opened")
}

#[test]
fn plain_families() {
    for model_type in ["llama", "mistral", "qwen2", "qwen3", "gemma3_text", "phi3"] {
        let json = small(model_type, json!({}));
        let all = tensors(&config(&json));
        let folder = Folder::model(model_type, &json);
        folder.write("model.safetensors", safetensors(&all));
        let checkpoint = folder.open().unwrap();
        check(&checkpoint, &all);
        assert!(checkpoint.notes.is_empty(), "{:?}", checkpoint.notes);
        assert_eq!(checkpoint.config, config(&json));
        assert_eq!(checkpoint.tokenizer.names().collect::<Vec<_>>(), ["tokenizer.json"]);
    }
}

/// The expert `e` of a stacked tensor.
fn expert(all: &[Tensor], name: &str, e: usize) -> (Vec<u64>, Vec<f32>) {
    let (_, shape, values) = all.iter().find(|(own, ..)| own == name).unwrap();
    let size = (shape[1] * shape[2]) as usize;
    (shape[1..].to_vec(), values[e * size..][..size].to_vec())
}

/// Without the experts' tensors.
fn others(all: &[Tensor]) -> Vec<Tensor> {
    all.iter().filter(|(name, ..)| !name.contains(".experts.")).cloned().collect()
}

#[test]
fn experts_one_by_one() {
    for (model_type, block, own) in [
        ("mixtral", "block_sparse_moe", ["w1", "w3", "w2"]),
        ("qwen3_moe", "mlp", ["gate_proj", "up_proj", "down_proj"]),
    ] {
        let json = small(model_type, json!({}));
        let all = tensors(&config(&json));
        let mut written = others(&all);
        written
            .iter_mut()
            .for_each(|(name, ..)| *name = name.replace(".mlp.gate.", &format!(".{block}.gate.")));
        for layer in 0..2 {
            for e in 0..3 {
                for (known, own) in ["gate_proj", "up_proj", "down_proj"].iter().zip(own) {
                    let (shape, values) =
                        expert(&all, &format!("model.layers.{layer}.mlp.experts.{known}.weight"), e);
                    written.push((
                        format!("model.layers.{layer}.{block}.experts.{e}.{own}.weight"),
                        shape,
                        values,
                    ));
                }
            }
        }
        let folder = Folder::model(&format!("one-by-one-{model_type}"), &json);
        folder.write("model.safetensors", safetensors(&written));
        check(&folder.open().unwrap(), &all);
        written.retain(|(name, ..)| !name.contains(&format!("1.{block}.experts.2.")));
        folder.write("model.safetensors", safetensors(&written));
        assert!(error(&folder).to_string().contains("layers.1.mlp.experts.2."), "{}", error(&folder));
    }
}

#[test]
fn experts_fused() {
    let json = small("qwen3_moe", json!({}));
    let all = tensors(&config(&json));
    let mut written = others(&all);
    for layer in 0..2 {
        let prefix = format!("model.layers.{layer}.mlp.experts.");
        let part = |name: &str, e| expert(&all, &format!("{prefix}{name}.weight"), e).1;
        let fused = (0..3).flat_map(|e| [part("gate_proj", e), part("up_proj", e)].concat()).collect();
        written.push((format!("{prefix}gate_up_proj"), vec![3, 12, 8], fused));
        let down = (0..3).flat_map(|e| part("down_proj", e)).collect();
        written.push((format!("{prefix}down_proj"), vec![3, 8, 6], down));
    }
    let folder = Folder::model("fused", &json);
    folder.write("model.safetensors", safetensors(&written));
    check(&folder.open().unwrap(), &all);
}

#[test]
fn experts_of_gpt_oss() {
    let json = small("gpt_oss", json!({}));
    let all = tensors(&config(&json));
    let mut written = others(&all);
    for layer in 0..2 {
        let prefix = format!("model.layers.{layer}.mlp.experts.");
        let part = |name: &str, e| expert(&all, &format!("{prefix}{name}.weight"), e).1;
        let bias = |name: &str| all.iter().find(|(own, ..)| *own == format!("{prefix}{name}.bias")).unwrap();
        // [experts, hidden, 2 · intermediate], gate and up alternating
        let mut fused = Vec::new();
        for e in 0..3 {
            let (gate, up) = (part("gate_proj", e), part("up_proj", e));
            for column in 0..8 {
                fused.extend((0..6).flat_map(|row| [gate[row * 8 + column], up[row * 8 + column]]));
            }
        }
        written.push((format!("{prefix}gate_up_proj"), vec![3, 8, 12], fused));
        let down = (0..3).flat_map(|e| {
            let down = part("down_proj", e);
            (0..6)
                .flat_map(|column| (0..8).map(|row| down[row * 6 + column]).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        });
        written.push((format!("{prefix}down_proj"), vec![3, 6, 8], down.collect()));
        let biases =
            bias("gate_proj").2.iter().zip(&bias("up_proj").2).flat_map(|(one, other)| [*one, *other]);
        written.push((format!("{prefix}gate_up_proj_bias"), vec![3, 12], biases.collect()));
        written.push((format!("{prefix}down_proj_bias"), vec![3, 8], bias("down_proj").2.clone()));
    }
    let folder = Folder::model("gpt-oss", &json);
    folder.write("model.safetensors", safetensors(&written));
    check(&folder.open().unwrap(), &all);
}

#[test]
fn prefixes_of_models_that_see() {
    let text = small("gemma3_text", json!({}));
    let json = json!({"model_type": "gemma3", "text_config": text, "tie_word_embeddings": false});
    let all = tensors(&config(&json));
    for (place, prefix) in [("language_model.model.", "old"), ("model.language_model.", "new")] {
        let mut written = all.clone();
        for (name, ..) in &mut written {
            *name = name.replacen("model.", place, 1);
        }
        written.push(tensor("model.vision_tower.patch.weight", &[2, 2]));
        written.push(tensor("multi_modal_projector.weight", &[2, 2]));
        let folder = Folder::model(prefix, &json);
        folder.write("model.safetensors", safetensors(&written));
        let checkpoint = folder.open().unwrap();
        check(&checkpoint, &all);
        assert_eq!(checkpoint.notes.len(), 1);
        assert!(checkpoint.notes[0].starts_with("2 tensors are of parts that see"), "{:?}", checkpoint.notes);
    }
}

#[test]
fn shards() {
    let json = small("llama", json!({}));
    let all = tensors(&config(&json));
    let (one, other) = all.split_at(5);
    let folder = Folder::model("shards", &json);
    folder.write("model-1.safetensors", safetensors(one));
    folder.write("model-2.safetensors", safetensors(other));
    check(&folder.open().unwrap(), &all); // without an index
    let mut map: serde_json::Map<String, Value> = Default::default();
    for (tensors, file) in [(one, "model-1.safetensors"), (other, "model-2.safetensors")] {
        map.extend(tensors.iter().map(|(name, ..)| (name.clone(), json!(file))));
    }
    let index = |map: &serde_json::Map<String, Value>| {
        let index = json!({"metadata": {"total_size": 0}, "weight_map": map});
        folder.write("model.safetensors.index.json", index.to_string());
    };
    index(&map);
    folder.write("other.safetensors", safetensors(&all)); // not in the index
    check(&folder.open().unwrap(), &all);

    let mut wrong = map.clone();
    wrong["model.norm.weight"] = json!("model-1.safetensors");
    index(&wrong);
    assert!(error(&folder).to_string().contains("is not in model-1.safetensors"), "{}", error(&folder));
    for name in [
        "../model-1.safetensors",
        "/etc/x.safetensors",
        "a/b.safetensors",
        "a\\b.safetensors",
        "..",
        "C:x.safetensors",
        "./model-1.safetensors",
        "model-1.bin",
        "",
    ] {
        wrong["model.norm.weight"] = json!(name);
        index(&wrong);
        assert_eq!(error(&folder).code(), "convert.malformed", "{name}");
    }
    wrong["model.norm.weight"] = json!("missing.safetensors");
    index(&wrong);
    assert_eq!(error(&folder).code(), "convert.not_found");
    fs::create_dir(folder.path().join("folder.safetensors")).unwrap();
    wrong["model.norm.weight"] = json!("folder.safetensors");
    index(&wrong);
    assert_eq!(error(&folder).code(), "convert.file");
    folder.write(
        "model.safetensors.index.json",
        r#"{"weight_map": {"a": "a.safetensors", "a": "b.safetensors"}}"#,
    );
    assert!(error(&folder).to_string().contains("twice"));
    fs::remove_file(folder.path().join("model.safetensors.index.json")).unwrap();
    fs::remove_dir(folder.path().join("folder.safetensors")).unwrap();
    // all three files have tensors now, the third all of them again
    assert!(error(&folder).to_string().contains("is there twice"), "{}", error(&folder));
}

#[cfg(unix)]
#[test]
fn links_of_the_hub_cache() {
    let json = small("llama", json!({}));
    let all = tensors(&config(&json));
    let folder = Folder::model("links", &json);
    let blobs = Folder::new("blobs");
    blobs.write("0123", safetensors(&all));
    std::os::unix::fs::symlink(blobs.path().join("0123"), folder.path().join("model.safetensors")).unwrap();
    check(&folder.open().unwrap(), &all);
}

#[test]
fn packed_experts_of_gpt_oss() {
    let keys = json!({
        "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
        "quantization_config": {"quant_method": "mxfp4"},
    });
    let json = small("gpt_oss", keys);
    let all = tensors(&config(&json));
    let mut written = others(&all);
    written.extend(all.iter().filter(|(name, ..)| name.ends_with("down_proj.bias")).map(
        |(_, shape, values)| {
            ("model.layers.0.mlp.experts.down_proj_bias".into(), shape.clone(), values.clone())
        },
    ));
    written.push(tensor("model.layers.0.mlp.experts.gate_up_proj_bias", &[3, 64]));
    let (mut header, mut data) = (json!({}), Vec::new());
    for (name, shape, values) in &written {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        header[name] = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
    }
    // the row in both nibbles, and in the exponent
    for (name, rows) in [("gate_up_proj", 64u64), ("down_proj", 32)] {
        for (kind, shape, each) in [("blocks", vec![3, rows, 1, 16], 16), ("scales", vec![3, rows, 1], 1)] {
            let start = data.len();
            for row in 0..3 * rows {
                let byte = if each == 16 { (row % 16) as u8 | 0x20 } else { 120 + (row % 8) as u8 };
                data.extend(vec![byte; each]);
            }
            header[format!("model.layers.0.mlp.experts.{name}_{kind}")] =
                json!({"dtype": "U8", "shape": shape, "data_offsets": [start, data.len()]});
        }
    }
    let folder = Folder::model("packed", &json);
    folder.write("model.safetensors", super::write::file(&header.to_string(), &data));
    let checkpoint = folder.open().unwrap();
    let up = &checkpoint.tensors["model.layers.0.mlp.experts.up_proj.weight"];
    assert_eq!(up.shape(), [3, 32, 32]);
    let packing = up.packing().unwrap();
    assert_eq!((packing.codes, packing.block), (crate::CodeType::F4E2M1, 32));
    let mut packed = crate::PackedRows::default();
    up.read_packed(1, 2, &mut packed).unwrap();
    // rows 3 and 5 of the fused matrix; 0x2 is the float 1
    assert_eq!(
        (packed.codes.len(), &packed.codes[..2], &packed.codes[32..34]),
        (64, &[3, 2][..], &[5, 2][..])
    );
    assert_eq!(packed.scales, [2f32.powi(123 - 127), 2f32.powi(125 - 127)]);
    let read = values(&checkpoint, "model.layers.0.mlp.experts.up_proj.weight");
    assert_eq!(read[32..34], [1.5 * 2f32.powi(-4), 2f32.powi(-4)]);
    let down = values(&checkpoint, "model.layers.0.mlp.experts.down_proj.weight");
    assert_eq!(down[9 * 32..9 * 32 + 2], [-0.5 * 2f32.powi(121 - 127), 2f32.powi(121 - 127)]);
}

#[test]
fn wrong_folders() {
    let json = small("qwen2", json!({}));
    let all = tensors(&config(&json));
    let folder = Folder::model("wrong", &json);
    assert!(error(&folder).to_string().contains("no safetensors"));
    let mut less = all.clone();
    less.retain(|(name, ..)| name != "model.layers.1.self_attn.k_proj.bias");
    folder.write("model.safetensors", safetensors(&less));
    assert!(error(&folder).to_string().contains("layers.1.self_attn.k_proj.bias\": is missing"));
    less.push(tensor("model.layers.1.self_attn.k_proj.bias", &[8]));
    folder.write("model.safetensors", safetensors(&less));
    assert!(error(&folder).to_string().contains("[8]; the configuration expects [4]"), "{}", error(&folder));
    let mut more = all.clone();
    more.push(tensor("model.layers.0.self_attn.rotary_emb.inv_freq", &[2]));
    folder.write("model.safetensors", safetensors(&more));
    assert!(folder.open().unwrap().notes[0].contains("rotary_emb.inv_freq"));
    for name in ["model.layers.1.self_attn.bias", "model.layers.2.mlp.up_proj.weight", "model.mtp.weight"] {
        folder.write("model.safetensors", safetensors(&[&all[..], &[tensor(name, &[2])]].concat()));
        assert!(folder.open().unwrap().notes[0].contains(name));
    }
    // what would change the numbers
    for name in [
        "model.layers.1.self_attn.o_proj.bias",
        "model.layers.0.mlp.up_proj.weight_scale",
        "model.layers.x.y",
        "model.norm.bias",
        "lm_head.bias",
    ] {
        folder.write("model.safetensors", safetensors(&[&all[..], &[tensor(name, &[8])]].concat()));
        let error = error(&folder).to_string();
        assert!(error.contains(name) && error.contains("do not use it"), "{error}");
    }
    folder.write("model.safetensors", safetensors(&all));
    folder.write("tokenizer.json", r#"{"version": "1.0"}"#);
    assert!(error(&folder).to_string().contains("missing field `model`"), "{}", error(&folder));
    folder.write("tokenizer.json", r#"{"model": {}}"#);
    folder.write("generation_config.json", r#"{"eos_token_id": [3, 4]}"#);
    assert_eq!(folder.open().unwrap().config.eos, [3, 4]);
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    assert!(error(&folder).to_string().contains("no tokenizer.json"));
    folder.write("config.json", "{");
    assert_eq!(error(&folder).code(), "convert.malformed");
    folder.write("config.json", vec![b' '; (4 << 20) + 1]);
    assert_eq!(error(&folder).code(), "convert.limit");
    fs::remove_file(folder.path().join("config.json")).unwrap();
    fs::create_dir(folder.path().join("config.json")).unwrap();
    assert_eq!(error(&folder).code(), "convert.file");
    fs::remove_dir(folder.path().join("config.json")).unwrap();
    assert!(error(&folder).to_string().contains("no config.json"));
    let missing = crate::Checkpoint::open(folder.path().join("nothing")).err().unwrap();
    assert_eq!(missing.code(), "convert.not_found");
    let other = crate::Checkpoint::open(folder.path().join("model.safetensors")).err().unwrap();
    assert_eq!(other.code(), "convert.file");
}
