//! Apache Kafka, one broker, on zoolog's coordination server. That the znodes come out the same is in
//! `kafka_on_apache_zookeeper.rs`, where all pairs are compared.

use anyhow::Result;
use interop::kafka::{Broker, Coordinator, Pair, life};
use testkit::Kafka;

#[tokio::test(flavor = "multi_thread")]
async fn a_life_of_kafka_2_7_1() -> Result<()> {
    life::live(&mut Pair::started(Coordinator::Zoolog, Broker::Apache(Kafka("2.7.1")), "")?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_of_kafka_3_9_1() -> Result<()> {
    life::live(&mut Pair::started(Coordinator::Zoolog, Broker::Apache(Kafka("3.9.1")), "")?).await
}
