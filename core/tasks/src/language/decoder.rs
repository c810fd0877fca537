//! Token ids in, logits out, over one session's cache.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use coreai::{AIModel, Counters, InputData, OutputWant, Session};

use super::error::LanguageError;
use super::model::PREFILL_CHUNK;
use super::schedule::{capacity, chunks, reusable};
use super::signature::Signature;

/// Context of a model that declares none and whose cache grows, in tokens.
const UNDECLARED_CONTEXT: usize = 4096;

/// Losses of the device that one step survives.
const MAX_LOSSES: usize = 3;

/// Which logits a step brings back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Those after the last token.
    Last,
    /// Those after every token of the step.
    All,
}

/// Stops a running step from another thread or a signal handler.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    requested: Arc<AtomicBool>,
    /// The current session's own flag.
    session: Arc<Mutex<Arc<AtomicBool>>>,
}

impl Cancel {
    /// Ends the current step and the generation it belongs to.
    pub fn cancel(&self) {
        self.set(true);
    }

    /// Whether it was asked for.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// Allows the next generation.
    pub fn clear(&self) {
        self.set(false);
    }

    fn set(&self, value: bool) {
        self.requested.store(value, Ordering::Relaxed);
        self.session.lock().unwrap_or_else(PoisonError::into_inner).store(value, Ordering::Relaxed);
    }

    fn attach(&self, flag: Arc<AtomicBool>) {
        flag.store(self.is_requested(), Ordering::Relaxed);
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = flag;
    }
}

/// One context: the tokens whose keys and values lie in the session's states.
pub struct Decoder {
    model: Arc<AIModel>,
    signature: Signature,
    session: Session,
    /// Tokens that the states have room for now.
    capacity: usize,
    /// Tokens that they may grow to.
    limit: usize,
    cached: Vec<u32>,
    /// The states hold something that `cached` does not describe; they cannot be rewound.
    stale: bool,
    /// Reused input buffers: the step's ids, and 0, 1, 2 ….
    ids: Vec<i32>,
    positions: Vec<i32>,
    cancel: Cancel,
    /// Steps wait in place instead of yielding; set by the blocking twins.
    #[cfg(not(target_arch = "wasm32"))]
    blocking: bool,
}

impl Decoder {
    /// An empty context. `context` bounds the tokens; a fixed cache bounds them too.
    pub async fn new(
        model: &Arc<AIModel>,
        signature: Signature,
        context: Option<usize>,
    ) -> Result<Decoder, LanguageError> {
        let limit = match (context, signature.fixed_capacity) {
            (Some(context), Some(fixed)) => context.min(fixed),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => UNDECLARED_CONTEXT,
        };
        let limit = limit.clamp(1, i32::MAX as usize);
        let capacity = capacity(0, 1, limit);
        let session = open(model, &signature, capacity).await?;
        let cancel = Cancel::default();
        cancel.attach(session.cancel_flag());
        Ok(Decoder {
            model: model.clone(),
            signature,
            session,
            capacity,
            limit,
            cached: Vec::new(),
            stale: false,
            ids: Vec::new(),
            positions: Vec::new(),
            cancel,
            #[cfg(not(target_arch = "wasm32"))]
            blocking: false,
        })
    }

    /// The program behind it.
    pub fn model(&self) -> &Arc<AIModel> {
        &self.model
    }

    /// What the function looks like.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Tokens in the cache.
    pub fn cached(&self) -> &[u32] {
        &self.cached
    }

