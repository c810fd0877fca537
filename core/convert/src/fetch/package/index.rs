//! Pages of a package index: JSON as PEP 691 has it, or HTML as PEP 503 has it.

use serde::Deserialize;

use super::Package;
use crate::fetch::address::{join, unescape_percent};

/// A built package.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wheel {
    /// File name.
    pub name: String,
    /// Absolute.
    pub url: String,
    /// Of the wheel, where the index says it.
    pub sha256: Option<String>,
    /// Bytes, where the index says it.
    pub size: Option<u64>,
}

/// The wheel of a package on a page. Any interpreter and platform will do, since it is not installed; of
/// several the one for all of them is taken.
pub(super) fn find(page: &[u8], page_url: &str, package: &Package) -> Option<Wheel> {
    let json = page.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let all = if json { read_json(page) } else { read_html(&String::from_utf8_lossy(page)) };
    let mut wheels = all.into_iter().filter(|wheel| is_release(&wheel.name, package));
    let first = wheels.next()?;
    let any = |wheel: &Wheel| wheel.name.ends_with("-none-any.whl");
    let mut chosen = if any(&first) { first } else { wheels.find(any).unwrap_or(first) };
    chosen.url = join(page_url, &chosen.url)?;
    chosen.sha256 = chosen.sha256.map(|hash| hash.to_ascii_lowercase()).filter(|hash| is_sha256(hash));
    Some(chosen)
}

/// A name as addresses have it (PEP 503): lower case, runs of `-`, `_` and `.` are one `-`.
pub(super) fn normalized(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// `name-version(-build)?-python-abi-platform.whl`
fn is_release(file: &str, package: &Package) -> bool {
    let Some(stem) = file.strip_suffix(".whl") else { return false };
    let mut parts = stem.split('-');
    let named = parts.next().is_some_and(|name| normalized(name) == normalized(package.name));
    named && parts.next() == Some(package.version) && matches!(parts.count(), 3 | 4)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn read_json(page: &[u8]) -> Vec<Wheel> {
    #[derive(Deserialize)]
    struct Page {
        files: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        filename: String,
        url: String,
        #[serde(default)]
        hashes: Hashes,
        size: Option<u64>,
    }
    #[derive(Default, Deserialize)]
    struct Hashes {
        sha256: Option<String>,
    }
    let files = serde_json::from_slice(page).map_or(Vec::new(), |page: Page| page.files);
    let wheel = |entry: Entry| Wheel {
        name: entry.filename,
        url: entry.url,
        sha256: entry.hashes.sha256,
        size: entry.size,
    };
    files.into_iter().map(wheel).collect()
}

/// The `href` attributes of all anchors. The name of a file is the last part of its address.
fn read_html(page: &str) -> Vec<Wheel> {
    let mut wheels = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once('<') {
        rest = after;
        let Some(attributes) =
            after.strip_prefix(['a', 'A']).filter(|after| after.starts_with(char::is_whitespace))
        else {
            continue;
        };
        let Some((address, after)) = href(attributes) else { continue };
        rest = after;
        let address = unescape_html(address);
        let (path, fragment) = address.split_once('#').unwrap_or((&address, ""));
        let file = path.split('?').next().unwrap_or("").rsplit('/').next().unwrap_or("");
        let name = String::from_utf8_lossy(&unescape_percent(file)).into_owned();
        let sha256 = fragment.split('&').find_map(|part| part.strip_prefix("sha256=")).map(str::to_string);
        wheels.push(Wheel { name, url: path.to_string(), sha256, size: None });
    }
    wheels
}

/// The value of the attribute `href` of a tag, and what follows it. Walks over whole attributes, so that
/// neither `data-href` nor the text of another value is taken.
fn href(mut rest: &str) -> Option<(&str, &str)> {
    loop {
        rest = rest.trim_start();
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '=' | '>'))?;
        let (name, after) = rest.split_at(end);
        let after = after.trim_start();
        let Some(value) = after.strip_prefix('=') else {
            if after.starts_with('>') {
                return None;
            }
            rest = after;
            continue;
        };
        let value = value.trim_start();
        let (value, after) = match value.chars().next()? {
            quote @ ('"' | '\'') => value.get(1..)?.split_once(quote)?,
            _ => value.split_at(value.find(|c: char| c.is_whitespace() || c == '>')?),
        };
        if name.eq_ignore_ascii_case("href") {
            return Some((value, after));
        }
        rest = after;
    }
}

