//! An ensemble on hosts of its own under faults of every kind, and what its clients wrote down meanwhile.
//!
//! [`plan`] draws faults from a seed; [`world`] owns hosts, disks and servers, and does them; [`clients`] read and write
//! through it all; in the end everything is healed and [`check`](mod@check) compares the diaries ([`history`]) with the
//! promises. Every fault is followed by a time in which the ensemble must be whole again without anybody's help but a
//! restart of what was stopped: that is the check of liveness.

pub mod check;
pub mod clients;
pub mod history;
pub mod plan;
pub mod run;
pub mod world;

pub use run::{Options, run};
