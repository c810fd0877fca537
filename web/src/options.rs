//! Options as JavaScript gives them.

use coreai::{ComputeUnitKind, Precision, SpecializationOptions};
use serde::Deserialize;
use wasm_bindgen::JsValue;

use crate::error;

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    /// The GPU unit where there is an adapter for it.
    #[default]
    Auto,
    Gpu,
    Cpu,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Fast,
    Exact,
}

/// Options of `Model.specialize`; what is absent has its default.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ModelOptions {
    #[serde(default)]
    pub compute_unit: Unit,
    precision: Option<Mode>,
    rules: Option<bool>,
    strict: Option<bool>,
    allow_software_adapter: Option<bool>,
    subgroups: Option<bool>,
    #[serde(rename = "shaderF16")]
    shader_f16: Option<bool>,
}

impl ModelOptions {
    pub fn parse(text: &str) -> Result<ModelOptions, JsValue> {
        serde_json::from_str(text).map_err(|e| error::input("options", &e.to_string()))
    }

    pub fn specialization(&self, unit: ComputeUnitKind) -> SpecializationOptions {
        let usual = SpecializationOptions::default();
        SpecializationOptions {
            compute_unit: unit,
            precision: match self.precision {
                None => usual.precision,
                Some(Mode::Fast) => Precision::Fast,
                Some(Mode::Exact) => Precision::Exact,
            },
            rules: self.rules.unwrap_or(usual.rules),
            strict: self.strict.unwrap_or(usual.strict),
            allow_software_adapter: self.allow_software_adapter.unwrap_or(usual.allow_software_adapter),
            subgroups: self.subgroups.unwrap_or(usual.subgroups),
            shader_f16: self.shader_f16.unwrap_or(usual.shader_f16),
            ..usual
        }
    }
}
