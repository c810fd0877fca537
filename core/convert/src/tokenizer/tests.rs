//! Tokenizers of GGUF files against the library that reads them.

use serde_json::Value;
use tokenizers::Tokenizer;

use super::*;
use crate::checkpoint::tests::write::{Meta, gguf};
use crate::gguf::Gguf;

type Keys = Vec<(String, Meta)>;

fn files(keys: &Keys) -> Result<(TokenizerFiles, Vec<String>), ConvertError> {
    let source = std::sync::Arc::new(coreai_asset::MemorySource(gguf(keys, &[])));
    let file = Gguf::read("test.gguf", source)?;
    let mut notes = Vec::new();
    Ok((of_gguf("test.gguf", file.metadata(), &mut notes)?, notes))
}

fn tokenizer(keys: &Keys) -> Tokenizer {
    let (files, _) = files(keys).unwrap();
    Tokenizer::from_bytes(files.read("tokenizer.json").unwrap().unwrap()).unwrap()
}

fn set(keys: &mut Keys, key: &str, value: Meta) {
    let key = format!("tokenizer.ggml.{key}");
    keys.retain(|(own, _)| *own != key);
    keys.push((key, value));
}

fn texts(texts: &[&str]) -> Meta {
    Meta::Texts(texts.iter().map(|text| text.to_string()).collect())
}

fn refusal(keys: &Keys, key: &str, value: Meta) -> String {
    let mut keys: Keys = keys.iter().map(|(key, value)| (key.clone(), copy(value))).collect();
    set(&mut keys, key, value);
    files(&keys).unwrap_err().to_string()
}

fn copy(value: &Meta) -> Meta {
    match value {
        Meta::Text(value) => Meta::Text(value.clone()),
        Meta::Count(value) => Meta::Count(*value),
        Meta::Float(value) => Meta::Float(*value),
        Meta::Flag(value) => Meta::Flag(*value),
        Meta::Texts(value) => Meta::Texts(value.clone()),
        Meta::Floats(value) => Meta::Floats(value.clone()),
        Meta::Integers(value) => Meta::Integers(value.clone()),
    }
}

/// The keys that llama.cpp's converter makes of a `tokenizer.json`.
fn of_json(json: &Value, pre: &str) -> Keys {
    let mut tokens = vec![String::new(); json["model"]["vocab"].as_object().unwrap().len()];
    for (token, id) in json["model"]["vocab"].as_object().unwrap() {
        tokens[id.as_u64().unwrap() as usize] = token.clone();
    }
    let mut kinds = vec![1; tokens.len()];
    for added in json["added_tokens"].as_array().unwrap() {
        kinds[added["id"].as_u64().unwrap() as usize] = if added["special"] == true { 3 } else { 4 };
    }
    let merge = |merge: &Value| match merge {
        Value::String(merge) => merge.clone(),
        merge => format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap()),
    };
    let merges = json["model"]["merges"].as_array().unwrap().iter().map(merge).collect();
    let mut keys = Keys::new();
    set(&mut keys, "model", Meta::Text("gpt2".into()));
    set(&mut keys, "pre", Meta::Text(pre.into()));
    set(&mut keys, "tokens", Meta::Texts(tokens));
    set(&mut keys, "token_type", Meta::Integers(kinds));
    set(&mut keys, "merges", Meta::Texts(merges));
    keys
}

const TEXTS: [&str; 10] = [
    "Hello world, it's 2024 and we've 1234567890 things.",
    "def f(x):\n    return x**2  # squares\n\n\n",
    "😀👩‍👩‍👧 ünïcödé 日本語 한국어 العربية हिन्दी",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "  leading\t\ttabs \r\n trailing  ",
    "<file_sep>x<jupyter_code>y<|endoftext|>",
    "१२३ ٣٤ ½ ² Ⅷ",
    "I'M DON'T camelCaseWords HTTPServer",
    "\u{a0}\u{200b}e\u{301}",
    "a+b==c && !d || [e]{f}",
];

#[test]
fn smollm_is_the_original() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/models/smollm2-135m-int4/tokenizer/tokenizer.json");
    let Ok(bytes) = fs::read(&path) else {
        eprintln!("{} is not there: nothing to compare with", path.display());
        return;
    };
    let original = Tokenizer::from_bytes(&bytes).unwrap();
    let ours = tokenizer(&of_json(&serde_json::from_slice(&bytes).unwrap(), "smollm"));
    for text in TEXTS {
        let (expected, found) = (original.encode(text, true).unwrap(), ours.encode(text, true).unwrap());
        assert_eq!(found.get_ids(), expected.get_ids(), "{text:?}");
        for skip in [false, true] {
            let decode = |tokenizer: &Tokenizer| tokenizer.decode(expected.get_ids(), skip).unwrap();
            assert_eq!(decode(&ours), decode(&original));
        }
    }
}

