//! Reading a recorded case (`conformance/README.md` has the layout).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coreai::{ElementType, NDArray};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

/// A tensor of a step.
#[derive(Clone, Debug, Deserialize)]
pub struct TensorRef {
    /// Name in the safetensors file; absent when it equals the previous step's state.
    pub key: Option<String>,
    /// NumPy name of the element type.
    pub dtype: String,
    /// Extents.
    pub shape: Vec<usize>,
}

/// One call.
#[derive(Clone, Debug, Deserialize)]
pub struct StepRef {
    /// Inputs by name.
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
}

/// Deviation of the recorded run from PyTorch.
#[derive(Clone, Debug, Deserialize)]
pub struct Deviation {
    /// Largest magnitude of the reference.
    pub ref_max: Option<f64>,
}

/// Tolerance of the test that made the case.
#[derive(Clone, Debug, Deserialize)]
pub struct TestTolerance {
    /// Relative.
    pub rtol: Option<f64>,
    /// Absolute.
    pub atol: Option<f64>,
}

#[derive(Deserialize)]
struct CaseFile {
    function: Option<String>,
    steps: Vec<StepRef>,
    tolerance: Option<TestTolerance>,
    reference_deviation: Option<Deviation>,
}

/// A recorded case with its tensors.
pub struct Case {
    /// Folder name.
    pub id: String,
    /// The asset.
    pub asset: PathBuf,
    /// Function.
    pub function: String,
    /// Calls.
    pub steps: Vec<StepRef>,
    /// The test's own tolerance.
    pub tolerance: Option<TestTolerance>,
    /// Deviation from PyTorch.
    pub deviation: Option<Deviation>,
    files: BTreeMap<&'static str, Vec<u8>>,
}

impl Case {
    /// Reads `folder`.
    pub fn read(folder: &Path) -> Case {
        let text = std::fs::read_to_string(folder.join("case.json")).expect("case.json");
        let file: CaseFile = serde_json::from_str(&text).expect("case.json has the documented layout");
        let mut files = BTreeMap::new();
        for name in ["inputs", "outputs", "states"] {
            if let Ok(bytes) = std::fs::read(folder.join(format!("{name}.safetensors"))) {
                files.insert(name, bytes);
            }
        }
        Case {
            id: folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            asset: folder.join("model.aimodel"),
            function: file.function.unwrap_or_else(|| "main".into()),
            steps: file.steps,
            tolerance: file.tolerance,
            deviation: file.reference_deviation,
            files,
        }
    }

    /// A tensor of file `inputs`, `outputs` or `states`.
    pub fn tensor(&self, file: &str, tensor: &TensorRef) -> Option<NDArray> {
        let tensors = SafeTensors::deserialize(self.files.get(file)?).ok()?;
        let view = tensors.tensor(tensor.key.as_ref()?).ok()?;
        let element = element(&tensor.dtype).or_else(|| element_of(view.dtype()))?;
        NDArray::new(element, tensor.shape.clone(), view.data().to_vec()).ok()
    }
}

/// Element type of a NumPy or `ml_dtypes` name.
fn element(name: &str) -> Option<ElementType> {
    use ElementType::*;
    Some(match name {
        "float32" => F32,
        "float16" => F16,
        "bfloat16" => BF16,
        "float64" => F64,
        "int64" => SI64,
        "int32" => SI32,
        "int16" => SI16,
        "int8" => SI8,
        "uint32" => UI32,
        "uint16" => UI16,
        "uint8" => UI8,
        "bool" => Bool,
        "complex64" => ComplexF32,
        "float8_e4m3fn" => F8E4M3FN,
        "float8_e5m2" => F8E5M2,
        _ => return None,
    })
}

fn element_of(dtype: Dtype) -> Option<ElementType> {
    use ElementType::*;
    Some(match dtype {
        Dtype::F32 => F32,
        Dtype::F16 => F16,
        Dtype::BF16 => BF16,
        Dtype::I32 => SI32,
        Dtype::BOOL => Bool,
        _ => return None,
    })
}
