//! Tensors from and to files, for calling any function of an asset.

mod convert;
mod error;
mod fill;
mod npy;
mod picture;
mod safetensors;
mod statistics;
mod text;

use std::path::Path;

use coreai::{NDArray, PortDescriptor};

pub use convert::{check_shape, concrete, fit};
pub use error::TensorError;
pub use fill::Random;
pub use picture::{Pixels, write_png};
pub use statistics::Statistics;

pub use self::safetensors::{Tensors, element_of};
pub use npy::{read as read_npy, write as write_npy};

/// Largest file that is read, in bytes: a wrong path must not exhaust memory.
const MAX_FILE_BYTES: u64 = 8 << 30;

/// How a value given by the caller is read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Extents that the caller gives; they replace those of the file when the counts agree.
    pub shape: Option<Vec<usize>>,
    /// What happens to pictures.
    pub pixels: Pixels,
}

/// A tensor for a port, and what was changed to make it fit.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The tensor, in the port's element type and shape.
    pub array: NDArray,
    /// Conversions, to be shown to the caller.
    pub notes: Vec<String>,
}

/// Reads the value of a port: the path of an `.npy`, `.safetensors` (`file:key` names the tensor),
/// `.png`, `.jpg` or `.json` file, or numbers such as `5` and `1,2,3`.
pub fn read(port: &PortDescriptor, value: &str, reading: &Reading) -> Result<Fitted, TensorError> {
    let given = reading.shape.as_deref();
    if let Some(numbers) = text::literal(value) {
        return fit(port, numbers.shaped(port, given)?, given);
    }
    let (file, key) = split_key(value);
    let path = Path::new(file);
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    match extension.as_str() {
        "npy" => fit(port, npy::decode(&bytes(path)?, Some(port.element)).map_err(|e| e.of(path))?, given),
        "safetensors" => {
            let tensors = Tensors::new(bytes(path)?).map_err(|e| e.of(path))?;
            let array = tensors.only(key, &port.name, Some(port.element)).map_err(|e| e.of(path))?;
            fit(port, array, given)
        }
        "json" => {
            let numbers = text::json(&bytes(path)?).map_err(|e| e.of(path))?;
            fit(port, numbers.shaped(port, given)?, given)
        }
        "png" | "jpg" | "jpeg" => {
            let array =
                picture::decode(&bytes(path)?, port, &reading.pixels, given).map_err(|e| e.of(path))?;
            fit(port, array, given)
        }
        _ => Err(TensorError::Value {
            name: port.name.clone(),
            reason: format!(
                "{value:?} is neither numbers nor a file that is understood; expected .npy, .safetensors, \
                 .json, .png, .jpg, or numbers such as 1,2,3"
            ),
        }),
    }
}

/// `a.safetensors:key` is a file and a key; any other value is a file.
fn split_key(value: &str) -> (&str, Option<&str>) {
    match value.rsplit_once(".safetensors:") {
        Some((stem, key)) => (&value[..stem.len() + ".safetensors".len()], Some(key)),
        None => (value, None),
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, TensorError> {
    let failed = |reason: String| TensorError::File { path: path.display().to_string(), reason };
    let length = std::fs::metadata(path).map_err(|e| failed(e.to_string()))?.len();
    if length > MAX_FILE_BYTES {
        return Err(failed(format!("{length} bytes exceed the limit {MAX_FILE_BYTES}")));
    }
    std::fs::read(path).map_err(|e| failed(e.to_string()))
}