/// All bytes, two merges, a control token, one that users defined, one that pads.
fn bytes() -> Keys {
    // the printable stand for themselves, the others for characters from 256 on
    let mut next = 255u32;
    let printable = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let letter = |byte: u8| match printable(byte) {
        true => char::from(byte),
        false => {
            next += 1;
            char::from_u32(next).unwrap()
        }
    };
    let mut tokens: Vec<String> = (0..=255u8).map(letter).map(String::from).collect();
    tokens.extend(["ab", "12", "<s>", "<user>", "[PAD260]"].map(String::from));
    let mut kinds = vec![1; 258];
    kinds.extend([3, 4, 5]);
    let mut keys = Keys::new();
    set(&mut keys, "model", Meta::Text("gpt2".into()));
    set(&mut keys, "pre", Meta::Text("gpt-2".into()));
    set(&mut keys, "tokens", Meta::Texts(tokens));
    set(&mut keys, "token_type", Meta::Integers(kinds));
    set(&mut keys, "merges", texts(&["a b", "1 2"]));
    set(&mut keys, "bos_token_id", Meta::Count(258));
    keys
}

#[test]
fn words_are_split_by_name() {
    let words = |pre: &str, text: &str| {
        let mut keys = bytes();
        set(&mut keys, "pre", Meta::Text(pre.into()));
        set(&mut keys, "add_bos_token", Meta::Flag(false));
        tokenizer(&keys).encode(text, true).unwrap().get_ids().to_vec()
    };
    for pre in pretokenizers::NAMES {
        assert_eq!(words(pre, "ab"), [256], "{pre}");
        let text = "I'll 12 aB日本e\u{301}\r\n\n  x";
        let mut keys = bytes();
        set(&mut keys, "pre", Meta::Text(pre.into()));
        let tokenizer = tokenizer(&keys);
        let ids = tokenizer.encode(text, false).unwrap().get_ids().to_vec();
        let read = tokenizer.decode(&ids, false).unwrap();
        // the only one that composes characters
        assert_eq!(read, if pre == "qwen2" { text.replace("e\u{301}", "é") } else { text.into() }, "{pre}");
    }
    let one_by_one = [u32::from(b'1'), u32::from(b'2')];
    for pre in ["smollm", "starcoder", "refact", "qwen2", "tekken"] {
        assert_eq!(words(pre, "12"), one_by_one, "{pre}");
    }
    for pre in ["gpt-2", "llama-bpe", "dbrx", "gpt-4o"] {
        assert_eq!(words(pre, "12"), [257], "{pre}");
    }
    // in threes
    let digits = |text: &str| text.bytes().map(u32::from).collect::<Vec<_>>();
    assert_eq!(words("llama-bpe", "33312"), [digits("333"), vec![257]].concat());
    assert_eq!(words("llama-bpe", "3312"), digits("3312"));
    assert_eq!(words("gpt-2", "3312"), [digits("33"), vec![257]].concat());
}

#[test]
fn special_tokens() {
    let mut keys = bytes();
    let encode = |keys: &Keys, text: &str| tokenizer(keys).encode(text, true).unwrap().get_ids().to_vec();
    assert_eq!(encode(&keys, "ab<s><user>"), [256, 258, 259]);
    let json: Value =
        serde_json::from_slice(&files(&keys).unwrap().0.read("tokenizer.json").unwrap().unwrap()).unwrap();
    let special: Vec<_> =
        json["added_tokens"].as_array().unwrap().iter().map(|one| &one["special"]).collect();
    assert_eq!(special, [true, false]);
    assert!(json["model"]["vocab"].get("[PAD260]").is_none());
    assert_eq!(tokenizer(&keys).decode(&[256, 258, 259], true).unwrap(), "ab<user>");
    set(&mut keys, "add_bos_token", Meta::Flag(true));
    assert_eq!(encode(&keys, "ab"), [258, 256]);
    set(&mut keys, "eos_token_id", Meta::Count(257));
    set(&mut keys, "add_eos_token", Meta::Flag(true));
    assert_eq!(encode(&keys, "ab"), [258, 256, 257]);
    // llama.cpp begins texts of Llama 3 where the file says nothing
    let mut keys = bytes();
    set(&mut keys, "pre", Meta::Text("llama-bpe".into()));
    assert_eq!(encode(&keys, "ab"), [258, 256]);
    keys.push(("tokenizer.chat_template".into(), Meta::Text("{{ messages }}".into())));
    let (files, notes) = files(&keys).unwrap();
    assert_eq!(files.read("chat_template.jinja").unwrap().unwrap(), b"{{ messages }}");
    let settings: Value =
        serde_json::from_slice(&files.read("tokenizer_config.json").unwrap().unwrap()).unwrap();
    assert_eq!(settings["bos_token"], "<s>");
    assert_eq!(settings["chat_template"], "{{ messages }}");
    assert!(notes.is_empty());
    set(&mut keys, "pre", Meta::Text("default".into()));
    assert!(self::files(&keys).unwrap().1[0].contains("as in GPT-2"));
}

