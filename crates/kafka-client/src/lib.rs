//! Requests from tools and brokers to a Kafka cluster.
//!
//! [`KafkaClient`] finds brokers, agrees on versions and sends typed requests; the [`admin`] methods on it are what
//! the command-line tools need. It neither produces nor consumes.
//!
//! ```no_run
//! # async fn example() -> Result<(), kafka_client::ClientError> {
//! use kafka_client::{ClientOptions, KafkaClient, Node};
//! use kafka_proto::messages::list_groups::ListGroupsRequest;
//!
//! let client = KafkaClient::connect(ClientOptions::new("localhost:9092")).await?;
//! for topic in client.describe_topics(None).await? {
//!     println!("{} has {} partitions", topic.name.unwrap_or_default(), topic.partitions.len());
//! }
//! let groups = client.call(Node::Id(0), &ListGroupsRequest::default()).await?;
//! # Ok(())
//! # }
//! ```

mod options;

mod error;

mod connection;

mod versions;

mod client;

pub mod admin;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod fake;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use client::{Broker, KafkaClient, Node};
pub use error::ClientError;
pub use options::ClientOptions;
pub use versions::ApiVersions;
