//! Filling templates and collecting library functions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use crate::LIBRARY;

/// A template names a key that the caller does not give, or the caller gives one it does not name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingKey(pub String);

impl std::fmt::Display for MissingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "template key {:?} is not on both sides", self.0)
    }
}

impl std::error::Error for MissingKey {}

/// Replaces every `{{NAME}}` in `template`.
pub fn fill(template: &str, keys: &[(&str, &str)]) -> Result<String, MissingKey> {
    let mut out = String::with_capacity(template.len() * 2);
    let mut used = BTreeSet::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (name, tail) = after.split_once("}}").ok_or_else(|| MissingKey("{{".into()))?;
        let (_, value) = keys.iter().find(|(key, _)| *key == name).ok_or_else(|| MissingKey(name.into()))?;
        out.push_str(value);
        used.insert(name);
        rest = tail;
    }
    out.push_str(rest);
    match keys.iter().find(|(key, _)| !used.contains(key)) {
        Some((key, _)) => Err(MissingKey((*key).into())),
        None => Ok(out),
    }
}

/// Sections of the library by name.
static SECTIONS: LazyLock<BTreeMap<&'static str, &'static str>> = LazyLock::new(|| {
    LIBRARY
        .iter()
        .flat_map(|file| file.split("//@ ").skip(1))
        .filter_map(|section| section.split_once('\n').map(|(name, text)| (name.trim(), text)))
        .collect()
});

/// Puts the library functions that `source` uses, and those that they use, before it.
pub fn with_library(source: &str) -> String {
    let mut wanted: BTreeSet<&'static str> = BTreeSet::new();
    let mut queue = vec![source];
    while let Some(text) = queue.pop() {
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if let Some((name, section)) = SECTIONS.get_key_value(word)
                && wanted.insert(name)
            {
                queue.push(section);
            }
        }
    }
    let mut out = String::new();
    for name in wanted {
        out.push_str(SECTIONS[name]);
    }
    out.push_str(source);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_must_match_both_ways() {
        assert_eq!(fill("a {{X}} b {{X}}", &[("X", "1")]).unwrap(), "a 1 b 1");
        assert_eq!(fill("{{X}}", &[]), Err(MissingKey("X".into())));
        assert_eq!(fill("a", &[("Y", "")]), Err(MissingKey("Y".into())));
    }

    #[test]
    fn library_functions_bring_what_they_use() {
        let module = with_library("fn main() { let x = sigmoid(1.0); }");
        assert!(module.contains("fn sigmoid") && module.contains("fn fexp") && !module.contains("fn fpow"));
    }

    #[test]
    fn sections_are_named_after_what_they_define() {
        for (name, text) in SECTIONS.iter() {
            let defines = text.contains(&format!("fn {name}(")) || text.contains(&format!(" {name}:"));
            assert!(defines, "section {name} does not define {name}");
        }
    }
}
