//! Which files of a repository an import needs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::name::{HubName, is_gguf};
use crate::error::ConvertError;
use crate::fetch::disk::is_plain_name;

/// Bytes of a repository's description.
pub(super) const MAX_LISTING: u64 = 64 << 20;
/// Bytes of an index of shards; those of the largest models have 10 MB.
pub(super) const MAX_INDEX: u64 = 64 << 20;
/// Shards of a model; the largest have some 200.
const MAX_SHARDS: usize = 2048;

pub(super) const CONFIG: &str = "config.json";
pub(super) const WEIGHTS: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Taken where they exist.
const OPTIONAL: [&str; 6] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// What the hub says about a revision.
#[derive(Deserialize)]
pub(super) struct Listing {
    /// The commit.
    pub sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    /// Absent on servers that do not know the query `blobs`.
    size: Option<u64>,
}

/// What is to be fetched.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    /// Files whose names are known.
    pub files: Vec<String>,
    /// More are named by [`INDEX`].
    pub sharded: bool,
}

impl Listing {
    pub fn parse(name: &HubName, bytes: &[u8]) -> Result<Self, ConvertError> {
        let wrong = |reason: String| ConvertError::Malformed {
            file: name.to_string(),
            what: "description of the repository".into(),
            reason,
        };
        let listing: Self = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if !is_commit(&listing.sha) {
            return Err(wrong(format!("{:?} is not a commit", listing.sha)));
        }
        Ok(listing)
    }

    /// Bytes of a file; none where the server does not say.
    pub fn size(&self, file: &str) -> Option<u64> {
        self.siblings.iter().find(|sibling| sibling.rfilename == file)?.size
    }

    fn has(&self, file: &str) -> bool {
        self.siblings.iter().any(|sibling| sibling.rfilename == file)
    }

    /// The files of an import, or an error that says what the repository holds instead.
    pub fn wanted(&self, name: &HubName) -> Result<Wanted, ConvertError> {
        let models: Vec<&str> = self
            .siblings
            .iter()
            .map(|sibling| sibling.rfilename.as_str())
            .filter(|file| is_gguf(file))
            .collect();
        if let Some(file) = name.file() {
            if !self.has(file) {
                return Err(unsuitable(name, format!("has no file {file}"), choose(name, &models)));
            }
            return Ok(Wanted { files: vec![file.into()], sharded: false });
        }
        let sharded = !self.has(WEIGHTS);
        if sharded && !self.has(INDEX) {
            if !models.is_empty() {
                let reason = format!("holds {} GGUF file(s) and no {WEIGHTS}", models.len());
                return Err(unsuitable(name, reason, choose(name, &models)));
            }
            let advice = "choose a repository with the weights as safetensors or GGUF";
            return Err(unsuitable(name, format!("has neither {WEIGHTS} nor {INDEX}"), advice.into()));
        }
        if !self.has(CONFIG) {
            let advice = "choose a repository with a transformers checkpoint";
            return Err(unsuitable(name, format!("has no {CONFIG}"), advice.into()));
        }
        let mut files = vec![CONFIG.to_string()];
        files.extend(OPTIONAL.iter().filter(|file| self.has(file)).map(|file| file.to_string()));
        files.push(if sharded { INDEX.into() } else { WEIGHTS.into() });
        Ok(Wanted { files, sharded })
    }

    /// The shards of an index that this revision has.
    pub fn shards(&self, index: &[u8]) -> Result<Vec<String>, ConvertError> {
        let shards = shards(index)?;
        match shards.iter().find(|shard| !self.has(shard)) {
            Some(missing) => {
                Err(malformed_index(format!("names {missing}, which the repository does not have")))
            }
            None => Ok(shards),
        }
    }
}

