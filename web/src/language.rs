//! Language models.

use std::path::PathBuf;
use std::sync::Arc;

use coreai_tasks::language::{
    self as tasks, BundleMetadata, ChatSession, GenerationOptions, LanguageError, Message, SamplingOptions,
    StopReason, TokenizerFiles, Turn,
};
use js_sys::{Function, Reflect, Uint8Array};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;

use crate::error;
use crate::model::{Model, json};
use crate::session::{Cancel, Canceller};
use crate::source::Thrown;

fn thrown(found: &LanguageError) -> JsValue {
    match found {
        LanguageError::Runtime(e) => error::of(e),
        other => error::thrown(&format!("language.{}", other.code()), &other.to_string()),
    }
}

/// What `metadata.json` of a language bundle says, JSON.
#[wasm_bindgen(js_name = bundleMetadata)]
pub fn bundle_metadata(bytes: &[u8]) -> Result<String, JsValue> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Found {
        name: String,
        main: String,
        max_context: Option<usize>,
        functions: Vec<String>,
        tokenizer_name: Option<String>,
    }
    let path = PathBuf::from("metadata.json");
    let value = serde_json::from_slice(bytes).map_err(|e| {
        let reason = format!("not valid JSON: {e}");
        thrown(&LanguageError::Unreadable { path: path.clone(), reason })
    })?;
    let found = BundleMetadata::parse(&path, &value).map_err(|e| thrown(&e))?;
    json(&Found {
        name: found.name,
        main: found.main,
        max_context: found.max_context,
        functions: found.functions,
        tokenizer_name: found.tokenizer_name,
    })
}

/// A language model ready to run.
#[wasm_bindgen]
pub struct LanguageModel {
    inner: Arc<tasks::LanguageModel>,
    context: Option<usize>,
    thrown: Thrown,
}

#[wasm_bindgen(typescript_custom_section)]
const FILES: &str = "
/** The files of a `tokenizer/` folder. */
export interface TokenizerFiles {
	tokenizer: Uint8Array;
	tokenizerConfig?: Uint8Array;
	specialTokensMap?: Uint8Array;
	generationConfig?: Uint8Array;
	config?: Uint8Array;
	chatTemplate?: Uint8Array;
}
";

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(typescript_type = "TokenizerFiles")]
    pub type Files;
}

/// File names and the properties that hold their bytes.
const FILE_NAMES: [(&str, &str); 6] = [
    ("tokenizer.json", "tokenizer"),
    ("tokenizer_config.json", "tokenizerConfig"),
    ("special_tokens_map.json", "specialTokensMap"),
    ("generation_config.json", "generationConfig"),
    ("config.json", "config"),
    ("chat_template.jinja", "chatTemplate"),
];

#[wasm_bindgen]
impl LanguageModel {
    /// From a model and its tokenizer. `functions` are the entry points to try first, `context` the
    /// most tokens of a conversation.
    pub fn create(
        name: String,
        model: &Model,
        files: &Files,
        functions: Vec<String>,
        context: Option<u32>,
    ) -> Result<LanguageModel, JsValue> {
        let mut find = |name: &str| {
            let key = FILE_NAMES.iter().find(|(file, _)| *file == name).map_or("", |(_, key)| key);
            let value = Reflect::get(files.as_ref(), &key.into()).ok();
            let bytes = value.and_then(|v| v.dyn_into::<Uint8Array>().ok()).map(|b| b.to_vec());
            Ok((PathBuf::from(name), bytes))
        };
        let files = TokenizerFiles::from_bytes(&mut find).map_err(|e| thrown(&e))?;
        let context = context.map(|n| n as usize).or_else(|| files.max_context());
        let inner = tasks::LanguageModel::new(name, model.inner.clone(), &files, &functions, context);
        let inner = Arc::new(inner.map_err(|e| thrown(&e))?);
        Ok(LanguageModel { inner, context, thrown: model.thrown.clone() })
    }

