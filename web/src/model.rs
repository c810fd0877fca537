//! Models.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Weak};

use coreai::gpu::{GpuDevice, wgpu};
use coreai::{AIModel, AIModelAsset, ComputeUnitKind, Error, OpenDevice, ReportEntry, SpecializationOptions};
use js_sys::{Function, Promise};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::asset::Asset;
use crate::error;
use crate::options::{ModelOptions, Unit};
use crate::session::Session;
use crate::source::Thrown;

/// An asset specialized for a device.
#[wasm_bindgen]
pub struct Model {
    pub(crate) inner: Arc<AIModel>,
    pub(crate) thrown: Thrown,
}

#[wasm_bindgen]
impl Model {
    /// Plans the functions and uploads the weights. `options` is JSON. `device` is a `GPUDevice` of
    /// the caller, or a function that gives one, which is called again after a loss.
    pub async fn specialize(asset: &Asset, options: String, device: JsValue) -> Result<Model, JsValue> {
        let options = ModelOptions::parse(&options)?;
        let thrown = asset.thrown.clone();
        let on_cpu = |inner: Arc<AIModelAsset>| {
            AIModel::specialize(inner, options.specialization(ComputeUnitKind::Cpu))
        };
        let inner = if options.compute_unit == Unit::Cpu {
            on_cpu(asset.in_memory().await?).await.map_err(|e| thrown.or_of(e))?
        } else {
            let wanted = options.specialization(ComputeUnitKind::Gpu);
            match on_gpu(asset.inner.clone(), wanted, device).await {
                Err(Error::NoAdapter { reason, .. }) if options.compute_unit == Unit::Auto => {
                    let model = on_cpu(asset.in_memory().await?).await.map_err(|e| thrown.or_of(e))?;
                    let message = format!("no WebGPU adapter, so the model runs on the CPU unit: {reason}");
                    let entry = ReportEntry { code: "no_webgpu", message, fallback: true };
                    model.add_entry(entry).map_err(|e| error::of(&e))?;
                    model
                }
                other => other.map_err(|e| thrown.or_of(e))?,
            }
        };
        Ok(Model { inner, thrown })
    }

    /// Every choice and fallback so far, JSON.
    pub fn report(&self) -> Result<String, JsValue> {
        json(&self.inner.latest().report())
    }

    /// `gpu` or `cpu`.
    #[wasm_bindgen(js_name = computeUnit)]
    pub fn compute_unit(&self) -> String {
        if self.inner.adapter().is_some() { "gpu" } else { "cpu" }.into()
    }

    /// The adapter, JSON; `null` on the CPU unit.
    pub fn adapter(&self) -> Result<String, JsValue> {
        json(&self.inner.latest().adapter())
    }

    /// The `GPUDevice`; `undefined` on the CPU unit.
    pub fn device(&self) -> JsValue {
        let model = self.inner.latest();
        model.device().map_or(JsValue::UNDEFINED, |device| device.raw().js().clone())
    }

    /// Bytes on the device by class, of all models that share it, JSON.
    #[wasm_bindgen(js_name = deviceBytes)]
    pub fn device_bytes(&self) -> Result<String, JsValue> {
        #[derive(Serialize)]
        struct Bytes {
            weights: u64,
            states: u64,
            activations: u64,
            other: u64,
        }
        let found = self.inner.latest().device_bytes();
        let (weights, states, activations, other) = (found.weights, found.states, found.arena, found.other);
        json(&Bytes { weights, states, activations, other })
    }

    /// Whether its device was lost.
    #[wasm_bindgen(js_name = isLost)]
    pub fn is_lost(&self) -> bool {
        self.inner.is_lost()
    }

    /// The model that takes over after a loss.
    pub async fn rebuilt(&self) -> Result<Model, JsValue> {
        let inner = self.inner.rebuilt().await.map_err(|e| self.thrown.or_of(e))?;
        Ok(Model { inner, thrown: self.thrown.clone() })
    }

    /// A session of a function; `shapes` gives extents of states that have dynamic ones, JSON.
    pub async fn session(&self, function: String, shapes: String) -> Result<Session, JsValue> {
        Session::new(self, &function, &shapes).await
    }
}

pub(crate) fn json(value: &impl Serialize) -> Result<String, JsValue> {
    serde_json::to_string(value).map_err(|e| error::thrown("json", &e.to_string()))
}

async fn on_gpu(
    asset: Arc<AIModelAsset>,
    options: SpecializationOptions,
    device: JsValue,
) -> Result<Arc<AIModel>, Error> {
    let how = options.clone();
    if device.is_undefined() || device.is_null() {
        let open: OpenDevice = Arc::new(move || {
            let how = how.clone();
            Box::pin(async move { shared(&how).await })
        });
        return AIModel::specialize_from(asset, options, open, &mut |_| {}).await;
    }
    let used = Rc::new(Cell::new(false));
    let open: OpenDevice = Arc::new(move || {
        let (device, how, used) = (device.clone(), how.clone(), used.clone());
        Box::pin(async move {
            let given = match device.dyn_ref::<Function>() {
                None if used.replace(true) => {
                    let advice =
                        "it was the page's; load with a function that gives a device to survive a loss";
                    return Err(Error::DeviceLost(advice.into()));
                }
                None => device,
                Some(function) => called(function).await?,
            };
            if !wgpu::Device::is_device(&given) {
                let reason = "is neither a GPUDevice nor a function that gives one".into();
                return Err(Error::Input { name: "device".into(), reason });
            }
            let (device, queue) = wgpu::Device::from_js(given);
            Ok(GpuDevice::from_existing(device, queue, &how))
        })
    });
    AIModel::specialize_from(asset, options, open, &mut |_| {}).await
}

thread_local! {
    /// The device that models share, so that results of one can be inputs of another. Held by them.
    static SHARED: RefCell<Vec<(String, Weak<GpuDevice>)>> = const { RefCell::new(Vec::new()) };
}

/// A device with these options that another model has, or a new one.
async fn shared(options: &SpecializationOptions) -> Result<Arc<GpuDevice>, Error> {
    let key = format!("{} {} {}", options.allow_software_adapter, options.subgroups, options.shader_f16);
    let usable = |(k, device): &(String, Weak<GpuDevice>)| {
        device.upgrade().filter(|device| *k == key && !device.is_lost())
    };
    if let Some(found) = SHARED.with_borrow(|list| list.iter().find_map(usable)) {
        return Ok(found);
    }
    let device = GpuDevice::open(options).await?;
    // Another model may have opened one meanwhile.
    if let Some(found) = SHARED.with_borrow(|list| list.iter().find_map(usable)) {
        return Ok(found);
    }
    SHARED.with_borrow_mut(|list| {
        list.retain(|(_, device)| device.strong_count() > 0);
        list.push((key.clone(), Arc::downgrade(&device)));
    });
    Ok(device)
}

async fn called(function: &Function) -> Result<JsValue, Error> {
    let result = match function.call0(&JsValue::UNDEFINED) {
        Ok(value) => JsFuture::from(Promise::resolve(&value)).await,
        Err(e) => Err(e),
    };
    result.map_err(|e| {
        let text = js_sys::Reflect::get(&e, &"message".into()).ok().and_then(|m| m.as_string());
        let reason = format!("the page's function failed: {}", text.unwrap_or_else(|| format!("{e:?}")));
        Error::NoAdapter { wanted: None, reason }
    })
}
