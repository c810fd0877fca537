//! `metadata.json` (§1).

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::AssetError;
use crate::limits::{ASSET_VERSION, MAX_METADATA_BYTES};

/// What the author of an asset says about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Metadata {
    /// `2.0`; `None` when the asset has no `metadata.json`.
    pub asset_version: Option<String>,
    /// E.g. `coreai-core 1.0.0b3`.
    pub producer: Option<String>,
    /// UTC, `YYYYMMDDThhmmssZ`.
    pub creation_date: Option<String>,
    /// Author.
    pub author: Option<String>,
    /// License.
    pub license: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// Whatever the author added.
    pub creator_defined: Map<String, Value>,
    /// Keys that the format does not define, kept as they are.
    pub other: Map<String, Value>,
}

impl Metadata {
    /// Parses `metadata.json`; rejects any asset version but 2.0, as Apple's runtime does.
    pub fn parse(json: &[u8]) -> Result<Self, AssetError> {
        if json.len() as u64 > MAX_METADATA_BYTES {
            return Err(AssetError::LimitExceeded {
                what: "bytes of metadata.json",
                offset: 0,
                value: json.len() as u64,
                limit: MAX_METADATA_BYTES,
            });
        }
        let bad = |reason: String| AssetError::Metadata { reason };
        let value = serde_json::from_slice(json).map_err(|error| bad(error.to_string()))?;
        let Value::Object(mut map) = value else {
            return Err(bad("not a JSON object".into()));
        };
        match map.remove("assetVersion") {
            Some(Value::String(version)) if version == ASSET_VERSION => {}
            Some(Value::String(found)) => return Err(AssetError::AssetVersion { found }),
            Some(other) => {
                return Err(AssetError::AssetVersion { found: other.to_string() });
            }
            None if map.contains_key("metadata_version") => {
                return Err(bad("this is the metadata of a model bundle, not of an asset".into()));
            }
            None => return Err(bad("no assetVersion".into())),
        }
        let mut text = |key: &str| match map.remove(key) {
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Null) | None => Ok(None),
            Some(other) => Err(bad(format!("{key} is not a string, but {other}"))),
        };
        let producer = text("producer")?;
        let creation_date = text("creationDate")?;
        let author = text("author")?;
        let license = text("license")?;
        let description = text("description")?;
        let creator_defined = match map.remove("creatorDefinedMetadata") {
            Some(Value::Object(map)) => map,
            Some(Value::Null) | None => Map::new(),
            Some(_) => return Err(bad("creatorDefinedMetadata is not an object".into())),
        };
        Ok(Self {
            asset_version: Some(ASSET_VERSION.into()),
            producer,
            creation_date,
            author,
            license,
            description,
            creator_defined,
            other: map,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let parse = |text: &str| Metadata::parse(text.as_bytes());
        let good = parse(r#"{"assetVersion":"2.0","producer":"p","x":[1]}"#).unwrap();
        assert_eq!(good.producer.as_deref(), Some("p"));
        assert_eq!(good.other["x"], serde_json::json!([1]));
        for (text, code) in [
            (r#"{"assetVersion":"9.0"}"#, "asset.asset_version"),
            (r#"{"assetVersion":2}"#, "asset.asset_version"),
            (r#"{"producer":"p"}"#, "asset.metadata"),
            (r#"{"assetVersion":"2.0","author":1}"#, "asset.metadata"),
            ("[]", "asset.metadata"),
            ("{", "asset.metadata"),
        ] {
            assert_eq!(parse(text).unwrap_err().code(), code, "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(parse(&deep).unwrap_err().code(), "asset.metadata");
    }
}
