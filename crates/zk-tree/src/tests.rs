//! The room as a whole: requests go in, transactions and replies come out.
//!
//! [`harness`] plays a server whose log is always durable; the other files are named for what they show.

mod acls;
mod creates;
mod fuzzy;
mod harness;
mod multis;
mod pipelining;
mod programs;
mod quotas;
mod sessions;
mod writes;
