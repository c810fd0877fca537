//! The CPU unit.
