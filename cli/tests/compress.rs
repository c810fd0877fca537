//! `coreai-build compress`: the verb from outside.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("coreai-compress-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An asset with float weights.
fn sample() -> PathBuf {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/assets");
    assets.join("hf-convnext-v2-f16/model.aimodel")
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_coreai-build")).arg("compress").args(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn an_asset_gets_smaller() {
    let (folder, sample) = (Folder::new("asset"), sample());
    let out = folder.join("small.aimodel");
    let report = json(&[text(&sample), "-o", text(&out), "--preset", "w8", "--json"]);
    let compressed = report["totals"]["compressed"].as_u64().unwrap();
    assert!(compressed > 0, "{report}");
    assert!(report["file_bytes_after"].as_u64() < report["file_bytes_before"].as_u64(), "{report}");
    let length = std::fs::metadata(out.join("main.mlirb")).unwrap().len();
    assert_eq!(report["file_bytes_after"].as_u64(), Some(length));
    let weights = report["weights"].as_array().unwrap();
    let measured = weights.iter().filter(|weight| {
        weight["outcome"]["compressed"]["difference"]["psnr_db"].as_f64().is_some_and(|psnr| psnr > 20.0)
    });
    assert_eq!(measured.count() as u64, compressed);
    // once more: nothing is left, and what is there is not replaced unasked
    let again = json(&[text(&out), "--dry-run", "--json"]);
    assert_eq!(again["totals"]["compressed"], 0);
    assert_eq!(again["packed_before"].as_u64(), Some(compressed));
    let refused = run(&[text(&sample), "-o", text(&out)]);
    assert!(!refused.status.success() && refused.stdout.is_empty());
    assert!(run(&[text(&sample), "-o", text(&out), "--force"]).status.success());
}

#[test]
fn patterns_choose() {
    let sample = sample();
    let all = json(&[text(&sample), "--dry-run", "--json"]);
    let done = |weight: &&Value| weight["outcome"]["compressed"].is_object();
    let first = all["weights"].as_array().unwrap().iter().find(done).unwrap()["name"].as_str().unwrap();
    let one = json(&[text(&sample), "--dry-run", "--json", "--include", first]);
    assert_eq!(one["totals"]["compressed"], 1, "{first}");
    let none = json(&[text(&sample), "--dry-run", "--json", "--include", first, "--exclude", "main/*"]);
    assert_eq!(none["totals"]["compressed"], 0);
    let idle = run(&[text(&sample), "--dry-run", "--exclude", "nothing"]);
    assert!(String::from_utf8_lossy(&idle.stderr).contains("matches no weight"));
    assert!(!run(&[text(&sample), "--dry-run", "--exclude", "a[b"]).status.success());
    assert!(!run(&[text(&sample)]).status.success(), "neither an output nor a dry run");
}

#[test]
fn a_bundle_comes_whole() {
    let folder = Folder::new("bundle");
    let bundle = folder.join("model");
    let asset = bundle.join("m.aimodel");
    std::fs::create_dir_all(&asset).unwrap();
    std::fs::create_dir_all(bundle.join("tokenizer")).unwrap();
    std::fs::write(bundle.join("tokenizer/tokenizer.json"), "{}").unwrap();
    for file in ["main.mlirb", "metadata.json"] {
        std::fs::copy(sample().join(file), asset.join(file)).unwrap();
    }
    let metadata = r#"{"metadata_version":"0.2","kind":"llm","name":"m","assets":{"main":"m.aimodel"}}"#;
    std::fs::write(bundle.join("metadata.json"), metadata).unwrap();
    let out = folder.join("small");
    assert!(run(&[text(&bundle), "-o", text(&out), "--preset", "w8"]).status.success());
    let written: Value = serde_json::from_slice(&std::fs::read(out.join("metadata.json")).unwrap()).unwrap();
    assert_eq!((&written["compression"], &written["name"]), (&Value::from("8bit"), &Value::from("m")));
    assert!(out.join("tokenizer/tokenizer.json").is_file() && out.join("m.aimodel/main.hash").is_file());
    assert!(!run(&[text(&bundle), "-o", text(&out)]).status.success(), "exists");
    assert!(run(&[text(&bundle), "-o", text(&out), "--preset", "w4", "--force"]).status.success());
    let written: Value = serde_json::from_slice(&std::fs::read(out.join("metadata.json")).unwrap()).unwrap();
    assert_eq!(written["compression"], "4bit");
    let names: Vec<_> = std::fs::read_dir(&folder.0).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(names.len(), 2, "nothing else is left: {names:?}");
}
