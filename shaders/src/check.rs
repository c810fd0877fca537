//! Checks that a shader is valid and can be translated for every target.

use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ValidationFlags, Validator};

/// Limits every device has; a shader that exceeds them is refused.
const MAX_INVOCATIONS: u32 = 256;
const MAX_WORKGROUP_BYTES: u32 = 16384;
const MAX_STORAGE_BUFFERS: usize = 8;

/// Parses and validates `source`, checks the portable limits, and translates it to SPIR-V, MSL and
/// HLSL. The error is what the first failing stage says.
pub fn check(source: &str, subgroups: bool) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    // `unpack2x16float` is part of every device's WGSL.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    capabilities.set(Capabilities::SUBGROUP, subgroups);
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    if subgroups {
        validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
        validator.subgroup_operations(naga::valid::SubgroupOperationSet::all());
    }
    let info = validator.validate(&module).map_err(|e| e.emit_to_string(source))?;
    limits(&module)?;
    spv::write_vec(&module, &info, &spv::Options { lang_version: (1, 3), ..Default::default() }, None)
        .map_err(|e| format!("SPIR-V: {e}"))?;
    let options = msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..Default::default() };
    msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
        .map_err(|e| format!("MSL: {e}"))?;
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_0,
        fake_missing_bindings: true,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions::default();
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(&module, &info, None)
        .map_err(|e| format!("HLSL: {e}"))?;
    Ok(())
}

fn limits(module: &naga::Module) -> Result<(), String> {
    let mut workgroup = 0;
    let mut storage = 0;
    for (_, variable) in module.global_variables.iter() {
        match variable.space {
            naga::AddressSpace::WorkGroup => {
                workgroup += module.types[variable.ty].inner.size(module.to_ctx());
            }
            naga::AddressSpace::Storage { .. } => storage += 1,
            _ => {}
        }
    }
    let invocations: u32 =
        module.entry_points.iter().map(|e| e.workgroup_size.iter().product()).max().unwrap_or(0);
    if workgroup > MAX_WORKGROUP_BYTES || storage > MAX_STORAGE_BUFFERS || invocations > MAX_INVOCATIONS {
        return Err(format!(
            "not portable: {workgroup} bytes of workgroup memory, {storage} storage buffers, {invocations} invocations"
        ));
    }
    Ok(())
}
