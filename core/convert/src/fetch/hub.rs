//! Models of the Hugging Face hub, in its standard cache.
//!
//! The layout of the cache is the crate `hf-hub`'s, whose other half is not used: its clients cannot be given
//! certificates, append to a file where the server ignored the range, take tags of the server as paths, and
//! panic on redirects that are not addresses. Locks and partial files have that crate's names, so both can
//! work on one cache at a time, and continue what the other began.

mod cache;
mod files;
mod name;

use std::path::{Path, PathBuf};

use cache::Folder;
use files::{INDEX, Listing, MAX_INDEX, MAX_LISTING};
pub use name::HubName;

use super::address::origin;
use super::client::{Client, Failure, Reply, Request};
use super::disk::{is_plain_name, length, lock, make_folder, settle};
use super::transfer::Transfer;
use super::{Network, Progress, variable};
use crate::error::ConvertError;

/// The public hub.
const ENDPOINT: &str = "https://huggingface.co";
/// Bytes of one file; the hub itself has a lower limit.
const MAX_FILE: u64 = 1 << 40;

/// Which hub, and where its files are kept.
#[derive(Clone)]
pub struct HubConfig {
    /// Address of the hub, without a slash at the end.
    pub endpoint: String,
    /// The folder of `models--ORG--NAME` folders.
    pub cache: PathBuf,
    /// Access token, sent to the endpoint only.
    pub token: Option<String>,
    /// Only look at the cache.
    pub offline: bool,
    /// How patiently the network is used.
    pub network: Network,
}

impl std::fmt::Debug for HubConfig {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut fields = f.debug_struct("HubConfig");
        fields.field("endpoint", &self.endpoint).field("cache", &self.cache);
        fields.field("token", &self.token.is_some()).field("offline", &self.offline);
        fields.field("network", &self.network).finish()
    }
}

/// Fetches what an import of the model needs, as the environment says; see [`HubConfig::download`].
pub fn download(name: &HubName, progress: &mut dyn Progress, offline: bool) -> Result<PathBuf, ConvertError> {
    let mut config = HubConfig::from_env()?;
    config.offline |= offline;
    config.download(name, progress)
}

impl HubConfig {
    /// From the variables that [`super`] lists.
    pub fn from_env() -> Result<Self, ConvertError> {
        Self::from_variables(&variable, dirs::home_dir())
    }

