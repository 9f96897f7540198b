//! x
pub mod zkdata; pub mod names; pub mod assignment;
