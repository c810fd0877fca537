//! Letting the browser have its turn during long work on the CPU unit.
//!
//! The file has unsafe code only as far as the macro's expansion does.
#![allow(unsafe_code)]

use std::time::Duration;

use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_time::Instant;

/// Work between two turns; tasks of more than 50 ms count as long ones.
const LENGTH: Duration = Duration::from_millis(20);

#[wasm_bindgen]
extern "C" {
    type MessageChannel;
    #[wasm_bindgen(constructor)]
    fn new() -> MessageChannel;
    #[wasm_bindgen(method, getter)]
    fn port1(this: &MessageChannel) -> MessagePort;
    #[wasm_bindgen(method, getter)]
    fn port2(this: &MessageChannel) -> MessagePort;

    type MessagePort;
    #[wasm_bindgen(method, setter, js_name = onmessage)]
    fn set_on_message(this: &MessagePort, callback: &js_sys::Function);
    #[wasm_bindgen(method, js_name = postMessage)]
    fn post_message(this: &MessagePort, message: &JsValue);
    #[wasm_bindgen(method)]
    fn close(this: &MessagePort);
}

/// When the browser had its last turn.
pub(crate) struct Turns {
    last: Instant,
}

impl Turns {
    pub fn new() -> Turns {
        Turns { last: Instant::now() }
    }

    /// Whether the browser has waited long enough.
    pub fn due(&self) -> bool {
        self.last.elapsed() >= LENGTH
    }

    /// Lets the browser have its turn when it is due.
    pub async fn take(&mut self) {
        if self.due() {
            turn().await;
            self.last = Instant::now();
        }
    }
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &js_sys::Function, milliseconds: f64);
}

/// Resolves after a time, or with `promise` when that is earlier.
pub(crate) async fn within(promise: js_sys::Promise, time: Duration) {
    let late = js_sys::Promise::new(&mut |resolve, _| set_timeout(&resolve, time.as_millis() as f64));
    let _ = JsFuture::from(js_sys::Promise::race(&js_sys::Array::of2(&promise, &late))).await;
}

/// Resolves as a task of its own, after events that wait. Unlike a timer it is not slowed down in
/// hidden tabs.
async fn turn() {
    let channel = MessageChannel::new();
    let over = js_sys::Promise::new(&mut |resolve, _| {
        channel.port1().set_on_message(&resolve);
        channel.port2().post_message(&JsValue::NULL);
    });
    // The promise is never rejected.
    let _ = JsFuture::from(over).await;
    channel.port1().close();
}
