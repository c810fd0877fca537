//! SHA-256 of a file that comes in pieces.

use sha2::Digest;
use wasm_bindgen::prelude::*;

/// Incremental SHA-256, which the browser's own API lacks.
#[wasm_bindgen]
pub struct Sha256(sha2::Sha256);

#[wasm_bindgen]
impl Sha256 {
    /// Of no bytes yet.
    #[wasm_bindgen(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Sha256 {
        Sha256(sha2::Sha256::new())
    }

    /// Appends bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash, 32 bytes, of everything so far.
    pub fn digest(&self) -> Vec<u8> {
        self.0.clone().finalize().to_vec()
    }
}