    /// Most tokens that fit.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Handle for stopping a step.
    pub fn cancel_handle(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Cumulative work of the current session.
    pub fn counters(&self) -> Counters {
        self.session.counters()
    }

    /// Makes the context equal to `wanted`, running only what the cache lacks, at most `chunk`
    /// tokens a step. The logits after the last token are ready then. Returns the reused tokens.
    pub async fn advance(&mut self, wanted: &[u32], chunk: usize) -> Result<usize, LanguageError> {
        if wanted.is_empty() {
            return Err(LanguageError::EmptyPrompt);
        }
        if wanted.len() > self.limit {
            return Err(LanguageError::PromptTooLong { prompt: wanted.len(), context: self.limit });
        }
        let kept = reusable(&self.cached, wanted, self.signature.rewinds);
        self.rewind(kept).await?;
        for range in chunks(kept..wanted.len(), chunk) {
            self.append(&wanted[range], Rows::Last).await?;
        }
        Ok(kept)
    }

    /// Runs `tokens` after those in the cache, in one step. When the device is lost, the model is built
    /// again and the cache computed anew, so that the logits are the same.
    pub async fn append(&mut self, tokens: &[u32], rows: Rows) -> Result<(), LanguageError> {
        let mut losses = 0;
        loop {
            match self.step(tokens, rows).await {
                Err(LanguageError::Runtime(coreai::Error::DeviceLost(_))) if losses < MAX_LOSSES => {
                    losses += 1
                }
                other => return other,
            }
            match self.recover().await {
                // Lost again: the next attempt counts.
                Ok(()) | Err(LanguageError::Runtime(coreai::Error::DeviceLost(_)))
                    if self.model.is_lost() => {}
                other => other?,
            }
        }
    }

    /// Goes on with the model that took over after a loss of the device.
    async fn recover(&mut self) -> Result<(), LanguageError> {
        self.model = self.model.rebuilt().await?;
        self.session = open(&self.model, &self.signature, self.capacity).await?;
        self.cancel.attach(self.session.cancel_flag());
        self.stale = false;
        let tokens = std::mem::take(&mut self.cached);
        let mut outcome = Ok(());
        for range in chunks(0..tokens.len(), PREFILL_CHUNK) {
            outcome = self.step(&tokens[range], Rows::Last).await;
            if outcome.is_err() {
                break;
            }
        }
        match &outcome {
            // Lost once more: the next recovery computes what the cache lacks.
            Ok(()) | Err(LanguageError::Runtime(coreai::Error::DeviceLost(_))) => self.cached = tokens,
            Err(_) => self.stale = !self.signature.rewinds,
        }
        outcome
    }

    async fn step(&mut self, tokens: &[u32], rows: Rows) -> Result<(), LanguageError> {
        self.bind(tokens).await?;
        let want = match rows {
            Rows::Last => OutputWant::last_rows(self.signature.output, 1),
            Rows::All => OutputWant::all(self.signature.output),
        };
        if let Err(error) = self.run(&[want]).await {
            self.stale = !self.signature.rewinds;
            return Err(error.into());
        }
        self.cached.extend_from_slice(tokens);
        Ok(())
    }

    /// Makes room for `tokens` and binds them as the next step's inputs.
    async fn bind(&mut self, tokens: &[u32]) -> Result<(), LanguageError> {
        let total = self.cached.len() + tokens.len();
        if total > self.limit {
            return Err(LanguageError::PromptTooLong { prompt: total, context: self.limit });
        }
        if self.cancel.is_requested() {
            return Err(coreai::Error::Cancelled.into());
        }
        self.ids.clear();
        for id in tokens {
            match i32::try_from(*id) {
                Ok(value) if (*id as usize) < self.signature.vocabulary => self.ids.push(value),
                _ => {
                    let vocabulary = self.signature.vocabulary;
                    return Err(LanguageError::TokenOutOfRange { id: *id, vocabulary });
                }
            }
        }
        self.reserve(total).await?;
        let first = self.positions.len();
        self.positions.extend((first..total).map(|position| position as i32));
        let Signature { token_input, position_input, .. } = self.signature;
        self.session.set_input(token_input, &[1, tokens.len()], InputData::I32(&self.ids))?;
        let positions = InputData::I32(&self.positions[..total]);
        self.session.set_input(position_input, &[1, total], positions)?;
        Ok(())
    }

    async fn run(&mut self, wants: &[OutputWant]) -> Result<(), coreai::Error> {
        #[cfg(not(target_arch = "wasm32"))]
        if self.blocking {
            return self.session.run_blocking(wants);
        }
        self.session.run(wants).await
    }

    /// Logits of the last step, `vocabulary` numbers a row.
    pub fn logits(&self) -> &[f32] {
        self.session.output_f32(self.signature.output)
    }

    /// Keeps the first `length` tokens. States without positions start again from zero.
    pub async fn rewind(&mut self, length: usize) -> Result<(), LanguageError> {
        if self.stale || (length < self.cached.len() && !self.signature.rewinds) {
            self.model = self.model.rebuilt().await?;
            self.session = open(&self.model, &self.signature, self.capacity).await?;
            self.cancel.attach(self.session.cancel_flag());
            self.cached.clear();
            self.stale = false;
        }
        self.cached.truncate(length);
        Ok(())
    }

    /// Grows the states, keeping their contents.
    async fn reserve(&mut self, tokens: usize) -> Result<(), LanguageError> {
        let next = capacity(self.capacity, tokens, self.limit);
        if next == self.capacity {
            return Ok(());
        }
        for state in self.signature.states.iter().filter(|state| state.growing.is_some()) {
            self.session.resize_state(&state.name, &extents(&state.shape, next)).await?;
        }
        self.capacity = next;
        Ok(())
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Decoder {
    /// A decoder of a bundle or a bare `.aimodel`; no tokenizer is needed.
    pub fn open_blocking(
        path: &std::path::Path,
        options: coreai::SpecializationOptions,
    ) -> Result<Decoder, LanguageError> {
        let bundle = super::Bundle::open(path)?;
        let asset = bundle.open_asset()?;
        let signature = Signature::find(&asset.functions(), &bundle.functions)?;
        let model = AIModel::specialize_blocking(asset, options)?;
        pollster::block_on(Decoder::new(&model, signature, bundle.max_context))
    }

    /// Blocking twin of [`Decoder::advance`].
    pub fn advance_blocking(&mut self, wanted: &[u32], chunk: usize) -> Result<usize, LanguageError> {
        self.set_blocking(true);
        let result = pollster::block_on(self.advance(wanted, chunk));
        self.set_blocking(false);
        result
    }

    /// Blocking twin of [`Decoder::append`].
    pub fn append_blocking(&mut self, tokens: &[u32], rows: Rows) -> Result<(), LanguageError> {
        self.set_blocking(true);
        let result = pollster::block_on(self.append(tokens, rows));
        self.set_blocking(false);
        result
    }

    /// As [`Decoder::append_blocking`], with the device time of every dispatch.
    pub fn trace_blocking(&mut self, tokens: &[u32]) -> Result<Vec<coreai::TraceEntry>, LanguageError> {
        pollster::block_on(self.bind(tokens))?;
        let times = self.session.trace_blocking(&[OutputWant::last_rows(self.signature.output, 1)])?;
        self.cached.extend_from_slice(tokens);
        Ok(times)
    }

    /// Blocking twin of [`Decoder::rewind`].
    pub fn rewind_blocking(&mut self, length: usize) -> Result<(), LanguageError> {
        pollster::block_on(self.rewind(length))
    }

    /// Whether a step waits in place, which saves a thread switch, instead of yielding.
    pub(super) fn set_blocking(&mut self, blocking: bool) {
        self.blocking = blocking;
    }
}

async fn open(
    model: &Arc<AIModel>,
    signature: &Signature,
    capacity: usize,
) -> Result<Session, LanguageError> {
    let shapes: Vec<(&str, Vec<usize>)> = signature
        .states
        .iter()
        .filter(|state| state.growing.is_some())
        .map(|state| (state.name.as_str(), extents(&state.shape, capacity)))
        .collect();
    let shapes: Vec<(&str, &[usize])> =
        shapes.iter().map(|(name, shape)| (*name, shape.as_slice())).collect();
    Ok(model.session(&signature.function, &shapes).await?)
}

fn extents(shape: &[Option<usize>], capacity: usize) -> Vec<usize> {
    shape.iter().map(|extent| extent.unwrap_or(capacity)).collect()
}
