//! Bars on stderr; indicatif shows none where stderr is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of bytes that fills up.
pub struct Bytes {
    bar: ProgressBar,
}

impl Bytes {
    /// Starts a bar; without a total it counts.
    pub fn new(what: &str, total: Option<u64>) -> Self {
        let bar = match total {
            Some(total) => ProgressBar::new(total).with_style(style(
                "{msg} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
            )),
            None => ProgressBar::new_spinner()
                .with_style(style("{msg} {spinner} {decimal_bytes} {decimal_bytes_per_sec}")),
        };
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    /// How far it is, of how much.
    pub fn set(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// That much more.
    #[cfg(feature = "fetch")]
    pub fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // a template with a mistake would show a plain bar
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
