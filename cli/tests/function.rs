//! `coreai-run run` on small assets: values from files, results in files, and what is refused.

mod program;

use coreai::{ElementType, Elements, NDArray};
use coreai_tasks::tensors::{read_npy, write_npy};
use program::{Folder, assets, good, refused, run};
use serde_json::Value;

const DIV: &str = "ct-ops-testdiv-true-divide-x3-y3-false-2f0dbf0d9a9c57";
const POLAR: &str = "ct-ops-ir-testpolarir-static-43f836f2aa4c88";
const CONV: &str = "ct-ops-ir-testconvolutionir-conv2d-grouped-c8d11f8e9faa99";
const TOPK: &str = "ct-ops-topk-x0-3-0-true-true-a12b7aa18c98d2";
const DECODER: &str = "model-decoder-qwen3-int4-block32-c9b115eb85e0d0";
const STATE: &str =
    "ct-stateful-testmutablebufferannotation-annotation-added-with-default-nam-d83c2dc280906e";

fn call(case: &str, more: &[&str]) -> std::process::Output {
    let asset = assets().join(case).join("model.aimodel");
    run(&[&["run", asset.to_str().unwrap(), "--compute-unit", "cpu"], more].concat())
}

fn halves(values: &[f64]) -> NDArray {
    NDArray::from_elements(ElementType::F16, &[2, 3], &Elements::Real(values.to_vec())).unwrap()
}

#[test]
fn numbers_in_a_table_out() {
    let text = good(&call(DIV, &["--input", "x=1,2,3,4,5,6", "--input", "y=2,2,2,2,2,2"]));
    assert!(text.contains("div") && text.contains("float16") && text.contains("[2, 3]"), "{text}");
    assert!(text.contains("0.500000") && text.contains("3.000000"), "{text}");
}

#[test]
fn files_in_and_out() {
    let folder = Folder::new("files");
    let x = folder.0.join("x.npy");
    write_npy(&x, &halves(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])).unwrap();
    let y = folder.file("y.json", "[[2, 2, 2], [4, 4, 0.5]]");
    let out = folder.0.join("out");
    let (x, y) = (format!("x={}", x.display()), format!("y={y}"));
    good(&call(DIV, &["--input", &x, "--input", &y, "--output", out.to_str().unwrap()]));
    let found = read_npy(&out.join("div.npy")).unwrap();
    assert_eq!(found, halves(&[0.5, 1.0, 1.5, 1.0, 1.25, 12.0]));
}

#[test]
fn recorded_inputs_give_recorded_outputs() {
    let case = assets().join(CONV);
    let folder = Folder::new("recorded");
    let input = format!("x={}:0/x", case.join("inputs.safetensors").display());
    good(&call(CONV, &["--input", &input, "--output", folder.0.to_str().unwrap(), "--precision", "exact"]));
    let bytes = std::fs::read(case.join("outputs.safetensors")).unwrap();
    let expected = coreai_tasks::tensors::Tensors::new(bytes).unwrap().get("0/convolution", None).unwrap();
    let found = read_npy(&folder.0.join("convolution.npy")).unwrap();
    assert_eq!(found.shape, expected.shape);
    let (Elements::Real(a), Elements::Real(b)) = (found.elements().unwrap(), expected.elements().unwrap())
    else {
        panic!("floats")
    };
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4));
}

#[test]
fn conversions_are_said() {
    let folder = Folder::new("conversions");
    let path = folder.0.join("x.npy");
    let wide = Elements::Real(vec![0.1, 2.0, 3.0, 4.0, 5.0, 6.0]);
    write_npy(&path, &NDArray::from_elements(ElementType::F64, &[2, 3], &wide).unwrap()).unwrap();
    let x = format!("x={}", path.display());
    let output = call(DIV, &["--input", &x, "--input", "y=1,1,1,1,1,1"]);
    good(&output);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("note: x: float64 converted to float16 (rounded, by 2.4"), "{stderr}");
}

#[test]
fn made_up_inputs_repeat() {
    let one = good(&call(
        DECODER,
        &[
            "--random",
            "3",
            "--shape",
            "input_ids=1,2",
            "--shape",
            "position_ids=1,2",
            "--state-shape",
            "keyCache=2,1,2,8,32",
            "--state-shape",
            "valueCache=2,1,2,8,32",
            "--json",
        ],
    ));
    let two = good(&call(
        DECODER,
        &[
            "--random",
            "3",
            "--shape",
            "input_ids=1,2",
            "--shape",
            "position_ids=1,2",
            "--state-shape",
            "keyCache=2,1,2,8,32",
            "--state-shape",
            "valueCache=2,1,2,8,32",
            "--json",
        ],
    ));
    assert_eq!(one, two);
    let json: Value = serde_json::from_str(&one).unwrap();
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["outputs"][0]["shape"], serde_json::json!([1, 2, 320]));
    assert_eq!(json["states"].as_array().map(Vec::len), Some(2));
}

#[test]
fn states_are_given_and_kept() {
    let folder = Folder::new("states");
    let out = folder.0.to_str().unwrap();
    let state = ["--state", "b_state=1,1,1,1", "--steps", "2", "--output", out];
    let text = good(&call(STATE, &[&["--input", "x=2,2,2,3"][..], &state].concat()));
    assert!(text.contains("b_state (state)") && text.contains("state.b_state.npy"), "{text}");
    let found = read_npy(&folder.0.join("state.b_state.npy")).unwrap();
    assert_eq!(found, NDArray::from_f32(&[1, 4], &[2.0, 2.0, 2.0, 3.0]).unwrap());
    refused(&call(STATE, &["--random", "--state", "b_state=1,1"]), "2 numbers do not fill shape [1, 4]");
}

