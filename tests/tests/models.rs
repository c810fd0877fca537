//! Trained models against their golden data: sentence embeddings and a segmentation mask.

use coreai::{ComputeUnitKind, NDArray, OutputWant};
use coreai_tasks::verify::{psnr, values};
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

fn integers(tensors: &SafeTensors, name: &str) -> (Vec<usize>, Vec<i32>) {
    let t = tensors.tensor(name).expect("golden tensor");
    let array =
        NDArray::new(coreai::ElementType::SI32, t.shape().to_vec(), t.data().to_vec()).expect("int32");
    (t.shape().to_vec(), values(&array).into_iter().map(|x| x as i32).collect())
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
        serde_json::from_slice(&std::fs::read(folder.join("golden.json")).expect("golden.json"))
            .expect("JSON");
    let bytes = std::fs::read(folder.join("golden.safetensors")).expect("golden data");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let (shape, reference) = floats(&tensors, "ref_embedding"); // [sentences, 384]
    let (_, apple) = floats(&tensors, "apple_int8_embedding"); // [3, 384]
    for (unit, device) in units() {
        let path = folder.join("all-MiniLM-L6-v2_int8.aimodel");
        let model = runner::specialize(&path, &runner::options(unit), device).expect("specializes");
        let mut session = model.session_blocking("main", &[]).expect("session");
        let output = session.output_index("sentence_embedding").expect("output");
        let mut alone = vec![];
        for (i, ids) in golden["token_ids"].as_array().expect("token ids").iter().enumerate() {
            let ids: Vec<i32> =
                ids.as_array().expect("ids").iter().map(|x| x.as_i64().expect("id") as i32).collect();
            let dims = [1, ids.len()];
            session.set_array("input_ids", &NDArray::from_i32(&dims, &ids).expect("ids")).expect("set");
            let mask = NDArray::from_i32(&dims, &vec![1; ids.len()]).expect("mask");
            session.set_array("attention_mask", &mask).expect("set");
            session.run_blocking(&[OutputWant::all(output)]).expect("runs");
            let found: Vec<f64> = session.output_f32(output).iter().map(|x| f64::from(*x)).collect();
            alone.extend_from_slice(&found);
            let expected = &reference[i * shape[1]..(i + 1) * shape[1]];
            let dot: f64 = found.iter().zip(expected).map(|(a, b)| a * b).sum();
            let norms = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
            let cosine = dot / norms(&found) / norms(expected);
            // The reference is float32; the weights are int8 (Apple's runtime: 0.9995 on the first three).
            assert!(cosine >= 0.999, "{unit:?}, sentence {i}: cosine {cosine}");
            if (i + 1) * shape[1] <= apple.len() {
                // Apple's runtime rounds every intermediate to float16; ours keeps float32.
                let db = psnr(&found, &apple[i * shape[1]..(i + 1) * shape[1]]);
                println!("{unit:?}, sentence {i}: {db:.1} dB from Apple's runtime");
                assert!(db >= 50.0, "{unit:?}, sentence {i}: {db:.1} dB from Apple's runtime");
            }
        }
        // A padded batch gives the same embeddings as the sentences one by one.
        let (dims, ids) = integers(&tensors, "batch_input_ids");
        let (_, mask) = integers(&tensors, "batch_attention_mask");
        session.set_array("input_ids", &NDArray::from_i32(&dims, &ids).expect("ids")).expect("set");
        session.set_array("attention_mask", &NDArray::from_i32(&dims, &mask).expect("mask")).expect("set");
        session.run_blocking(&[OutputWant::all(output)]).expect("runs the batch");
        let batch: Vec<f64> = session.output_f32(output).iter().map(|x| f64::from(*x)).collect();
        let db = psnr(&batch, &alone);
        println!("{unit:?}, batch: {db:.1} dB from the single sentences");
        assert!(db >= 80.0, "{unit:?}, batch: {db:.1} dB");
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
