//! What an adapter of the browser is, offers and allows.

use js_sys::{Object, Reflect};
use wasm_bindgen::JsValue;

use super::js::SupportedFeatures;
use super::{get, object};

/// Optional features that the kernels use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u32);

impl Features {
    pub const SUBGROUP: Features = Features(1);
    /// Part of `subgroups` on the web.
    pub const SUBGROUP_BARRIER: Features = Features(1);
    pub const SHADER_F16: Features = Features(2);
    pub const TIMESTAMP_QUERY: Features = Features(4);

    const NAMES: [(Features, &str); 3] = [
        (Features::SUBGROUP, "subgroups"),
        (Features::SHADER_F16, "shader-f16"),
        (Features::TIMESTAMP_QUERY, "timestamp-query"),
    ];

    pub(super) fn of(found: &SupportedFeatures) -> Features {
        Self::NAMES.iter().filter(|(_, name)| found.has(name)).fold(Features(0), |all, (f, _)| all | *f)
    }

    /// Names of those that are set.
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(f, _)| self.contains(*f)).map(|(_, name)| *name)
    }

    pub fn contains(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Features {
    type Output = Features;

    fn bitor(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }
}

impl std::ops::BitAnd for Features {
    type Output = Features;

    fn bitand(self, other: Features) -> Features {
        Features(self.0 & other.0)
    }
}

macro_rules! limits {
    ($($name:ident: $ty:ty = $js:literal or $default:expr;)*) => {
        /// Limits that decide what runs. What is not there has its default in WebGPU.
        #[derive(Clone, Debug)]
        pub struct Limits { $(pub $name: $ty,)* }

        impl Default for Limits {
            fn default() -> Limits {
                Limits { $($name: $default,)* }
            }
        }

        impl Limits {
            pub(super) fn of(found: &JsValue) -> Limits {
                Limits { $($name: get(found, $js).as_f64().map_or($default, |n| n as $ty),)* }
            }

            /// As `requiredLimits`.
            pub(super) fn object(&self) -> Object {
                let all = object([]);
                $(let _ = Reflect::set(&all, &$js.into(), &(self.$name as f64).into());)*
                all
            }

            pub fn downlevel_defaults() -> Limits {
                Limits::default()
            }
        }
    };
}

// Defaults of W3C WebGPU § 3.6.2.
limits! {
    max_buffer_size: u64 = "maxBufferSize" or 268_435_456;
    max_storage_buffer_binding_size: u64 = "maxStorageBufferBindingSize" or 134_217_728;
    max_uniform_buffer_binding_size: u64 = "maxUniformBufferBindingSize" or 65_536;
    max_storage_buffers_per_shader_stage: u32 = "maxStorageBuffersPerShaderStage" or 8;
    max_compute_invocations_per_workgroup: u32 = "maxComputeInvocationsPerWorkgroup" or 256;
    max_compute_workgroup_size_x: u32 = "maxComputeWorkgroupSizeX" or 256;
    max_compute_workgroup_size_y: u32 = "maxComputeWorkgroupSizeY" or 256;
    max_compute_workgroup_size_z: u32 = "maxComputeWorkgroupSizeZ" or 64;
    max_compute_workgroup_storage_size: u32 = "maxComputeWorkgroupStorageSize" or 16_384;
    max_compute_workgroups_per_dimension: u32 = "maxComputeWorkgroupsPerDimension" or 65_535;
    min_storage_buffer_offset_alignment: u32 = "minStorageBufferOffsetAlignment" or 256;
    min_uniform_buffer_offset_alignment: u32 = "minUniformBufferOffsetAlignment" or 256;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceType {
    Other,
    IntegratedGpu,
    DiscreteGpu,
    VirtualGpu,
    Cpu,
}

/// The only API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend;

impl Backend {
    pub fn to_str(self) -> &'static str {
        "webgpu"
    }
}

/// What the browser tells of an adapter.
#[derive(Clone, Debug)]
pub struct AdapterInfo {
    pub name: String,
    pub device_type: DeviceType,
    pub backend: Backend,
    pub driver: String,
    pub driver_info: String,
    pub subgroup_min_size: u32,
    pub subgroup_max_size: u32,
}

impl AdapterInfo {
    /// From a `GPUAdapterInfo`.
    pub(super) fn of(info: &JsValue) -> AdapterInfo {
        let text = |key| get(info, key).as_string().unwrap_or_default();
        let number = |key| get(info, key).as_f64().map_or(0, |n| n as u32);
        let described = text("description");
        let name = match described.is_empty() {
            true => format!("{} {}", text("vendor"), text("architecture")).trim().to_owned(),
            false => described,
        };
        let fallback = get(info, "isFallbackAdapter").is_truthy();
        AdapterInfo {
            name,
            device_type: if fallback { DeviceType::Cpu } else { DeviceType::Other },
            backend: Backend,
            driver: String::new(),
            driver_info: String::new(),
            subgroup_min_size: number("subgroupMinSize"),
            subgroup_max_size: number("subgroupMaxSize"),
        }
    }
}
