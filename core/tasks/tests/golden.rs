//! SmolLM2-135M-Instruct, as Apple's exporter wrote it, against golden data computed in float32 over
//! the same int4 weights. Needs `../shared/models`; without it every test says so and passes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coreai::{ComputeUnitKind, Precision, SpecializationOptions};
use coreai_tasks::language::{
    ChatSession, ChatTemplate, Decoder, GenerationOptions, LanguageModel, Message, Rows, StopReason,
    Tokenizer, TokenizerFiles,
};

/// What a precision mode has to reach.
struct Bar {
    precision: Precision,
    /// Arg-max must agree where the golden top-2 margin is at least this.
    margin: f64,
    /// Prefill logits of the first prompt, in dB.
    psnr: f64,
}

const EXACT: Bar = Bar { precision: Precision::Exact, margin: 0.1, psnr: 55.0 };
const FAST: Bar = Bar { precision: Precision::Fast, margin: 1.0, psnr: 42.0 };

/// Prompt tokens a step on the GPU unit: a prompt takes two steps, so the cache is read too.
const CHUNK: usize = 64;

#[derive(serde::Deserialize)]
struct Golden {
    prompt: String,
    prompt_ids: Vec<u32>,
    new_ids: Vec<u32>,
    margins: Vec<f64>,
}

fn models() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models");
    if folder.join("smollm2-135m-int4/metadata.json").is_file() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not there", folder.display());
    None
}

fn golden(models: &Path) -> Vec<Golden> {
    let text = std::fs::read_to_string(models.join("golden_int4.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn options(compute_unit: ComputeUnitKind, precision: Precision) -> SpecializationOptions {
    SpecializationOptions { compute_unit, precision, allow_software_adapter: true, ..Default::default() }
}

fn decoder(models: &Path, unit: ComputeUnitKind, precision: Precision) -> Decoder {
    Decoder::open_blocking(&models.join("smollm2-135m-int4"), options(unit, precision)).unwrap()
}

fn arg_max(row: &[f32]) -> u32 {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap() as u32
}

/// Fails where the margin is wide enough and the arg-max is another token.
fn check(golden: &Golden, step: usize, row: &[f32], bar: &Bar) {
    let (found, expected) = (arg_max(row), golden.new_ids[step]);
    let margin = golden.margins[step];
    assert!(
        found == expected || margin < bar.margin,
        "{:?} step {step}: token {found}, expected {expected} (margin {margin}, ours {})",
        golden.prompt,
        row[found as usize] - row[expected as usize],
    );
}

/// Rows × columns of a version 1 float32 `.npy` file.
fn read_npy(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header_length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..10 + header_length]).unwrap();
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split_once('(').unwrap().1.split_once(')').unwrap().0;
    let shape = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let data = bytes[10 + header_length..]
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    (shape, data)
}

/// Peak signal-to-noise ratio in dB; the peak is the reference's largest magnitude.
fn psnr(found: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(found.len(), reference.len());
    let peak = reference.iter().fold(0f32, |peak, v| peak.max(v.abs()));
    let squares: f64 =
        found.iter().zip(reference).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    let mean = squares / found.len() as f64;
    20.0 * f64::from(peak).log10() - 10.0 * mean.log10()
}

fn prefill_logits(models: &Path, decoder: &mut Decoder, golden: &Golden, bar: &Bar) {
    let (shape, reference) = read_npy(&models.join("golden_prefill_logits_int4.npy"));
    assert_eq!(shape, [golden.prompt_ids.len(), decoder.signature().vocabulary]);
    decoder.rewind_blocking(0).unwrap();
    decoder.append_blocking(&golden.prompt_ids, Rows::All).unwrap();
    let found = psnr(decoder.logits(), &reference);
    eprintln!("prefill logits, {:?}: {found:.1} dB", bar.precision);
    assert!(found >= bar.psnr, "{found:.1} dB, expected {} dB", bar.psnr);
}

/// Prefill, then one token a step, fed with the golden tokens.
fn decode_steps(decoder: &mut Decoder, golden: &Golden, steps: usize, bar: &Bar) {
    decoder.rewind_blocking(0).unwrap();
    decoder.advance_blocking(&golden.prompt_ids, CHUNK).unwrap();
    check(golden, 0, decoder.logits(), bar);
    for step in 1..steps {
        decoder.append_blocking(&golden.new_ids[step - 1..step], Rows::Last).unwrap();
        check(golden, step, decoder.logits(), bar);
    }
}

/// The whole sequence in chunks, with the logits of every position.
fn all_positions(decoder: &mut Decoder, golden: &Golden, bar: &Bar) {
    decoder.rewind_blocking(0).unwrap();
    let vocabulary = decoder.signature().vocabulary;
    let first = golden.prompt_ids.len() - 1;
    let ids = [golden.prompt_ids.as_slice(), &golden.new_ids[..golden.new_ids.len() - 1]].concat();
    for (chunk, tokens) in ids.chunks(CHUNK).enumerate() {
        decoder.append_blocking(tokens, Rows::All).unwrap();
        for (row, logits) in decoder.logits().chunks_exact(vocabulary).enumerate() {
            if let Some(step) = (chunk * CHUNK + row).checked_sub(first) {
                check(golden, step, logits, bar);
            }
        }
    }
}