    pub(super) fn from_variables(
        variable: &dyn Fn(&str) -> Option<String>,
        home: Option<PathBuf>,
    ) -> Result<Self, ConvertError> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let path = |name: &str| variable(name).map(PathBuf::from);
        let shared = path("XDG_CACHE_HOME").or(home.map(|home| home.join(".cache")));
        let hub_home = path("HF_HOME").or(shared.map(|shared| shared.join("huggingface")));
        let cache = path("HF_HUB_CACHE").or(path("HUGGINGFACE_HUB_CACHE"));
        let cache = cache.or(hub_home.as_ref().map(|home| home.join("hub")));
        let cache = cache.ok_or_else(|| ConvertError::Download {
            what: "cache of the hub".into(),
            reason: "there is no home folder".into(),
            advice: "name a folder in HF_HOME".into(),
        })?;
        let token_file = path("HF_TOKEN_PATH").or(hub_home.map(|home| home.join("token")));
        let token = variable("HF_TOKEN").or(variable("HUGGING_FACE_HUB_TOKEN"));
        let token = token.or_else(|| read_token(&token_file?));
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
        let offline = variable("HF_HUB_OFFLINE").is_some_and(|value| is_yes(&value));
        Ok(Self {
            endpoint: endpoint.trim().trim_end_matches('/').into(),
            cache,
            token: token.map(|token| token.trim().to_string()),
            offline,
            network: Network::default(),
        })
    }

    /// Fetches what an import of the model needs and is not in the cache. Returns the snapshot's folder, or
    /// the file if the name chooses one. If the hub cannot be reached, or offline, what the cache holds is
    /// used if it is complete.
    pub fn download(&self, name: &HubName, progress: &mut dyn Progress) -> Result<PathBuf, ConvertError> {
        let folder = Folder::new(&self.cache, name);
        if self.offline {
            return folder.complete(name).map_err(|missing| ConvertError::Download {
                what: name.to_string(),
                reason: format!("offline, and not in the cache {}: {missing}", self.cache.display()),
                advice: "fetch it once without the offline mode (HF_HUB_OFFLINE)".into(),
            });
        }
        let client = Client::new(&self.network);
        let authorization = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let hub = Hub { config: self, name, client, authorization };
        let listing = match hub.list()? {
            Ok(listing) => listing,
            Err(failure) => {
                let cached = folder.complete(name).ok().filter(|_| failure.unreachable);
                return cached.ok_or_else(|| failure.about(&name.to_string()));
            }
        };
        let snapshot = folder.snapshot(name, &listing.sha);
        let wanted = listing.wanted(name)?;
        make_folder(&snapshot)?;
        let mut files = wanted.files;
        if wanted.sharded {
            hub.fetch(&folder, &snapshot, &hub.missing(&listing, &snapshot, vec![INDEX.into()])?, progress)?;
            files.extend(listing.shards(&cache::read_capped(&snapshot.join(INDEX), MAX_INDEX)?)?);
        }
        hub.fetch(&folder, &snapshot, &hub.missing(&listing, &snapshot, files)?, progress)?;
        folder.remember(name, &listing.sha)?;
        Ok(name.file().map_or(snapshot.clone(), |file| snapshot.join(file)))
    }
}

/// A repository of a hub.
struct Hub<'a> {
    config: &'a HubConfig,
    name: &'a HubName,
    client: Client,
    authorization: Option<String>,
}

/// A file of a revision.
struct Remote {
    file: String,
    url: String,
    /// Names the content; a SHA-256 for large files.
    tag: String,
    size: Option<u64>,
}

