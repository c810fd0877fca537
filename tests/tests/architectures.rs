//! Checkpoints of every architecture become bundles whose logits are those of the reference implementation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coreai::gpu::GpuDevice;
use coreai::{ComputeUnitKind, OutputWant, SpecializationOptions};
use coreai_asset::ElementType;
use coreai_convert::{Checkpoint as Source, ImportOptions, import};
use coreai_tests::checkpoints::{Checkpoint, Keys, Layout, Storage};
use coreai_tests::decode::Decoder;
use coreai_tests::runner;

/// What the reference's own arithmetic leaves between implementations, with a margin.
const DECIBELS: f64 = 60.0;

/// A folder of its own for a test.
fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("architectures").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("can be written");
    folder
}

/// Context that the reference's frequencies belong to: it looks at the length of the sequence, an import at that
/// of the longest one.
fn context(checkpoint: &Checkpoint) -> Option<u64> {
    (checkpoint.name() == "phi3-longrope-short").then_some(64)
}

fn bundle(checkpoint: &Checkpoint, source: &Path, folder: &Path) -> PathBuf {
    let options = ImportOptions {
        element: Some(ElementType::F32),
        max_context: context(checkpoint),
        ..ImportOptions::default()
    };
    let source = Source::open(source).unwrap_or_else(|e| panic!("{}: {e}", checkpoint.name()));
    let report = import(&source, folder, &options, &mut |_| {});
    let report = report.unwrap_or_else(|e| panic!("{}: {e}", checkpoint.name()));
    folder.join(format!("{}.aimodel", report.name))
}

/// Logits of the prompt and of each step after it.
fn logits(asset: &Path, checkpoint: &Checkpoint, device: Option<Arc<GpuDevice>>, rules: bool) -> Vec<f32> {
    let unit = if device.is_some() { ComputeUnitKind::Gpu } else { ComputeUnitKind::Cpu };
    let name = checkpoint.name();
    let options = SpecializationOptions { rules, ..runner::options(unit) };
    let model = runner::specialize(asset, &options, device);
    let model = model.unwrap_or_else(|e| panic!("{name}: {e}"));
    let capacity = checkpoint.prompt().len() + checkpoint.steps().len();
    let mut decoder = Decoder::new(&model, capacity).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut all = Vec::new();
    let steps = checkpoint.steps().chunks(1);
    for tokens in std::iter::once(checkpoint.prompt()).chain(steps) {
        decoder.feed(tokens, &[OutputWant::all(0)]).unwrap_or_else(|e| panic!("{name}: {e}"));
        all.extend_from_slice(decoder.session.output_f32(0));
    }
    all
}

#[test]
fn folders_give_the_logits_of_the_reference() {
    let device = runner::device(&runner::options(ComputeUnitKind::Gpu));
    for checkpoint in Checkpoint::all() {
        let folder = scratch(checkpoint.name());
        checkpoint.write_folder(&folder.join("source"), &Layout::default()).expect("can be written");
        let asset = bundle(&checkpoint, &folder.join("source"), &folder.join("bundle"));
        let notes = Source::open(folder.join("source")).expect("a checkpoint").notes;
        let capped = checkpoint.name() == "gemma3-softcap";
        assert_eq!(notes.iter().any(|note| note.contains("attn_logit_softcapping")), capped, "{notes:?}");
        let found = logits(&asset, &checkpoint, None, true);
        println!("{}: {:.1} dB", checkpoint.name(), checkpoint.psnr(&found));
        checkpoint.check(&found, DECIBELS);
        // the bodies of the declared operations, which other engines may run
        checkpoint.check(&logits(&asset, &checkpoint, None, false), DECIBELS);
        if device.is_some() {
            checkpoint.check(&logits(&asset, &checkpoint, device.clone(), true), DECIBELS);
        }
    }
}

#[test]
fn old_keys_and_shards_give_the_same() {
    for checkpoint in Checkpoint::all() {
        let folder = scratch(&format!("{}-legacy", checkpoint.name()));
        let layout = Layout { keys: Keys::Legacy, shards: 3, ..Layout::default() };
        checkpoint.write_folder(&folder.join("source"), &layout).expect("can be written");
        let asset = bundle(&checkpoint, &folder.join("source"), &folder.join("bundle"));
        checkpoint.check(&logits(&asset, &checkpoint, None, true), DECIBELS);
    }
}

#[test]
fn gguf_files_give_the_same_as_folders() {
    for checkpoint in Checkpoint::all() {
        if let Some(gap) = checkpoint.gguf_gap() {
            println!("{}: {gap}", checkpoint.name());
            continue;
        }
        let folder = scratch(&format!("{}-gguf", checkpoint.name()));
        let file = folder.join("model.gguf");
        checkpoint.write_gguf(&file, Storage::F32).expect("can be written");
        let asset = bundle(&checkpoint, &file, &folder.join("bundle"));
        let found = logits(&asset, &checkpoint, None, true);
        println!("{}: {:.1} dB", checkpoint.name(), checkpoint.psnr(&found));
        checkpoint.check(&found, DECIBELS);
    }
}

/// What a checkpoint brings and the configuration does not expect must not change the numbers unseen.
#[test]
fn heads_that_differ_from_the_embedding_are_used() {
    let checkpoint = Checkpoint::named("qwen3");
    let folder = scratch("untied");
    checkpoint.write_folder(&folder.join("source"), &Layout::default()).expect("can be written");
    let config = folder.join("source/config.json");
    let mut json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&config).expect("is there")).expect("JSON");
    json["tie_word_embeddings"] = true.into();
    std::fs::write(&config, json.to_string()).expect("can be written");
    let source = Source::open(folder.join("source")).expect("a checkpoint");
    assert!(source.notes.iter().any(|note| note.contains("lm_head")), "{:?}", source.notes);
    let asset = bundle(&checkpoint, &folder.join("source"), &folder.join("bundle"));
    checkpoint.check(&logits(&asset, &checkpoint, None, true), DECIBELS);
}

/// Engines end a turn at the tokens that the checkpoint names.
#[test]
fn end_tokens_are_written() {
    let checkpoint = Checkpoint::named("qwen3");
    let folder = scratch("ends");
    checkpoint.write_folder(&folder.join("source"), &Layout::default()).expect("can be written");
    let config = folder.join("source/config.json");
    let mut json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&config).expect("is there")).expect("JSON");
    json["eos_token_id"] = serde_json::json!([2, 7]);
    std::fs::write(&config, json.to_string()).expect("can be written");
    bundle(&checkpoint, &folder.join("source"), &folder.join("bundle"));
    let written = std::fs::read(folder.join("bundle/tokenizer/generation_config.json")).expect("is there");
    let written: serde_json::Value = serde_json::from_slice(&written).expect("JSON");
    assert_eq!(written["eos_token_id"], serde_json::json!([2, 7]));
}