/// Pieces with scores, bytes and an unknown token.
fn pieces(prefix: bool) -> Keys {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    tokens.extend((0..=255u8).map(|byte| format!("<0x{byte:02X}>")));
    let own = ["▁", "h", "e", "l", "o", "he", "ll", "hell", "hello", "▁hello", "lo", "▁▁", "el"];
    tokens.extend(own.map(String::from));
    let mut kinds = vec![2, 3, 3];
    kinds.extend([6; 256]);
    kinds.extend([1; 13]);
    let mut scores = vec![0.0; 259];
    scores.extend([-9.0, -10.0, -11.0, -12.0, -13.0, -1.0, -2.0, -3.0, -5.0, -6.0, -7.0, -8.0, -0.5]);
    let mut keys = Keys::new();
    set(&mut keys, "model", Meta::Text("llama".into()));
    set(&mut keys, "pre", Meta::Text("default".into()));
    set(&mut keys, "tokens", Meta::Texts(tokens));
    set(&mut keys, "token_type", Meta::Integers(kinds));
    set(&mut keys, "scores", Meta::Floats(scores));
    set(&mut keys, "bos_token_id", Meta::Count(1));
    set(&mut keys, "unknown_token_id", Meta::Count(0));
    set(&mut keys, "add_space_prefix", Meta::Flag(prefix));
    keys
}

#[test]
fn pieces_merge_by_score() {
    let tokenizer = tokenizer(&pieces(true));
    let tokens = |text: &str| tokenizer.encode(text, true).unwrap().get_tokens().to_vec();
    // `el` has the greatest score, so nothing else can become of `hello`
    assert_eq!(tokens("hello"), ["<s>", "▁", "h", "el", "lo"]);
    assert_eq!(tokens("he ll"), ["<s>", "▁", "he", "▁", "ll"]);
    assert_eq!(tokens("é"), ["<s>", "▁", "<0xC3>", "<0xA9>"]);
    for text in ["hello", "é  日本 hello", "  x"] {
        let ids = tokenizer.encode(text, true).unwrap().get_ids().to_vec();
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), text);
    }
    let bare = self::tokenizer(&pieces(false));
    assert_eq!(bare.encode("hell", false).unwrap().get_tokens(), ["h", "el", "l"]);
    let ids = bare.encode(" hell", false).unwrap().get_ids().to_vec();
    assert_eq!(bare.decode(&ids, true).unwrap(), " hell");
}

#[test]
fn refusals() {
    let keys = bytes();
    assert!(refusal(&keys, "model", Meta::Text("bert".into())).contains("tokenizer.ggml.model is \"bert\""));
    assert!(refusal(&keys, "pre", Meta::Text("viking".into())).contains("tokenizer.ggml.pre is \"viking\""));
    assert!(refusal(&keys, "merges", texts(&["a c"])).contains("\"a c\" is not a pair"));
    assert!(refusal(&keys, "merges", texts(&["ab"])).contains("is not a pair"));
    assert!(refusal(&keys, "tokens", texts(&["a", "a"])).contains("tokenizer.ggml.token_type"));
    assert!(refusal(&keys, "token_type", Meta::Integers(vec![1; 3])).contains("261 numbers"));
    assert!(refusal(&keys, "token_type", Meta::Integers(vec![7; 261])).contains("from 0 to 6"));
    assert!(refusal(&keys, "bos_token_id", Meta::Count(261)).contains("the number of a token"));
    assert!(refusal(&pieces(true), "scores", Meta::Floats(vec![0.0])).contains("one for each token"));
    let mut twice = bytes();
    twice.retain(|(key, _)| !key.ends_with("token_type"));
    assert!(refusal(&twice, "tokens", texts(&["a", "a"])).contains("\"a\" is there twice"));
    twice.retain(|(key, _)| !key.ends_with("merges"));
    assert!(refusal(&twice, "tokens", texts(&["a"])).contains("bos_token_id"));
}
