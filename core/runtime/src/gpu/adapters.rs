//! Which adapters there are, and which one is taken.

use serde::Serialize;

use super::wgpu;
use crate::error::Error;
use crate::options::SpecializationOptions;

/// Kind of an adapter, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterType {
    /// Its own memory.
    Discrete,
    /// Shares the host's memory.
    Integrated,
    /// Part of a GPU of the host of this virtual machine.
    Virtual,
    /// Hardware the driver does not describe; every hardware adapter of a browser.
    Unknown,
    /// Runs on the processor.
    Software,
}

/// An adapter of this machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AdapterInfo {
    /// Name given by the driver; in a browser often empty.
    pub name: String,
    /// API it is reached through: `vulkan`, `metal`, `dx12`, `webgpu`.
    pub backend: String,
    /// Kind.
    pub kind: AdapterType,
    /// Driver's name and version.
    pub driver: String,
    /// Whether it runs on the processor; never taken unless asked for.
    pub software: bool,
    /// Least and greatest subgroup size, invocations.
    pub subgroup_sizes: (u32, u32),
    /// Limits that decide what runs.
    pub limits: AdapterLimits,
    /// Optional features that the kernels use.
    pub features: AdapterFeatures,
}

/// Limits of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AdapterLimits {
    /// Largest buffer, bytes.
    pub buffer_bytes: u64,
    /// Largest storage binding, bytes.
    pub binding_bytes: u64,
    /// Storage buffers of one kernel.
    pub storage_buffers: u32,
    /// Invocations of a workgroup.
    pub invocations: u32,
    /// Workgroup memory, bytes.
    pub workgroup_bytes: u32,
}

/// Optional features of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AdapterFeatures {
    /// Subgroup operations.
    pub subgroups: bool,
    /// 16-bit floats in shaders.
    pub shader_f16: bool,
    /// Timestamps on the device.
    pub timestamps: bool,
}

impl AdapterInfo {
    pub(crate) fn new(info: &wgpu::AdapterInfo, features: wgpu::Features, limits: &wgpu::Limits) -> Self {
        let name = info.name.to_lowercase();
        let known = ["llvmpipe", "lavapipe", "swiftshader", "microsoft basic render", "warp"];
        let software = info.device_type == wgpu::DeviceType::Cpu || known.iter().any(|k| name.contains(k));
        let kind = match info.device_type {
            _ if software => AdapterType::Software,
            wgpu::DeviceType::DiscreteGpu => AdapterType::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterType::Integrated,
            wgpu::DeviceType::VirtualGpu => AdapterType::Virtual,
            wgpu::DeviceType::Other | wgpu::DeviceType::Cpu => AdapterType::Unknown,
        };
        AdapterInfo {
            name: info.name.clone(),
            backend: info.backend.to_str().to_owned(),
            kind,
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            software,
            subgroup_sizes: (info.subgroup_min_size, info.subgroup_max_size),
            limits: AdapterLimits {
                buffer_bytes: limits.max_buffer_size,
                binding_bytes: limits.max_storage_buffer_binding_size,
                storage_buffers: limits.max_storage_buffers_per_shader_stage,
                invocations: limits.max_compute_invocations_per_workgroup,
                workgroup_bytes: limits.max_compute_workgroup_storage_size,
            },
            features: AdapterFeatures {
                subgroups: features.contains(wgpu::Features::SUBGROUP),
                shader_f16: features.contains(wgpu::Features::SHADER_F16),
                timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            },
        }
    }
}

/// Every adapter with its description, in the driver's order.
pub(crate) async fn enumerate() -> Vec<(wgpu::Adapter, AdapterInfo)> {
    let describe = |adapter: wgpu::Adapter| {
        let info = AdapterInfo::new(&adapter.get_info(), adapter.features(), &adapter.limits());
        (adapter, info)
    };
    all().await.into_iter().map(describe).collect()
}

#[cfg(target_arch = "wasm32")]
use super::web::adapters as all;

#[cfg(not(target_arch = "wasm32"))]
async fn all() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::all().with_env();
    // Validation layers are loaded only when the environment asks for them.
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    let instance = wgpu::Instance::new(descriptor);
    instance.enumerate_adapters(wgpu::Backends::all()).await
}

/// The adapters of this machine.
pub async fn adapters() -> Vec<AdapterInfo> {
    enumerate().await.into_iter().map(|(_, info)| info).collect()
}

/// Index of the adapter that `options` asks for, or an error that says what to type.
pub(crate) fn choose(found: &[AdapterInfo], options: &SpecializationOptions) -> Result<usize, Error> {
    let none = |reason: String| Error::NoAdapter { wanted: options.adapter.clone(), reason };
    let best = |allowed: &dyn Fn(&AdapterInfo) -> bool| {
        (0..found.len()).filter(|&i| allowed(&found[i])).min_by_key(|&i| found[i].kind)
    };
    if found.is_empty() {
        return Err(none("this machine has none that wgpu can use; try `--compute-unit cpu`".into()));
    }
    let list = || {
        let names: Vec<String> = found.iter().map(|a| format!("{:?} ({})", a.name, a.backend)).collect();
        names.join(", ")
    };
    if let Some(wanted) = &options.adapter {
        let wanted = wanted.to_lowercase();
        return best(&|a| a.name.to_lowercase().contains(&wanted)).ok_or_else(|| {
            none(format!("found {}; `--adapter` takes a part of one of these names", list()))
        });
    }
    best(&|a| !a.software || options.allow_software_adapter).ok_or_else(|| {
        let short = found[0].name.split([' ', '(']).next().unwrap_or_default().to_lowercase();
        none(format!(
            "found only software adapters: {}; use one with `--adapter {short}`, or run `--compute-unit cpu`, \
             which is usually faster",
            list()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(name: &str, device_type: wgpu::DeviceType) -> AdapterInfo {
        let mut info = wgpu::AdapterInfo::new(device_type, wgpu::Backend::Vulkan);
        info.name = name.into();
        AdapterInfo::new(&info, wgpu::Features::empty(), &wgpu::Limits::default())
    }

    #[test]
    fn hardware_comes_first_and_software_only_when_asked_for() {
        use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other};
        let all = [
            adapter("llvmpipe (LLVM 15.0.6, 256 bits)", Cpu),
            adapter("Intel(R) UHD", IntegratedGpu),
            adapter("NVIDIA H200", DiscreteGpu),
        ];
        let mut options = SpecializationOptions::default();
        assert_eq!(choose(&all, &options).unwrap(), 2);
        assert_eq!(choose(&all[..2], &options).unwrap(), 1);

        let refused = choose(&all[..1], &options).unwrap_err();
        assert_eq!(refused.code(), "no_adapter");
        let text = refused.to_string();
        assert!(text.contains("--adapter llvmpipe") && text.contains("--compute-unit cpu"), "{text}");
        // A driver that does not own up to being software.
        assert!(choose(&[adapter("SwiftShader Device", Other)], &options).is_err());

        options.allow_software_adapter = true;
        assert_eq!(choose(&all[..1], &options).unwrap(), 0);
        assert_eq!(choose(&all, &options).unwrap(), 2);

        options = SpecializationOptions { adapter: Some("LLVM".into()), ..Default::default() };
        assert_eq!(choose(&all, &options).unwrap(), 0);
        options.adapter = Some("Radeon".into());
        let text = choose(&all, &options).unwrap_err().to_string();
        assert!(text.contains("\"Radeon\"") && text.contains("NVIDIA H200"), "{text}");
        assert!(choose(&[], &options).is_err());
    }
}
