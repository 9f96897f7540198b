//! The client: which broker to ask, and when to ask again.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka_proto::ErrorCode;
use kafka_proto::messages::Request;
use kafka_proto::messages::find_coordinator::FindCoordinatorRequest;
use kafka_proto::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
};
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use crate::connection::Connection;
use crate::{ClientError, ClientOptions};

/// The longest pause between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Whom a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// Whoever answers.
    Any,
    /// The active controller, by the last metadata.
    Controller,
    Id(i32),
}

/// A broker as the cluster names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    pub id: i32,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
}

impl Broker {
    fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl From<&MetadataResponseBroker> for Broker {
    fn from(broker: &MetadataResponseBroker) -> Self {
        Self { id: broker.node_id, host: broker.host.clone(), port: broker.port, rack: broker.rack.clone() }
    }
}

/// What the last metadata said about the brokers.
#[derive(Debug, Clone, Default)]
struct View {
    brokers: BTreeMap<i32, Broker>,
    controller: Option<i32>,
}

/// Where the connection to one address is, or will be. The lock is held while connecting, so that one
/// address is connected to once.
type Slot = Arc<AsyncMutex<Option<Arc<Connection>>>>;

/// A client of one cluster. Methods take `&self` and may run at the same time.
pub struct KafkaClient {
    options: Arc<ClientOptions>,
    view: Mutex<View>,
    /// By address; bounded by the brokers and bootstrap hosts there are.
    slots: Mutex<HashMap<String, Slot>>,
}

impl KafkaClient {
    /// Connects to the first bootstrap host that answers and learns the cluster's brokers.
    pub async fn connect(options: ClientOptions) -> Result<Self, ClientError> {
        let client = Self { options: Arc::new(options), view: Mutex::default(), slots: Mutex::default() };
        client.refresh().await?;
        Ok(client)
    }

    pub fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// The brokers alive by the last metadata, by id.
    pub fn brokers(&self) -> Vec<Broker> {
        self.view.lock().brokers.values().cloned().collect()
    }

    /// Id of the active controller by the last metadata.
    pub fn controller_id(&self) -> Option<i32> {
        self.view.lock().controller
    }

    /// Sends one request in the newest version both sides know. No retries: see [`KafkaClient::retrying`].
    pub async fn call<R: Request>(&self, node: Node, request: &R) -> Result<R::Response, ClientError> {
        let connection = self.connection(node).await?;
        let version = connection.pick::<R>()?;
        connection.call(request, version).await
    }

    /// As [`KafkaClient::call`], for requests whose shape depends on the version that was agreed on.
    pub async fn call_with<R: Request>(
        &self,
        node: Node,
        build: impl FnOnce(i16) -> R,
    ) -> Result<(i16, R::Response), ClientError> {
        let connection = self.connection(node).await?;
        let version = connection.pick::<R>()?;
        let response = connection.call(&build(version), version).await?;
        Ok((version, response))
    }

