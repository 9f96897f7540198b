//! Partition logs on disk in Kafka's formats: segments, indexes, producer state, epochs, recovery, retention, checkpoints.