impl Hub<'_> {
    /// What the revision holds; the inner error if no answer came.
    fn list(&self) -> Result<Result<Listing, Failure>, ConvertError> {
        let revision = self.name.revision().replace('/', "%2F");
        let (endpoint, repository) = (&self.config.endpoint, self.name.repository());
        let url = format!("{endpoint}/api/models/{repository}/revision/{revision}?blobs=true");
        let reply = match self.client.send(&self.request(&url, false)) {
            Ok(reply) => reply,
            Err(failure) => return Ok(Err(failure)),
        };
        let what = self.name.to_string();
        if reply.status != 200 {
            return Err(self.refusal(&reply, &what));
        }
        Listing::parse(self.name, &reply.bytes(&what, MAX_LISTING)?).map(Ok)
    }

    fn request<'a>(&'a self, url: &'a str, head: bool) -> Request<'a> {
        Request { url, head, authorization: self.authorization.as_deref(), accept: None, from: 0 }
    }

    /// Those files that the snapshot lacks, and what the hub says about them.
    fn missing(
        &self,
        listing: &Listing,
        snapshot: &Path,
        files: Vec<String>,
    ) -> Result<Vec<Remote>, ConvertError> {
        let present = |file: &String| match (length(&snapshot.join(file)), listing.size(file)) {
            (Some(have), Some(size)) => have == size,
            (have, None) => have.is_some(),
            (None, _) => false,
        };
        let missing = files.into_iter().filter(|file| !present(file));
        missing.map(|file| self.describe(listing, file)).collect()
    }

    fn describe(&self, listing: &Listing, file: String) -> Result<Remote, ConvertError> {
        let (endpoint, repository) = (&self.config.endpoint, self.name.repository());
        let url = format!("{endpoint}/{repository}/resolve/{}/{file}", listing.sha);
        let what = format!("{}: {file}", self.name);
        let reply = self.client.send(&self.request(&url, true)).map_err(|failure| failure.about(&what))?;
        if reply.status >= 400 {
            return Err(self.refusal(&reply, &what));
        }
        let tag = reply.first_header("x-linked-etag").or(reply.header("etag")).unwrap_or("");
        let tag = tag.trim().trim_start_matches("W/").trim_matches('"').to_string();
        if !is_plain_name(&tag) || tag.contains('.') {
            return Err(ConvertError::Download {
                what,
                reason: format!("the server gives the entity tag {tag:?}, which is no hash"),
                advice: "check that HF_ENDPOINT is the address of a hub".into(),
            });
        }
        let linked = reply.first_header("x-linked-size").and_then(|size| size.trim().parse().ok());
        let size = linked.or(reply.length()).or(listing.size(&file));
        Ok(Remote { file, url, tag, size })
    }

    fn fetch(
        &self,
        folder: &Folder,
        snapshot: &Path,
        files: &[Remote],
        progress: &mut dyn Progress,
    ) -> Result<(), ConvertError> {
        if files.is_empty() {
            return Ok(());
        }
        let total = files.iter().try_fold(0u64, |sum, remote| sum.checked_add(remote.size?));
        progress.plan(files.len(), total);
        files.iter().try_for_each(|remote| self.fetch_one(folder, snapshot, remote, progress))
    }

    fn fetch_one(
        &self,
        folder: &Folder,
        snapshot: &Path,
        remote: &Remote,
        progress: &mut dyn Progress,
    ) -> Result<(), ConvertError> {
        let blob = folder.blob(&remote.tag);
        if let Some(blobs) = blob.parent() {
            make_folder(blobs)?;
        }
        let _lock = lock(&blob.with_extension("lock"), &remote.file, progress)?;
        let have = length(&blob);
        if have.is_none() || remote.size.is_some_and(|size| have != Some(size)) {
            let hashed = remote.tag.len() == 64 && files::is_commit(&remote.tag);
            let part = blob.with_extension("part");
            let transfer = Transfer {
                client: &self.client,
                what: &remote.file,
                url: &remote.url,
                authorization: self.authorization.as_deref(),
                size: remote.size,
                limit: MAX_FILE,
                sha256: hashed.then_some(remote.tag.as_str()),
            };
            transfer.run(&part, progress)?;
            settle(&part, &blob)?;
        }
        folder.link(&remote.tag, &snapshot.join(&remote.file))
    }

    /// The error of an answer, with what the hub adds to the status.
    fn refusal(&self, reply: &Reply, what: &str) -> ConvertError {
        let token = match self.config.token {
            Some(_) => "the token (HF_TOKEN) does not give access to it",
            None => "give an access token in HF_TOKEN",
        };
        let (reason, advice) = match (reply.status, reply.header("x-error-code").unwrap_or("")) {
            (_, "GatedRepo") => (
                "access is granted on request",
                format!("accept the terms on the model's page of {}; {token}", origin(&self.config.endpoint)),
            ),
            (_, "RevisionNotFound") => ("there is no such revision", "check what follows the @".into()),
            (_, "EntryNotFound") => ("there is no such file", "check the name".into()),
            (401, _) | (_, "RepoNotFound") => (
                "there is no such model, or it is private",
                format!("check the name; if it is private, {token}"),
            ),
            (403, _) => ("no access", token.into()),
            _ => return reply.refusal(what),
        };
        ConvertError::Download {
            what: what.into(),
            reason: format!("{reason} (status {})", reply.status),
            advice,
        }
    }
}

fn read_token(file: &Path) -> Option<String> {
    let bytes = cache::read_capped(file, 4096).ok()?;
    let token = String::from_utf8(bytes).ok()?.trim().to_string();
    (!token.is_empty()).then_some(token)
}

fn is_yes(value: &str) -> bool {
    matches!(value.trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
}
