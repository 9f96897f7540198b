//! Whole members as an ensemble.

mod disk;
mod forwarding;
mod world;
