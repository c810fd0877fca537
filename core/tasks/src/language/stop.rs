//! When a turn ends: declared token ids, and the caller's stop strings.

use serde_json::Value;

use super::files::TokenizerFiles;
use super::template::{ChatTemplate, Message};
use super::tokenizer::Tokenizer;

/// Spellings that end a turn or a text wherever a tokenizer declares them as special tokens.
const END_OF_TURN: [&str; 17] = [
    "<|im_end|>",
    "<end_of_turn>",
    "<turn|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<｜end▁of▁sentence｜>",
    "</s>",
    "<eos>",
    "[EOS]",
];

/// Every id that ends the assistant's turn, sorted: `eos_token_id` of `generation_config.json` and
/// `config.json`, `eos_token` of the tokenizer's files, special tokens with a known spelling, and
/// the special token that the chat template itself puts after an assistant's message.
pub fn end_of_turn_ids(
    files: &TokenizerFiles,
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
) -> Vec<u32> {
    let mut ids = Vec::new();
    for config in [&files.generation_config, &files.config].into_iter().flatten() {
        match config.get("eos_token_id") {
            Some(Value::Array(list)) => ids.extend(list.iter().filter_map(id)),
            Some(value) => ids.extend(id(value)),
            None => {}
        }
    }
    for config in [&files.tokenizer_config, &files.special_tokens_map].into_iter().flatten() {
        let token = config.get("eos_token");
        let text = token.and_then(|t| t.as_str().or_else(|| t.get("content")?.as_str()));
        ids.extend(text.and_then(|text| tokenizer.id(text)));
    }
    let special = |text: &str| tokenizer.id(text).filter(|id| tokenizer.is_special(*id));
    // Where a turn has channels, `<|end|>` ends a channel and `<|return|>` or `<|call|>` the turn.
    let channels = special("<|return|>").is_some() && special("<|call|>").is_some();
    let spelled = END_OF_TURN.iter().filter(|text| !(channels && **text == "<|end|>"));
    ids.extend(spelled.filter_map(|text| special(text)));
    ids.extend(template.and_then(|template| closing_token(tokenizer, template)));
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|n| u32::try_from(n).ok())
}

/// The special token after an assistant's message in a rendered conversation.
fn closing_token(tokenizer: &Tokenizer, template: &ChatTemplate) -> Option<u32> {
    const MARK: &str = "qzxjk";
    let messages = [
        Message { role: "user".into(), content: "hello".into() },
        Message { role: "assistant".into(), content: MARK.into() },
    ];
    let text = template.render(&messages, false).ok()?;
    let tail = text.rsplit_once(MARK)?.1.trim_start();
    let first = *tokenizer.encode(tail, false).ok()?.first()?;
    tokenizer.is_special(first).then_some(first)
}

/// Finds stop strings in streamed text; text that may still become one is held back.
#[derive(Clone, Debug, Default)]
pub struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

impl StopMatcher {
    /// Empty strings are left out: they would match before any text.
    pub fn new(stops: &[String]) -> StopMatcher {
        let stops = stops.iter().filter(|s| !s.is_empty()).cloned().collect();
        StopMatcher { stops, held: String::new() }
    }

    /// Adds text. Returns what can be shown and, when one matched, the stop string; the text
    /// before the earliest match is shown and nothing after it.
    pub fn push(&mut self, text: &str) -> (String, Option<&str>) {
        if self.stops.is_empty() {
            return (text.to_owned(), None);
        }
        self.held.push_str(text);
        let earliest = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()).map(|at| (at, stop)))
            .min_by_key(|(at, stop)| (*at, std::cmp::Reverse(stop.len())));
        if let Some((at, stop)) = earliest {
            let mut shown = std::mem::take(&mut self.held);
            shown.truncate(at);
            return (shown, Some(stop));
        }
        let keep = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        (std::mem::replace(&mut self.held, rest), None)
    }

    /// What was held back and did not become a stop string.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes of the longest end of `text` that is a proper beginning of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len().saturating_sub(1));
    let (text, stop) = (text.as_bytes(), stop.as_bytes());
    (1..=longest).rev().find(|n| text[text.len() - n..] == stop[..*n]).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stream(stops: &[&str], pieces: &[&str]) -> (Vec<String>, Option<String>) {
        let stops: Vec<String> = stops.iter().map(|s| s.to_string()).collect();
        let mut matcher = StopMatcher::new(&stops);
        let mut shown = Vec::new();
        for piece in pieces {
            let (text, stop) = matcher.push(piece);
            shown.push(text);
            if let Some(stop) = stop {
                return (shown, Some(stop.to_owned()));
            }
        }
        shown.push(matcher.finish());
        (shown, None)
    }

    #[test]
    fn stop_strings_match_across_pieces() {
        let (shown, stop) = stream(&["\nUser:"], &["Hello\n", "Us", "er: x"]);
        assert_eq!((shown.concat().as_str(), stop.as_deref()), ("Hello", Some("\nUser:")));
        let (shown, stop) = stream(&["abc", "b"], &["xa", "bc"]);
        assert_eq!((shown.concat().as_str(), stop.as_deref()), ("x", Some("abc")));
    }

    #[test]
    fn what_cannot_match_is_shown_at_once() {
        let (shown, stop) = stream(&["END"], &["one E", "N", "d two", "!"]);
        assert_eq!(shown, ["one ", "", "ENd two", "!", ""]);
        assert_eq!(stop, None);
        assert_eq!(stream(&[""], &["x"]).0, ["x", ""]);
        assert_eq!(stream(&["aab"], &["aa", "ab"]).1.as_deref(), Some("aab"));
    }

    #[test]
    fn holding_back_never_splits_a_character() {
        let (shown, stop) = stream(&["€€"], &["a€", "é", "€", "€"]);
        assert_eq!(shown[..3], ["a", "€é", ""]);
        assert_eq!(stop.as_deref(), Some("€€"));
    }

    #[test]
    fn every_declared_end_of_turn_stops() {
        let added = |id: u32, content: &str| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false,
                   "rstrip": false, "normalized": false, "special": true})
        };
        let tokenizer = json!({
            "version": "1.0",
            "added_tokens": [added(3, "<|im_end|>"), added(4, "<fin>"), added(5, "<eos>"),
                             added(6, "<pad>"), added(7, "[close]")],
            "pre_tokenizer": {"type": "Whitespace"},
            "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "<unk>": 2},
                      "unk_token": "<unk>"}
        });
        let files = TokenizerFiles {
            tokenizer: tokenizer.to_string().into_bytes(),
            tokenizer_config: Some(json!({"eos_token": {"content": "<fin>"}})),
            generation_config: Some(json!({"eos_token_id": [9, 1]})),
            config: Some(json!({"eos_token_id": 8})),
            ..Default::default()
        };
        let tokenizer = Tokenizer::new(&files).unwrap();
        assert_eq!(end_of_turn_ids(&files, &tokenizer, None), [1, 3, 4, 5, 8, 9]);
        let source = "{% for m in messages %}{{ m.content }} [close]\n{% endfor %}";
        let template = ChatTemplate::new(source, Default::default(), || 0).unwrap();
        let ids = end_of_turn_ids(&files, &tokenizer, Some(&template));
        assert_eq!(ids, [1, 3, 4, 5, 7, 8, 9]);
    }
}
