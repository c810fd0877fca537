//! Results that were computed elsewhere, such as in a browser.
//!
//! For case `ID` the folder has `ID.safetensors` with tensors named `STEP/outputs/NAME`,
//! `STEP/states/NAME` and `STEP/reference/POSITION`; or `ID.json` with the `code` and `message` of the
//! error that it ended in.

use std::path::Path;

use coreai::NDArray;
use serde::Deserialize;

use super::case::{Case, element, layout, read};
use super::runner::{At, Failure};
use crate::tensors::Tensors;

/// Largest file of results, in bytes.
const MAX_BYTES: u64 = 8 << 30;

#[derive(Deserialize)]
struct Ended {
    code: String,
    message: String,
}

/// The results of a case; as a failure the error that it ended in.
pub(super) fn find(folder: &Path, case: &Case) -> Result<Tensors, Failure> {
    let path = folder.join(format!("{}.json", case.id));
    if path.exists() {
        let ended: Ended = serde_json::from_slice(&read(&path, MAX_BYTES)?).map_err(|e| layout(&path, e))?;
        return Err(Failure { code: ended.code, detail: ended.message, ..Failure::default() });
    }
    let path = folder.join(format!("{}.safetensors", case.id));
    Ok(Tensors::new(read(&path, MAX_BYTES)?).map_err(|e| layout(&path, e))?)
}

/// One of them.
pub(super) fn get(found: &Tensors, at: &At) -> Result<NDArray, Failure> {
    let key = format!("{}/{}/{}", at.step, at.file, at.name);
    found.get(&key, element(&at.tensor.dtype)).map_err(|e| Failure::case(format!("result {key:?}: {e}")))
}
