//! What the tests with Kafka share: a client for any broker ([`Cluster`]), records that can be told apart
//! ([`Stream`]), a coordination server with a broker of any make ([`Pair`]), everything a log directory shows to clients
//! ([`Contents`]), the znodes ([`Znodes`]), and Kafka's own check of the files ([`dump_log`]).

pub mod cluster;
pub mod contents;
pub mod dump_log;
pub mod files;
pub mod life;
pub mod pair;
pub mod stream;
pub mod znodes;

pub use cluster::{Cluster, Isolation, Seen};
pub use contents::Contents;
pub use pair::{Broker, Coordinator, Pair};
pub use stream::Stream;
pub use znodes::Znodes;

/// The codecs a producer can choose.
pub const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
