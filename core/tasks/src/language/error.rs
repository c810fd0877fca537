//! What can go wrong between a bundle and its text.

use std::path::{Path, PathBuf};

/// A language model that cannot be loaded, or a turn that cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LanguageError {
    /// No such file or folder.
    #[error("{}: no such file or folder", .0.display())]
    NotFound(PathBuf),
    /// A file that is there and cannot be read.
    #[error("{}: {reason}", .path.display())]
    Unreadable {
        /// File.
        path: PathBuf,
        /// What the system said, or the size limit.
        reason: String,
    },
    /// A folder or `metadata.json` that is not a language bundle.
    #[error("{}: {reason}", .path.display())]
    Bundle {
        /// Bundle folder or its `metadata.json`.
        path: PathBuf,
        /// Expected and found.
        reason: String,
    },
    /// An asset without a tokenizer beside it.
    #[error("{}: no tokenizer found: {advice}", .asset.display())]
    NoTokenizer {
        /// Bundle or asset.
        asset: PathBuf,
        /// Where it was looked for and what to do.
        advice: String,
    },
    /// A tokenizer file that does not parse, or a text it cannot encode.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A tokenizer that belongs to another model.
    #[error(
        "the tokenizer does not belong to this model: it has {tokens} tokens, \
         the model's vocabulary has {vocabulary}"
    )]
    WrongTokenizer {
        /// Entries of the tokenizer.
        tokens: usize,
        /// Entries of the model's vocabulary.
        vocabulary: usize,
    },
    /// A chat template that does not parse or refuses the conversation.
    #[error("chat template{}: {reason}", at(.line))]
    Template {
        /// Line of the template.
        line: Option<usize>,
        /// What the template engine or the template itself said.
        reason: String,
    },
    /// A function that is not a decoder of the known shape.
    #[error("function {function:?} is not a language model: {reason}")]
    Signature {
        /// Entry point.
        function: String,
        /// Expected and found.
        reason: String,
    },
    /// More prompt than context.
    #[error(
        "the prompt has {prompt} tokens and the context holds {context}; \
         shorten the prompt or reset the conversation"
    )]
    PromptTooLong {
        /// Tokens of the rendered conversation.
        prompt: usize,
        /// Tokens that fit.
        context: usize,
    },
    /// Nothing to continue from.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// An option out of range.
    #[error("{name} is {found}; expected {expected}")]
    Option {
        /// Option name.
        name: &'static str,
        /// Given value.
        found: String,
        /// Accepted values.
        expected: &'static str,
    },
    /// Every logit is NaN or minus infinity.
    #[error("the model returned no finite logit at position {position}")]
    NonFinite {
        /// Position in the context.
        position: usize,
    },
    /// A token id that the model has no row for.
    #[error("token id {id} is outside the model's vocabulary of {vocabulary}")]
    TokenOutOfRange {
        /// Offending id.
        id: u32,
        /// Entries of the model's vocabulary.
        vocabulary: usize,
    },
    /// An asset that cannot be opened.
    #[error("{}", with_path(.path, .source))]
    Asset {
        /// The `.aimodel`.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<coreai::Error>,
    },
    /// The runtime refused.
    #[error(transparent)]
    Runtime(#[from] coreai::Error),
}

/// Some errors of opening begin with the path already.
fn with_path(path: &Path, source: &coreai::Error) -> String {
    let (path, text) = (path.display().to_string(), source.to_string());
    if text.starts_with(&path) { text } else { format!("{path}: {text}") }
}

fn at(line: &Option<usize>) -> String {
    line.map(|n| format!(" (line {n})")).unwrap_or_default()
}

impl LanguageError {
    /// Stable identifier for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            LanguageError::NotFound(_) => "not_found",
            LanguageError::Unreadable { .. } => "unreadable",
            LanguageError::Bundle { .. } => "bundle",
            LanguageError::NoTokenizer { .. } => "no_tokenizer",
            LanguageError::Tokenizer(_) => "tokenizer",
            LanguageError::WrongTokenizer { .. } => "wrong_tokenizer",
            LanguageError::Template { .. } => "template",
            LanguageError::Signature { .. } => "signature",
            LanguageError::PromptTooLong { .. } => "prompt_too_long",
            LanguageError::EmptyPrompt => "empty_prompt",
            LanguageError::Option { .. } => "option",
            LanguageError::NonFinite { .. } => "non_finite",
            LanguageError::TokenOutOfRange { .. } => "token_out_of_range",
            LanguageError::Asset { source, .. } => source.code(),
            LanguageError::Runtime(error) => error.code(),
        }
    }
}