#[test]
fn values_that_do_not_fit() {
    let folder = Folder::new("misfits");
    let integers = folder.0.join("i.npy");
    let large = Elements::Int(vec![5000, 1, 1, 1, 1, 4097]);
    write_npy(&integers, &NDArray::from_elements(ElementType::SI64, &[2, 3], &large).unwrap()).unwrap();
    let integers = format!("x={}", integers.display());
    let flat = folder.0.join("flat.npy");
    write_npy(&flat, &NDArray::from_f32(&[6], &[0.0; 6]).unwrap()).unwrap();
    let flat = format!("x={}", flat.display());
    let corrupt = format!("x={}", folder.file("corrupt.npy", b"\x93NUMPY\x01\x00v\x00{'descr'"));
    let picture = format!("x={}", folder.file("corrupt.png", b"\x89PNG\r\n\x1a\n____"));
    let tensors = format!("x={}", folder.file("corrupt.safetensors", b"12345678{}"));
    let ragged = format!("x={}", folder.file("ragged.json", "[[1, 2, 3], [4]]"));
    let odd = format!("x={}", folder.file("values.txt", "1 2 3"));
    let y = ["--input", "y=1,1,1,1,1,1"];
    for (x, expected) in [
        (integers.as_str(), "expected float16, found sint64 whose values it cannot hold exactly"),
        (&flat, "expected shape [2, 3], found [6]; --shape x=…"),
        (&corrupt, "corrupt.npy: the .npy header is cut off"),
        (&tensors, "corrupt.safetensors: not a safetensors file"),
        (&ragged, "ragged.json: lists of 3 and of 1 elements"),
        (&odd, "neither numbers nor a file that is understood"),
        ("x=missing.npy", "missing.npy: "),
        ("x=1,2", "2 numbers do not fill shape [2, 3]"),
        ("z=1", "no input named \"z\"; the function has x (float16 [2, 3]), y (float16 [2, 3])"),
    ] {
        refused(&call(DIV, &[&["--input", x][..], &y].concat()), expected);
    }
    good(&call(DIV, &[&["--input", &flat, "--shape", "x=2,3"][..], &y].concat()));
    refused(&call(DIV, &y), "x (float16 [2, 3]) is not given; --input x=… gives it, --random makes it up");
    refused(&call(DIV, &["--random", "--shape", "x=3,3"]), "expected shape [2, 3], found [3, 3]");
    refused(&call(DIV, &["--random", "--state", "k=1"]), "no state named \"k\"; the function has none");
    refused(
        &call(DIV, &["--random", "--function", "other"]),
        "no function named \"other\"; --function takes one of main",
    );
    refused(&call(TOPK, &["--random"]), "has dynamic extents; --shape x=…");
    refused(&call(DECODER, &["--random"]), "has dynamic extents");
    let picture_port = call(CONV, &["--input", &picture]);
    refused(&picture_port, "corrupt.png: not a readable picture");
    refused(&run(&["run", "missing.aimodel", "--random"]), "missing.aimodel");
}

#[test]
fn an_op_that_is_not_supported_is_named_or_runs() {
    let output = call(POLAR, &["--random"]);
    match output.status.code() {
        Some(0) => assert!(good(&output).contains("complex")),
        _ => refused(&output, "is not supported"),
    }
}

#[test]
fn a_picture_becomes_the_bytes_of_its_image_type() {
    let folder = Folder::new("images");
    // 4 rows of 6 pixels, red, green and blue as in a test picture: (10·x, 20·y, 200).
    let picture = folder.0.join("p.png");
    let pixel = |x: u32, y: u32| image::Rgb([10 * x as u8, 20 * y as u8, 200]);
    image::RgbImage::from_fn(6, 4, pixel).save(&picture).unwrap();
    let input = format!("image={}", picture.display());
    for (format, second) in [("bgra", [200.0, 0.0, 10.0]), ("rgb", [10.0, 0.0, 200.0])] {
        let asset = assets().join("images").join(format!("{format}.aimodel"));
        let out = folder.0.join(format);
        let fixed = ["--compute-unit", "cpu", "--output", out.to_str().unwrap()];
        good(&run(&[&["run", asset.to_str().unwrap(), "--input", &input], &fixed[..]].concat()));
        let found = read_npy(&out.join("y.npy")).unwrap();
        let Elements::Real(values) = found.elements().unwrap() else { panic!("floats") };
        let channels = found.shape[2];
        assert_eq!(values[channels..channels + 3], second, "{format}: the second pixel");
    }
    let asset = assets().join("images").join("y420.aimodel");
    let out = folder.0.join("y420");
    good(&run(&[
        "run",
        asset.to_str().unwrap(),
        "--input",
        &input,
        "--compute-unit",
        "cpu",
        "--output",
        out.to_str().unwrap(),
    ]));
    let Elements::Real(values) = read_npy(&out.join("y.npy")).unwrap().elements().unwrap() else {
        panic!("floats")
    };
    // Luma of (0, 0, 200) is 0.114 · 200 = 22.8.
    assert_eq!((values.len(), values[0]), (36, 23.0));
}
