//! Whole ensembles of peers in memory: every rule and every historic bug as a scenario, and random lives.
#![allow(clippy::unwrap_used)]

mod disk;
mod hostile;
mod leader_rules;
mod learner_rules;
mod random;
mod reconfig;
mod scenarios;
mod solo;
mod traces;
mod world;
