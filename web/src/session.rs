//! Sessions: one caller's inputs, states and results.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coreai::gpu::wgpu;
use coreai::{ElementType, NDArray, OutputWant};
use wasm_bindgen::prelude::*;

use crate::error;
use crate::model::Model;
use crate::source::Thrown;

/// One call at a time: JavaScript waits for each before the next.
#[wasm_bindgen]
pub struct Session {
    inner: coreai::Session,
    thrown: Thrown,
    /// Output names of the function, in order.
    outputs: Vec<String>,
    /// Element types by input, and by state.
    elements: BTreeMap<String, ElementType>,
}

/// Stops a run of its session from outside.
#[wasm_bindgen]
pub struct Canceller(pub(crate) Cancel);

pub(crate) enum Cancel {
    Flag(Arc<AtomicBool>),
    #[cfg(feature = "language")]
    Turn(coreai_tasks::language::Cancel),
}

#[wasm_bindgen]
impl Canceller {
    /// Ends the run in progress.
    pub fn cancel(&self) {
        match &self.0 {
            Cancel::Flag(flag) => flag.store(true, Ordering::Relaxed),
            #[cfg(feature = "language")]
            Cancel::Turn(cancel) => cancel.cancel(),
        }
    }
}

impl Session {
    pub(crate) async fn new(model: &Model, function: &str, shapes: &str) -> Result<Session, JsValue> {
        let shapes: BTreeMap<String, Vec<usize>> =
            serde_json::from_str(shapes).map_err(|e| error::input("states", &e.to_string()))?;
        let shapes: Vec<(&str, &[usize])> = shapes.iter().map(|(n, s)| (n.as_str(), s.as_slice())).collect();
        let inner = model.inner.session(function, &shapes).await.map_err(|e| model.thrown.or_of(e))?;
        let descriptor = model.inner.functions().into_iter().find(|f| f.name == function);
        let descriptor = descriptor.ok_or_else(|| error::input(function, "no such function"))?;
        Ok(Session {
            inner,
            thrown: model.thrown.clone(),
            outputs: descriptor.outputs.into_iter().map(|p| p.name).collect(),
            elements: (descriptor.inputs.into_iter().chain(descriptor.states))
                .map(|p| (p.name, p.element))
                .collect(),
        })
    }

    fn output(&self, name: &str) -> Result<usize, JsValue> {
        self.outputs.iter().position(|o| o == name).ok_or_else(|| {
            error::input(name, &format!("is not an output; the function has {}", self.outputs.join(", ")))
        })
    }
}

#[wasm_bindgen]
impl Session {
    /// Binds an input: little-endian elements of `dtype`, which must be the declared one.
    #[wasm_bindgen(js_name = setInput)]
    pub fn set_input(&mut self, name: &str, dtype: &str, shape: &[u32], bytes: &[u8]) -> Result<(), JsValue> {
        let element = ElementType::from_numpy_name(dtype)
            .ok_or_else(|| error::input(name, &format!("dtype {dtype:?} is not known")))?;
        let array = NDArray::new(element, extents(shape), bytes.to_vec()).map_err(|e| error::of(&e))?;
        self.inner.set_array(name, &array).map_err(|e| error::of(&e))
    }

    /// Binds a buffer of the model's device, one 32-bit word per element. It is copied now.
    #[wasm_bindgen(js_name = setInputBuffer)]
    pub async fn set_input_buffer(
        &mut self,
        name: String,
        shape: Vec<u32>,
        buffer: JsValue,
    ) -> Result<(), JsValue> {
        let Some(input) = self.inner.input_index(&name) else {
            return Err(error::input(&name, "is not an input"));
        };
        let Some(buffer) = wgpu::Buffer::from_js(buffer) else {
            return Err(error::input(&name, "is not a GPUBuffer"));
        };
        let bound = self.inner.set_device_input(input, &extents(&shape), &buffer).await;
        bound.map_err(|e| error::of(&e))
    }

    /// Runs the function. The named outputs come to the host, or with `keep` stay on the device.
    pub async fn run(&mut self, outputs: Vec<String>, keep: bool) -> Result<(), JsValue> {
        let mut wants = vec![];
        for name in &outputs {
            let output = self.output(name)?;
            wants.push(if keep { OutputWant::kept(output) } else { OutputWant::all(output) });
        }
        let ran = self.inner.run(&wants).await.map_err(|e| self.thrown.or_of(e));
        // Not before: whoever cancels may do so before the first step.
        self.inner.cancel_flag().store(false, Ordering::Relaxed);
        ran
    }

    /// Extents of an output of the last run.
    #[wasm_bindgen(js_name = outputShape)]
    pub fn output_shape(&self, name: &str) -> Result<Vec<u32>, JsValue> {
        let shape = self.inner.output_shape(self.output(name)?);
        Ok(shape.iter().map(|n| *n as u32).collect())
    }

    /// Little-endian elements of an output of the last run, of the declared dtype.
    #[wasm_bindgen(js_name = outputBytes)]
    pub fn output_bytes(&self, name: &str) -> Result<Vec<u8>, JsValue> {
        let array = self.inner.output_array(self.output(name)?);
        array.map(|a| a.data).map_err(|e| error::of(&e))
    }

    /// A copy of an output of the last run as a `GPUBuffer` of the caller's, one word per element.
    #[wasm_bindgen(js_name = takeBuffer)]
    pub async fn take_buffer(&self, name: String) -> Result<JsValue, JsValue> {
        let taken = self.inner.take_output(self.output(&name)?).await;
        taken.map(|buffer| buffer.js().clone()).map_err(|e| error::of(&e))
    }

    /// Extents of a state.
    #[wasm_bindgen(js_name = stateShape)]
    pub fn state_shape(&self, name: &str) -> Result<Vec<u32>, JsValue> {
        let shape = self.inner.state_shape(name).map_err(|e| error::of(&e))?;
        Ok(shape.iter().map(|n| *n as u32).collect())
    }

    /// Little-endian elements of a state.
    #[wasm_bindgen(js_name = readState)]
    pub async fn read_state(&self, name: String) -> Result<Vec<u8>, JsValue> {
        self.inner.read_state(&name).await.map(|a| a.data).map_err(|e| error::of(&e))
    }

    /// Replaces a state's elements.
    #[wasm_bindgen(js_name = writeState)]
    pub fn write_state(&mut self, name: &str, bytes: &[u8]) -> Result<(), JsValue> {
        let shape = self.inner.state_shape(name).map_err(|e| error::of(&e))?.to_vec();
        let element = self.elements.get(name).copied().unwrap_or(ElementType::F32);
        let array = NDArray::new(element, shape, bytes.to_vec()).map_err(|e| error::of(&e))?;
        self.inner.write_state(name, &array).map_err(|e| error::of(&e))
    }

    /// Changes a state's dynamic extents; what both shapes have is kept, the rest is zero.
    #[wasm_bindgen(js_name = resizeState)]
    pub async fn resize_state(&mut self, name: String, shape: Vec<u32>) -> Result<(), JsValue> {
        self.inner.resize_state(&name, &extents(&shape)).await.map_err(|e| error::of(&e))
    }

    /// Usable while a run is pending.
    pub fn canceller(&self) -> Canceller {
        Canceller(Cancel::Flag(self.inner.cancel_flag()))
    }
}

fn extents(shape: &[u32]) -> Vec<usize> {
    shape.iter().map(|n| *n as usize).collect()
}
