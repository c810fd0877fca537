//! One conversation: turns that share a cache.

use std::sync::Arc;

use serde::Serialize;

use super::decoder::{Cancel, Decoder, Rows};
use super::error::LanguageError;
use super::figures::{Figures, Meter, rate};
use super::model::{LanguageModel, PREFILL_CHUNK};
use super::sampler::{Sampler, SamplingOptions};
use super::stop::StopMatcher;
use super::template::Message;

/// Options of one turn.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationOptions {
    /// Most tokens to generate.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: SamplingOptions,
    /// Texts that end the turn; they are not part of the answer.
    pub stop: Vec<String>,
    /// Prompt tokens that run in one step.
    pub prefill_chunk: usize,
}

impl Default for GenerationOptions {
    fn default() -> Self {
        GenerationOptions {
            max_tokens: 512,
            sampling: SamplingOptions::default(),
            stop: Vec::new(),
            prefill_chunk: PREFILL_CHUNK,
        }
    }
}

/// Why a turn ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model ended its turn with a declared token.
    EndOfTurn,
    /// One of the stop strings appeared.
    StopString(String),
    /// `max_tokens` were generated.
    MaxTokens,
    /// The context is full.
    ContextFull,
    /// Cancelled from outside.
    Cancelled,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turn {
    /// Text without special tokens and without a stop string.
    pub text: String,
    /// Generated ids, the end-of-turn token included.
    pub token_ids: Vec<u32>,
    /// Why it ended.
    pub stop_reason: StopReason,
    /// What it took.
    pub figures: Figures,
}

/// A conversation and its cache. Turns run only what the cache lacks.
pub struct ChatSession {
    model: Arc<LanguageModel>,
    decoder: Decoder,
    system: Option<String>,
    messages: Vec<Message>,
}

impl ChatSession {
    /// Starts a conversation, with or without a system message.
    pub async fn new(
        model: &Arc<LanguageModel>,
        system: Option<String>,
    ) -> Result<ChatSession, LanguageError> {
        let decoder = model.decoder().await?;
        let mut session = ChatSession { model: model.clone(), decoder, system, messages: Vec::new() };
        session.reset();
        Ok(session)
    }

    /// Forgets everything but the system message. What the cache holds of it stays there.
    pub fn reset(&mut self) {
        self.messages.clear();
        let system = self.system.clone();
        self.messages.extend(system.map(|content| Message { role: "system".into(), content }));
    }

    /// The conversation so far.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Handle for stopping the current turn from elsewhere.
    pub fn cancel_handle(&self) -> Cancel {
        self.decoder.cancel_handle()
    }

    /// Sends a user message and generates the answer; `show` receives its text as it comes, with
    /// the number of tokens generated so far. After
    /// an error the conversation is as before.
    pub async fn send(
        &mut self,
        text: &str,
        options: &GenerationOptions,
        show: &mut dyn FnMut(&str, usize),
    ) -> Result<Turn, LanguageError> {
        let mut messages = self.messages.clone();
        messages.push(Message { role: "user".into(), content: text.to_owned() });
        self.answer(messages, options, show).await
    }

    /// Generates the answer to a whole conversation; what it shares with the one before is not computed
    /// again. After an error the conversation is the one before.
    pub async fn answer(
        &mut self,
        messages: Vec<Message>,
        options: &GenerationOptions,
        show: &mut dyn FnMut(&str, usize),
    ) -> Result<Turn, LanguageError> {
        self.decoder.cancel_handle().clear();
        let prompt = self.prompt(&messages)?;
        let turn = self.generate(&prompt, options, show).await?;
        self.messages = messages;
        self.messages.push(Message { role: "assistant".into(), content: turn.text.clone() });
        Ok(turn)
    }

    /// Token ids of the conversation up to where the answer starts. A model without a template
    /// continues the bare text.
    fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, LanguageError> {
        match self.model.template() {
            Some(template) => {
                let text = template.render(messages, true)?;
                self.model.tokenizer().encode(&text, false)
            }
            None => {
                let text: String = messages.iter().map(|m| m.content.as_str()).collect();
                self.model.tokenizer().encode(&text, true)
            }
        }
    }

