//! `coreai-run MODEL`: one answer, or a conversation.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use coreai_tasks::language::{ChatSession, GenerationOptions, LanguageModel, SamplingOptions};

use super::device::Device;
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::{chat, figures, loading, prompt, trace};

/// Arguments for using a model.
#[derive(Debug, Args)]
pub struct Talk {
    /// Bundle folder (metadata.json, .aimodel, tokenizer/), or an .aimodel with a tokenizer beside
    /// it
    #[arg(value_name = "MODEL", required = true)]
    model: Option<PathBuf>,
    /// Answer this and exit; without it, chat
    #[arg(short, long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    prompt: Option<String>,
    /// System message
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Most tokens of an answer
    #[arg(long, allow_negative_numbers = true, value_name = "N", default_value_t = 512)]
    max_tokens: usize,
    /// Most tokens of the conversation [default: what the model declares]
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    context: Option<usize>,
    /// Print one JSON object per answer instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    device: Device,
    /// Print every choice and fallback to stderr
    #[arg(long, help_heading = "Debugging")]
    report: bool,
    /// Print the plan and exit
    #[arg(long, help_heading = "Debugging")]
    dump_plan: bool,
    /// Print the device time of every kernel for the prompt and one token, and exit
    #[arg(long, help_heading = "Debugging")]
    trace: bool,
}

#[derive(Debug, Args)]
struct Sampling {
    /// 0 takes the most likely token
    #[arg(
        long,
        allow_negative_numbers = true,
        value_name = "T",
        default_value_t = 0.0,
        help_heading = "Sampling"
    )]
    temperature: f32,
    /// Only the K most likely tokens; 0 is all
    #[arg(
        long,
        allow_negative_numbers = true,
        value_name = "K",
        default_value_t = 0,
        help_heading = "Sampling"
    )]
    top_k: usize,
    /// Only the most likely tokens that together reach this probability
    #[arg(
        long,
        allow_negative_numbers = true,
        value_name = "P",
        default_value_t = 1.0,
        help_heading = "Sampling"
    )]
    top_p: f32,
    /// Only tokens at least this likely relative to the most likely one
    #[arg(
        long,
        allow_negative_numbers = true,
        value_name = "P",
        default_value_t = 0.0,
        help_heading = "Sampling"
    )]
    min_p: f32,
    /// Above 1, tokens that were used become less likely
    #[arg(
        long,
        allow_negative_numbers = true,
        value_name = "R",
        default_value_t = 1.0,
        help_heading = "Sampling"
    )]
    repetition_penalty: f32,
    /// Same seed, same text [default: a new one, printed with --json]
    #[arg(long, allow_negative_numbers = true, value_name = "N", help_heading = "Sampling")]
    seed: Option<u64>,
    /// End the answer before this text; may be repeated
    #[arg(
        long,
        value_name = "TEXT",
        value_parser = NonEmptyStringValueParser::new(),
        help_heading = "Sampling"
    )]
    stop: Vec<String>,
}

/// A loaded model with what an answer needs.
pub struct Setup {
    /// Model.
    pub model: Arc<LanguageModel>,
    /// Conversation.
    pub session: ChatSession,
    /// Options of every answer.
    pub options: GenerationOptions,
    /// JSON instead of text.
    pub json: bool,
    /// Ctrl-C.
    pub interrupt: Interrupt,
}

impl Talk {
    /// Loads the model and talks.
    pub fn run(self) -> Result<(), Failure> {
        let Some(path) = &self.model else {
            return Err(Failure::new("a model is needed; see --help"));
        };
        let options = self.generation();
        options.sampling.check()?;
        if options.max_tokens == 0 {
            return Err(Failure::new("max-tokens is 0; expected 1 or more"));
        }
        let device = self.device.options()?;
        let model = loading::spin(format!("loading {}", path.display()), || {
            LanguageModel::load_blocking(path, device, self.context)
        })?;
        if self.dump_plan {
            return prompt::print(&model.model().dump_plan(&model.signature().function)?);
        }
        if self.trace {
            return trace::run(&model, self.prompt.as_deref(), self.json);
        }
        let model = Arc::new(model);
        let session = ChatSession::new_blocking(&model, self.system)?;
        let interrupt = Interrupt::install(session.cancel_handle())?;
        let setup = Setup { model, session, options, json: self.json, interrupt };
        let model = setup.model.clone();
        let result = match self.prompt {
            Some(text) => prompt::run(setup, &text),
            None => chat::run(setup),
        };
        // Kernels are chosen when the first step of a shape runs, so the report comes last.
        if self.report {
            figures::print_report(&model.model().report());
        }
        result
    }

    /// Whether a model was given; a verb needs none.
    #[cfg(test)]
    pub fn has_model(&self) -> bool {
        self.model.is_some()
    }

    fn generation(&self) -> GenerationOptions {
        GenerationOptions {
            max_tokens: self.max_tokens,
            sampling: SamplingOptions {
                temperature: self.sampling.temperature,
                top_k: self.sampling.top_k,
                top_p: self.sampling.top_p,
                min_p: self.sampling.min_p,
                repetition_penalty: self.sampling.repetition_penalty,
                seed: self.sampling.seed.unwrap_or_else(new_seed),
            },
            stop: self.sampling.stop.clone(),
            ..Default::default()
        }
    }
}

/// From the standard library's own source of randomness.
fn new_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish() & 0xFFFF_FFFF
}
