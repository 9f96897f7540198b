//! This broker in ZooKeeper: persistent paths, cluster id, broker id, and `/brokers/ids/<id>`.
//!
//! The registration is made by one multi (create, setData), so that its data version is 1 and its czxid, the broker's
//! epoch, exactly its own (KAFKA-6584). A node of an earlier session of the same id is waited for: it goes when that
//! session expires.

use std::time::Duration;

use bytes::Bytes;
use kafka_controller::zkdata::{
    BrokerRegistration, Endpoint, cluster_id_decode, cluster_id_encode, path, uuid_encode,
};
use thiserror::Error;
use tracing::{info, warn};
use zk_client::{CreateMode, ErrorCode, MultiOp, Stat, ZkClient, ZkError, open_acl};
use zk_proto::CreateRequest;
use zk_proto::opcode::CreateKind;

use crate::clock;
use crate::config::{Config, Listener, Release};

/// How often an old registration is looked at.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// Why the broker could not take its place in ZooKeeper.
#[derive(Debug, Error)]
pub enum RegistrationError {
    #[error("ZooKeeper: {0}")]
    ZooKeeper(#[from] ZkError),
    #[error("{0}")]
    Data(String),
    #[error(
        "A broker is already registered on the path {path}: {owner}, and it is still there after {waited_ms} ms; broker.id {id} is taken, choose another or stop that broker"
    )]
    Taken { path: String, id: i32, owner: String, waited_ms: u64 },
    #[error(
        "broker {other} ({endpoint}) is registered in this ZooKeeper: this release runs one broker in a cluster; stop that broker (after a crash it goes when its session expires), or give this one a cluster of its own with a chroot in zookeeper.connect (host:2181/name)"
    )]
    NotAlone { other: String, endpoint: String },
}