    async fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerationOptions,
        show: &mut dyn FnMut(&str, usize),
    ) -> Result<Turn, LanguageError> {
        let model = self.model.clone();
        let decoder = &mut self.decoder;
        let mut sampler = Sampler::new(options.sampling.clone())?;
        sampler.observe(prompt);
        let mut answer = Answer::new(&model, &options.stop);
        let mut figures = Figures { prompt_tokens: prompt.len(), ..Default::default() };

        let meter = Meter::start(decoder.counters());
        let reused = unless_cancelled(decoder.advance(prompt, options.prefill_chunk).await)?;
        figures.prompt_seconds = meter.seconds();
        if let Some(reused) = reused {
            figures.reused_tokens = reused;
            figures.prompt_tokens_per_second = rate(prompt.len() - reused, figures.prompt_seconds);
        }

        let meter = Meter::start(decoder.counters());
        let mut steps = 0;
        let stop_reason = loop {
            if reused.is_none() {
                break StopReason::Cancelled;
            }
            if answer.ids.len() >= options.max_tokens {
                break StopReason::MaxTokens;
            }
            let position = decoder.cached().len();
            let id = sampler.sample(decoder.logits()).ok_or(LanguageError::NonFinite { position })?;
            sampler.observe(&[id]);
            if let Some(reason) = answer.push(id, show)? {
                break reason;
            }
            if answer.ids.len() < options.max_tokens {
                if decoder.cached().len() >= decoder.limit() {
                    break StopReason::ContextFull;
                }
                if unless_cancelled(decoder.append(&[id], Rows::Last).await)?.is_none() {
                    break StopReason::Cancelled;
                }
                steps += 1;
            }
        };
        figures.generated_seconds = meter.seconds();
        figures.generated_tokens = answer.ids.len();
        figures.generated_tokens_per_second = rate(steps, figures.generated_seconds);
        figures.step = meter.step(decoder.counters(), steps);
        answer.finish(stop_reason, figures, show)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl ChatSession {
    /// Blocking twin of [`ChatSession::new`].
    pub fn new_blocking(
        model: &Arc<LanguageModel>,
        system: Option<String>,
    ) -> Result<ChatSession, LanguageError> {
        pollster::block_on(ChatSession::new(model, system))
    }

    /// Blocking twin of [`ChatSession::send`].
    pub fn send_blocking(
        &mut self,
        text: &str,
        options: &GenerationOptions,
        show: &mut dyn FnMut(&str, usize),
    ) -> Result<Turn, LanguageError> {
        self.decoder.set_blocking(true);
        let turn = pollster::block_on(self.send(text, options, show));
        self.decoder.set_blocking(false);
        turn
    }
}

/// A cancelled step is an end, not an error.
fn unless_cancelled<T>(result: Result<T, LanguageError>) -> Result<Option<T>, LanguageError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(LanguageError::Runtime(coreai::Error::Cancelled)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The answer as it grows: ids → whole characters → text without stop strings.
struct Answer<'a> {
    model: &'a LanguageModel,
    ids: Vec<u32>,
    text: String,
    detokenizer: super::Detokenizer<'a>,
    matcher: StopMatcher,
}

impl<'a> Answer<'a> {
    fn new(model: &'a LanguageModel, stop: &[String]) -> Answer<'a> {
        Answer {
            model,
            ids: Vec::new(),
            text: String::new(),
            detokenizer: model.tokenizer().detokenizer(),
            matcher: StopMatcher::new(stop),
        }
    }

    fn push(
        &mut self,
        id: u32,
        show: &mut dyn FnMut(&str, usize),
    ) -> Result<Option<StopReason>, LanguageError> {
        self.ids.push(id);
        if self.model.ends_turn(id) {
            return Ok(Some(StopReason::EndOfTurn));
        }
        let piece = self.detokenizer.push(id)?;
        Ok(self.add(&piece, show))
    }

    fn add(&mut self, piece: &str, show: &mut dyn FnMut(&str, usize)) -> Option<StopReason> {
        let (text, stop) = self.matcher.push(piece);
        let reason = stop.map(|stop| StopReason::StopString(stop.to_owned()));
        self.show(&text, show);
        reason
    }

    fn show(&mut self, text: &str, show: &mut dyn FnMut(&str, usize)) {
        if !text.is_empty() {
            show(text, self.ids.len());
            self.text.push_str(text);
        }
    }

    /// Shows what was held back, unless a stop string ended the turn.
    fn finish(
        mut self,
        mut stop_reason: StopReason,
        figures: Figures,
        show: &mut dyn FnMut(&str, usize),
    ) -> Result<Turn, LanguageError> {
        if !matches!(stop_reason, StopReason::StopString(_)) {
            let mut rest = self.detokenizer.finish()?;
            if stop_reason != StopReason::EndOfTurn {
                // Cut short: the rest of this character was to come.
                rest.truncate(rest.trim_end_matches(char::REPLACEMENT_CHARACTER).len());
            }
            match self.add(&rest, show) {
                Some(reason) => stop_reason = reason,
                None => {
                    let held = self.matcher.finish();
                    self.show(&held, show);
                }
            }
        }
        Ok(Turn { text: self.text, token_ids: self.ids, stop_reason, figures })
    }
}
