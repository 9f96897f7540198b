//! Scenarios without sockets: a node, a pretended log, clients that speak bytes.

mod ensemble;
mod harness;
mod order;
mod random;
mod requests;
mod sessions;