fn cpu(bar: &Bar) {
    let Some(models) = models() else { return };
    let prompts = golden(&models);
    let mut decoder = decoder(&models, ComputeUnitKind::Cpu, bar.precision);
    prefill_logits(&models, &mut decoder, &prompts[0], bar);
    for golden in &prompts {
        decode_steps(&mut decoder, golden, golden.new_ids.len(), bar);
    }
}

fn gpu(bar: &Bar) {
    let Some(models) = models() else { return };
    let prompts = golden(&models);
    let mut decoder = decoder(&models, ComputeUnitKind::Gpu, bar.precision);
    prefill_logits(&models, &mut decoder, &prompts[0], bar);
    for golden in &prompts {
        all_positions(&mut decoder, golden, bar);
    }
    decode_steps(&mut decoder, &prompts[0], 12, bar);
}

#[test]
fn cpu_exact() {
    cpu(&EXACT);
}

#[test]
fn cpu_fast() {
    cpu(&FAST);
}

#[test]
fn gpu_exact() {
    gpu(&EXACT);
}

#[test]
fn gpu_fast() {
    gpu(&FAST);
}

/// The embedding table and the caches are larger than one binding.
#[test]
fn gpu_with_4_mib_bindings() {
    let Some(models) = models() else { return };
    let golden = &golden(&models)[0];
    let options = SpecializationOptions {
        max_binding_bytes: Some(4 << 20),
        ..options(ComputeUnitKind::Gpu, Precision::Exact)
    };
    let mut decoder = Decoder::open_blocking(&models.join("smollm2-135m-int4"), options).unwrap();
    prefill_logits(&models, &mut decoder, golden, &EXACT);
    decode_steps(&mut decoder, golden, 6, &EXACT);
}

#[test]
fn the_template_and_tokenizer_give_the_golden_prompt_ids() {
    let Some(models) = models() else { return };
    let files = TokenizerFiles::read(&models.join("smollm2-135m-int4/tokenizer")).unwrap();
    let tokenizer = Tokenizer::new(&files).unwrap();
    let template = ChatTemplate::declared(&files, || 0).unwrap().unwrap();
    for golden in golden(&models) {
        let message = Message { role: "user".into(), content: golden.prompt.clone() };
        let text = template.render(&[message], true).unwrap();
        assert_eq!(tokenizer.encode(&text, false).unwrap(), golden.prompt_ids, "{text}");
        let mut detokenizer = tokenizer.detokenizer();
        let mut streamed = String::new();
        for id in &golden.new_ids {
            streamed += &detokenizer.push(*id).unwrap();
        }
        streamed += &detokenizer.finish().unwrap();
        assert_eq!(streamed, tokenizer.decode(&golden.new_ids).unwrap());
    }
}

#[test]
fn a_conversation_streams_stops_and_reuses_its_cache() {
    let Some(models) = models() else { return };
    let path = models.join("smollm2-135m-int4");
    let options = options(ComputeUnitKind::Cpu, Precision::Exact);
    let model = Arc::new(LanguageModel::load_blocking(&path, options, Some(256)).unwrap());
    let mut chat = ChatSession::new_blocking(&model, None).unwrap();
    let generation = GenerationOptions { max_tokens: 40, ..Default::default() };
    let mut streamed = String::new();
    let first =
        chat.send_blocking("What is the capital of France?", &generation, &mut |t, _| streamed += t).unwrap();
    assert_eq!(first.text, "The capital of France is Paris.");
    assert_eq!(streamed, first.text);
    assert_eq!(first.stop_reason, StopReason::EndOfTurn);
    assert_eq!(first.figures.reused_tokens, 0);

    let second = chat.send_blocking("And of Italy?", &generation, &mut |_, _| {}).unwrap();
    // Everything but the end-of-turn token, which was sampled and never run.
    let kept = first.figures.prompt_tokens + first.token_ids.len() - 1;
    assert_eq!(second.figures.reused_tokens, kept);
    let mut fresh = model.decoder_blocking().unwrap();
    let text = model.template().unwrap().render(&chat.messages()[..3], true).unwrap();
    fresh.advance_blocking(&model.tokenizer().encode(&text, false).unwrap(), CHUNK).unwrap();
    assert_eq!(arg_max(fresh.logits()), second.token_ids[0]);

    let stops = GenerationOptions { stop: vec!["of Fr".into()], ..generation.clone() };
    chat.reset();
    let turn = chat.send_blocking("What is the capital of France?", &stops, &mut |_, _| {}).unwrap();
    assert_eq!(turn.text, "The capital ");
    assert_eq!(turn.stop_reason, StopReason::StopString("of Fr".into()));

    let error = chat.send_blocking(&"word ".repeat(300), &generation, &mut |_, _| {}).unwrap_err();
    assert_eq!(error.code(), "prompt_too_long");
    assert!(error.to_string().contains("256"), "{error}");
}
