//! `coreai-build` from outside: import, strip, merge, diff; what they print, write, refuse and leave behind.

mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use coreai_tests::checkpoints::{Checkpoint, Layout, Storage};
use program::{Folder, assets, build, good, refused};
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn sample(name: &str) -> PathBuf {
    assets().join(name).join("model.aimodel")
}

/// An asset with locations of PyTorch.
fn located() -> PathBuf {
    assets().join("../../core/asset/tests/located/converted.aimodel")
}

/// All files below a folder, hidden ones too, with their bytes; folders have none.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(tree(&path).into_iter().chain([(path, None)])),
            false => drop(found.insert(path.clone(), Some(std::fs::read(path).unwrap()))),
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A small checkpoint as a folder, in `checkpoint`.
fn checkpoint(folder: &Folder) -> PathBuf {
    let path = folder.0.join("checkpoint");
    let layout = Layout { storage: Storage::BF16, shards: 2, ..Layout::default() };
    Checkpoint::named("llama-gqa").write_folder(&path, &layout).unwrap();
    path
}

/// What is printed with `--json`.
#[track_caller]
fn json(output: &Output) -> Value {
    let json: Value = serde_json::from_str(&good(output)).unwrap();
    assert_eq!(json["schema_version"], 1);
    json
}

/// Refused with nothing changed below the folder.
#[track_caller]
fn untouched(folder: &Folder, arguments: &[&str], expected: &str) {
    let before = tree(&folder.0);
    refused(&build(arguments), expected);
    assert!(tree(&folder.0) == before, "{:?}", tree(&folder.0).keys());
}

#[test]
fn a_folder_becomes_a_bundle() {
    let folder = Folder::new("import");
    let source = checkpoint(&folder);
    let bundle = folder.0.join("model");
    let (from, to) = (text(&source), text(&bundle));
    let report = json(&build(&["import", from, "-o", to, "--json"]));
    assert_eq!(report["architecture"], "llama");
    let main = std::fs::metadata(bundle.join("model.aimodel/main.mlirb")).unwrap();
    assert_eq!(report["bytes"].as_u64(), Some(main.len()));
    for file in ["metadata.json", "tokenizer/tokenizer.json", "model.aimodel/main.hash"] {
        assert!(bundle.join(file).is_file(), "{file}");
    }
    assert_eq!(tree(&folder.0).keys().filter(|path| text(path).contains("partial")).count(), 0);
    assert!(good(&build(&["inspect", to, "--verify-hash"])).contains("function main"));

    // what is there is replaced on request only
    untouched(&folder, &["import", from, "-o", to], "already exists");
    let before = tree(&folder.0);
    let output = build(&["import", from, "-o", to, "--if-missing"]);
    assert!(good(&output).is_empty() && String::from_utf8_lossy(&output.stderr).contains("is there"));
    let output = build(&["import", from, "-o", to, "--if-missing", "--print-path"]);
    assert_eq!(good(&output), format!("{to}\n"));
    assert!(tree(&folder.0) == before);
    // one of other options is not the one that is wanted
    let output = build(&["import", from, "-o", to, "--if-missing", "--max-context", "16"]);
    assert!(good(&output).contains("16 tokens") && tree(&folder.0) != before);
    // what a process that is gone has left is removed; no process has such a number
    if Path::new("/proc/self").exists() {
        let stale = folder.0.join(".model.4294967295-0.partial");
        std::fs::create_dir(&stale).unwrap();
        good(&build(&["import", from, "-o", to, "--force", "--json"]));
        assert!(!stale.exists());
    }
    // a folder that this program did not make stays
    let foreign = folder.0.join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("metadata.json"), "{}").unwrap();
    untouched(&folder, &["import", from, "-o", text(&foreign), "--if-missing"], "already exists");
    untouched(&folder, &["import", from, "-o", text(&foreign), "--force"], "not a language bundle");
    std::fs::remove_dir_all(&foreign).unwrap();
    let shown = good(&build(&["import", from, "-o", to, "--force", "--compress", "w8", "--weights"]));
    assert!(shown.contains("model.layers.1.mlp.down_proj.weight") && shown.contains(" dB"), "{shown}");
    assert!(tree(&folder.0).keys().eq(before.keys()));
    let output = build(&["import", from, "-o", to, "--force", "--print-path"]);
    assert_eq!(good(&output), format!("{to}\n"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("architecture"));
}

