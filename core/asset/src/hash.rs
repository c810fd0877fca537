//! `main.hash`: SHA-256 of `main.mlirb`.

use sha2::{Digest, Sha256};

use crate::error::AssetError;
use crate::source::{ByteSource, read_exact};

/// Bytes hashed at a time.
const CHUNK: u64 = 1 << 20;

/// How the file compares with `main.hash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HashStatus {
    /// The asset has no hash.
    Absent,
    /// The bytes are those that were hashed.
    Match,
    /// The file was changed after it was written, or is damaged.
    Mismatch,
    /// `main.hash` is not 32 bytes long.
    Malformed,
    /// Not compared: reading the whole file was not asked for.
    Unchecked,
}

/// SHA-256 of a whole source, in chunks.
pub(crate) async fn digest(source: &dyn ByteSource) -> Result<[u8; 32], AssetError> {
    let length = source.len();
    let mut hasher = Sha256::new();
    let mut at = 0;
    while at < length {
        let end = length.min(at + CHUNK);
        match source.slice(at..end) {
            Some(bytes) => hasher.update(bytes),
            None => hasher.update(&read_exact(source, at..end).await?),
        }
        at = end;
    }
    Ok(hasher.finalize().into())
}
