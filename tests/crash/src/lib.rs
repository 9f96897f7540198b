//! What the crash tests share: load whose acknowledgements are remembered, and a disk whose power can be cut.

pub mod kafka_load;
pub mod zookeeper_load;

pub use testkit::disk;

/// How many rounds a test runs: `$CRASH_ROUNDS`, else `default`.
pub fn rounds(default: u32) -> u32 {
    std::env::var("CRASH_ROUNDS").ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// A seed that is printed, so that a failing run can be repeated: `$CRASH_SEED`, else a random one.
pub fn seed() -> u64 {
    let seed =
        std::env::var("CRASH_SEED").ok().and_then(|v| v.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("CRASH_SEED={seed}");
    seed
}
