//! A populated coordination server ([`World`]) and what can be seen of one ([`Picture`]).
//!
//! Both speak through our client to any server on a port, so a picture taken of Apache can be compared with one
//! taken of zoolog after it took over the directory.

pub mod picture;
pub mod world;

pub use picture::Picture;
pub use world::World;

/// The super user of every server in these tests: `super:test`.
pub const SUPER_DIGEST: &str = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=";

/// Lines for zoo.cfg: a super user, TTL nodes, and logs and snapshots so small that there are several.
pub fn settings(more: &str) -> String {
    format!(
        "DigestAuthenticationProvider.superDigest={SUPER_DIGEST}\nextendedTypesEnabled=true\n\
         reconfigEnabled=true\nsnapCount=60\npreAllocSize=64\n{more}"
    )
}
