//! A language model ready to run: program, tokenizer, template, stops.

use std::sync::Arc;
use std::time::Duration;

use coreai::AIModel;
#[cfg(not(target_arch = "wasm32"))]
use coreai::SpecializationOptions;

#[cfg(not(target_arch = "wasm32"))]
use super::bundle::{Bundle, bounded};
use super::decoder::Decoder;
use super::error::LanguageError;
use super::files::TokenizerFiles;
use super::signature::Signature;
use super::stop::end_of_turn_ids;
use super::template::ChatTemplate;
use super::tokenizer::Tokenizer;

/// Prompt tokens that run in one step.
pub const PREFILL_CHUNK: usize = 512;

/// Shared by any number of [`ChatSession`](super::ChatSession)s.
pub struct LanguageModel {
    name: String,
    model: Arc<AIModel>,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    end_ids: Vec<u32>,
    signature: Signature,
    context: Option<usize>,
    load_time: Duration,
}

impl LanguageModel {
    /// From parts in memory. `functions` are the entry points to try first, `context` the most
    /// tokens of a conversation.
    pub fn new(
        name: String,
        model: Arc<AIModel>,
        files: &TokenizerFiles,
        functions: &[String],
        context: Option<usize>,
    ) -> Result<LanguageModel, LanguageError> {
        let signature = Signature::find(&model.functions(), functions)?;
        let (tokenizer, template) = text_side(files, &signature)?;
        let end_ids = end_of_turn_ids(files, &tokenizer, template.as_ref());
        Ok(LanguageModel {
            name,
            model,
            tokenizer,
            template,
            end_ids,
            signature,
            context: context.or_else(|| files.max_context()),
            load_time: Duration::ZERO,
        })
    }

    /// Loads a bundle folder or an `.aimodel` with a tokenizer beside it. Everything that can be
    /// wrong with the files is found before the slow part, specialization. `context` lowers the
    /// declared context.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load_blocking(
        path: &std::path::Path,
        options: SpecializationOptions,
        context: Option<usize>,
    ) -> Result<LanguageModel, LanguageError> {
        let start = web_time::Instant::now();
        let bundle = Bundle::open(path)?;
        let asset = bundle.open_asset()?;
        let signature = Signature::find(&asset.functions(), &bundle.functions)?;
        let files = TokenizerFiles::read(bundle.tokenizer_folder()?)?;
        let (tokenizer, template) = text_side(&files, &signature)?;
        let end_ids = end_of_turn_ids(&files, &tokenizer, template.as_ref());
        let context = bounded(context, bundle.max_context.or_else(|| files.max_context()))?;
        let model = AIModel::specialize_blocking(asset, options)?;
        let (name, load_time) = (bundle.name, start.elapsed());
        Ok(LanguageModel { name, model, tokenizer, template, end_ids, signature, context, load_time })
    }

    /// Name of the bundle.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The specialized program.
    pub fn model(&self) -> &Arc<AIModel> {
        &self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The chat template; base models have none.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// Whether this token ends the assistant's turn.
    pub fn ends_turn(&self, id: u32) -> bool {
        self.end_ids.binary_search(&id).is_ok()
    }

    /// Time from opening the files to being ready; zero for a model made from parts.
    pub fn load_time(&self) -> Duration {
        self.load_time
    }

    /// How it decodes.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// A decoder with an empty cache, on a new device when the old one was lost.
    pub async fn decoder(&self) -> Result<Decoder, LanguageError> {
        Decoder::new(&self.model.rebuilt().await?, self.signature.clone(), self.context).await
    }

    /// Blocking twin of [`LanguageModel::decoder`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn decoder_blocking(&self) -> Result<Decoder, LanguageError> {
        pollster::block_on(self.decoder())
    }
}

/// Tokenizer and template, checked against the model.
fn text_side(
    files: &TokenizerFiles,
    signature: &Signature,
) -> Result<(Tokenizer, Option<ChatTemplate>), LanguageError> {
    let tokenizer = Tokenizer::new(files)?;
    tokenizer.check(signature.vocabulary)?;
    Ok((tokenizer, ChatTemplate::declared(files, now)?))
}

/// Seconds since 1970.
fn now() -> i64 {
    web_time::SystemTime::now()
        .duration_since(web_time::SystemTime::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs() as i64)
}
