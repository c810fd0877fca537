//! A vocabulary of 96 tokens, in the forms that files give it: three special ones, the space, 90 printable
//! characters, and two merges.

use serde_json::{Map, Value, json};

/// Space in byte-level vocabularies.
const BYTE_SPACE: &str = "Ġ";
/// Space in SentencePiece vocabularies.
const PIECE_SPACE: &str = "▁";
/// Ids below this are special.
const SPECIAL: usize = 3;

/// Text, score and type (of GGUF) of each token.
pub(super) struct Tokens {
    pub(super) texts: Vec<String>,
    pub(super) scores: Vec<f32>,
    pub(super) types: Vec<i32>,
}

/// Byte-level tokens.
pub(super) fn bytes(config: &Value) -> Tokens {
    tokens(config, BYTE_SPACE)
}

/// SentencePiece tokens.
pub(super) fn pieces(config: &Value) -> Tokens {
    tokens(config, PIECE_SPACE)
}

/// Merges of the byte-level vocabulary.
pub(super) fn merges() -> Vec<String> {
    vec!["t h".into(), format!("{BYTE_SPACE} th")]
}

fn tokens(config: &Value, space: &str) -> Tokens {
    const UNKNOWN: i32 = 2;
    const CONTROL: i32 = 3;
    let mut tokens = Tokens { texts: vec![], scores: vec![], types: vec![] };
    for id in 0..SPECIAL {
        let is = |key: &str| config[key].as_u64() == Some(id as u64);
        let (text, kind) = match () {
            () if is("bos_token_id") => ("<s>", CONTROL),
            () if is("eos_token_id") => ("</s>", CONTROL),
            () => ("<unk>", UNKNOWN),
        };
        tokens.texts.push(text.into());
        tokens.scores.push(0.0);
        tokens.types.push(kind);
    }
    let characters = ('!'..='z').map(String::from);
    let merged = ["th".into(), format!("{space}th")];
    for text in std::iter::once(space.to_owned()).chain(characters).chain(merged) {
        tokens.scores.push(-(tokens.texts.len() as f32));
        tokens.texts.push(text);
        tokens.types.push(1); // normal
    }
    tokens
}

/// `tokenizer.json`: byte-level BPE.
pub(super) fn huggingface(config: &Value) -> Value {
    let texts = bytes(config).texts;
    let special = |id: usize| {
        json!({
            "id": id, "content": texts[id], "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    };
    let vocabulary: Map<String, Value> =
        texts.iter().enumerate().map(|(id, text)| (text.clone(), id.into())).collect();
    let level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": (0..SPECIAL).map(special).collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": level,
        "post_processor": null,
        "decoder": level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary,
            "merges": merges().iter().map(|merge| merge.split(' ').collect()).collect::<Vec<Vec<_>>>(),
        },
    })
}

/// `tokenizer_config.json`.
pub(super) fn huggingface_config(config: &Value) -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": config["max_position_embeddings"],
        "clean_up_tokenization_spaces": false,
        "chat_template": CHAT_TEMPLATE,
    })
}

/// A chat template in the vocabulary's characters.
pub(super) const CHAT_TEMPLATE: &str =
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}{{ eos_token }}{% endfor %}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_one_token() {
        let config = json!({"bos_token_id": 2, "eos_token_id": 1});
        for tokens in [bytes(&config), pieces(&config)] {
            assert_eq!((tokens.texts.len(), tokens.scores.len(), tokens.types.len()), (96, 96, 96));
            assert_eq!(tokens.texts[..3], ["<unk>", "</s>", "<s>"]);
            let mut unique = tokens.texts.clone();
            unique.sort();
            unique.dedup();
            assert_eq!(unique.len(), 96);
        }
        for merge in merges() {
            assert!(bytes(&config).texts.contains(&merge.replace(' ', "")));
        }
    }
}
