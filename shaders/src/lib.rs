//! WGSL text of the kernels: a library of functions, templates, and how a module is put together.
//!
//! Kernels are specialized by text: a template's `{{NAME}}` keys are filled in by [`fill`], and
//! [`with_library`] adds the library functions that the result calls. Shapes are never part of the
//! text; they are parameter words.

use std::borrow::Cow;

#[cfg(feature = "check")]
pub mod check;
mod template;

pub use template::{MissingKey, fill, with_library};

/// Template of tiled matrix products.
pub const MATMUL_TILED: &str = include_str!("matmul_tiled.wgsl");
/// Template of convolutions as implicit matrix products.
pub const CONV_TILED: &str = include_str!("conv_tiled.wgsl");
/// Template of attention with online softmax.
pub const ATTENTION: &str = include_str!("attention.wgsl");
/// Template of RMS and layer normalization.
pub const NORM: &str = include_str!("norm.wgsl");
/// Template of softmax.
pub const SOFTMAX: &str = include_str!("softmax.wgsl");

/// `source` with the `enable` directive that browsers demand before subgroup builtins and naga refuses.
pub fn for_browsers(source: &str) -> Cow<'_, str> {
    match source.contains("@builtin(subgroup_") {
        true => format!("enable subgroups;\n{source}").into(),
        false => source.into(),
    }
}

/// Library functions, one section each: `//@ name` and then the text.
pub(crate) const LIBRARY: &[&str] = &[
    include_str!("library/float.wgsl"),
    include_str!("library/exponential.wgsl"),
    include_str!("library/power.wgsl"),
    include_str!("library/trigonometry.wgsl"),
    include_str!("library/integer.wgsl"),
    include_str!("library/workgroup.wgsl"),
];
