//! Environment variables that must be set before the first Vulkan call. The only unsafe code of the
//! command line.
#![allow(unsafe_code)]

/// Mesa's device-selection layer asks the display server and, without one, prints an error for every
/// instance. A program that only computes needs no display.
pub fn prepare() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() && std::env::var_os("NODEVICE_SELECT").is_none() {
        // SAFETY: called first in main, before any thread exists that could read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
