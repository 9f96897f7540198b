//! The broker's shell: listeners, connections, one file per API.

pub mod config;
