//! The command-line tools beside the originals' own: the same calls against the same broker, output compared.
//!
//! Kafka 3.9.1's `kafka-topics` is the measure with `--bootstrap-server`, 2.7.1's with `--zookeeper`; groups have
//! 2.7.1's layout. Everything runs against Apache's brokers and against zoolog's.

#[path = "kafka_tools/bench.rs"]
mod bench;

#[path = "kafka_tools/topics.rs"]
mod topics;

#[path = "kafka_tools/groups.rs"]
mod groups;

#[path = "kafka_tools/console.rs"]
mod console;