    /// Name, context and vocabulary, JSON.
    pub fn info(&self) -> Result<String, JsValue> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Info<'a> {
            name: &'a str,
            context_length: Option<usize>,
            vocabulary_size: usize,
            has_template: bool,
        }
        let signature = self.inner.signature();
        json(&Info {
            name: self.inner.name(),
            context_length: match (self.context, signature.fixed_capacity) {
                (Some(context), Some(fixed)) => Some(context.min(fixed)),
                (context, fixed) => context.or(fixed),
            },
            vocabulary_size: signature.vocabulary,
            has_template: self.inner.template().is_some(),
        })
    }

    /// The program; after a loss of the device the one that took over.
    pub fn model(&self) -> Model {
        Model { inner: self.inner.model().latest(), thrown: self.thrown.clone() }
    }

    /// Token ids of a text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, JsValue> {
        self.inner.tokenizer().encode(text, false).map_err(|e| thrown(&e))
    }

    /// Text of token ids.
    pub fn decode(&self, ids: &[u32]) -> Result<String, JsValue> {
        self.inner.tokenizer().decode(ids).map_err(|e| thrown(&e))
    }

    /// A conversation's cache.
    pub async fn chat(&self) -> Result<Chat, JsValue> {
        let inner = ChatSession::new(&self.inner, None).await;
        let inner = inner.map_err(|e| self.thrown.or(thrown(&e)))?;
        Ok(Chat { inner, thrown: self.thrown.clone() })
    }
}

/// Answers; what a conversation shares with the one before is not computed again.
#[wasm_bindgen]
pub struct Chat {
    inner: ChatSession,
    thrown: Thrown,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct AnswerOptions {
    max_tokens: Option<usize>,
    temperature: Option<f32>,
    top_k: Option<usize>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
    seed: Option<u64>,
    stop: Vec<String>,
}

impl AnswerOptions {
    fn generation(self) -> GenerationOptions {
        let usual = GenerationOptions::default();
        let plain = SamplingOptions::default();
        GenerationOptions {
            max_tokens: self.max_tokens.unwrap_or(usual.max_tokens),
            sampling: SamplingOptions {
                temperature: self.temperature.unwrap_or(plain.temperature),
                top_k: self.top_k.unwrap_or(plain.top_k),
                top_p: self.top_p.unwrap_or(plain.top_p),
                min_p: self.min_p.unwrap_or(plain.min_p),
                repetition_penalty: self.repetition_penalty.unwrap_or(plain.repetition_penalty),
                seed: self.seed.unwrap_or(plain.seed),
            },
            stop: self.stop,
            ..usual
        }
    }
}

#[wasm_bindgen]
impl Chat {
    /// Answers a conversation. `messages` and `options` are JSON; `on_text` gets each piece of text
    /// and the number of tokens so far. Gives the turn, JSON.
    pub async fn answer(
        &mut self,
        messages: String,
        options: String,
        #[wasm_bindgen(js_name = onText)] on_text: Function,
    ) -> Result<String, JsValue> {
        let messages: Vec<Message> =
            serde_json::from_str(&messages).map_err(|e| error::input("messages", &e.to_string()))?;
        let options: AnswerOptions =
            serde_json::from_str(&options).map_err(|e| error::input("options", &e.to_string()))?;
        let mut failed = None;
        let cancel = self.inner.cancel_handle();
        let mut show = |text: &str, tokens: usize| {
            let called = on_text.call2(&JsValue::UNDEFINED, &text.into(), &(tokens as f64).into());
            if let Err(e) = called {
                failed.get_or_insert(e);
                cancel.cancel();
            }
        };
        let turn = self.inner.answer(messages, &options.generation(), &mut show).await;
        match failed {
            Some(e) => Err(e),
            None => turn.map_err(|e| self.thrown.or(thrown(&e))).and_then(|turn| told(&turn)),
        }
    }

    /// Usable while an answer is pending, which then ends as cancelled.
    pub fn canceller(&self) -> Canceller {
        Canceller(Cancel::Turn(self.inner.cancel_handle()))
    }
}

/// A turn as JSON, its stop reason as a plain name.
fn told(turn: &Turn) -> Result<String, JsValue> {
    #[derive(Serialize)]
    struct Told<'a> {
        text: &'a str,
        token_ids: &'a [u32],
        stop_reason: &'static str,
        stop_string: Option<&'a str>,
        figures: &'a tasks::Figures,
    }
    let (stop_reason, stop_string) = match &turn.stop_reason {
        StopReason::EndOfTurn => ("end_of_turn", None),
        StopReason::StopString(text) => ("stop_string", Some(text.as_str())),
        StopReason::MaxTokens => ("max_tokens", None),
        StopReason::ContextFull => ("context_full", None),
        StopReason::Cancelled => ("cancelled", None),
    };
    let (text, token_ids, figures) = (&*turn.text, &*turn.token_ids, &turn.figures);
    json(&Told { text, token_ids, stop_reason, stop_string, figures })
}
