//! Device memory of whole models: weights and temporaries stay near what no plan can do without, the
//! weights as the asset has them and the temporaries that are alive in one step together.

use std::collections::BTreeMap;

use coreai::arena::{assign, largest_live_set};
use coreai::plan::{Plan, SymbolSource};
use coreai::step::{Buffer, BufferId, QuantFormat, Role};
use coreai::{ComputeUnitKind, Session};
use coreai_tasks::verify::{Case, Step, values};
use coreai_tests::{places, runner};

/// What may be held, relative to that.
const FACTOR: f64 = 1.3;

/// Decoders, encoders, convolutional nets, a U-Net, a detector, a speech model.
const MODELS: &[&str] = &[
    "model-decoder-gemma3-f16-",
    "model-decoder-gpt-oss-f32-",
    "model-decoder-qwen3-f16-6",
    "model-decoder-qwen3-f16-static-cache-",
    "model-decoder-qwen3-int4-block32-",
    "model-decoder-qwen3-int8-channel-",
    "model-edsr-f32-",
    "model-encoder-bert-dynamic-f32-",
    "model-encoder-bert-f16-",
    "model-encoder-bert-int4-block32-",
    "model-gpt2-f32-",
    "model-mobilenet-v2-f32-",
    "model-mobilenet-v3-f16-",
    "model-resnet-small-f32-",
    "model-resnet-small-int8-channel-",
    "model-t5-encoder-f32-",
    "model-unet-f32-",
    "model-vae-decoder-f32-",
    "model-vit-f16-",
    "model-whisper-f32-",
    "model-yolo-like-f16-",
    "model-yolo-like-f32-",
];

/// Values of the plan's symbols in a recorded step.
fn symbols(plan: &Plan, case: &Case, step: &Step) -> Vec<i64> {
    let value = |source: SymbolSource| match source {
        SymbolSource::InputDim { input, axis } => step.inputs[&plan.inputs[input].name].shape[axis] as i64,
        SymbolSource::StateDim { state, axis } => {
            step.state_before[&plan.states[state].name].shape[axis] as i64
        }
        SymbolSource::InputElement { input, element } => {
            let tensor = &step.inputs[&plan.inputs[input].name];
            let array = case.tensor("inputs", tensor).expect("readable").expect("recorded");
            values(&array)[element] as i64
        }
        SymbolSource::Later => panic!("plans have none"),
    };
    plan.symbols.iter().map(|s| value(s.source)).collect()
}

fn quantized_bytes(format: &QuantFormat) -> u64 {
    let codes: u64 = format.dims.iter().product();
    let blocks: u64 = format.dims.iter().zip(&format.blocks).map(|(d, b)| d.div_ceil(*b)).product();
    let (code, scale) = (u64::from(format.code.bits()), u64::from(format.scale.bits()));
    let zero = if format.zero { code } else { 0 };
    let min = if format.min { scale } else { 0 };
    (codes * code + blocks * (scale + zero + min)).div_ceil(8)
}

/// Bytes of a plan's constants: as the asset has them, with a splat's element repeated; what the planner
/// computed counts as it is. Each once.
fn weights(plan: &Plan) -> u64 {
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    let views = plan.steps.iter().flat_map(|s| s.reads.iter());
    for buffer in views.map(|v| plan.buffer(v)) {
        let (key, bytes) = match (&buffer.role, &buffer.storage) {
            (Role::Constant(constant), _) => {
                let stored = constant.range.end - constant.range.start;
                let times = if constant.splat { elements(buffer, &[]) } else { 1 };
                (format!("{constant:?} {times}"), stored * times)
            }
            (Role::Quant(source), coreai::step::Storage::Quant(format)) => {
                (format!("{:?}", source.codes), quantized_bytes(format))
            }
            (Role::Host(bytes), _) => (format!("{:p}", bytes.as_ptr()), bytes.len() as u64),
            _ => continue,
        };
        found.insert(key, bytes);
    }
    found.values().sum()
}

fn elements(buffer: &Buffer, symbols: &[i64]) -> u64 {
    u64::try_from(buffer.elements.eval(symbols)).expect("sizes are not negative")
}

struct Found {
    /// Of the device.
    weights: u64,
    arena: u64,
    /// What they are compared with.
    declared: u64,
    live: u64,
    /// Slots for exactly the recorded extents.
    slots: u64,
}

impl Found {
    fn after(case: &Case, step: &Step, session: &Session) -> Found {
        let plan = session.plan().expect("one plan").clone();
        let symbols = symbols(&plan, case, step);
        let bytes = |id: BufferId| {
            let buffer = &plan.buffers[id.0 as usize];
            Plan::storage_bytes(&buffer.storage, elements(buffer, &symbols))
        };
        let device = session.model().device_bytes();
        Found {
            weights: device.weights,
            arena: device.arena,
            declared: weights(&plan),
            live: largest_live_set(&plan, &bytes),
            slots: assign(&plan, &bytes).slot_bytes.iter().sum(),
        }
    }

    fn share(&self) -> f64 {
        (self.weights + self.arena) as f64 / (self.declared + self.live) as f64
    }
}

#[test]
fn device_memory_is_near_the_least_possible() {
    let cases = places::shared_cases(MODELS);
    let mut wrong = vec![];
    let mut models = 0;
    for folder in &cases {
        let case = Case::read(folder).expect("a recorded case is readable");
        let options = runner::options(ComputeUnitKind::Gpu);
        // A device of its own: its counters are the model's.
        let Some(device) = runner::device(&options) else { return };
        let model = runner::specialize(&case.asset, &options, Some(device)).expect("specializes");
        let mut session = runner::session(&case, &model).expect("a session");
        let step = &case.steps[0];
        runner::step(&case, step, &mut session).expect("runs");
        let found = Found::after(&case, step, &session);
        println!(
            "{:60} weights {:8} of {:8}  arena {:7}, slots {:7}, live {:7} ({:.2})  {:.3}",
            case.id,
            found.weights,
            found.declared,
            found.arena,
            found.slots,
            found.live,
            found.slots as f64 / found.live as f64,
            found.share()
        );
        models += 1;
        if found.share() > FACTOR {
            wrong.push(format!("{}: {:.3}", case.id, found.share()));
        }
    }
    assert!(wrong.is_empty(), "more than {FACTOR} of the least memory: {}", wrong.join(", "));
    assert!(cases.is_empty() || models >= MODELS.len(), "{models} models");
}
