//! Ensembles of real processes.
//!
//! - `tests/mixed.rs`: zoolog among Apache's servers, in every role, synced on every path; built from [`cells`],
//!   [`residents`], [`random`], [`hostile`] and [`tree`].
//! - `migrate.sh` with the binary `load` ([`load`]): a running ensemble changes hands, one server at a time.
//! - the binary `faults` ([`faults`]): hosts of their own, half an hour of partitions, kills, power cuts and damage, then
//!   every promise checked against what the clients wrote down.
//! - `tests/seeds.rs`: the deployments that people copy from the web, word for word.

pub mod cells;
pub mod client;
pub mod damage;
pub mod faults;
pub mod hostile;
pub mod hosts;
pub mod kazoo;
pub mod load;
pub mod machine;
pub mod random;
pub mod residents;
pub mod tree;
