//! Trained models against their golden data: sentence embeddings and a segmentation mask.

use coreai::{ComputeUnitKind, NDArray, OutputWant};
use coreai_tests::compare::{psnr, values};
use coreai_tests::{places, runner};
use safetensors::SafeTensors;

fn floats(tensors: &SafeTensors, name: &str) -> (Vec<usize>, Vec<f64>) {
    let t = tensors.tensor(name).expect("golden tensor");
    let element = match t.dtype() {
        safetensors::Dtype::F16 => coreai::ElementType::F16,
        safetensors::Dtype::F32 => coreai::ElementType::F32,
        other => panic!("golden {name} has dtype {other:?}"),
    };
    let array = NDArray::new(element, t.shape().to_vec(), t.data().to_vec()).expect("golden data");
    (t.shape().to_vec(), values(&array))
}

fn units() -> Vec<(ComputeUnitKind, Option<std::sync::Arc<coreai::gpu::GpuDevice>>)> {
    let mut units = vec![(ComputeUnitKind::Cpu, None)];
    if let Some(device) = runner::device(&runner::options(ComputeUnitKind::Gpu)) {
        units.push((ComputeUnitKind::Gpu, Some(device)));
    }
    units
}

#[test]
fn minilm_embeds_sentences() {
    let Some(folder) = places::shared("models/minilm") else { return };
    let golden: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("golden.json")).expect("golden.json")).expect("JSON");
    let bytes = std::fs::read(folder.join("golden.safetensors")).expect("golden data");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let (shape, reference) = floats(&tensors, "ref_embedding"); // [sentences, 384]
    for (unit, device) in units() {
        let path = folder.join("all-MiniLM-L6-v2_int8.aimodel");
        let model = runner::specialize(&path, &runner::options(unit), device).expect("specializes");
        let mut session = model.session_blocking("main", &[]).expect("session");
        let output = session.output_index("sentence_embedding").expect("output");
        for (i, ids) in golden["token_ids"].as_array().expect("token ids").iter().enumerate() {
            let ids: Vec<i32> = ids.as_array().expect("ids").iter().map(|x| x.as_i64().expect("id") as i32).collect();
            let dims = [1, ids.len()];
            session.set_array("input_ids", &NDArray::from_i32(&dims, &ids).expect("ids")).expect("set");
            let mask = NDArray::from_i32(&dims, &vec![1; ids.len()]).expect("mask");
            session.set_array("attention_mask", &mask).expect("set");
            session.run_blocking(&[OutputWant::all(output)]).expect("runs");
            let found: Vec<f64> = session.output_f32(output).iter().map(|x| f64::from(*x)).collect();
            let expected = &reference[i * shape[1]..(i + 1) * shape[1]];
            let dot: f64 = found.iter().zip(expected).map(|(a, b)| a * b).sum();
            let norms = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
            let cosine = dot / norms(&found) / norms(expected);
            // Apple's runtime has 0.9995 against the same float32 reference: int8 weights.
            assert!(cosine >= 0.9995, "{unit:?}, sentence {i}: cosine {cosine}");
        }
    }
}

#[test]
fn selfie_segmentation_masks_the_person() {
    let Some(folder) = places::shared("models/selfie-segmentation") else { return };
    let bytes = std::fs::read(folder.join("golden.safetensors")).expect("golden data");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let names: Vec<&str> = tensors.names();
    println!("golden tensors: {names:?}");
    let find = |part: &str| names.iter().copied().find(|n| n.contains(part)).expect("golden tensor");
    let (shape, image) = floats(&tensors, find("image"));
    let image: Vec<f32> = image.into_iter().map(|x| x as f32).collect();
    let reference = if names.contains(&"ref_mask") { "ref_mask" } else { find("mask") };
    let (_, mask) = floats(&tensors, reference);
    // float16 weights: Apple's runtime is 59.6 dB from the float32 reference.
    for (file, least) in [("float32", 90.0), ("float16", 55.0)] {
        for (unit, device) in units() {
            let path = folder.join(format!("selfie_segmentation_{file}.aimodel"));
            let model = runner::specialize(&path, &runner::options(unit), device).expect("specializes");
            let mut session = model.session_blocking("main", &[]).expect("session");
            session.set_input(0, &shape, coreai::InputData::F32(&image)).expect("set");
            session.run_blocking(&[OutputWant::all(0)]).expect("runs");
            let found: Vec<f64> = session.output_f32(0).iter().map(|x| f64::from(*x)).collect();
            let db = psnr(&found, &mask);
            println!("{file} {unit:?}: {db:.1} dB");
            assert!(db >= least, "{file} on {unit:?}: {db:.1} dB");
        }
    }
}