    /// Repeats `attempt` while its error is retriable, with growing pauses, a bounded number of times and
    /// within the operation's deadline. Metadata is refreshed in between.
    pub async fn retrying<T, F>(
        &self,
        what: impl fmt::Display,
        attempt: impl Fn() -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let wait = self.options.operation_timeout;
        let deadline = Instant::now() + wait;
        let late = |_| ClientError::Timeout { what: what.to_string(), after_ms: wait.as_millis() };
        let mut pause = self.options.retry_backoff;
        let mut retries_left = self.options.retries;
        loop {
            let error = match timeout_at(deadline, attempt()).await.map_err(late)? {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if !error.is_retriable() || retries_left == 0 || Instant::now() + pause >= deadline {
                return Err(error);
            }
            debug!("{what}: {error}; trying again in {} ms", pause.as_millis());
            retries_left -= 1;
            sleep(pause).await;
            pause = (pause * 2).min(BACKOFF_MAX);
            if let Err(error) = timeout_at(deadline, self.refresh()).await.map_err(late)? {
                debug!("{what}: cannot refresh metadata: {error}");
            }
        }
    }

    /// Metadata of some topics, or of all (`None`). Never creates a topic where the broker lets us say so.
    pub async fn metadata(&self, topics: Option<&[String]>) -> Result<MetadataResponse, ClientError> {
        let (_, response) = self.call_with(Node::Any, |version| metadata_request(topics, version)).await?;
        self.learn(&response);
        Ok(response)
    }

    /// Learns brokers and controller anew.
    pub async fn refresh(&self) -> Result<(), ClientError> {
        self.metadata(Some(&[])).await.map(drop)
    }

    fn learn(&self, response: &MetadataResponse) {
        let brokers = response.brokers.iter().map(|b| (b.node_id, b.into()));
        *self.view.lock() = View {
            brokers: brokers.collect(),
            controller: Some(response.controller_id).filter(|id| *id >= 0),
        };
    }

    /// The broker that coordinates a consumer group. One attempt.
    pub async fn group_coordinator(&self, group: &str) -> Result<Node, ClientError> {
        let (version, response) = self
            .call_with(Node::Any, |version| match version {
                0..=3 => FindCoordinatorRequest { key: group.into(), ..Default::default() },
                _ => FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() },
            })
            .await?;
        let what = || format!("finding the coordinator of group {group}");
        let broker = if version <= 3 {
            let message = response.error_message.as_deref();
            ClientError::check(response.error_code, message, what)?;
            (response.node_id, response.host, response.port)
        } else {
            let missing = || ClientError::Code {
                what: what(),
                code: ErrorCode::CoordinatorNotAvailable,
                message: None,
            };
            let found = response.coordinators.into_iter().next().ok_or_else(missing)?;
            ClientError::check(found.error_code, found.error_message.as_deref(), what)?;
            (found.node_id, found.host, found.port)
        };
        let (id, host, port) = broker;
        let known = Broker { id, host, port, rack: None };
        self.view.lock().brokers.entry(id).or_insert(known);
        Ok(Node::Id(id))
    }

    async fn connection(&self, node: Node) -> Result<Arc<Connection>, ClientError> {
        match node {
            Node::Any => self.any_connection().await,
            Node::Controller => {
                let id = self.view.lock().controller;
                let id = id.ok_or_else(|| ClientError::Code {
                    what: "finding the controller".into(),
                    // What a broker without one would say.
                    code: ErrorCode::NotController,
                    message: Some("the cluster has no active controller at the moment".into()),
                })?;
                self.broker_connection(id).await
            }
            Node::Id(id) => self.broker_connection(id).await,
        }
    }

    async fn broker_connection(&self, id: i32) -> Result<Arc<Connection>, ClientError> {
        let address = self.view.lock().brokers.get(&id).map(Broker::address);
        let address = address.ok_or(ClientError::UnknownBroker(id))?;
        self.connect_to(&address).await
    }

    /// An open connection if there is one, else a new one to a known broker or a bootstrap host.
    async fn any_connection(&self) -> Result<Arc<Connection>, ClientError> {
        let slots: Vec<Slot> = self.slots.lock().values().cloned().collect();
        for slot in slots {
            let open = slot.try_lock().ok().and_then(|slot| slot.clone());
            if let Some(connection) = open.filter(|c| c.is_alive()) {
                return Ok(connection);
            }
        }
        let known: Vec<_> = self.view.lock().brokers.values().map(Broker::address).collect();
        let mut tried: Vec<String> = Vec::new();
        for address in known.iter().chain(&self.options.bootstrap) {
            match self.connect_to(address).await {
                Ok(connection) => return Ok(connection),
                // A broker that answers nonsense is not helped by asking another.
                Err(error @ (ClientError::Wire { .. } | ClientError::Code { .. })) => {
                    return Err(error);
                }
                Err(ClientError::Connect { address, source }) => {
                    tried.push(format!("{address}: {source}"));
                }
                Err(error) => tried.push(error.to_string()),
            }
        }
        tried.dedup();
        Err(ClientError::NoBroker { tried: tried.join("; ") })
    }

    async fn connect_to(&self, address: &str) -> Result<Arc<Connection>, ClientError> {
        let slot = {
            let mut slots = self.slots.lock();
            Arc::clone(slots.entry(address.to_owned()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|c| c.is_alive()) {
            return Ok(Arc::clone(connection));
        }
        let opened = Connection::open(address, Arc::clone(&self.options)).await?;
        let connection = Arc::new(opened);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }
}

fn metadata_request(topics: Option<&[String]>, version: i16) -> MetadataRequest {
    let topic = |name: &String| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
    let named = topics.map(|names| names.iter().map(topic).collect::<Vec<_>>());
    MetadataRequest {
        // Version 0 has no null: there an empty list asks for all topics.
        topics: if version == 0 { Some(named.unwrap_or_default()) } else { named },
        allow_auto_topic_creation: version < 4,
        ..Default::default()
    }
}
