//! Pipelines, kept per device and keyed by source. The crate's only unsafe code is here.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use super::counters::count;
#[cfg(target_arch = "wasm32")]
use super::device::Fault;
use super::device::GpuDevice;
use super::dispatch::{Binding, Dispatch};
use super::params::SLOT_BYTES;
use super::seam::lock;
use super::wgpu;
use crate::error::Error;

/// What decides a bind group layout: the number of storage bindings and which are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Signature {
    count: u32,
    /// Bit `i`: storage binding `i` is `read_write`.
    written: u64,
}

impl Signature {
    pub fn of(bindings: &[Binding]) -> Signature {
        let bit = |(i, b): (usize, &Binding)| u64::from(b.write).checked_shl(i as u32).unwrap_or(0);
        let written = bindings.iter().enumerate().map(bit).fold(0, |all, bit| all | bit);
        Signature { count: bindings.len() as u32, written }
    }
}

#[derive(Clone)]
struct Layouts {
    group: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
}

type Key = (Arc<str>, Signature);

/// Everything compiled on a device.
#[derive(Default)]
pub(crate) struct PipelineCache {
    layouts: Mutex<HashMap<Signature, Layouts>>,
    pipelines: Mutex<HashMap<Key, wgpu::ComputePipeline>>,
}

impl GpuDevice {
    /// The pipeline of every dispatch, compiling what is not cached; natively in parallel.
    pub(crate) async fn pipelines_of(
        &self,
        dispatches: &[Dispatch],
    ) -> Result<Vec<wgpu::ComputePipeline>, Error> {
        let key = |d: &Dispatch| (d.source.clone(), Signature::of(&d.bindings));
        let mut missing: Vec<(Key, &'static str)> = vec![];
        {
            let cached = lock(&self.pipelines.pipelines);
            let mut seen = std::collections::HashSet::new();
            for dispatch in dispatches {
                let key = key(dispatch);
                if !cached.contains_key(&key) && seen.insert(key.clone()) {
                    missing.push((key, dispatch.kernel));
                }
            }
        }
        for (key, pipeline) in self.compile_all(missing).await? {
            lock(&self.pipelines.pipelines).insert(key, pipeline);
        }
        let cached = lock(&self.pipelines.pipelines);
        let find = |d: &Dispatch| {
            cached.get(&key(d)).cloned().ok_or_else(|| Error::Gpu {
                context: d.kernel.to_owned(),
                message: "the pipeline was not compiled".into(),
            })
        };
        dispatches.iter().map(find).collect()
    }

    #[cfg(not(target_arch = "wasm32"))]
    async fn compile_all(
        &self,
        missing: Vec<(Key, &'static str)>,
    ) -> Result<Vec<(Key, wgpu::ComputePipeline)>, Error> {
        use rayon::prelude::*;
        // Natively the futures of error scopes are ready at once.
        let one = |(key, kernel): (Key, &'static str)| {
            let pipeline = pollster::block_on(self.compile(&key, kernel))?;
            Ok((key, pipeline))
        };
        missing.into_par_iter().map(one).collect()
    }

    #[cfg(target_arch = "wasm32")]
    async fn compile_all(
        &self,
        missing: Vec<(Key, &'static str)>,
    ) -> Result<Vec<(Key, wgpu::ComputePipeline)>, Error> {
        // All are started before the first is waited for, so that the browser compiles in parallel.
        let started: Vec<_> = missing.iter().map(|(key, kernel)| self.compile(key, kernel)).collect();
        let mut done = vec![];
        for (compiling, (key, _)) in started.into_iter().zip(&missing) {
            done.push((key.clone(), compiling.await?));
        }
        Ok(done)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn compile<'a>(
        &'a self,
        key: &Key,
        kernel: &'static str,
    ) -> impl Future<Output = Result<wgpu::ComputePipeline, Error>> + use<'a> {
        let (pipeline, caught) = self.scoped(|| {
            let layouts = self.layouts(key.1);
            let descriptor = wgpu::ShaderModuleDescriptor {
                label: Some(kernel),
                source: wgpu::ShaderSource::Wgsl(std::borrow::Cow::Borrowed(&*key.0)),
            };
            // SAFETY: the sources are this crate's kernels, never text of an asset. Every loop in
            // them is bounded by a parameter word or an extent that the host computed, so none is
            // infinite, which is all that `force_loop_bounding` guards. All other checks stay on.
            let module = unsafe {
                let mut checks = wgpu::ShaderRuntimeChecks::checked();
                checks.force_loop_bounding = false;
                self.device.create_shader_module_trusted(descriptor, checks)
            };
            self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(kernel),
                layout: Some(&layouts.pipeline),
                module: &module,
                entry_point: Some("main"),
                compilation_options: Default::default(),
                cache: None,
            })
        });
        count(&self.counters.pipelines, 1);
        async move {
            match caught.await {
                None => Ok(pipeline),
                Some(error) => Err(self.error(&format!("compiling kernel {kernel}"), 0, &error)),
            }
        }
    }

    #[cfg(target_arch = "wasm32")]
    fn compile<'a>(
        &'a self,
        key: &Key,
        kernel: &'static str,
    ) -> impl Future<Output = Result<wgpu::ComputePipeline, Error>> + use<'a> {
        let source = coreai_shaders::for_browsers(&key.0);
        let (pipeline, caught) =
            self.scoped(|| self.device.compile(kernel, &self.layouts(key.1).pipeline, &source));
        count(&self.counters.pipelines, 1);
        async move {
            // The pipeline's own error says more than what the scope caught of its module.
            let fault = match pipeline.await {
                Ok(pipeline) => match caught.await {
                    None => return Ok(pipeline),
                    Some(fault) => fault,
                },
                Err(message) => Fault::Refused(message),
            };
            Err(self.error(&format!("compiling kernel {kernel}"), 0, &fault))
        }
    }

    /// The bind group layout of a signature. Call inside an error scope.
    pub(crate) fn group_layout(&self, signature: Signature) -> wgpu::BindGroupLayout {
        self.layouts(signature).group
    }

    fn layouts(&self, signature: Signature) -> Layouts {
        let make = || {
            let entry = |binding, ty, has_dynamic_offset, min| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: min },
                count: None,
            };
            let slot = std::num::NonZeroU64::new(SLOT_BYTES as u64);
            let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform, true, slot)];
            entries.extend((0..signature.count).map(|i| {
                let read_only = signature.written.checked_shr(i).unwrap_or(0) & 1 == 0;
                entry(1 + i, wgpu::BufferBindingType::Storage { read_only }, false, None)
            }));
            let group = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: None,
                entries: &entries,
            });
            let pipeline = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(&group)],
                immediate_size: 0,
            });
            count(&self.counters.bind_group_layouts, 1);
            Layouts { group, pipeline }
        };
        lock(&self.pipelines.layouts).entry(signature).or_insert_with(make).clone()
    }
}
