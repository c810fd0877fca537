//! What a session promises beyond numbers: selected rows, forks, cancellation, refusal of bad input.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use coreai::{AIModel, ComputeUnitKind, Error, InputData, NDArray, OutputWant};
use coreai_tasks::verify::psnr;
use coreai_tests::decode::Decoder;
use coreai_tests::{places, runner};

fn decoder_models() -> Vec<Arc<AIModel>> {
    let own = places::own_cases().into_iter().find(|p| p.to_string_lossy().contains("decoder-qwen3-int4"));
    let path = own.expect("the repository holds a decoder").join("model.aimodel");
    let mut models = vec![];
    for unit in [ComputeUnitKind::Cpu, ComputeUnitKind::Gpu] {
        let options = runner::options(unit);
        let device = match unit {
            ComputeUnitKind::Cpu => None,
            ComputeUnitKind::Gpu => match runner::device(&options) {
                Some(device) => Some(device),
                None => continue,
            },
        };
        models.push(runner::specialize(&path, &options, device).expect("specializes"));
    }
    models
}

fn wide(logits: &[f32]) -> Vec<f64> {
    logits.iter().map(|x| f64::from(*x)).collect()
}

#[test]
fn the_last_rows_are_the_last_rows_of_the_whole() {
    let tokens: Vec<i32> = (0..9).collect();
    for model in decoder_models() {
        let mut whole = Decoder::new(&model, 32).expect("session");
        whole.feed(&tokens, &[OutputWant::all(0)]).expect("runs");
        let vocabulary = whole.session.output_shape(0)[2];
        let all = wide(whole.session.output_f32(0));
        for rows in [1, 3] {
            let mut part = Decoder::new(&model, 32).expect("session");
            part.feed(&tokens, &[OutputWant::last_rows(0, rows)]).expect("runs");
            assert_eq!(part.session.output_shape(0), [1, rows, vocabulary]);
            let found = wide(part.session.output_f32(0));
            let db = psnr(&found, &all[all.len() - rows * vocabulary..]);
            assert!(db > 100.0, "{rows} rows: {db:.1} dB");
        }
        let steps = |session: &coreai::Session| {
            let plan = session.plan().expect("ran").clone();
            let head = plan.outputs[0].dims[1].as_const();
            (plan.steps.len(), head)
        };
        let mut part = Decoder::new(&model, 32).expect("session");
        part.feed(&tokens, &[OutputWant::last_rows(0, 1)]).expect("runs");
        assert_eq!(steps(&part.session).1, Some(1), "the head computes one row only");
    }
}

#[test]
fn a_fork_goes_its_own_way() {
    for model in decoder_models() {
        let want = [OutputWant::last_rows(0, 1)];
        let mut first = Decoder::new(&model, 32).expect("session");
        first.feed(&[5, 6, 7], &want).expect("runs");
        let before = first.session.read_state_blocking("keyCache").expect("state");
        let fork = pollster::block_on(first.session.fork()).expect("forks");
        first.feed(&[8], &want).expect("runs");
        assert_eq!(fork.read_state_blocking("keyCache").expect("state"), before);
        assert_ne!(first.session.read_state_blocking("keyCache").expect("state"), before);
    }
}

#[test]
fn growing_a_cache_keeps_its_content() {
    for model in decoder_models() {
        let want = [OutputWant::last_rows(0, 1)];
        let mut fixed = Decoder::new(&model, 64).expect("session");
        let mut grown = Decoder::new(&model, 8).expect("session");
        fixed.feed(&[1, 2, 3, 4, 5], &want).expect("runs");
        grown.feed(&[1, 2, 3, 4, 5], &want).expect("runs");
        for name in ["keyCache", "valueCache"] {
            let mut shape = grown.session.state_shape(name).expect("state").to_vec();
            shape[3] = 64;
            grown.session.resize_state_blocking(name, &shape).expect("grows");
        }
        for token in 6..12 {
            fixed.feed(&[token], &want).expect("runs");
            grown.feed(&[token], &want).expect("runs");
        }
        assert_eq!(fixed.last_logits(), grown.last_logits());
    }
}

#[test]
fn a_full_cache_is_an_error_that_names_the_op() {
    for model in decoder_models() {
        let mut decoder = Decoder::new(&model, 4).expect("session");
        let error = decoder.feed(&[1, 2, 3, 4, 5], &[OutputWant::all(0)]).expect_err("does not fit");
        assert!(error.to_string().contains("slice"), "{error}");
    }
}

#[test]
fn a_cancelled_run_says_so() {
    for model in decoder_models() {
        let mut decoder = Decoder::new(&model, 16).expect("session");
        decoder.session.cancel_flag().store(true, Ordering::Relaxed);
        let error = decoder.feed(&[1], &[OutputWant::all(0)]).expect_err("cancelled");
        assert!(matches!(error, Error::Cancelled), "{error}");
    }
}

#[test]
fn wrong_inputs_are_refused_with_both_sides_named() {
    for model in decoder_models() {
        let mut session = Decoder::new(&model, 16).expect("session").session;
        let wrong = |e: Error, parts: &[&str]| {
            let text = e.to_string();
            assert!(parts.iter().all(|p| text.contains(p)), "{text}");
            assert_eq!(e.code(), "input");
        };
        let floats = NDArray::from_f32(&[1, 1], &[0.0]).expect("array");
        wrong(
            session.set_array("input_ids", &floats).expect_err("dtype"),
            &["input_ids", "sint32", "float32"],
        );
        let ids = NDArray::from_i32(&[2, 1], &[0, 0]).expect("array");
        wrong(session.set_array("input_ids", &ids).expect_err("shape"), &["input_ids", "[1, ?]", "[2, 1]"]);
        wrong(session.set_array("nothing", &ids).expect_err("name"), &["nothing", "input_ids"]);
        session.set_input(0, &[1, 1], InputData::I32(&[1])).expect("fits");
        wrong(session.run_blocking(&[OutputWant::all(0)]).expect_err("unset"), &["is not set"]);
        let error = model.session_blocking("nope", &[]).err().expect("no such function");
        assert_eq!(error.code(), "no_function");
    }
}

#[test]
fn a_token_out_of_range_is_an_error_before_any_result() {
    for model in decoder_models() {
        let mut decoder = Decoder::new(&model, 16).expect("session");
        let error = decoder.feed(&[1_000_000, 1], &[OutputWant::all(0)]).expect_err("out of range");
        assert!(matches!(error, Error::IndexOutOfRange { .. }), "{error}");
        assert!(error.to_string().contains("1000000"), "{error}");
        // The session is usable afterwards.
        let mut decoder = Decoder::new(&model, 16).expect("session");
        decoder.feed(&[1, 2], &[OutputWant::all(0)]).expect("runs");
    }
}

/// A loop whose condition is the constant true and whose body adds no node: planning ends, and so does a run
/// that is cancelled.
#[test]
fn an_endless_loop_can_be_cancelled() {
    let path = places::root().join("tests/assets/loops/endless.aimodel");
    let options = runner::options(ComputeUnitKind::Cpu);
    let model = runner::specialize(&path, &options, None).expect("a loop can be planned");
    let mut session = model.session_blocking("main", &[]).expect("session");
    session.set_array("x", &NDArray::from_f32(&[3], &[1.0, 2.0, 3.0]).expect("three numbers")).expect("fits");
    let cancel = session.cancel_flag();
    let run = std::thread::spawn(move || session.run_blocking(&[OutputWant::all(0)]));
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(!run.is_finished(), "an endless loop ended");
    cancel.store(true, Ordering::Relaxed);
    let result = run.join().expect("no panic");
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
}
