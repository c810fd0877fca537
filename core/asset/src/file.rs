//! `main.mlirb` as a container: sections and the tables in them (`AIMODEL_FORMAT` §2).

mod container;
mod cursor;
mod resources;
mod tables;

pub(crate) use container::{Container, Section};
pub(crate) use cursor::Cursor;
pub(crate) use resources::{Blob, infer_blob, parse_blob};
pub(crate) use tables::{Entry, Tables};