/// The characters that addresses in attributes have escaped.
fn unescape_html(text: &str) -> String {
    // `&amp;` last, or `&amp;lt;` would become `<`
    let pairs =
        [("&quot;", "\""), ("&#39;", "'"), ("&#x27;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    pairs.iter().fold(text.to_string(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: Package = Package { name: "Some.Name", version: "0.1.2", file: "x", sha256: "", size: 0 };
    const HASH: &str = "B179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

    #[test]
    fn json() {
        let page = format!(
            r#" {{"meta": {{"api-version": "1.1"}}, "name": "some-name", "files": [
            {{"filename": "some_name-0.1.2.tar.gz", "url": "x.tar.gz", "hashes": {{}}}},
            {{"filename": "some_name-0.1.20-py3-none-any.whl", "url": "wrong.whl", "hashes": {{}}}},
            {{"filename": "some_name_more-0.1.2-py3-none-any.whl", "url": "wrong.whl", "hashes": {{}}}},
            {{"filename": "some_name-0.1.2-cp311-cp311-linux_x86_64.whl", "url": "platform.whl", "hashes": {{}}}},
            {{"filename": "some_name-0.1.2-py3-none-any.whl", "url": "../../files/right.whl",
              "hashes": {{"sha256": "{HASH}"}}, "size": 12, "yanked": false}}]}}"#
        );
        let wheel = find(page.as_bytes(), "http://index.test/simple/some-name/", &PACKAGE).unwrap();
        assert_eq!(wheel.url, "http://index.test/files/right.whl");
        assert_eq!((wheel.sha256, wheel.size), (Some(HASH.to_ascii_lowercase()), Some(12)));
    }

    #[test]
    fn html() {
        let page = format!(
            "<!DOCTYPE html><html><body><a>none</a><abbr href='some_name-0.1.2-py3-none-any.whl'>\
             <A data-href='wrong' title=\"href='wrong'\" disabled\n HREF = \
             '/f/some%5Fname-0.1.2-py3-none-any.whl?a=1&amp;b=2#sha256={HASH}' data-x>text</A>\
             <a href=../some_name-0.1.1-py3-none-any.whl>older</a> <a href=\"unfinished"
        );
        let wheel = find(page.as_bytes(), "http://index.test/simple/some-name/", &PACKAGE).unwrap();
        assert_eq!(wheel.name, "some_name-0.1.2-py3-none-any.whl");
        assert_eq!(wheel.url, "http://index.test/f/some%5Fname-0.1.2-py3-none-any.whl?a=1&b=2");
        assert_eq!(wheel.sha256, Some(HASH.to_ascii_lowercase()));
    }

    #[test]
    fn nothing() {
        for page in [
            "",
            "{",
            "{}",
            "[]",
            "<",
            "<a",
            "<a ",
            "<a href",
            "<a href=",
            "<a href='",
            "<a =>",
            "<a = ",
            "\u{e9}<a \u{e9}='",
        ] {
            assert_eq!(find(page.as_bytes(), "http://index.test/", &PACKAGE), None, "{page}");
        }
        let file = "some_name-0.1.2-py3-none-any.whl";
        let local = format!("<a href='file:///tmp/{file}'>x</a>");
        assert_eq!(find(local.as_bytes(), "http://index.test/", &PACKAGE), None);
    }

    #[test]
    fn names() {
        assert_eq!(normalized("A._-b__C"), "a-b-c");
    }
}
