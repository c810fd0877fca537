//! Reading a recorded case (the corpus' README has the layout).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coreai::{ElementType, NDArray};
use serde::Deserialize;

use super::error::VerifyError;
use crate::tensors::Tensors;

/// Largest `case.json`, and largest file of tensors, in bytes.
const MAX_CASE_BYTES: u64 = 16 << 20;
const MAX_TENSOR_BYTES: u64 = 8 << 30;

/// A tensor of a step.
#[derive(Clone, Debug, Deserialize)]
pub struct TensorRef {
    /// Name in the safetensors file; absent when it equals the previous step's state.
    pub key: Option<String>,
    /// NumPy or `ml_dtypes` name of the element type.
    pub dtype: String,
    /// Extents.
    pub shape: Vec<usize>,
}

/// One call.
#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    /// Inputs by name.
    #[serde(default)]
    pub inputs: BTreeMap<String, TensorRef>,
    /// Outputs by name.
    #[serde(default)]
    pub outputs: BTreeMap<String, TensorRef>,
    /// States before the call.
    #[serde(default)]
    pub state_before: BTreeMap<String, TensorRef>,
    /// States after the call.
    #[serde(default)]
    pub state_after: BTreeMap<String, TensorRef>,
    /// Results of the PyTorch program by position, where nothing was recorded.
    #[serde(default)]
    pub reference: BTreeMap<String, TensorRef>,
}

/// Tolerance of the test that made the case.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct CaseTolerance {
    /// Relative.
    pub rtol: Option<f64>,
    /// Absolute.
    pub atol: Option<f64>,
}

/// Deviation of the recorded run from PyTorch.
#[derive(Clone, Debug, Deserialize)]
struct Deviation {
    ref_max: Option<f64>,
}

#[derive(Deserialize)]
struct CaseFile {
    function: Option<String>,
    #[serde(default)]
    steps: Vec<Step>,
    tolerance: Option<CaseTolerance>,
    reference_deviation: Option<Deviation>,
    family: Option<String>,
}

/// A recorded case with its tensors.
pub struct Case {
    /// Folder name.
    pub id: String,
    /// Group, e.g. `conv`; the part of the id before the first hyphen where the case names none.
    pub family: String,
    /// The asset.
    pub asset: PathBuf,
    /// Function.
    pub function: String,
    /// Calls.
    pub steps: Vec<Step>,
    /// The test's own tolerance.
    pub tolerance: Option<CaseTolerance>,
    /// Largest magnitude of the PyTorch result.
    pub ref_max: Option<f64>,
    files: BTreeMap<&'static str, Tensors>,
}

impl Case {
    /// Reads `folder`.
    pub fn read(folder: &Path) -> Result<Case, VerifyError> {
        let path = folder.join("case.json");
        let text = read(&path, MAX_CASE_BYTES)?;
        let file: CaseFile = serde_json::from_slice(&text).map_err(|e| layout(&path, e))?;
        let mut files = BTreeMap::new();
        for name in ["inputs", "outputs", "states", "reference"] {
            let path = folder.join(format!("{name}.safetensors"));
            if path.exists() {
                let tensors = Tensors::new(read(&path, MAX_TENSOR_BYTES)?).map_err(|e| layout(&path, e))?;
                files.insert(name, tensors);
            }
        }
        let id = name_of(folder);
        Ok(Case {
            family: file.family.unwrap_or_else(|| id.split('-').next().unwrap_or_default().to_string()),
            id,
            asset: folder.join("model.aimodel"),
            function: file.function.unwrap_or_else(|| "main".into()),
            steps: file.steps,
            tolerance: file.tolerance,
            ref_max: file.reference_deviation.and_then(|d| d.ref_max),
            files,
        })
    }

    /// Whether outputs or states after a call were recorded.
    pub fn is_recorded(&self) -> bool {
        self.steps.iter().any(|s| !s.outputs.is_empty() || s.state_after.values().any(|t| t.key.is_some()))
    }

