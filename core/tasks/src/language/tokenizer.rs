//! Text to token ids and back, a piece at a time.

use super::error::LanguageError;
use super::files::TokenizerFiles;

/// A Hugging Face `tokenizer.json`.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Parses `tokenizer.json`. Truncation and padding are switched off.
    pub fn new(files: &TokenizerFiles) -> Result<Tokenizer, LanguageError> {
        let mut inner = tokenizers::Tokenizer::from_bytes(&files.tokenizer)
            .map_err(|error| LanguageError::Tokenizer(format!("tokenizer.json: {error}")))?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| LanguageError::Tokenizer(error.to_string()))?;
        Ok(Tokenizer { inner })
    }

    /// Number of entries, added tokens included.
    pub fn len(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses a tokenizer that cannot belong to a model with this vocabulary. Models pad their
    /// vocabulary by up to a few percent, and some tokenizers hold a token or two that the model
    /// has no row for.
    pub fn check(&self, vocabulary: usize) -> Result<(), LanguageError> {
        let tokens = self.len();
        if tokens > vocabulary + vocabulary / 64 || tokens < vocabulary - vocabulary / 4 {
            return Err(LanguageError::WrongTokenizer { tokens, vocabulary });
        }
        Ok(())
    }

    /// Token ids of a text. `special` adds what the tokenizer's own template adds (a first token
    /// on plain text); a rendered chat template already has it.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, LanguageError> {
        let encoding = self
            .inner
            .encode(text, special)
            .map_err(|error| LanguageError::Tokenizer(format!("cannot encode: {error}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Text of token ids, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> Result<String, LanguageError> {
        self.inner
            .decode(ids, true)
            .map_err(|error| LanguageError::Tokenizer(format!("cannot decode: {error}")))
    }

    /// Id of a token by its exact text.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Whether the tokenizer declares this id a special token.
    pub fn is_special(&self, id: u32) -> bool {
        self.inner.get_added_tokens_decoder().get(&id).is_some_and(|token| token.special)
    }

    /// A decoder for one stream of tokens.
    pub fn detokenizer(&self) -> Detokenizer<'_> {
        Detokenizer { tokenizer: self, window: Vec::new(), pending: 0, emitted: String::new() }
    }
}

/// Decodes a stream of tokens; every piece it returns ends at a character boundary of the text.
pub struct Detokenizer<'a> {
    tokenizer: &'a Tokenizer,
    /// Tokens that give the next one its context, then the pending ones.
    window: Vec<u32>,
    /// Tokens at the end of `window` whose text is not wholly emitted.
    pending: usize,
    /// What has been emitted of the window's text.
    emitted: String,
}

/// Decoders show a character's missing bytes as this.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;
/// An unfinished character shows as at most this many replacement characters.
const UNFINISHED: usize = 3;
/// Pending tokens after which the text is taken as the invalid UTF-8 that it is.
const PATIENCE: usize = 16;

