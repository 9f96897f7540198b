//! Only tests live here: `tests/apache.rs` sends every admin request of kafka-client to Apache Kafka brokers.
