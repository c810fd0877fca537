//! Errors as JavaScript sees them.

use js_sys::Reflect;
use wasm_bindgen::JsValue;

/// An `Error` object with a stable `code`.
pub(crate) fn thrown(code: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    // Setting a property of a new object cannot fail.
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

/// An error of the runtime; out of memory has the numbers as properties too.
pub(crate) fn of(error: &coreai::Error) -> JsValue {
    let thrown = thrown(error.code(), &error.to_string());
    if let coreai::Error::OutOfMemory { needed, limit, .. } = error {
        for (key, value) in [("needed", *needed), ("limit", *limit)] {
            let _ = Reflect::set(&thrown, &key.into(), &(value as f64).into());
        }
    }
    thrown
}

/// An input that this layer refuses.
pub(crate) fn input(name: &str, reason: &str) -> JsValue {
    of(&coreai::Error::Input { name: name.into(), reason: reason.into() })
}
