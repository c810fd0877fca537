//! Recorded cases: an asset, inputs, and what Apple's runtime computed for them.

pub mod case;
pub mod compare;
pub mod counting;
pub mod decode;
pub mod places;
pub mod runner;
