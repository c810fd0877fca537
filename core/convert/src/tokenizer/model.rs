//! `tokenizer.json`, as the tokenizers library reads it.

use serde::ser::{Serialize, SerializeSeq, Serializer};
use serde_json::{Value, json};

use crate::gguf::Strings;

/// A token that is found in the text before it is split.
pub(super) struct Added<'a> {
    pub id: u32,
    pub content: &'a str,
    /// Left out of decoded text.
    pub special: bool,
}

impl Serialize for Added<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json!({
            "id": self.id, "content": self.content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": self.special,
        })
        .serialize(serializer)
    }
}

/// Pairs of tokens in the order they are merged in.
pub(super) enum Merges<'a> {
    /// With a space between the two.
    Written(&'a Strings),
    /// By the numbers of the tokens.
    Pairs(Vec<(u32, u32)>, &'a Strings),
}

impl Serialize for Merges<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Pairs(pairs, tokens) => {
                let text = |id: u32| tokens.get(id as usize).unwrap_or_default();
                serializer.collect_seq(pairs.iter().map(|(one, other)| (text(*one), text(*other))))
            }
            Self::Written(merges) => {
                let mut pairs = serializer.serialize_seq(Some(merges.len()))?;
                for merge in merges.iter() {
                    pairs.serialize_element(&merge.split_once(' ').unwrap_or((merge, "")))?;
                }
                pairs.end()
            }
        }
    }
}

/// Pairs as an object.
struct Vocabulary<'a>(&'a [(&'a str, u32)]);

impl Serialize for Vocabulary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// The model of a tokenizer.
pub(super) struct Bpe<'a> {
    pub unk_token: Option<&'a str>,
    pub fuse_unk: bool,
    pub byte_fallback: bool,
    /// Words that are tokens are not merged from their parts.
    pub ignore_merges: bool,
    pub vocabulary: Vec<(&'a str, u32)>,
    pub merges: Merges<'a>,
}

impl Serialize for Bpe<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Model<'a> {
            #[serde(rename = "type")]
            kind: &'static str,
            dropout: Option<f32>,
            unk_token: Option<&'a str>,
            continuing_subword_prefix: Option<&'a str>,
            end_of_word_suffix: Option<&'a str>,
            fuse_unk: bool,
            byte_fallback: bool,
            ignore_merges: bool,
            vocab: Vocabulary<'a>,
            merges: &'a Merges<'a>,
        }
        Model {
            kind: "BPE",
            dropout: None,
            unk_token: self.unk_token,
            continuing_subword_prefix: None,
            end_of_word_suffix: None,
            fuse_unk: self.fuse_unk,
            byte_fallback: self.byte_fallback,
            ignore_merges: self.ignore_merges,
            vocab: Vocabulary(&self.vocabulary),
            merges: &self.merges,
        }
        .serialize(serializer)
    }
}

/// A tokenizer but for the tokens that are added to it.
pub(super) struct Tokenizer<'a> {
    pub normalizer: Value,
    pub pre_tokenizer: Value,
    pub decoder: Value,
    pub model: Bpe<'a>,
}

impl Tokenizer<'_> {
    /// `begin` and `end` are put around every text.
    pub fn to_json(
        &self,
        added: &[Added],
        begin: Option<(u32, &str)>,
        end: Option<(u32, &str)>,
    ) -> Result<Vec<u8>, String> {
        #[derive(serde::Serialize)]
        struct File<'a> {
            version: &'static str,
            truncation: Option<()>,
            padding: Option<()>,
            added_tokens: &'a [Added<'a>],
            normalizer: &'a Value,
            pre_tokenizer: &'a Value,
            post_processor: Value,
            decoder: &'a Value,
            model: &'a Bpe<'a>,
        }
        let file = File {
            version: "1.0",
            truncation: None,
            padding: None,
            added_tokens: added,
            normalizer: &self.normalizer,
            pre_tokenizer: &self.pre_tokenizer,
            post_processor: template(begin, end),
            decoder: &self.decoder,
            model: &self.model,
        };
        serde_json::to_vec(&file).map_err(|error| error.to_string())
    }
}

fn template(begin: Option<(u32, &str)>, end: Option<(u32, &str)>) -> Value {
    if begin.is_none() && end.is_none() {
        return Value::Null;
    }
    let special = |role: Option<(u32, &str)>, kind: u32| {
        role.map(|(_, text)| json!({"SpecialToken": {"id": text, "type_id": kind}}))
    };
    let text = |name: &str, kind: u32| {
        let own = json!({"Sequence": {"id": name, "type_id": kind}});
        special(begin, kind).into_iter().chain([own]).chain(special(end, kind)).collect::<Vec<_>>()
    };
    let tokens = [begin, end].into_iter().flatten();
    let tokens = tokens
        .map(|(id, text)| (text.to_owned(), json!({"id": text, "ids": [id], "tokens": [text]})))
        .collect::<serde_json::Map<_, _>>();
    let pair = [text("A", 0), text("B", 1)].concat();
    json!({
        "type": "TemplateProcessing",
        "single": text("A", 0),
        "pair": pair,
        "special_tokens": tokens,
    })
}
