//! `hf:ORG/NAME[/FILE.gguf][@REV]`.

use std::fmt;

use crate::error::ConvertError;
use crate::fetch::disk::is_plain_name;

/// A model of the hub, and where it has several as GGUF files, one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubName {
    repository: String,
    file: Option<String>,
    revision: String,
}

/// Bytes of a revision; real branches and tags are far shorter.
const MAX_REVISION: usize = 200;

impl HubName {
    /// Reads `hf:ORG/NAME`, `hf:ORG/NAME@REV`, `hf:ORG/NAME/FILE.gguf` or `hf:ORG/NAME/FILE.gguf@REV`.
    /// Names are letters, digits, `.`, `_` and `-`; a revision is a branch, tag or commit, `main` by default.
    pub fn parse(text: &str) -> Result<Self, ConvertError> {
        let wrong = |reason: &str| ConvertError::Download {
            what: text.into(),
            reason: reason.into(),
            advice: "write hf:ORG/NAME, hf:ORG/NAME@REVISION or hf:ORG/NAME/FILE.gguf".into(),
        };
        let rest = text.strip_prefix("hf:").ok_or_else(|| wrong("does not begin with hf:"))?;
        let (path, revision) = rest.split_once('@').unwrap_or((rest, "main"));
        if !is_revision(revision) {
            return Err(wrong("the revision after @ is not a branch, tag or commit"));
        }
        let mut parts = path.split('/');
        let (Some(org), Some(name), file, None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong("is not the name of a model"));
        };
        // "--" separates the parts of a cache folder's name, so it would let two models share one
        let plain = |name: &str| is_plain_name(name) && !name.contains("--") && !name.contains("..");
        if !plain(org) || !plain(name) {
            return Err(wrong("names hold only letters, digits, '.', '_' and '-'"));
        }
        if file.is_some_and(|file| !is_gguf(file)) {
            return Err(wrong("the part after the name is not a GGUF file"));
        }
        Ok(Self {
            repository: format!("{org}/{name}"),
            file: file.map(str::to_string),
            revision: revision.to_string(),
        })
    }

    /// `ORG/NAME`
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The GGUF file that was chosen.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// A branch, tag or commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}", self.repository)?;
        if let Some(file) = &self.file {
            write!(f, "/{file}")?;
        }
        write!(f, "@{}", self.revision)
    }
}

/// A file of the top folder with the ending of GGUF.
pub(super) fn is_gguf(file: &str) -> bool {
    let stem = file.len().checked_sub(5).and_then(|end| file.split_at_checked(end));
    is_plain_name(file) && stem.is_some_and(|(_, ending)| ending.eq_ignore_ascii_case(".gguf"))
}

/// Segments of plain names; cannot leave the folder it is a path of.
fn is_revision(revision: &str) -> bool {
    revision.len() <= MAX_REVISION && !revision.contains("..") && revision.split('/').all(is_plain_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let name = HubName::parse("hf:org-1/Some_Model.v2").unwrap();
        assert_eq!((name.repository(), name.file(), name.revision()), ("org-1/Some_Model.v2", None, "main"));
        let name = HubName::parse("hf:org/model@refs/pr/1").unwrap();
        assert_eq!(name.revision(), "refs/pr/1");
        let name = HubName::parse("hf:org/model/m-Q4_K_M.gguf@v1.0").unwrap();
        assert_eq!((name.file(), name.revision()), (Some("m-Q4_K_M.gguf"), "v1.0"));
        assert_eq!(name.to_string(), "hf:org/model/m-Q4_K_M.gguf@v1.0");
    }

    #[test]
    fn tricks() {
        for text in [
            "org/model",
            "hf:",
            "hf:model",
            "hf:/model",
            "hf:org/",
            "hf:org/../x",
            "hf:../model",
            "hf:org/..",
            "hf:org/mo del",
            "hf:org/model?x",
            "hf:org/model#x",
            "hf:org/model%2e",
            "hf:org\\x/model",
            "hf:org/model@",
            "hf:org/model@../main",
            "hf:org/model@a//b",
            "hf:org/model@/etc",
            "hf:org/model@a@b",
            "hf:org/model@a/../b",
            "hf:org/model@a..b",
            "hf:org/model/x.bin",
            "hf:org/model/.gguf",
            "hf:org/model/a/b.gguf",
            "hf:org/model/",
            "hf:.org/model",
            "hf:-org/model",
            "hf:a--b/c",
            "hf:org/é",
            "hf:org/model/é.gguf",
            "hf:org/model/\u{1F600}guf",
        ] {
            assert!(HubName::parse(text).is_err(), "{text}");
        }
        assert!(HubName::parse(&format!("hf:org/{}", "x".repeat(256))).is_err());
    }
}
