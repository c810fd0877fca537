//! A file that JavaScript reads.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use coreai_asset::{AssetError, ByteSource, ReadFuture};
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// Bytes of one read.
const MAX_READ: u64 = 4 << 20;

#[wasm_bindgen(typescript_custom_section)]
const BYTE_READER: &str = "
/** Random access to a file. */
export interface ByteReader {
	/** Bytes of the file. */
	readonly length: number;
	/** The bytes from `start` to `end`, exactly as many as that. At most 4 MiB are asked for at once. */
	read(start: number, end: number): Promise<Uint8Array>;
}
";

#[wasm_bindgen]
extern "C" {
    #[derive(Clone)]
    #[wasm_bindgen(typescript_type = "ByteReader")]
    pub type ByteReader;
    #[wasm_bindgen(method, getter)]
    fn length(this: &ByteReader) -> f64;
    #[wasm_bindgen(method, catch)]
    fn read(this: &ByteReader, start: f64, end: f64) -> Result<Promise, JsValue>;
}

/// What JavaScript threw in a read, to be thrown again by the call that needed the bytes.
#[derive(Clone, Default)]
pub(crate) struct Thrown(Rc<RefCell<Option<JsValue>>>);

impl Thrown {
    /// The error to throw instead of `error`.
    pub fn or(&self, error: JsValue) -> JsValue {
        self.0.borrow_mut().take().unwrap_or(error)
    }

    /// For an error of the runtime.
    pub fn or_of(&self, error: impl Into<coreai::Error>) -> JsValue {
        self.or(crate::error::of(&error.into()))
    }
}

/// [`ByteReader`] as a source.
pub(crate) struct Reader {
    js: ByteReader,
    length: u64,
    thrown: Thrown,
}

impl Reader {
    pub fn new(js: ByteReader, thrown: Thrown) -> Reader {
        Reader { length: js.length() as u64, js, thrown }
    }

    /// Appends the bytes of a range.
    pub async fn append(&self, range: Range<u64>, bytes: &mut Vec<u8>) -> Result<(), AssetError> {
        let fault = |reason: String| AssetError::Source { start: range.start, end: range.end, reason };
        if range.end > self.length || range.start > range.end {
            return Err(fault(format!("the file has {} bytes", self.length)));
        }
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at + MAX_READ);
            let thrown = |error: JsValue| {
                let text = js_sys::Reflect::get(&error, &"message".into()).ok().and_then(|m| m.as_string());
                *self.thrown.0.borrow_mut() = Some(error);
                fault(text.unwrap_or_else(|| "the read failed".into()))
            };
            let promise = self.js.read(at as f64, end as f64).map_err(thrown)?;
            let piece = JsFuture::from(promise).await.map_err(thrown)?;
            let piece: Uint8Array = piece
                .dyn_into()
                .map_err(|_| fault("the reader gave something else than a Uint8Array".into()))?;
            if u64::from(piece.length()) != end - at {
                return Err(fault(format!("the reader gave {} bytes for {}", piece.length(), end - at)));
            }
            let first = bytes.len();
            bytes.resize(first + piece.length() as usize, 0);
            piece.copy_to(&mut bytes[first..]);
            at = end;
        }
        Ok(())
    }
}

impl ByteSource for Reader {
    fn len(&self) -> u64 {
        self.length
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        Box::pin(async move {
            let mut bytes = vec![];
            self.append(range, &mut bytes).await?;
            Ok(Cow::Owned(bytes))
        })
    }
}
