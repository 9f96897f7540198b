//! Sockets: accepting, limits, frames in, frames out. Nothing here knows what a request means.
//!
//! Reading order: `listener` (accepts, enforces the limits), `connection` (one task per client, one request in
//! flight), `heavy`, `frame_reader`, `outbox`, `send`, `sniff` (what a stranger on the port most likely is).

mod complaints;
pub mod connection;
mod frame_reader;
mod heavy;
pub mod limits;
pub mod listener;
mod outbox;
mod send;
mod sniff;

pub use frame_reader::{FrameError, FrameReader};
pub use send::send;
