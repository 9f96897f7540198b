//! Requests from tools and brokers to a Kafka cluster.
