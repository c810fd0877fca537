//! Downloads from a server of this process.

mod hub;
mod package;
mod server;
