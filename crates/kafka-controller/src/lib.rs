//! The controller: election, failover phases, topics, deletion, partition states.
