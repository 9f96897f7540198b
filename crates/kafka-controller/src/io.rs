//! What goes into the controller and what comes out.

use uuid::Uuid;

use crate::context::TopicPartition;
use crate::zk::{ZkOp, ZkResult};
use crate::zkdata::{BrokerRegistration, ReplicaAssignment};

/// Says which effect an answer belongs to. Never used twice; an answer to a forgotten token is ignored.
pub type Token = u64;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A new session is up and this broker is registered in `/brokers/ids` with it.
    SessionEstablished,
    /// The session is gone. Comes before anything of the next one.
    SessionExpired,
    /// The connection is back within the same session.
    Connected,
    /// Time passes.
    Tick,
    /// The answer to [`Effect::Zk`].
    Zk {
        /// The effect's.
        token: Token,
        /// The answer.
        result: ZkResult,
    },
    /// A watch fired, whatever its kind.
    Watch {
        /// Path under the chroot.
        path: String,
    },
    /// The answer to [`Effect::StopReplica`].
    ReplicasStopped {
        /// The effect's.
        token: Token,
        /// Partitions whose data could not be deleted (KAFKA_STORAGE_ERROR).
        failed: Vec<TopicPartition>,
    },
}

/// What to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send this to ZooKeeper and bring the answer back.
    Zk {
        /// Comes back with the answer.
        token: Token,
        /// The request.
        op: ZkOp,
    },
    /// This is the controller now, as far as this broker knows (`None`: nobody).
    ControllerChanged {
        /// Broker id.
        id: Option<i32>,
    },
    /// LeaderAndIsr: become leader or follower of these partitions.
    LeaderAndIsr {
        /// For this broker.
        broker: i32,
        /// Its epoch (czxid of its registration).
        broker_epoch: i64,
        /// Epoch of this controller.
        controller_epoch: i32,
        /// The partitions.
        partitions: Vec<PartitionDecision>,
    },
    /// UpdateMetadata: the live brokers, and what changed of the partitions.
    UpdateMetadata {
        /// For these brokers.
        brokers: Vec<i32>,
        /// Epoch of this controller.
        controller_epoch: i32,
        /// All live brokers.
        live_brokers: Vec<LiveBroker>,
        /// Changed partitions; a leader of −2 means the topic is being deleted.
        partitions: Vec<PartitionDecision>,
    },
    /// StopReplica: stop these replicas; [`Event::ReplicasStopped`] answers.
    StopReplica {
        /// Comes back with the answer.
        token: Token,
        /// For this broker.
        broker: i32,
        /// Its epoch.
        broker_epoch: i64,
        /// Epoch of this controller.
        controller_epoch: i32,
        /// The partitions.
        partitions: Vec<StopReplicaPartition>,
    },
    /// Other brokers are registered in this ensemble. A shell that cannot talk to them refuses to go on.
    ForeignBrokers {
        /// Their ids.
        ids: Vec<i32>,
    },
}

/// Leader, ISR and replicas of a partition as the controller decided them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDecision {
    /// Topic and partition.
    pub partition: TopicPartition,
    /// Id of the topic, if it has one.
    pub topic_id: Option<Uuid>,
    /// Epoch of the controller that last changed the state.
    pub controller_epoch: i32,
    /// Broker id, −1 for none, −2 while the topic is being deleted.
    pub leader: i32,
    /// Epoch of the leader.
    pub leader_epoch: i32,
    /// In-sync replicas.
    pub isr: Vec<i32>,
    /// Version of the state znode; the partition epoch of newer protocols.
    pub zk_version: i32,
    /// All replicas, and those coming and going.
    pub assignment: ReplicaAssignment,
    /// Replicas on brokers that are not alive.
    pub offline_replicas: Vec<i32>,
    /// True when the partition is created by this.
    pub is_new: bool,
    /// The leader was elected uncleanly and must recover first (KIP-704).
    pub recovering: bool,
}

/// A broker that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveBroker {
    /// Broker id.
    pub id: i32,
    /// czxid of its registration.
    pub epoch: i64,
    /// What it says about itself.
    pub registration: BrokerRegistration,
}

/// A replica to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopReplicaPartition {
    /// Topic and partition.
    pub partition: TopicPartition,
    /// −2 when the topic is being deleted.
    pub leader_epoch: i32,
    /// Delete its data too, also if the broker does not host it at the moment.
    pub delete: bool,
}
