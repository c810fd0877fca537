//! Assets.

use std::sync::Arc;

use coreai::{AIModelAsset, PixelFormat};
use coreai_asset::{ByteSource, KeptSource, MemorySource};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::error;
use crate::source::{ByteReader, Reader, Thrown};

/// Constants up to this size are fetched when an asset is opened: planning looks into them.
const SMALL_CONSTANT: u64 = 64 << 10;

/// An opened asset. Weights stay where they are.
#[wasm_bindgen]
pub struct Asset {
    pub(crate) inner: Arc<AIModelAsset>,
    pub(crate) thrown: Thrown,
    reader: Arc<Reader>,
    metadata: Option<Vec<u8>>,
    hash: Option<[u8; 32]>,
}

#[wasm_bindgen]
impl Asset {
    /// Reads the structure of `main.mlirb`; `metadata.json` and `main.hash` where they are.
    pub async fn read(
        source: ByteReader,
        #[wasm_bindgen(js_name = metadataJson)] metadata: Option<Vec<u8>>,
        hash: Option<Vec<u8>>,
    ) -> Result<Asset, JsValue> {
        let thrown = Thrown::default();
        let hash = hash.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let reader = Arc::new(Reader::new(source, thrown.clone()));
        let kept = Arc::new(KeptSource::new(reader.clone()));
        let asset = coreai_asset::Asset::read(kept.clone(), metadata.as_deref(), hash).await;
        let asset = asset.map_err(|e| thrown.or_of(e))?;
        kept.keep_program(&asset, SMALL_CONSTANT).await.map_err(|e| thrown.or_of(e))?;
        Ok(Asset { inner: AIModelAsset::new(asset), thrown, reader, metadata, hash })
    }

    /// Signatures of the entry points, JSON.
    pub fn functions(&self) -> Result<String, JsValue> {
        let functions: Vec<Function> = self.inner.functions().into_iter().map(Function::of).collect();
        serde_json::to_string(&functions).map_err(|e| error::thrown("json", &e.to_string()))
    }
}

impl Asset {
    /// The asset with all of its file in memory, for the CPU unit.
    pub(crate) async fn in_memory(&self) -> Result<Arc<AIModelAsset>, JsValue> {
        let length = self.reader.len();
        let mut bytes = vec![];
        let fits = usize::try_from(length).is_ok_and(|n| bytes.try_reserve_exact(n).is_ok());
        if !fits {
            return Err(error::of(&coreai::Error::OutOfMemory {
                what: "memory of the page",
                needed: length,
                limit: isize::MAX as u64,
                advice: "without WebGPU the weights lie in the module's memory; take a more compressed model"
                    .into(),
            }));
        }
        self.reader.append(0..length, &mut bytes).await.map_err(|e| self.thrown.or_of(e))?;
        let source = Arc::new(MemorySource(bytes));
        let asset = coreai_asset::Asset::read(source, self.metadata.as_deref(), self.hash).await;
        asset.map(AIModelAsset::new).map_err(|e| self.thrown.or_of(e))
    }
}

#[derive(Serialize)]
struct Function {
    name: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    states: Vec<Port>,
}

#[derive(Serialize)]
struct Port {
    name: String,
    dtype: &'static str,
    shape: Vec<Option<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Image>,
}

#[derive(Serialize)]
struct Image {
    width: usize,
    height: usize,
    format: &'static str,
}

impl Function {
    fn of(found: coreai::FunctionDescriptor) -> Function {
        let ports = |list: Vec<coreai::PortDescriptor>| list.into_iter().map(Port::of).collect();
        Function {
            name: found.name,
            inputs: ports(found.inputs),
            outputs: ports(found.outputs),
            states: ports(found.states),
        }
    }
}

impl Port {
    fn of(found: coreai::PortDescriptor) -> Port {
        Port {
            name: found.name,
            dtype: found.element.numpy_name(),
            shape: found.shape,
            image: found.image.map(|image| Image {
                width: image.width,
                height: image.height,
                format: match image.format {
                    PixelFormat::Rgb24 => "rgb24",
                    PixelFormat::Argb32 => "argb32",
                    PixelFormat::Bgra32 => "bgra32",
                    PixelFormat::Y420 => "y420",
                },
            }),
        }
    }
}