/// The files that an index of shards names; plain names only.
pub(super) fn shards(index: &[u8]) -> Result<Vec<String>, ConvertError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(index).map_err(|error| malformed_index(error.to_string()))?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    if let Some(bad) = shards.iter().find(|shard| !is_plain_name(shard) || !shard.ends_with(".safetensors")) {
        let shown: String = bad.chars().take(80).collect();
        return Err(malformed_index(format!("{shown:?} is not the plain name of a safetensors file")));
    }
    if shards.is_empty() {
        return Err(malformed_index("names no files".into()));
    }
    if shards.len() > MAX_SHARDS {
        return Err(ConvertError::Limit {
            file: INDEX.into(),
            what: "shards".into(),
            value: shards.len() as u64,
            limit: MAX_SHARDS as u64,
        });
    }
    Ok(shards.into_iter().collect())
}

/// Hexadecimal digits of a SHA-1 or SHA-256, which is what git and the hub call commits.
pub(super) fn is_commit(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    matches!(text.len(), 40 | 64) && text.bytes().all(digit)
}

fn malformed_index(reason: String) -> ConvertError {
    ConvertError::Malformed { file: INDEX.into(), what: "weight_map".into(), reason }
}

fn unsuitable(name: &HubName, reason: String, advice: String) -> ConvertError {
    ConvertError::Download { what: name.to_string(), reason, advice }
}

/// Advice that lists GGUF files, the first 40 of them.
fn choose(name: &HubName, models: &[&str]) -> String {
    if models.is_empty() {
        return "it holds no GGUF files".into();
    }
    let shown: Vec<&str> = models.iter().take(40).copied().collect();
    let more = if models.len() > shown.len() { ", ..." } else { "" };
    format!("choose one as hf:{}/FILE.gguf: {}{more}", name.repository(), shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(files: &[&str]) -> Listing {
        let siblings = files.iter().map(|file| Sibling { rfilename: file.to_string(), size: None }).collect();
        Listing { sha: "0".repeat(40), siblings }
    }

    #[test]
    fn selection() {
        let name = HubName::parse("hf:org/model").unwrap();
        let whole =
            listing(&[".gitattributes", CONFIG, WEIGHTS, INDEX, "pytorch_model.bin", "tokenizer.json"]);
        let expected = [CONFIG, "tokenizer.json", WEIGHTS].map(str::to_string).to_vec();
        assert_eq!(whole.wanted(&name).unwrap(), Wanted { files: expected, sharded: false });
        assert!(listing(&[CONFIG, INDEX]).wanted(&name).unwrap().sharded);
        for (files, part) in [
            (&["README.md"][..], "neither"),
            (&[WEIGHTS], CONFIG),
            (&["a.gguf", "b.GGUF", CONFIG], "choose one as hf:org/model/FILE.gguf: a.gguf, b.GGUF"),
        ] {
            let error = listing(files).wanted(&name).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn hostile_indices() {
        for shard in [
            "../x.safetensors",
            "/x.safetensors",
            "a/x.safetensors",
            "a\\\\x.safetensors",
            "C:x.safetensors",
            "x.bin",
            "",
            "..",
            ".x.safetensors",
            "x\\u0000.safetensors",
        ] {
            let index = format!(r#"{{"weight_map": {{"w": "{shard}"}}}}"#);
            assert!(shards(index.as_bytes()).is_err(), "{shard}");
        }
        for index in
            ["", "[]", "{}", r#"{"weight_map": {}}"#, r#"{"weight_map": {"a": 1}}"#, r#"{"weight_map": []}"#]
        {
            assert!(shards(index.as_bytes()).is_err(), "{index}");
        }
        let many: Vec<String> = (0..=MAX_SHARDS).map(|n| format!(r#""{n}": "{n}.safetensors""#)).collect();
        let index = format!(r#"{{"weight_map": {{{}}}}}"#, many.join(","));
        assert!(matches!(shards(index.as_bytes()), Err(ConvertError::Limit { .. })));
        let index = br#"{"metadata": {}, "weight_map": {"a": "y.safetensors", "b": "x.safetensors", "c": "x.safetensors"}}"#;
        assert_eq!(shards(index).unwrap(), ["x.safetensors", "y.safetensors"]);
    }
}
