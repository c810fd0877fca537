//! What the end-to-end tests share. Recorded cases are read and run by `coreai_tasks::verify`.

pub mod checkpoints;
pub mod counting;
pub mod decode;
pub mod places;
pub mod runner;