/// Creates a node and its missing parents; data of one that is there stays.
pub async fn ensure_path(zk: &ZkClient, node: &str) -> Result<(), ZkError> {
    match zk.create(node, None, open_acl(), CreateMode::Persistent).await {
        Ok(_) => return Ok(()),
        Err(error) if error.is(ErrorCode::NodeExists) => return Ok(()),
        Err(error) if error.is(ErrorCode::NoNode) => {}
        Err(error) => return Err(error),
    }
    for (at, _) in node.match_indices('/').filter(|(at, _)| *at > 0).chain([(node.len(), "")]) {
        match zk.create(&node[..at], None, open_acl(), CreateMode::Persistent).await {
            Ok(_) => {}
            Err(error) if error.is(ErrorCode::NodeExists) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The nodes every broker expects.
pub async fn create_persistent_paths(zk: &ZkClient, release: Release) -> Result<(), ZkError> {
    for node in path::PERSISTENT {
        ensure_path(zk, node).await?;
    }
    if release >= Release::V3_9 {
        ensure_path(zk, path::CONFIG_IPS).await?;
    }
    Ok(())
}

/// The cluster's id; the first broker makes one.
pub async fn cluster_id(zk: &ZkClient) -> Result<String, RegistrationError> {
    ensure_path(zk, "/cluster").await?;
    let fresh = uuid_encode(uuid::Uuid::new_v4());
    match zk
        .create(
            path::CLUSTER_ID,
            Some(Bytes::from(cluster_id_encode(&fresh))),
            open_acl(),
            CreateMode::Persistent,
        )
        .await
    {
        Ok(_) => return Ok(fresh),
        Err(error) if error.is(ErrorCode::NodeExists) => {}
        Err(error) => return Err(error.into()),
    }
    let (data, _) = zk.get_data(path::CLUSTER_ID, false).await?;
    cluster_id_decode(data.as_deref().unwrap_or_default())
        .map_err(|error| RegistrationError::Data(format!("{}: {error}", path::CLUSTER_ID)))
}

/// A broker id nobody has had: the sequence's next, above `reserved.broker.max.id`.
pub async fn generate_broker_id(zk: &ZkClient, reserved_max: i32) -> Result<i32, RegistrationError> {
    let stat = zk.set_data(path::BROKER_SEQID, Some(Bytes::new()), -1).await?;
    stat.version
        .checked_add(reserved_max)
        .ok_or_else(|| RegistrationError::Data(format!("{} has run out of broker ids", path::BROKER_SEQID)))
}

/// Refuses to start next to another broker. Best asked before anything is registered.
pub async fn check_alone(zk: &ZkClient, own_id: i32) -> Result<(), RegistrationError> {
    let ids = zk.get_children(path::BROKER_IDS, false).await?;
    match ids.into_iter().find(|id| *id != own_id.to_string()) {
        Some(other) => Err(not_alone(zk, other).await),
        None => Ok(()),
    }
}

/// Refuses if another broker registered before this one: of two that start at once the earlier stays.
pub async fn check_first(zk: &ZkClient, own_id: i32, own_epoch: i64) -> Result<(), RegistrationError> {
    for other in zk.get_children(path::BROKER_IDS, false).await? {
        let stat = zk.exists(&format!("{}/{other}", path::BROKER_IDS), false).await?;
        if other != own_id.to_string() && stat.is_some_and(|stat| stat.czxid < own_epoch) {
            return Err(not_alone(zk, other).await);
        }
    }
    Ok(())
}

async fn not_alone(zk: &ZkClient, other: String) -> RegistrationError {
    let endpoint = owner(zk, &format!("{}/{other}", path::BROKER_IDS))
        .await
        .unwrap_or_else(|| "address unknown".to_owned());
    RegistrationError::NotAlone { other, endpoint }
}

async fn owner(zk: &ZkClient, node: &str) -> Option<String> {
    let (data, _) = zk.get_data(node, false).await.ok()?;
    let registration = BrokerRegistration::decode(data.as_deref()?).ok()?;
    registration.endpoints.first().map(|endpoint| format!("{}:{}", endpoint.host, endpoint.port))
}

/// Registers and returns the broker's epoch (the node's czxid).
pub async fn register(
    zk: &ZkClient,
    id: i32,
    config: &Config,
    advertised: &[Listener],
) -> Result<i64, RegistrationError> {
    let node = path::broker(id);
    let data = Bytes::from(registration(config, advertised).encode());
    let session = zk.session();
    let patience_ms = u64::try_from(session.timeout_ms).unwrap_or(0) + 2000;
    let started = clock::mono_ms();
    let mut told = false;
    loop {
        match zk
            .multi(vec![
                create_ephemeral(&node),
                MultiOp::SetData { path: node.clone(), data: Some(data.clone()), version: 0 },
            ])
            .await
        {
            Ok(_) => break,
            Err(error) if error.is(ErrorCode::NodeExists) || error.is(ErrorCode::ConnectionLoss) => {
                let stat = zk.exists(&node, false).await?;
                if stat.is_some_and(|stat| stat.ephemeral_owner == session.id) {
                    // Ours: the reply to an earlier attempt was lost.
                    break;
                }
            }
            Err(error) => return Err(error.into()),
        }
        let waited_ms = clock::mono_ms() - started;
        if waited_ms > patience_ms {
            let owner = owner(zk, &node).await.unwrap_or_else(|| "address unknown".to_owned());
            return Err(RegistrationError::Taken { path: node, id, owner, waited_ms });
        }
        if !told {
            told = true;
            warn!(
                "{node} still belongs to another session (an earlier run of this broker, or another broker with this id); waiting up to {patience_ms} ms for it to expire"
            );
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
    let stat: Option<Stat> = zk.exists(&node, false).await?;
    let epoch = stat
        .map(|stat| stat.czxid)
        .ok_or_else(|| RegistrationError::Data(format!("{node} vanished right after it was created")))?;
    info!(
        "Registered broker {id} at path {node} with addresses: {}, czxid (broker epoch): {epoch}",
        advertised.iter().map(Listener::connection_string).collect::<Vec<_>>().join(",")
    );
    Ok(epoch)
}

fn create_ephemeral(node: &str) -> MultiOp {
    MultiOp::Create(CreateRequest {
        kind: CreateKind::Create,
        path: node.to_owned(),
        data: None,
        acl: open_acl(),
        flags: CreateMode::Ephemeral.flags(),
        ttl_ms: -1,
    })
}

fn registration(config: &Config, advertised: &[Listener]) -> BrokerRegistration {
    BrokerRegistration {
        version: 5,
        endpoints: advertised
            .iter()
            .map(|listener| Endpoint {
                listener: listener.name.clone(),
                host: listener.host.clone().unwrap_or_default(),
                port: i32::from(listener.port),
                security_protocol: listener.protocol.name().to_owned(),
            })
            .collect(),
        rack: config.rack.clone(),
        jmx_port: -1,
        features: std::collections::BTreeMap::new(),
        timestamp_ms: clock::wall_ms(),
    }
}
