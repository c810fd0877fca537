//! Addresses as redirects and index pages give them.

use base64::Engine;

/// An address and what its user information asks to send.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Address {
    /// Without user information, so that it may be printed.
    pub url: String,
    /// Value of the `Authorization` header.
    pub authorization: Option<String>,
}

impl Address {
    /// Takes `user:password@` out of an address.
    pub fn new(url: &str) -> Self {
        let plain = Self { url: url.to_string(), authorization: None };
        let Some((scheme, rest)) = url.split_once("://") else { return plain };
        let authority = rest.find(['/', '?', '#']).map_or(rest, |end| rest.get(..end).unwrap_or(rest));
        let Some((user, host)) = authority.rsplit_once('@') else { return plain };
        let path = rest.get(authority.len()..).unwrap_or("");
        let encoded = base64::engine::general_purpose::STANDARD.encode(unescape_percent(user));
        Self { url: format!("{scheme}://{host}{path}"), authorization: Some(format!("Basic {encoded}")) }
    }
}

/// Scheme, host and port in lower case, which must agree for credentials to be sent on.
pub(super) fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let host = authority.rsplit('@').next().unwrap_or("");
    format!("{scheme}://{host}").to_ascii_lowercase()
}

/// Whether the transport of an address is encrypted.
pub(super) fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
}

/// The address that `reference` means on the page `base`, without its fragment. None for schemes other than
/// HTTP.
pub(super) fn join(base: &str, reference: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or("").trim();
    let (scheme, rest) = base.split_once("://")?;
    if let Some((other, _)) = reference.split_once("://")
        && !other.contains(['/', '?'])
    {
        let http = other.eq_ignore_ascii_case("http") || other.eq_ignore_ascii_case("https");
        return http.then(|| reference.to_string());
    }
    if let Some(authority) = reference.strip_prefix("//") {
        return Some(format!("{scheme}://{authority}"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let path = rest.get(authority.len()..).unwrap_or("").split(['?', '#']).next().unwrap_or("");
    let (target, query) = reference.split_at(reference.find('?').unwrap_or(reference.len()));
    let full = if target.starts_with('/') {
        target.to_string()
    } else if target.is_empty() {
        path.to_string()
    } else {
        let folder = path.rfind('/').and_then(|slash| path.get(..=slash)).unwrap_or("/");
        format!("{folder}{target}")
    };
    Some(format!("{scheme}://{authority}{}{query}", without_dots(&full)))
}

/// A path without `.` and `..`, as the server should see it.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

/// `%41` becomes `A`; anything else stays.
pub(super) fn unescape_percent(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or(&[]);
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let base = "https://index.test:8080/simple/some-name/?page=1";
        for (reference, expected) in [
            ("../../packages/a/b.whl#sha256=00", Some("https://index.test:8080/packages/a/b.whl")),
            ("b.whl", Some("https://index.test:8080/simple/some-name/b.whl")),
            ("./b.whl?x=1", Some("https://index.test:8080/simple/some-name/b.whl?x=1")),
            ("/root/b.whl", Some("https://index.test:8080/root/b.whl")),
            ("../../../../b.whl", Some("https://index.test:8080/b.whl")),
            ("//files.test/b.whl", Some("https://files.test/b.whl")),
            ("http://files.test/b.whl", Some("http://files.test/b.whl")),
            ("?page=2", Some("https://index.test:8080/simple/some-name/?page=2")),
            ("/signed?to=http://other.test/", Some("https://index.test:8080/signed?to=http://other.test/")),
            ("file:///etc/passwd", None),
            ("ftp://files.test/b.whl", None),
        ] {
            assert_eq!(join(base, reference).as_deref(), expected, "{reference}");
        }
        assert_eq!(join("https://index.test", "b.whl").as_deref(), Some("https://index.test/b.whl"));
        assert_eq!(join("no address", "b.whl"), None);
    }

    #[test]
    fn credentials() {
        let address = Address::new("https://user:p%40ss@index.test/simple");
        assert_eq!(address.url, "https://index.test/simple");
        assert_eq!(address.authorization.as_deref(), Some("Basic dXNlcjpwQHNz"));
        let plain = Address::new("https://index.test/simple/@x");
        assert_eq!(plain.url, "https://index.test/simple/@x");
        assert_eq!(plain.authorization, None);
    }

    #[test]
    fn origins() {
        assert_eq!(origin("HTTPS://Hub.test/a"), origin("https://hub.test?b"));
        assert_ne!(origin("https://hub.test/a"), origin("http://hub.test/a"));
        assert_ne!(origin("https://hub.test/a"), origin("https://hub.test:444/a"));
        assert_eq!(origin("https://user:secret@hub.test/a"), "https://hub.test");
        assert_ne!(origin("https://hub.test/a"), origin("https://hub.test@evil.test/a"));
        assert_ne!(origin("https://hub.test/a"), origin("https://hub.test.evil.test/a"));
    }
}