impl Detokenizer<'_> {
    /// Adds a token and returns the text that is now certain.
    pub fn push(&mut self, id: u32) -> Result<String, LanguageError> {
        self.window.push(id);
        self.pending += 1;
        let text = self.tokenizer.decode(&self.window)?;
        let held = text.chars().rev().take(UNFINISHED).take_while(|c| *c == REPLACEMENT).count();
        let certain = text.len() - held * REPLACEMENT.len_utf8();
        match text.get(..certain).and_then(|t| t.strip_prefix(self.emitted.as_str())) {
            Some(piece) => {
                let piece = piece.to_owned();
                self.emitted.push_str(&piece);
                if held == 0 {
                    self.settle()?;
                }
                Ok(piece)
            }
            None if self.pending > PATIENCE => self.finish(),
            None => Ok(String::new()),
        }
    }

    /// Returns what is still held back; an unfinished character comes out as U+FFFD.
    pub fn finish(&mut self) -> Result<String, LanguageError> {
        let text = self.tokenizer.decode(&self.window)?;
        let rest = match text.strip_prefix(self.emitted.as_str()) {
            Some(rest) => rest.to_owned(),
            None => self.tokenizer.decode(&self.window[self.window.len() - self.pending..])?,
        };
        self.settle()?;
        Ok(rest)
    }

    /// Everything is emitted: only the newest tokens stay, as context.
    fn settle(&mut self) -> Result<(), LanguageError> {
        self.window.drain(..self.window.len() - self.pending);
        self.pending = 0;
        self.emitted = self.tokenizer.decode(&self.window)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A tokenizer with one token per byte, `<0x00>`…, as SentencePiece models fall back to.
    fn byte_fallback() -> Tokenizer {
        let mut vocab: serde_json::Map<String, serde_json::Value> =
            (0..256u32).map(|b| (format!("<0x{b:02X}>"), json!(b))).collect();
        vocab.insert("▁hi".into(), json!(256));
        vocab.insert("<unk>".into(), json!(257));
        build(json!({
            "version": "1.0",
            "added_tokens": [{"id": 258, "content": "<s>", "single_word": false, "lstrip": false,
                              "rstrip": false, "normalized": false, "special": true}],
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            "model": {"type": "BPE", "vocab": vocab, "merges": [], "byte_fallback": true,
                      "unk_token": "<unk>"}
        }))
    }

    fn build(json: serde_json::Value) -> Tokenizer {
        let files = TokenizerFiles { tokenizer: json.to_string().into_bytes(), ..Default::default() };
        Tokenizer::new(&files).unwrap()
    }

    fn stream(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
        let mut detokenizer = tokenizer.detokenizer();
        let mut pieces: Vec<String> = ids.iter().map(|id| detokenizer.push(*id).unwrap()).collect();
        pieces.push(detokenizer.finish().unwrap());
        pieces
    }

    #[test]
    fn characters_of_several_tokens_come_out_whole() {
        let tokenizer = byte_fallback();
        let text = "aé€😀😀b";
        let ids: Vec<u32> = text.bytes().map(u32::from).collect();
        let pieces = stream(&tokenizer, &ids);
        assert_eq!(pieces.concat(), text);
        assert!(pieces.iter().all(|piece| !piece.contains(REPLACEMENT)), "{pieces:?}");
        assert_eq!(pieces[0], "a");
        assert_eq!(pieces[2], "é");
    }

    #[test]
    fn leading_spaces_between_words_survive() {
        let tokenizer = byte_fallback();
        assert_eq!(stream(&tokenizer, &[256, 256, 256]), ["hi", " hi", " hi", ""]);
    }

    #[test]
    fn invalid_bytes_end_in_replacement_characters_not_in_silence() {
        let tokenizer = byte_fallback();
        let pieces = stream(&tokenizer, &[0x61, 0xE2]);
        assert_eq!(pieces, ["a", "", "\u{FFFD}"]);
        let pieces = stream(&tokenizer, &[0x61; 3].map(|_| 0xFF).repeat(20));
        assert!(pieces.concat().chars().all(|c| c == REPLACEMENT));
        assert!(pieces.concat().chars().count() >= 60);
    }

    #[test]
    fn special_tokens_are_known_and_not_shown() {
        let tokenizer = byte_fallback();
        assert!(tokenizer.is_special(258) && !tokenizer.is_special(256));
        assert_eq!(tokenizer.id("<s>"), Some(258));
        assert_eq!(stream(&tokenizer, &[258, 0x61]).concat(), "a");
    }

    #[test]
    fn a_tokenizer_of_another_model_is_refused() {
        let tokenizer = byte_fallback();
        assert!(tokenizer.check(tokenizer.len()).is_ok());
        assert!(tokenizer.check(300).is_ok());
        assert!(tokenizer.check(tokenizer.len() * 2).is_err());
        assert!(tokenizer.check(200).is_err());
        let files = TokenizerFiles { tokenizer: b"not json".to_vec(), ..Default::default() };
        let error = Tokenizer::new(&files).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.starts_with("tokenizer: tokenizer.json"), "{error}");
    }
}
