//! Language models: a bundle folder in, streamed text out.
//!
//! [`LanguageModel`] is what a bundle holds, ready to run and shared; [`ChatSession`] is one
//! conversation with its cache. [`Decoder`] is the layer below: token ids in, logits out.

mod bench;
mod bundle;
mod chat;
mod decoder;
mod error;
mod figures;
mod files;
mod model;
mod sampler;
mod schedule;
mod signature;
mod stop;
mod strftime;
mod template;
mod tokenizer;

pub use bench::{Bench, BenchOptions, BenchReport, Spread};
pub use bundle::{Bundle, BundleMetadata};
pub use chat::{ChatSession, GenerationOptions, StopReason, Turn};
pub use decoder::{Cancel, Decoder, Rows};
pub use error::LanguageError;
pub use figures::{Figures, StepFigures, peak_host_bytes};
pub use files::{Found, TokenizerFiles};
pub use model::{LanguageModel, PREFILL_CHUNK};
pub use sampler::{Sampler, SamplingOptions};
pub use signature::Signature;
pub use stop::{StopMatcher, end_of_turn_ids};
pub use template::{ChatTemplate, Message, SpecialTokens};
pub use tokenizer::{Detokenizer, Tokenizer};
