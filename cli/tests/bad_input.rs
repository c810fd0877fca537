//! Bad input: one line on stderr that begins with `error: `, an exit code that is not 0, and
//! nothing on stdout.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Map, Value, json};

const ASSETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/assets");
/// A decoder with a vocabulary of 320.
const DECODER: &str = "model-decoder-qwen3-int4-block32-c9b115eb85e0d0";
const VOCABULARY: usize = 320;

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("coreai-bad-input-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// A bundle that works.
    fn bundle(name: &str) -> Folder {
        let folder = Folder::new(name);
        folder.write("metadata.json", metadata("model.aimodel"));
        folder.write("model.aimodel/main.mlirb", decoder());
        folder.write("model.aimodel/metadata.json", asset(DECODER, "metadata.json"));
        folder.write("tokenizer/tokenizer.json", tokenizer(VOCABULARY));
        folder
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.join(name)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn asset(case: &str, file: &str) -> Vec<u8> {
    std::fs::read(Path::new(ASSETS).join(case).join("model.aimodel").join(file)).unwrap()
}

fn decoder() -> Vec<u8> {
    asset(DECODER, "main.mlirb")
}

fn metadata(main: &str) -> String {
    json!({
        "kind": "llm", "name": "tiny", "assets": {"main": main},
        "language": {"tokenizer": "org/tiny", "vocab_size": VOCABULARY, "max_context_length": 32}
    })
    .to_string()
}

/// One token per word, `w0`, `w1` ….
fn tokenizer(words: usize) -> String {
    let vocabulary: Map<String, Value> = (0..words).map(|id| (format!("w{id}"), json!(id))).collect();
    json!({
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"}
    })
    .to_string()
}

/// Without the variable for which Mesa prints an error of its own.
fn run_in(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_coreai-run"))
        .args(arguments)
        .env_remove("XDG_RUNTIME_DIR")
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn answer(model: &Path, more: &[&str]) -> Output {
    let mut arguments = vec![model.to_str().unwrap(), "-p", "w1 w2", "--max-tokens", "3"];
    arguments.extend(["--compute-unit", "cpu"]);
    arguments.extend(more);
    run_in(&[], &arguments)
}

#[track_caller]
fn refused(output: &Output, expected: &str) {
    let stderr = std::str::from_utf8(&output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert!(stderr.ends_with('\n') && stderr.lines().count() == 1, "{stderr}");
    assert!(stderr.contains(expected), "{stderr}lacks {expected}");
    assert_eq!(std::str::from_utf8(&output.stdout), Ok(""));
}

#[test]
fn the_bundle_that_the_others_damage_works() {
    let folder = Folder::bundle("good");
    let output = answer(&folder.0, &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(!output.stdout.trim_ascii().is_empty());
}

#[test]
fn what_is_no_model() {
    let folder = Folder::new("none");
    folder.write("text.txt", "hello\n");
    folder.write("text.aimodel", "hello\n");
    folder.write("nothing.aimodel", "");
    std::fs::create_dir(folder.0.join("empty")).unwrap();
    std::fs::create_dir(folder.0.join("empty.aimodel")).unwrap();
    for (name, expected) in [
        ("missing", "missing: no such file or folder"),
        ("text.txt", "text.txt: main.mlirb is not MLIR bytecode: a text file"),
        ("text.aimodel", "text.aimodel: main.mlirb is not MLIR bytecode: a text file"),
        ("nothing.aimodel", "nothing.aimodel: main.mlirb is not MLIR bytecode: the file is empty"),
        ("empty", "empty: neither a bundle"),
        ("empty.aimodel", "empty.aimodel: not a Core AI asset"),
    ] {
        refused(&answer(&folder.0.join(name), &[]), expected);
        let path = folder.0.join(name);
        refused(&run_in(&[], &["bench", path.to_str().unwrap(), "--compute-unit", "cpu"]), expected);
    }
}

#[test]
fn a_damaged_bundle() {
    let folder = Folder::bundle("damaged");
    for (text, expected) in [
        ("{", "metadata.json: not valid JSON"),
        ("[]", "it has no \"kind\""),
        (&metadata("../model.aimodel"), "expected a path inside the bundle"),
        (&metadata("other.aimodel"), "which is not in the bundle"),
    ] {
        folder.write("metadata.json", text);
        refused(&answer(&folder.0, &[]), expected);
    }
    folder.write("metadata.json", metadata("model.aimodel"));

    let whole = decoder();
    for length in [3, 100, whole.len() / 2, whole.len() - 1] {
        folder.write("model.aimodel/main.mlirb", &whole[..length]);
        refused(&answer(&folder.0, &[]), "model.aimodel: ");
    }
    folder.remove("model.aimodel/main.mlirb");
    refused(&answer(&folder.0, &[]), "has no main.mlirb");
}

#[test]
fn a_wrong_tokenizer() {
    let folder = Folder::bundle("tokenizer");
    for (text, expected) in [
        (tokenizer(3 * VOCABULARY), "does not belong to this model: it has 960 tokens"),
        (tokenizer(10), "the model's vocabulary has 320"),
        ("hello".to_owned(), "tokenizer.json"),
        ("{}".to_owned(), "tokenizer.json"),
    ] {
        folder.write("tokenizer/tokenizer.json", text);
        refused(&answer(&folder.0, &[]), expected);
    }
    folder.remove("tokenizer/tokenizer.json");
    refused(&answer(&folder.0, &[]), "no tokenizer found: metadata.json names \"org/tiny\"");
    refused(&answer(&folder.0.join("model.aimodel"), &[]), "no tokenizer found");
    folder.write("tokenizer/tokenizer.json", tokenizer(VOCABULARY));
    folder.write("tokenizer/chat_template.jinja", "{% for %}");
    refused(&answer(&folder.0, &[]), "chat template");
}

#[test]
fn an_unknown_op() {
    let folder = Folder::bundle("op");
    let mut bytes = decoder();
    let name = b"primitive.gather_nd_v1";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    bytes[at..][..name.len()].copy_from_slice(b"primitive.gather_xy_v1");
    folder.write("model.aimodel/main.mlirb", bytes);
    refused(&answer(&folder.0, &[]), "primitive.gather_xy_v1");

    let while_loop = Path::new(ASSETS).join("ct-ops-while-loop-x0-none-236810a6f7beea/model.aimodel");
    refused(&answer(&while_loop, &[]), "is not a language model");
}

#[test]
fn options_out_of_range() {
    let folder = Folder::bundle("options");
    for (option, expected) in [
        ("--temperature=-1", "temperature is -1"),
        ("--temperature=nan", "temperature is NaN"),
        ("--top-p=0", "top-p is 0"),
        ("--min-p=2", "min-p is 2"),
        ("--repetition-penalty=0", "repetition-penalty is 0"),
        ("--max-tokens=0", "max-tokens is 0"),
        ("--context=0", "context is 0"),
        ("--context=33", "the model holds 32 tokens"),
        ("--context=1", "the prompt has 2 tokens and the context holds 1"),
        ("--adapter=any", "does not go with --compute-unit cpu"),
        ("--trace", "no timestamps"),
    ] {
        let model = folder.0.to_str().unwrap();
        refused(&run_in(&[], &[model, "-p", "w1 w2", "--compute-unit", "cpu", option]), expected);
    }
    let long = "w1 ".repeat(40);
    let model = folder.0.to_str().unwrap();
    let output = run_in(&[], &[model, "-p", &long, "--compute-unit", "cpu"]);
    refused(&output, "the prompt has 40 tokens and the context holds 32");
    let output = run_in(&[], &["bench", model, "-p", "30", "-g", "8", "--compute-unit", "cpu"]);
    refused(&output, "38 tokens, but the context holds 32");
}

/// Hides every Vulkan driver, which is how Linux finds adapters.
#[cfg(target_os = "linux")]
#[test]
fn no_adapter() {
    let hidden = [("VK_ICD_FILENAMES", "/nonexistent"), ("VK_DRIVER_FILES", "/nonexistent")];
    let folder = Folder::bundle("adapter");
    let model = folder.0.to_str().unwrap();
    refused(&run_in(&hidden, &[model, "-p", "w1"]), "no GPU adapter: ");
    refused(&run_in(&hidden, &["bench", model, "-p", "4", "-g", "2"]), "no GPU adapter: ");
    let output = run_in(&hidden, &[model, "-p", "w1", "--adapter", "radeon"]);
    refused(&output, "no GPU adapter named \"radeon\"");
}

#[test]
fn an_adapter_that_is_not_there() {
    let folder = Folder::bundle("named");
    let output = run_in(&[], &[folder.0.to_str().unwrap(), "-p", "w1", "--adapter", "no such adapter"]);
    refused(&output, "no GPU adapter named \"no such adapter\"");
}

#[test]
fn inspect_says_it_the_same_way() {
    let folder = Folder::new("inspect");
    folder.write("text.txt", "hello\n");
    folder.write("cut.aimodel/main.mlirb", &decoder()[..1000]);
    folder.write("bundle/metadata.json", metadata("../cut.aimodel"));
    for (name, expected) in [
        ("missing", "missing: no such file or directory"),
        ("text.txt", "text.txt: main.mlirb is not MLIR bytecode"),
        ("cut.aimodel", "cut.aimodel: truncated"),
        ("bundle", "expected a path inside the bundle"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreai-build"));
        refused(&command.arg("inspect").arg(folder.0.join(name)).output().unwrap(), expected);
    }
}
