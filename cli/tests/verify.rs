//! `coreai-run verify` and `coreai-run ops` on the repository's own cases.

mod program;

use std::path::Path;

use program::{Folder, assets, good, refused, run};
use serde_json::Value;

const DIV: &str = "ct-ops-testdiv-true-divide-x3-y3-false-2f0dbf0d9a9c57";

fn verify(folder: &Path, more: &[&str]) -> std::process::Output {
    run(&[&["verify", folder.to_str().unwrap(), "--compute-unit", "cpu"], more].concat())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[test]
fn one_case_and_a_filter() {
    let text = good(&verify(&assets().join(DIV), &[]));
    assert!(text.contains("CPU unit") && text.contains("elementwise") && text.contains("equal"), "{text}");
    let text = good(&verify(&assets(), &["--filter", "^ct-ops-(testdiv|topk)", "--json"]));
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["runs"][0]["summary"]["total"]["passed"], 2);
    assert_eq!(json["runs"][0]["cases"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["runs"][0]["cases"][0]["result"], "passed");
}

#[test]
fn a_difference_is_named() {
    let folder = Folder::new("difference");
    let case = folder.0.join("cases").join(DIV);
    copy(&assets().join(DIV), &case);
    let path = case.join("outputs.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    // The sign of the last element.
    bytes[last] ^= 0x80;
    std::fs::write(&path, bytes).unwrap();
    let output = verify(&folder.0, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains(&format!("FAILED {DIV}: step 0: div: 1 of 6 elements differ")), "{text}");
    assert!(text.contains("first at [1, 2]: "), "{text}");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: 1 cases failed and 0 were skipped without being listed\n"
    );

    let list = folder.file(
        "list.json",
        format!(r#"{{"schema_version": 1, "differences": [{{"case": "{DIV}", "output": "div", "elements": [[1, 2]], "why": "test"}}]}}"#),
    );
    let text = good(&verify(&folder.0, &["--list", &list]));
    assert!(text.contains("1 elements differ as the list says"), "{text}");
}

#[test]
fn rows_of_the_list_without_effect_are_told() {
    let folder = Folder::new("unused");
    let list = folder.file(
        "list.json",
        format!(
            r#"{{"schema_version": 1,
            "differences": [{{"case": "{DIV}", "output": "div", "at_most": 1, "why": "test"}},
                            {{"case": "elsewhere", "output": "div", "at_most": 1, "why": "test"}}],
            "unrecorded": [{{"case": "{DIV}", "result": "runs", "why": "test"}}],
            "skips": [{{"case": "{DIV}", "unit": "cpu", "code": "input", "why": "test"}},
                      {{"case": "{DIV}", "unit": "gpu", "code": "input", "why": "test"}}]}}"#
        ),
    );
    let text = good(&verify(&assets().join(DIV), &["--list", &list]));
    for row in ["difference", "unrecorded", "skip"] {
        assert_eq!(text.matches(&format!("list: {row} {DIV} has no effect")).count(), 1, "{text}");
    }
    assert!(!text.contains("elsewhere"), "{text}");
    let text = good(&verify(&assets().join(DIV), &["--list", &list, "--json"]));
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["runs"][0]["unused"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_damaged_case_is_that_cases_failure() {
    let folder = Folder::new("damaged");
    copy(&assets().join(DIV), &folder.0.join("a"));
    copy(&assets().join(DIV), &folder.0.join("b"));
    copy(&assets().join(DIV), &folder.0.join("c"));
    folder.file("a/outputs.safetensors", "damaged");
    folder.file("c/model.aimodel/main.mlirb", "damaged");
    let output = verify(&folder.0, &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cases = &json["runs"][0]["cases"];
    assert_eq!((&cases[0]["code"], &cases[1]["result"]), (&"case.layout".into(), &"passed".into()));
    assert!(cases[2]["code"].as_str().unwrap().starts_with("asset."), "{cases:#}");
}

#[test]
fn what_cannot_be_verified() {
    let folder = Folder::new("none");
    refused(&verify(&folder.0, &[]), "no cases here; expected case.json");
    refused(&verify(&folder.0.join("missing"), &[]), "missing: ");
    refused(&verify(&assets(), &["--filter", "no such case"]), "no case matches --filter");
    refused(&verify(&assets(), &["--list", "missing.json"]), "missing.json: ");
    let list = folder.file("list.json", "{}");
    refused(&verify(&assets(), &["--list", &list]), "missing field `schema_version`");
    refused(&verify(&assets(), &["--adapter", "x"]), "does not go with --compute-unit cpu");
}

#[test]
fn the_op_table() {
    let text = good(&run(&["ops"]));
    let add = text.lines().map(str::trim_start).find(|line| line.starts_with("primitive.add_v1 ")).unwrap();
    for word in ["elementwise", "f4-32 i2-32", " = ", "f64", "Map"] {
        assert!(add.contains(word), "{add}");
    }
    let case = assets().join(DIV);
    let text = good(&run(&["ops", "--json", "--compute-unit", "cpu", "--cases", case.to_str().unwrap()]));
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["schema_version"], 1);
    let ops = json["ops"].as_array().unwrap();
    let divide = ops.iter().find(|op| op["name"] == "broadcasting_divide_v1").unwrap();
    assert_eq!((&divide["planned"], &divide["recorded"]), (&true.into(), &serde_json::json!(["float16"])));
    assert_eq!((&divide["cpu"], &divide["kernels"]), (&divide["gpu"], &serde_json::json!(["Map"])));
    assert!(divide["cpu"].as_array().unwrap().contains(&"bfloat16".into()), "{divide:#}");
}
