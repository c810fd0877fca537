//! SmolLM2-135M-Instruct, imported from its GGUF file, against golden tokens computed in float32 over the
//! dequantized weights. Needs the file, which `make unit` and `make run` fetch, and `../shared/models`; without them every
//! test says so and passes.

use std::path::PathBuf;
use std::time::Instant;

use coreai::ComputeUnitKind;
use coreai_convert::fetch::{PackageConfig, SMOLLM2};
use coreai_convert::{Checkpoint, ImportOptions, ImportReport, StoredAs, import};
use coreai_tasks::language::{Decoder, Rows};
use coreai_tests::{places, runner};

/// Where the golden top-2 margin is at least this, the arg-max has to be the golden one.
const MARGIN: f64 = 0.1;
/// Prompt tokens a step: a prompt takes two, so the cache is read too.
const CHUNK: usize = 64;

#[derive(serde::Deserialize)]
struct Golden {
    prompt: String,
    prompt_ids: Vec<u32>,
    new_ids: Vec<u32>,
    margins: Vec<f64>,
}

fn golden() -> Option<Vec<Golden>> {
    let text = std::fs::read_to_string(places::shared("models/golden_f32.json")?).expect("can be read");
    Some(serde_json::from_str(&text).expect("prompts"))
}

/// The bundle of a test, and what the import said.
fn bundle(name: &str) -> Option<(PathBuf, ImportReport)> {
    let config = PackageConfig { offline: true, ..PackageConfig::from_env().ok()? };
    let file = config.fetch(&SMOLLM2, &mut ()).map_err(|error| eprintln!("skipped: {error}")).ok()?;
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let checkpoint = Checkpoint::open(&file).expect("a checkpoint");
    let options = ImportOptions { replace: true, ..ImportOptions::default() };
    let report = import(&checkpoint, &folder, &options, &mut |_| {}).expect("can be imported");
    Some((folder, report))
}

fn decoder(bundle: &std::path::Path, unit: ComputeUnitKind) -> Option<Decoder> {
    let options = runner::options(unit);
    if unit == ComputeUnitKind::Gpu {
        runner::device(&options)?;
    }
    Some(Decoder::open_blocking(bundle, options).expect("loads"))
}

fn arg_max(row: &[f32]) -> u32 {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).expect("a vocabulary") as u32
}

/// Fails where the margin is wide enough and the arg-max is another token.
fn check(golden: &Golden, step: usize, row: &[f32]) {
    let (found, expected) = (arg_max(row), golden.new_ids[step]);
    let margin = golden.margins[step];
    assert!(
        found == expected || margin < MARGIN,
        "{:?} step {step}: token {found}, expected {expected} (margin {margin}, ours {})",
        golden.prompt,
        row[found as usize] - row[expected as usize],
    );
}

#[test]
fn packed_weights_stay_packed_and_exact() {
    let start = Instant::now();
    let Some((_, report)) = bundle("smollm2-report") else { return };
    println!("imported in {:.2} s", start.elapsed().as_secs_f64());
    assert_eq!(report.parameters, 134_479_872);
    assert_eq!(report.max_abs_difference, Some(0.0), "scales and minimums of the file are float16");
    for weight in &report.weights {
        let StoredAs::Packed { codes, block, minimum, compressed, .. } = &weight.stored else {
            panic!("{} is {}", weight.name, weight.stored);
        };
        let table = weight.name.contains("embed_tokens");
        let expected = if table { ("sint8", 32, false) } else { ("uint4", 32, true) };
        assert_eq!((codes.name(), *block, *minimum), expected, "{}", weight.name);
        assert!(!compressed, "{}", weight.name);
    }
}

/// A token a step, fed with the golden tokens.
#[test]
fn the_processor_finds_the_golden_tokens() {
    let (Some(golden), Some((folder, _))) = (golden(), bundle("smollm2-cpu")) else { return };
    let mut decoder = decoder(&folder, ComputeUnitKind::Cpu).expect("the processor is there");
    for golden in &golden {
        decoder.rewind_blocking(0).expect("to the start");
        decoder.advance_blocking(&golden.prompt_ids, CHUNK).expect("runs");
        check(golden, 0, decoder.logits());
        for step in 1..golden.new_ids.len() {
            decoder.append_blocking(&golden.new_ids[step - 1..step], Rows::Last).expect("runs");
            check(golden, step, decoder.logits());
        }
    }
}

/// All positions in chunks, then single steps. `COREAI_WHOLE_SET` takes all prompts instead of two.
#[test]
fn the_gpu_finds_the_golden_tokens() {
    let (Some(golden), Some((folder, _))) = (golden(), bundle("smollm2-gpu")) else { return };
    let Some(mut decoder) = decoder(&folder, ComputeUnitKind::Gpu) else { return };
    let prompts = if std::env::var_os("COREAI_WHOLE_SET").is_some() { golden.len() } else { 2 };
    for golden in golden.iter().take(prompts) {
        decoder.rewind_blocking(0).expect("to the start");
        let vocabulary = decoder.signature().vocabulary;
        let first = golden.prompt_ids.len() - 1;
        let ids = [golden.prompt_ids.as_slice(), &golden.new_ids[..golden.new_ids.len() - 1]].concat();
        for (chunk, tokens) in ids.chunks(CHUNK).enumerate() {
            decoder.append_blocking(tokens, Rows::All).expect("runs");
            for (row, logits) in decoder.logits().chunks_exact(vocabulary).enumerate() {
                if let Some(step) = (chunk * CHUNK + row).checked_sub(first) {
                    check(golden, step, logits);
                }
            }
        }
    }
    let golden = &golden[0];
    decoder.rewind_blocking(0).expect("to the start");
    decoder.advance_blocking(&golden.prompt_ids, CHUNK).expect("runs");
    check(golden, 0, decoder.logits());
    for step in 1..8 {
        decoder.append_blocking(&golden.new_ids[step - 1..step], Rows::Last).expect("runs");
        check(golden, step, decoder.logits());
    }
}
