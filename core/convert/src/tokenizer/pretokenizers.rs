//! How byte-level tokenizers split text into words, by the names of `tokenizer.ggml.pre`.
//!
//! The expressions are those of `tokenizer.json` of the models that the names stand for.

use serde_json::{Value, json};

/// Names that [`split`] knows.
pub(super) const NAMES: [&str; 16] = [
    "default",
    "gpt-2",
    "gpt2",
    "phi-2",
    "smollm",
    "starcoder",
    "refact",
    "llama3",
    "llama-v3",
    "llama-bpe",
    "falcon3",
    "dbrx",
    "qwen2",
    "deepseek-r1-qwen",
    "gpt-4o",
    "tekken",
];

/// What stands before the model.
pub(super) struct Split {
    pub json: Value,
    pub normalizer: Value,
    /// [`super::model::Bpe::ignore_merges`]
    pub ignore_merges: bool,
}

/// cl100k: letters, up to three digits, punctuation with line ends.
const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same with single digits.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// o200k: words are split where lower case ends.
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same without contractions and with single digits.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// `None` for a name that is not known.
pub(super) fn split(name: &str) -> Option<Split> {
    let bytes = |words: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": words});
    let by = |expression: &str| {
        let words = json!({
            "type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false,
        });
        json!({"type": "Sequence", "pretokenizers": [words, bytes(false)]})
    };
    let plain = |json: Value| Split { json, normalizer: Value::Null, ignore_merges: false };
    Some(match name {
        "default" | "gpt-2" | "gpt2" | "phi-2" => plain(bytes(true)),
        "smollm" | "starcoder" | "refact" => {
            let digits = json!({"type": "Digits", "individual_digits": true});
            plain(json!({"type": "Sequence", "pretokenizers": [digits, bytes(true)]}))
        }
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" => Split { ignore_merges: true, ..plain(by(CL100K)) },
        "dbrx" => plain(by(CL100K)),
        "deepseek-r1-qwen" => plain(by(QWEN2)),
        "qwen2" => Split { normalizer: json!({"type": "NFC"}), ..plain(by(QWEN2)) },
        "gpt-4o" => plain(by(O200K)),
        "tekken" => Split { ignore_merges: true, ..plain(by(TEKKEN)) },
        _ => return None,
    })
}
