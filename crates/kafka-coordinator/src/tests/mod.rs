//! Stories of groups, told through a [`World`]: a shard, its log, a clock.

mod joining;
mod loading;
mod offsets;
mod simulation;
mod static_members;
mod world;

use world::{ASSIGNOR, World, member_of};
