//! What decoding and loading may cost, counted.

use coreai::{ComputeUnitKind, OutputWant, Precision, SpecializationOptions};
use coreai_tests::counting::Counting;
use coreai_tests::decode::Decoder;
use coreai_tests::{places, runner};

#[global_allocator]
static HEAP: Counting = Counting::new();

/// One test function, so that nothing else allocates while it counts.
#[test]
fn decoding_and_loading() {
    decode_steps_create_nothing();
    loading_stays_small();
    a_token_reads_the_weights_once();
}

fn decode_steps_create_nothing() {
    let options =
        SpecializationOptions { precision: Precision::Fast, ..runner::options(ComputeUnitKind::Gpu) };
    let Some(device) = runner::device(&options) else { return };
    let cases =
        places::own_cases().into_iter().filter(|p| p.to_string_lossy().contains("decoder-qwen3-int4"));
    let folder = cases.into_iter().next().expect("the repository holds a decoder");
    let model =
        runner::specialize(&folder.join("model.aimodel"), &options, Some(device)).expect("specializes");
    let mut decoder = Decoder::new(&model, 512).expect("session");
    decoder.reserve(512);
    let want = [OutputWant::last_rows(0, 1)];
    // 260 tokens bring s into the bucket 257..=512; then 200 steps stay in it.
    let prompt: Vec<i32> = (0..260).map(|i| i % 320).collect();
    decoder.feed(&prompt, &want).expect("prefill");
    for token in 0..3 {
        decoder.feed(&[token], &want).expect("warm-up");
    }
    let before = decoder.session.counters();
    let calls = HEAP.calls();
    let mut per_step = None;
    let mut last = before.device.bytes_written;
    for token in 0..200 {
        decoder.feed(&[token % 320], &want).expect("step");
        let written = decoder.session.counters().device.bytes_written;
        let step = *per_step.get_or_insert(written - last);
        assert!(written - last <= step, "step {token} writes {} bytes, the first {step}", written - last);
        last = written;
    }
    let allocated = HEAP.calls() - calls;
    let after = decoder.session.counters();
    assert_eq!(allocated, 0, "heap allocations in 200 steps");
    assert_eq!(after.device.layouts, before.device.layouts, "layouts");
    assert_eq!(after.device.bind_groups, before.device.bind_groups, "bind groups");
    assert_eq!(after.device.bind_group_layouts, before.device.bind_group_layouts, "bind group layouts");
    assert_eq!(after.device.pipelines, before.device.pipelines, "pipelines");
    assert_eq!(after.device.buffers, before.device.buffers, "buffers");
    let dispatches = decoder.session.dispatches() as u64;
    assert_eq!(after.device.dispatches - before.device.dispatches, 200 * dispatches, "dispatches");
    // One 256-byte block of parameters per dispatch, one token, one position.
    let most = dispatches * 256 + 64;
    let step = per_step.unwrap_or(u64::MAX);
    println!("{dispatches} dispatches, {step} bytes written per step");
    assert!(step <= most, "{step} bytes written per step, at most {most} expected");
}

fn loading_stays_small() {
    let Some(bundle) = places::shared("models/smollm2-135m-int4/smollm2_135m_instruct_int4.aimodel") else {
        return;
    };
    let options = runner::options(ComputeUnitKind::Gpu);
    let Some(device) = runner::device(&options) else { return };
    let base = HEAP.live();
    HEAP.reset_peak();
    let model = runner::specialize(&bundle, &options, Some(device)).expect("specializes");
    let heap = HEAP.peak() - base;
    let packed = packed_weight_bytes(&bundle);
    let weights = model.device_bytes().weights;
    println!("peak heap {:.1} MB, device weights {weights}, packed {packed}", heap as f64 / 1e6);
    assert!(heap <= 64 << 20, "{heap} bytes of heap while loading");
    assert!(
        weights as f64 <= 1.1 * packed as f64,
        "{weights} bytes of weights on the device, {packed} packed"
    );
}

/// What `bench` calls bytes read per token: the weights, and little else at a short context.
fn a_token_reads_the_weights_once() {
    let Some(path) = places::shared("models/smollm2-135m-int4/smollm2_135m_instruct_int4.aimodel") else {
        return;
    };
    let options = runner::options(ComputeUnitKind::Cpu);
    let model = runner::specialize(&path, &options, None).expect("specializes");
    let mut decoder = Decoder::new(&model, 16).expect("session");
    decoder.feed(&[1], &[OutputWant::last_rows(0, 1)]).expect("runs");
    let read = decoder.session.counters().memory_read as f64;
    let packed = packed_weight_bytes(&path) as f64;
    assert!((packed..1.05 * packed).contains(&read), "{read} bytes read per token, {packed} of weights");
}

/// Bytes of the constants of an asset, each resource once.
fn packed_weight_bytes(path: &std::path::Path) -> u64 {
    let asset = coreai_asset::Asset::open(path).expect("opens");
    let mut seen = std::collections::BTreeSet::new();
    for function in &asset.functions {
        for op in &function.body.ops {
            if let Some(coreai_asset::Attribute::Constant(c)) = op.attr("value") {
                seen.insert((c.range.start, c.range.end));
            }
        }
    }
    seen.iter().map(|(a, b)| b - a).sum()
}