#[test]
fn a_gguf_file_becomes_a_bundle() {
    let folder = Folder::new("import-gguf");
    let file = folder.0.join("model.gguf");
    Checkpoint::named("llama-gqa").write_gguf(&file, Storage::F16).unwrap();
    let bundle = folder.0.join("model");
    let report = json(&build(&["import", text(&file), "-o", text(&bundle), "--json"]));
    assert_eq!(report["architecture"], "llama");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    untouched(&folder, &["import", text(&file), "-o", text(&bundle), "--force"], "model.gguf: ");
}

#[test]
fn broken_checkpoints_leave_nothing() {
    let folder = Folder::new("import-broken");
    let source = checkpoint(&folder);
    let to = folder.0.join("model");
    let arguments = ["import", text(&source), "-o", text(&to)];
    let damaged = |file: &str, bytes: &[u8], expected: &str| {
        let path = source.join(file);
        let original = std::fs::read(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
        untouched(&folder, &arguments, expected);
        std::fs::write(&path, original).unwrap();
    };
    let shard = "model-00002-of-00002.safetensors";
    let weights = std::fs::read(source.join(shard)).unwrap();
    damaged(shard, &weights[..weights.len() - 2], shard);
    damaged(shard, b"", shard);
    damaged("config.json", b"{}", "config.json: model_type is absent");
    damaged("config.json", br#"{"model_type": "bert"}"#, "architecture \"bert\" is not supported");
    damaged("tokenizer.json", b"{}", "tokenizer.json: tokenizer: missing field `model`");
    damaged(
        "model.safetensors.index.json",
        br#"{"weight_map": {"a": "../x.safetensors"}}"#,
        "../x.safetensors",
    );
    untouched(&folder, &["import", "no such folder", "-o", text(&to)], "no such folder: no such file");
    untouched(&folder, &["import", text(&source)], "-o BUNDLE");
    untouched(&folder, &["import", text(&source), "-o", text(&folder.0.join("a b"))], "a b: the name");
    untouched(&folder, &[&arguments[..], &["--max-context", "9999999"]].concat(), "max-context is 9999999");
    assert!(build(&arguments).status.success(), "what was damaged was whole");
}

#[test]
fn locations_are_stripped() {
    let folder = Folder::new("strip");
    let out = folder.0.join("out.aimodel");
    let (from, to) = (located(), text(&out));
    let report = json(&build(&["strip", text(&from), "-o", to, "--json"]));
    assert!(report["locations_removed"].as_u64() > Some(5), "{report}");
    assert!(report["file_bytes_after"].as_u64() < report["file_bytes_before"].as_u64(), "{report}");
    let bytes = std::fs::read(out.join("main.mlirb")).unwrap();
    assert_eq!(report["file_bytes_after"].as_u64(), Some(bytes.len() as u64));
    assert!(!bytes.windows(3).any(|window| window == b".py"));
    assert_eq!(build(&["diff", text(&from), to]).status.code(), Some(0));
    untouched(&folder, &["strip", text(&from), "-o", to], "already exists");
    assert!(good(&build(&["strip", text(&from), "-o", to, "--force"])).contains("operations removed"));
    // once more nothing goes
    let again = json(&build(&["strip", to, "--in-place", "--json"]));
    assert_eq!(again["locations_removed"], 0);
    assert_eq!(std::fs::read(out.join("main.mlirb")).unwrap(), bytes);

    untouched(&folder, &["strip", text(&out.join("main.mlirb")), "--in-place"], "give the .aimodel folder");
    folder.file("cut.aimodel/main.mlirb", &bytes[..bytes.len() / 2]);
    let cut = folder.0.join("cut.aimodel");
    untouched(&folder, &["strip", text(&cut), "--in-place"], "cut.aimodel: ");
    untouched(&folder, &["strip", text(&cut), "-o", text(&folder.0.join("new"))], "cut.aimodel: ");
    for arguments in [&["strip", to][..], &["strip", to, "--in-place", "-o", to]] {
        assert_eq!(build(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_bundle_is_stripped_whole() {
    let folder = Folder::new("strip-bundle");
    let bundle = folder.0.join("bundle");
    copy(&located(), &bundle.join("model.aimodel"));
    folder.file("bundle/metadata.json", r#"{"assets": {"main": "model.aimodel"}, "name": "tiny"}"#);
    folder.file("bundle/tokenizer/tokenizer.json", "{}");
    let before = tree(&folder.0);
    let report = json(&build(&["strip", text(&bundle), "--in-place", "--json"]));
    assert!(report["locations_removed"].as_u64() > Some(5), "{report}");
    let after = tree(&folder.0);
    assert!(before.keys().all(|path| after.contains_key(path)), "{:?}", after.keys());
    let read = |name: &str| std::fs::read_to_string(bundle.join(name)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&read("metadata.json")).unwrap()["name"], "tiny");
    assert_eq!(read("tokenizer/tokenizer.json"), "{}");
    let other = folder.0.join("other");
    assert!(build(&["strip", text(&bundle), "-o", text(&other)]).status.success());
    assert!(other.join("tokenizer/tokenizer.json").is_file());
}

#[test]
fn functions_are_merged() {
    let folder = Folder::new("merge");
    let out = folder.0.join("both.aimodel");
    let (one, two) = (sample("bf16-decoder"), sample("state-shift-f16"));
    let (one, two, to) = (text(&one), text(&two), text(&out));
    untouched(&folder, &["merge", one, two, "-o", to], "asset 2 is ");
    let arguments =
        ["merge", one, two, one, "-o", to, "--rename", "2:main=shift", "--rename", "3:main=again"];
    let report = json(&build(&[&arguments[..], &["--json"]].concat()));
    let names: Vec<_> = report["functions"].as_array().unwrap().iter().map(|entry| &entry["name"]).collect();
    assert_eq!(names, ["main", "shift", "again"]);
    assert_eq!(
        (&report["functions"][1]["was"], &report["functions"][1]["input"]),
        (&"main".into(), &two.into())
    );
    assert!(report["shared_bytes"].as_u64() > Some(10_000), "{report}");
    let length = std::fs::metadata(out.join("main.mlirb")).unwrap().len();
    assert_eq!(report["file_bytes_after"].as_u64(), Some(length));
    assert!(good(&build(&["inspect", to])).contains("function again"));

    untouched(&folder, &arguments, "already exists");
    assert!(good(&build(&[&arguments[..], &["--force"]].concat())).contains("stored once"));
    let new = folder.0.join("new");
    let new = text(&new);
    untouched(&folder, &["merge", one, "-o", new, "--rename", "2:main=x"], "there is no input 2");
    untouched(&folder, &["merge", one, "-o", new, "--rename", "1:nope=x"], "no such function");
    untouched(&folder, &["merge", one, "missing", "-o", new], "missing: no such file");
    for arguments in [&["merge", "-o", new][..], &["merge", one, "-o", new, "--rename", "main=x"]] {
        assert_eq!(build(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn differences_are_told() {
    let folder = Folder::new("diff");
    let source = checkpoint(&folder);
    let [f16, w4] = ["f16", "w4"].map(|name| folder.0.join(name));
    let import = |to: &Path, more: &[&str]| {
        let output = build(&[&["import", text(&source), "-o", text(to)], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    import(&f16, &[]);
    import(&w4, &["--compress", "w4"]);
    let (a, b) = (text(&f16), text(&w4));

    let output = build(&["diff", a, a]);
    assert!(good(&output).contains("programs and weights are equal"));
    assert_eq!(json(&build(&["diff", a, a, "--json"]))["same_program"], true);

    let output = build(&["diff", a, b, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["schema_version"], &found["same_program"]), (&1.into(), &false.into()));
    let main = &found["changed"][0];
    assert_eq!((&main["name"], &main["operations_total"]), (&"main".into(), &0.into()), "{main:#}");
    let weights = main["constants"].as_array().unwrap();
    // embedding, head, and five matrices of each of two layers: queries, keys and values are one
    assert_eq!(weights.len(), 12, "{main:#}");
    for weight in weights {
        let psnr = weight["numbers"]["psnr"].as_f64().unwrap();
        assert!((15.0..40.0).contains(&psnr) && weight["compression_differs"] == true, "{weight:#}");
    }
    let few = build(&["diff", a, b]);
    let all = build(&["diff", a, b, "--all"]);
    let lines = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap().lines().count();
    assert_eq!((few.status.code(), all.status.code()), (Some(1), Some(1)));
    assert!(lines(&few) < lines(&all));
    let shown = String::from_utf8(few.stdout).unwrap();
    for expected in ["function main", "they differ", "blockwise_shift_scale", " dB", "(--all)", "lowest PSNR"]
    {
        assert!(shown.contains(expected), "{shown}lacks {expected}");
    }

    folder.file("cut.aimodel/main.mlirb", "text");
    let cut = folder.0.join("cut.aimodel");
    for (arguments, expected) in [
        (&["diff", a, "missing"][..], "error: missing: no such file"),
        (&["diff", text(&cut), a], "cut.aimodel: main.mlirb is not MLIR bytecode"),
        (&["diff", a], "required"),
    ] {
        let output = build(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.stdout.is_empty() && stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn help_has_examples() {
    for verb in ["import", "compress", "strip", "merge", "diff", "inspect"] {
        let help = good(&build(&[verb, "--help"]));
        assert!(help.contains("Examples:") && help.contains(&format!("coreai-build {verb} ")), "{help}");
    }
}
