//! `metadata.json` (§1).

use serde_json::{Map, Value};

use crate::limits::ASSET_VERSION;
use crate::metadata::Metadata;

impl Metadata {
    /// The content of `metadata.json`: what is set, and the keys the format does not define.
    pub fn to_json(&self) -> String {
        let mut map: Map<String, Value> = self.other.clone();
        map.insert("assetVersion".into(), ASSET_VERSION.into());
        for (key, text) in [
            ("producer", &self.producer),
            ("creationDate", &self.creation_date),
            ("author", &self.author),
            ("license", &self.license),
            ("description", &self.description),
        ] {
            if let Some(text) = text {
                map.insert(key.into(), text.clone().into());
            }
        }
        if !self.creator_defined.is_empty() {
            map.insert("creatorDefinedMetadata".into(), Value::Object(self.creator_defined.clone()));
        }
        format!("{:#}\n", Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_reads_back() {
        let text = r#"{"assetVersion":"2.0","producer":"p","author":"a","x":[1,{"y":null}],
            "creatorDefinedMetadata":{"pi":3.25,"list":["a"],"n":9007199254740993}}"#;
        let read = Metadata::parse(text.as_bytes()).expect("is valid");
        let again = Metadata::parse(read.to_json().as_bytes()).expect("is valid");
        assert_eq!(again, read);
        let bare = Metadata::parse(Metadata::default().to_json().as_bytes()).expect("is valid");
        assert_eq!(bare, Metadata { asset_version: Some("2.0".into()), ..Metadata::default() });
    }
}
