//! Recorded cases: an asset, inputs, and what Apple's runtime computed for them. Reads them, runs them
//! on a unit, compares, and tells which differences are expected.

mod case;
mod compare;
mod coverage;
mod error;
mod expected;
mod pool;
mod results;
mod runner;
mod summary;
mod tolerance;

pub use case::{Case, CaseTolerance, Step, TensorRef, find_cases};
pub use compare::{Bad, Comparison, compare, psnr, values};
pub use coverage::coverage;
pub use error::VerifyError;
pub use expected::{Difference, Expected, ExpectedResult, SkipRow, Unrecorded};
pub use pool::run_all;
pub use runner::{Failure, Outcome, Settings, Skip, Verdict, run, run_folder};
pub use summary::{FamilyRow, Summary};
pub use tolerance::{Allowed, Row, TABLE, allowed, row};
