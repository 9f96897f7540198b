//! Whole ensembles of peers in memory: every rule and every historic bug as a scenario, and random lives.
#![allow(clippy::unwrap_used)]

mod disk;
mod random;
mod scenarios;
mod world;
