//! Consumer groups: the coordinator's shell. The broker calls the two hooks below as partitions of `__consumer_offsets`
//! are gained and lost; the group APIs live in `api/`.

use std::sync::Arc;

use kafka_replica::Partition;

use crate::broker::Broker;

/// State of the groups this broker coordinates (`broker.groups`).
#[derive(Debug, Default)]
pub struct Groups {}

impl Groups {
    /// This broker now leads `partition` of `__consumer_offsets` in `leader_epoch`: load its groups. Must not block.
    pub fn on_leader(&self, _broker: &Arc<Broker>, _partition: &Arc<Partition>, _leader_epoch: i32) {}

    /// It leads it no more: answer what is parked, forget its groups. Must not block.
    pub fn on_resigned(&self, _broker: &Arc<Broker>, _partition: &Arc<Partition>) {}
}
