//! Tokenizers of GGUF files.

use std::collections::HashMap;

use serde_json::json;

use super::model::{Added, Bpe, Merges, Tokenizer};
use super::pretokenizers::{Split, split};
use super::{Contents, TokenizerFiles};
use crate::config::Architecture;
use crate::error::ConvertError;
use crate::gguf::{Metadata, Strings};

/// Tokens of a vocabulary.
const MAX_TOKENS: usize = 1 << 24;
/// Bytes of a token that can be the result of merges; real ones have at most some hundred.
const MAX_PIECE_BYTES: usize = 1 << 10;

/// `tokenizer.ggml.token_type`
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// The special tokens of a file.
struct Roles<'a> {
    bos: Option<(u32, &'a str)>,
    eos: Option<(u32, &'a str)>,
    pad: Option<(u32, &'a str)>,
    unk: Option<(u32, &'a str)>,
}

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";

/// Makes the files that transformers would write.
pub(crate) fn of_gguf(
    file: &str,
    metadata: &Metadata,
    notes: &mut Vec<String>,
) -> Result<TokenizerFiles, ConvertError> {
    let tokens =
        metadata.strings(TOKENS)?.ok_or_else(|| metadata.unexpected(TOKENS, "an array of strings"))?;
    if tokens.len() > MAX_TOKENS {
        let (what, value) = ("tokens".into(), tokens.len() as u64);
        return Err(ConvertError::Limit { file: file.into(), what, value, limit: MAX_TOKENS as u64 });
    }
    let kinds = kinds(metadata, tokens.len())?;
    let mut ids = HashMap::with_capacity(tokens.len());
    for (id, token) in tokens.iter().enumerate() {
        if ids.insert(token, id as u32).is_some() {
            let reason = format!("{token:?} is there twice");
            return Err(ConvertError::Malformed { file: file.into(), what: TOKENS.into(), reason });
        }
    }
    let role = |key: &str| -> Result<Option<(u32, &str)>, ConvertError> {
        let key = format!("tokenizer.ggml.{key}_token_id");
        let Some(id) = metadata.u64(&key)? else { return Ok(None) };
        let token = usize::try_from(id).ok().and_then(|id| tokens.get(id));
        let token = token.ok_or_else(|| metadata.unexpected(&key, "the number of a token"))?;
        Ok(Some((id as u32, token)))
    };
    let roles = Roles { bos: role("bos")?, eos: role("eos")?, pad: role("padding")?, unk: role("unknown")? };
    let model = metadata.str("tokenizer.ggml.model")?;
    let tokenizer = match model {
        Some("gpt2") => byte_level(file, metadata, tokens, &kinds, &ids, notes)?,
        Some("llama") => pieces(metadata, tokens, &kinds, &ids, &roles)?,
        _ => return Err(metadata.unexpected("tokenizer.ggml.model", "\"gpt2\" or \"llama\"")),
    };
    let llama3 = metadata
        .str("tokenizer.ggml.pre")?
        .is_some_and(|pre| matches!(pre, "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "tekken"));
    let adds = |key: &str, default: bool| Ok::<_, ConvertError>(metadata.bool(key)?.unwrap_or(default));
    // what llama.cpp does where the file says nothing
    let add_bos = adds("tokenizer.ggml.add_bos_token", model == Some("llama") || llama3)?;
    let add_eos = adds("tokenizer.ggml.add_eos_token", false)?;
    let added: Vec<_> = (0..)
        .zip(tokens.iter())
        .zip(&kinds)
        .filter(|(_, kind)| matches!(kind, Kind::Control | Kind::Unknown | Kind::UserDefined))
        .map(|((id, content), kind)| Added { id, content, special: *kind != Kind::UserDefined })
        .collect();
    let begin = roles.bos.filter(|_| add_bos);
    let end = roles.eos.filter(|_| add_eos);
    let json = tokenizer.to_json(&added, begin, end).map_err(|reason| ConvertError::Malformed {
        file: file.into(),
        what: "tokenizer".into(),
        reason,
    })?;
    let mut files = vec![("tokenizer.json", Contents::Bytes(json))];
    let template = metadata.str("tokenizer.chat_template")?;
    let text = |role: Option<(u32, &str)>| role.map(|(_, text)| text.to_owned());
    let mut settings = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": false,
        "add_bos_token": add_bos,
        "add_eos_token": add_eos,
        "bos_token": text(roles.bos),
        "eos_token": text(roles.eos),
        "pad_token": text(roles.pad),
        "unk_token": text(roles.unk),
    });
    if let Some(template) = template {
        settings["chat_template"] = json!(template);
    }
    files.push(("tokenizer_config.json", Contents::Bytes(format!("{settings:#}\n").into_bytes())));
    let others = metadata.keys().filter(|key| key.starts_with("tokenizer.chat_template.")).count();
    if others != 0 {
        notes.push(format!("{others} more chat templates are left out"));
    }
    if let Some(template) = template {
        files.push(("chat_template.jinja", Contents::Bytes(template.as_bytes().to_vec())));
    }
    Ok(TokenizerFiles { files })
}

/// The tokens that end a text: those that the file names, and the one that ends a turn, if it is a control
/// token that the chat template writes.
pub(crate) fn ends(metadata: &Metadata, architecture: Architecture) -> Result<Vec<u64>, ConvertError> {
    let mut ends = Vec::new();
    for key in ["eos", "eot", "eom"] {
        ends.extend(metadata.u64(&format!("tokenizer.ggml.{key}_token_id"))?);
    }
    // in gpt-oss `<|end|>` is only the end of a message
    let turns: &[&str] = match architecture {
        Architecture::GptOss => &[],
        _ => &["<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>"],
    };
    if let (Some(template), Some(tokens)) =
        (metadata.str("tokenizer.chat_template")?, metadata.strings(TOKENS)?)
    {
        let kinds = kinds(metadata, tokens.len())?;
        let control = (0u64..).zip(tokens.iter()).zip(&kinds).filter(|(_, kind)| **kind == Kind::Control);
        ends.extend(
            control
                .filter(|((_, token), _)| turns.contains(token) && template.contains(*token))
                .map(|((id, _), _)| id),
        );
    }
    ends.sort_unstable();
    ends.dedup();
    Ok(ends)
}

fn kinds(metadata: &Metadata, tokens: usize) -> Result<Vec<Kind>, ConvertError> {
    let Some(types) = metadata.integers(TYPES)? else { return Ok(vec![Kind::Normal; tokens]) };
    let kind = |number: i64| match number {
        // 0 is written by some converters for what they do not distinguish
        0 | 1 => Ok(Kind::Normal),
        2 => Ok(Kind::Unknown),
        3 => Ok(Kind::Control),
        4 => Ok(Kind::UserDefined),
        5 => Ok(Kind::Unused),
        6 => Ok(Kind::Byte),
        _ => Err(metadata.unexpected(TYPES, "numbers from 0 to 6")),
    };
    let kinds = types.map(kind).collect::<Result<Vec<_>, _>>()?;
    match kinds.len() == tokens {
        true => Ok(kinds),
        false => Err(metadata.unexpected(TYPES, &format!("{tokens} numbers, one for each token"))),
    }
}

/// Byte-level BPE, with the merges of the file.
fn byte_level<'a>(
    file: &str,
    metadata: &'a Metadata,
    tokens: &'a Strings,
    kinds: &[Kind],
    ids: &HashMap<&str, u32>,
    notes: &mut Vec<String>,
) -> Result<Tokenizer<'a>, ConvertError> {
    const MERGES: &str = "tokenizer.ggml.merges";
    const PRE: &str = "tokenizer.ggml.pre";
    let pre = metadata.str(PRE)?;
    let name = pre.unwrap_or("default");
    let Some(Split { json: pre_tokenizer, normalizer, ignore_merges }) = split(name) else {
        let expected = format!("one of {}", super::pretokenizers::NAMES.join(", "));
        return Err(metadata.unexpected(PRE, &expected));
    };
    if name == "default" {
        notes.push(format!("{PRE} is {pre:?}: words are split as in GPT-2"));
    }
    let merges =
        metadata.strings(MERGES)?.ok_or_else(|| metadata.unexpected(MERGES, "an array of strings"))?;
    let mut joined = String::new();
    for merge in merges.iter() {
        let known = merge.split_once(' ').filter(|(left, right)| {
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            [left, right, &joined.as_str()].iter().all(|part| ids.contains_key(**part))
        });
        if known.is_none() {
            let reason = format!("{merge:?} is not a pair of tokens whose union is a token");
            return Err(ConvertError::Malformed { file: file.into(), what: MERGES.into(), reason });
        }
    }
    // places of the embedding that no text leads to
    let vocabulary = (0..).zip(tokens.iter()).zip(kinds).filter(|(_, kind)| **kind != Kind::Unused);
    Ok(Tokenizer {
        normalizer,
        pre_tokenizer,
        decoder: json!({
            "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
        }),
        model: Bpe {
            unk_token: None,
            fuse_unk: false,
            byte_fallback: false,
            ignore_merges,
            vocabulary: vocabulary.map(|((id, token), _)| (token, id)).collect(),
            merges: Merges::Written(merges),
        },
    })
}

/// SentencePiece BPE: merges follow from the scores, as transformers' converters derive them.
fn pieces<'a>(
    metadata: &Metadata,
    tokens: &'a Strings,
    kinds: &[Kind],
    ids: &HashMap<&'a str, u32>,
    roles: &Roles<'a>,
) -> Result<Tokenizer<'a>, ConvertError> {
    const SCORES: &str = "tokenizer.ggml.scores";
    let scores = metadata.floats(SCORES)?.ok_or_else(|| metadata.unexpected(SCORES, "an array of floats"))?;
    let scores: Vec<f32> = scores.map(|score| score as f32).collect();
    if scores.len() != tokens.len() {
        return Err(metadata.unexpected(SCORES, &format!("{} numbers, one for each token", tokens.len())));
    }
    let mergeable = |id: u32| matches!(kinds.get(id as usize), Some(Kind::Normal | Kind::UserDefined));
    let mut merges: Vec<(f32, u32, u32)> = Vec::new();
    for ((token, score), kind) in tokens.iter().zip(&scores).zip(kinds) {
        // user-defined tokens are found in the text before anything is merged
        if *kind != Kind::Normal || token.len() > MAX_PIECE_BYTES {
            continue;
        }
        let start = merges.len();
        for (at, _) in token.char_indices().skip(1) {
            let Some((left, right)) = token.split_at_checked(at) else { continue };
            if let (Some(one), Some(other)) = (ids.get(left), ids.get(right))
                && mergeable(*one)
                && mergeable(*other)
            {
                merges.push((*score, *one, *other));
            }
        }
        if let Some(own) = merges.get_mut(start..) {
            own.sort_by_key(|(_, one, other)| (*one, *other));
        }
    }
    // the greatest score first, then the longest parts; equals keep their order
    let length = |id: u32| tokens.get(id as usize).map_or(0, |token| token.chars().count());
    merges.sort_by(|one, other| {
        let lengths = |merge: &(f32, u32, u32)| (length(merge.1), length(merge.2));
        other.0.total_cmp(&one.0).then_with(|| lengths(other).cmp(&lengths(one)))
    });
    let merges = merges.into_iter().map(|(_, one, other)| (one, other)).collect();
    let prefix = metadata.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let space = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let normalizer = match prefix {
        true => json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, space]}),
        false => space,
    };
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let unknown = roles.unk.map(|(_, token)| token).or_else(|| {
        let at = kinds.iter().position(|kind| *kind == Kind::Unknown)?;
        tokens.get(at)
    });
    Ok(Tokenizer {
        normalizer,
        pre_tokenizer: serde_json::Value::Null,
        decoder: json!({"type": "Sequence", "decoders": decoders}),
        model: Bpe {
            unk_token: unknown,
            fuse_unk: true,
            byte_fallback: true,
            ignore_merges: false,
            vocabulary: tokens.iter().zip(0..).collect(),
            merges: Merges::Pairs(merges, tokens),
        },
    })
}