    /// A tensor of file `inputs`, `outputs`, `states` or `reference`; `None` where `case.json` says
    /// that it equals the previous step's.
    pub fn tensor(&self, file: &'static str, tensor: &TensorRef) -> Result<Option<NDArray>, VerifyError> {
        let Some(key) = &tensor.key else { return Ok(None) };
        let wrong = |reason: String| VerifyError::Tensor { file, key: key.clone(), reason };
        let element =
            element(&tensor.dtype).ok_or_else(|| wrong(format!("dtype {:?} is not known", tensor.dtype)))?;
        let tensors = self.files.get(file).ok_or_else(|| wrong("the file is not there".into()))?;
        let array = tensors.get(key, Some(element)).map_err(|e| wrong(e.to_string()))?;
        if array.element != element || array.shape != tensor.shape {
            return Err(wrong(format!(
                "is {} {:?} in the file and {} {:?} in case.json",
                array.element, array.shape, element, tensor.shape
            )));
        }
        Ok(Some(array))
    }

    /// The coarsest float type among inputs and outputs: a float32 output of a float16 program is
    /// float16-exact.
    pub fn rounding(&self) -> ElementType {
        let mut coarsest = ElementType::F32;
        for t in self.steps.iter().flat_map(|s| s.inputs.values().chain(s.outputs.values())) {
            match t.dtype.as_str() {
                "bfloat16" => return ElementType::BF16,
                "float16" => coarsest = ElementType::F16,
                _ => {}
            }
        }
        coarsest
    }
}

pub(super) fn layout(path: &Path, e: impl std::fmt::Display) -> VerifyError {
    VerifyError::Layout { path: path.display().to_string(), reason: e.to_string() }
}

pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, VerifyError> {
    let failed = |reason: String| VerifyError::File { path: path.display().to_string(), reason };
    let length = std::fs::metadata(path).map_err(|e| failed(e.to_string()))?.len();
    if length > limit {
        return Err(failed(format!("{length} bytes exceed the limit {limit}")));
    }
    std::fs::read(path).map_err(|e| failed(e.to_string()))
}

/// The last part of a path, as text.
pub(super) fn name_of(folder: &Path) -> String {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    absolute.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The cases of a folder: itself, those in its `cases/`, or those directly below; sorted by name.
pub fn find_cases(folder: &Path) -> Result<Vec<PathBuf>, VerifyError> {
    if folder.join("case.json").exists() {
        return Ok(vec![folder.to_path_buf()]);
    }
    let inner = folder.join("cases");
    let folder = if inner.is_dir() { &inner } else { folder };
    let path = || folder.display().to_string();
    let entries =
        std::fs::read_dir(folder).map_err(|e| VerifyError::File { path: path(), reason: e.to_string() })?;
    let mut cases: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.join("case.json").exists()).collect();
    if cases.is_empty() {
        return Err(VerifyError::NoCases { path: path() });
    }
    cases.sort();
    Ok(cases)
}

/// Element type of a NumPy or `ml_dtypes` name.
pub(super) fn element(name: &str) -> Option<ElementType> {
    // `ml_dtypes` has two names for it.
    ElementType::from_numpy_name(if name == "float8_e4m3" { "float8_e4m3fn" } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_cases_is_an_error() {
        let folder = std::env::temp_dir().join(format!("coreai-cases-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("a")).unwrap();
        assert_eq!(find_cases(&folder).unwrap_err().code(), "case.none");
        assert_eq!(find_cases(&folder.join("b")).unwrap_err().code(), "case.file");
        std::fs::write(folder.join("a/case.json"), "{").unwrap();
        assert_eq!(find_cases(&folder).unwrap(), [folder.join("a")]);
        assert_eq!(Case::read(&folder.join("a")).err().map(|e| e.code()), Some("case.layout"));
        std::fs::write(folder.join("a/case.json"), "{}").unwrap();
        std::fs::write(folder.join("a/inputs.safetensors"), "damaged").unwrap();
        assert_eq!(Case::read(&folder.join("a")).err().map(|e| e.code()), Some("case.layout"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
