//! A prompt fed in chunks gives the logits of the prompt fed at once.

use coreai::{ComputeUnitKind, OutputWant};
use coreai_tasks::verify::psnr;
use coreai_tests::decode::{Decoder, top};
use coreai_tests::{places, runner};

/// Rounding order differs between chunk sizes; the cache is float16.
const LEAST_DB: f64 = 60.0;

fn check(unit: ComputeUnitKind, chunks: &[usize]) {
    let options = runner::options(unit);
    let device = match unit {
        ComputeUnitKind::Cpu => None,
        ComputeUnitKind::Gpu => match runner::device(&options) {
            Some(device) => Some(device),
            None => return,
        },
    };
    for folder in places::shared_cases(&["model-decoder-qwen3-f16-4layer-wide", "model-decoder-gemma3-f32"]) {
        let model =
            runner::specialize(&folder.join("model.aimodel"), &options, device.clone()).expect("specializes");
        let vocabulary = model.functions()[0].outputs[0].shape[2].expect("static vocabulary");
        let prompt: Vec<i32> = (0..600).map(|i| (i * 7919 + 13) % vocabulary as i32).collect();
        let want = [OutputWant::last_rows(0, 1)];
        let mut whole = Decoder::new(&model, 640).expect("session");
        whole.feed(&prompt, &want).expect("runs at once");
        let expected = whole.last_logits().to_vec();
        let (token, margin) = top(&expected);
        let wide: Vec<f64> = expected.iter().map(|x| f64::from(*x)).collect();
        for chunk in chunks {
            let mut part = Decoder::new(&model, 640).expect("session");
            for tokens in prompt.chunks(*chunk) {
                part.feed(tokens, &want).expect("runs in chunks");
            }
            let found: Vec<f64> = part.last_logits().iter().map(|x| f64::from(*x)).collect();
            let db = psnr(&found, &wide);
            println!("{unit:?} chunk {chunk}: {db:.1} dB");
            assert!(db >= LEAST_DB, "{unit:?}, chunks of {chunk}: {db:.1} dB");
            if margin >= 0.1 {
                assert_eq!(top(part.last_logits()).0, token, "{unit:?}, chunks of {chunk}");
            }
        }
    }
}

#[test]
fn cpu() {
    check(ComputeUnitKind::Cpu, &[1, 7, 64, 512]);
}

#[test]
fn gpu() {
    check(ComputeUnitKind::Gpu, &[1, 7, 64, 512]);
}
