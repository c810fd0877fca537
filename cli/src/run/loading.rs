//! A sign of life while a model loads.

use std::time::Duration;

use indicatif::ProgressBar;

/// Runs `work` under a spinner on stderr; indicatif shows none where stderr is no terminal.
pub fn spin<T>(message: String, work: impl FnOnce() -> T) -> T {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(Duration::from_millis(100));
    let result = work();
    spinner.finish_and_clear();
    result
}
