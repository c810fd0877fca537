//! Attention makes no buffer of scores: of no plan is a temporary as large as heads × queries × keys.

use coreai::plan::Plan;
use coreai::step::{Kernel, Role};
use coreai::{AIModel, ComputeUnitKind, OutputWant, SpecializationOptions};
use coreai_tests::decode::Decoder;
use coreai_tests::{places, runner};
use std::path::Path;
use std::sync::Arc;

/// Tokens of a sequence: scores of so many are larger than any activation of the recorded models.
const LONG: usize = 512;

fn model(folder: &Path, rules: bool) -> Arc<AIModel> {
    let options = SpecializationOptions { rules, ..runner::options(ComputeUnitKind::Cpu) };
    runner::specialize(&folder.join("model.aimodel"), &options, None).expect("specializes")
}

/// Elements of the largest temporary; `symbols` are the values of the plan's symbols.
fn largest(plan: &Plan, symbols: &[i64]) -> i64 {
    let temporaries = plan.buffers.iter().filter(|b| b.role == Role::Temp);
    temporaries.map(|b| b.elements.eval(symbols)).max().unwrap_or(0)
}

/// Heads × queries × keys of each attention step.
fn scores(plan: &Plan, symbols: &[i64]) -> Vec<i64> {
    let steps = plan.steps.iter().filter(|s| matches!(s.kernel, Kernel::Attention { .. }));
    let size = |step: &coreai::step::Step| {
        let (query, key) = (&step.reads[0].dims, &step.reads[1].dims);
        query[..3].iter().chain([&key[2]]).map(|d| d.eval(symbols)).product()
    };
    steps.map(size).collect()
}

/// Every dynamic extent of the inputs and states is `LONG`, and so are the symbols.
fn long(plan: &Plan) -> Vec<i64> {
    vec![LONG as i64; plan.symbols.len()]
}

#[test]
fn a_decoder_of_a_long_prompt() {
    let cases = places::shared_cases(&["model-decoder-qwen3-f32-", "model-decoder-gemma3-f32-"]);
    for folder in cases {
        let plan = |rules: bool| {
            let mut decoder = Decoder::new(&model(&folder, rules), LONG).expect("a session");
            decoder.feed(&[1; LONG], &[OutputWant::last_rows(0, 1)]).expect("runs");
            decoder.session.plan().expect("one plan").clone()
        };
        let fused = plan(true);
        let symbols = long(&fused);
        let least = scores(&fused, &symbols).into_iter().min().expect("attention steps");
        assert!(least >= (LONG * LONG) as i64, "{least} scores");
        let found = largest(&fused, &symbols);
        assert!(found < least, "{}: {found} elements, {least} scores", folder.display());
        // The bodies have such a buffer, so this can tell.
        let body = plan(false);
        assert!(largest(&body, &long(&body)) >= least, "{}", folder.display());
    }
}

/// Models of fixed extents are too short for sizes to tell: no step but attention sees the scores' shape.
#[test]
fn models_of_fixed_extents() {
    for folder in places::shared_cases(&[
        "model-encoder-bert-f32-",
        "model-mha-encoder-f32-",
        "model-vae-decoder-f32-",
        "model-vit-f32-",
    ]) {
        let plan = |rules: bool| {
            let model = model(&folder, rules);
            let case = coreai_tasks::verify::Case::read(&folder).expect("readable");
            let mut session = runner::session(&case, &model).expect("a session");
            runner::step(&case, &case.steps[0], &mut session).expect("runs");
            session.plan().expect("one plan").clone()
        };
        let fused = plan(true);
        let shapes: Vec<[i64; 3]> = fused
            .steps
            .iter()
            .filter(|s| matches!(s.kernel, Kernel::Attention { .. }))
            .map(|s| {
                let (query, key) = (&s.reads[0].dims, &s.reads[1].dims);
                [&query[1], &query[2], &key[2]].map(|d| d.as_const().expect("fixed"))
            })
            .collect();
        let seen = |plan: &Plan| {
            let writes = plan.steps.iter().flat_map(|s| &s.writes);
            let dims: Vec<Vec<i64>> =
                writes.map(|w| w.dims.iter().map(|d| d.as_const().unwrap_or(0)).collect()).collect();
            let ends = |d: &Vec<i64>, [heads, t, s]: &[i64; 3]| {
                d.ends_with(&[*t, *s]) && d.iter().product::<i64>() >= heads * t * s
            };
            shapes.iter().any(|shape| dims.iter().any(|d| ends(d, shape)))
        };
        assert!(!shapes.is_empty(), "{} has no attention", folder.display());
        assert!(!seen(&fused), "{}: scores {shapes:?} in a buffer", folder.display());
        assert!(seen(&plan(false)), "{}: the body has scores {shapes:?}", folder.display());
    }
}
