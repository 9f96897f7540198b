//! Whole members as an ensemble.

mod clients;
mod disk;
mod world;

mod applying;
mod forwarding;
mod hostile;
mod random;
mod reconfig;
mod roles;
mod rollover;
mod sessions;
