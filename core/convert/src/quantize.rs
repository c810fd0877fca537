//! Linear compression of weights: `value = code · scale`, with a scale for each row or for each block of 32
//! along a row.
//!
//! What is as in coreai-opt 0.3, and therefore in Apple's presets, and what is not:
//!
//! - The plain form ([`Fit::Maximum`]) is its `symmetric_with_clipping`: the scale is `max|w| / 7` (int4)
//!   or `max|w| / 127` (int8), rounded to its stored type *before* weights are divided by it; the code is the
//!   quotient rounded to the nearest integer, ties to even, and clamped to ±7 or ±127. Codes and scales equal
//!   coreai-opt's. Scales are at least 2⁻²³, as there, and small ones are subnormal in float16, as there; groups
//!   of zeros alone differ: their scale is 2⁻¹⁴ here, a normal number of every scale type, where coreai-opt
//!   writes 2⁻²³.
//! - [`Fit::LeastError`], which the presets here use, tries further scales and keeps the one with the least
//!   squared error, so it is never worse than the plain form. It may use the code −8 (−128), as
//!   coreai-opt's scheme `symmetric` does; that scheme's own scale (`max|w| / 7.5`, `max|w| / 127.5`) is among
//!   those tried, so the result is no worse than that scheme either. Scales stay positive. The squared error is
//!   0.77 of Apple's `4bit` on normal weights, 0.65 to 0.73 on rows of SmolLM2 (which come from a 4-bit file), and
//!   0.94 to 0.99 of the int8 preset's on both.
//! - Apple's CPU runtime decompresses every code of both widths, −8 and −128 among them, with scales of each type,
//!   subnormal ones too, to `code · scale` rounded once to the scale's type.
//! - The search takes 0.46 s for 28 million weights in int4 and 0.22 s in int8, on one core without instructions
//!   beyond x86-64's first; the plain form under 0.1 s.
//! - coreai-opt leaves a weight uncompressed, with a warning, where a block does not divide the axis; here that
//!   is an error, and [`Scheme::or_per_channel`] is the way around it.
//! - coreai-opt's blocks of a convolution lie along the input channels, not along the last axis. Such blocks are
//!   no blocks of rows, so convolutions are compressed per output channel ([`Flattened`]).

mod difference;
mod flattened;
mod group;
mod packed;
mod scheme;
mod selection;

pub use difference::{Difference, Tally};
pub use flattened::Flattened;
pub use packed::Quantized;
pub use scheme::{Fit, Granularity, ScaleFormat, Scheme, Width};
pub use selection::{Pattern, Schemes, Selection, WeightClass};
