//! Every admin request of kafka-client, answered by Apache Kafka of both supported releases.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kafka_client::{ClientOptions, KafkaClient};
use kafka_proto::ErrorCode;
use kafka_proto::messages::alter_configs::{
    AlterConfigsResource as ReplaceResource, AlterableConfig as Replacement,
};
use kafka_proto::messages::create_partitions::CreatePartitionsTopic;
use kafka_proto::messages::create_topics::CreatableTopic;
use kafka_proto::messages::describe_configs::DescribeConfigsResource;
use kafka_proto::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use testkit::originals::{Kafka, ZooKeeper};
use testkit::wait::{free_port, wait_until_async};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

const PATIENCE: Duration = Duration::from_secs(10);

fn topic(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    }
}

async fn topics(client: &KafkaClient) -> Result<()> {
    let created = client.create_topics(&[topic("t1", 2), topic("t2", 1)], false).await?;
    ensure!(created.iter().all(|t| t.error_code == 0), "{created:?}");
    let again = client.create_topics(&[topic("t1", 2)], false).await?;
    ensure!(again[0].error_code == ErrorCode::TopicAlreadyExists.code(), "{again:?}");
    let dry = client.create_topics(&[topic("t3", 1)], true).await?;
    ensure!(dry[0].error_code == 0, "{dry:?}");

    let grown = CreatePartitionsTopic { name: "t1".into(), count: 4, assignments: None };
    let grown = client.create_partitions(&[grown], false).await?;
    ensure!(grown[0].error_code == 0, "{grown:?}");

    let deleted = client.delete_topics(&["t2".into(), "missing".into()]).await?;
    let code = |name: &str| deleted.iter().find(|t| t.name.as_deref() == Some(name)).map(|t| t.error_code);
    ensure!(code("t2") == Some(0), "{deleted:?}");
    ensure!(code("missing") == Some(ErrorCode::UnknownTopicOrPartition.code()), "{deleted:?}");
    Ok(())
}

async fn described_topics(client: &KafkaClient) -> Result<()> {
    let found = client.describe_topics(Some(&["t1".into(), "missing".into()])).await?;
    ensure!(found[0].error_code == ErrorCode::UnknownTopicOrPartition.code(), "{found:?}");
    ensure!(found[1].partitions.len() == 4, "{found:?}");
    let all = client.describe_topics(None).await?;
    ensure!(all.iter().any(|t| t.name.as_deref() == Some("t1")), "{all:?}");
    ensure!(!all.iter().any(|t| t.name.as_deref() == Some("missing")), "it was not created by asking");
    Ok(())
}

async fn configs(client: &KafkaClient) -> Result<()> {
    let resource = |resource_type, name: &str| DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: None,
    };
    let value = async |key: &str| -> Result<String> {
        let results = client.describe_configs(&[resource(TOPIC, "t1")], true).await?;
        ErrorCode::check(results[0].error_code)?;
        let found = results[0].configs.iter().find(|c| c.name == key).context("no such key")?;
        found.value.clone().context("no value")
    };
    let set = AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: "t1".into(),
        configs: vec![AlterableConfig {
            name: "retention.ms".into(),
            config_operation: 0,
            value: Some("12345".into()),
        }],
    };
    let set = client.incremental_alter_configs(&[set], false).await?;
    ErrorCode::check(set[0].error_code)?;
    wait_for("retention.ms", "12345", &value).await?;
    let replace = ReplaceResource {
        resource_type: TOPIC,
        resource_name: "t1".into(),
        configs: vec![Replacement { name: "segment.ms".into(), value: Some("99999".into()) }],
    };
    let replaced = client.alter_configs(&[replace], false).await?;
    ErrorCode::check(replaced[0].error_code)?;
    wait_for("segment.ms", "99999", &value).await?;
    wait_for("retention.ms", "604800000", &value).await?;

    let broker = client.describe_configs(&[resource(BROKER, "0")], false).await?;
    ensure!(broker[0].configs.iter().any(|c| c.name == "log.dirs"), "the broker describes itself");
    Ok(())
}

/// Brokers learn of changed configurations by a ZooKeeper watch, a moment after the answer.
async fn wait_for(key: &str, expect: &str, value: &impl AsyncFn(&str) -> Result<String>) -> Result<()> {
    wait_until_async(&format!("{key}={expect}"), PATIENCE, async || {
        let last = value(key).await?;
        Ok(if last == expect { Ok(()) } else { Err(format!("it is {last}")) })
    })
    .await
}

async fn partitions(client: &KafkaClient) -> Result<()> {
    let names: Vec<_> = (0..5).map(|p| ("t1".to_owned(), p)).collect();
    for timestamp in [-1, -2] {
        let mut offsets = client.list_offsets(&names, timestamp).await?;
        offsets.sort_by_key(|o| o.partition);
        ensure!(offsets[..4].iter().all(|o| (o.offset, o.error) == (0, ErrorCode::None)), "{offsets:?}");
        ensure!(offsets[4].error == ErrorCode::UnknownTopicOrPartition, "{offsets:?}");
    }
    let deleted = client.delete_records(&[(("t1".into(), 0), -1), (("t1".into(), 1), 7)]).await?;
    let result =
        |partition| deleted.iter().find(|d| d.partition == partition).map(|d| (d.low_watermark, d.error));
    ensure!(result(0) == Some((0, ErrorCode::None)), "{deleted:?}");
    ensure!(result(1) == Some((-1, ErrorCode::OffsetOutOfRange)), "{deleted:?}");
    Ok(())
}

async fn groups(client: &KafkaClient) -> Result<()> {
    let offsets = [(("t1".to_owned(), 0), 5), (("t1".to_owned(), 3), 9)];
    let committed = client.commit_offsets("g1", &offsets).await?;
    ensure!(committed.iter().all(|(_, error)| *error == ErrorCode::None), "{committed:?}");
    let listed = client.list_groups(&[]).await?;
    ensure!(listed.iter().any(|g| g.group_id == "g1"), "{listed:?}");
    let described = client.describe_group("g1").await?;
    ensure!(described.group_state == "Empty", "{described:?}");
    ensure!(client.describe_group("nobody").await?.group_state == "Dead", "unknown groups are dead");

    let shape = |offsets: &[kafka_client::admin::CommittedOffset]| -> Vec<_> {
        offsets.iter().map(|o| (o.partition, o.offset)).collect()
    };
    ensure!(shape(&client.fetch_offsets("g1", None).await?) == [(0, 5), (3, 9)]);
    let some = [("t1".to_owned(), 1), ("t1".to_owned(), 3)];
    ensure!(shape(&client.fetch_offsets("g1", Some(&some)).await?) == [(1, -1), (3, 9)]);
    let deleted = client.delete_offsets("g1", &[("t1".to_owned(), 0)]).await?;
    ensure!(deleted.iter().all(|(_, error)| *error == ErrorCode::None), "{deleted:?}");
    ensure!(shape(&client.fetch_offsets("g1", None).await?) == [(3, 9)]);
    client.delete_group("g1").await?;
    let gone = client.delete_group("g1").await;
    ensure!(gone.is_err_and(|e| e.code() == Some(ErrorCode::GroupIdNotFound)));
    Ok(())
}

async fn sweep(address: &str) -> Result<()> {
    let client = KafkaClient::connect(ClientOptions::new(address)).await?;
    // A broker answers before the controller has told it about the cluster.
    let cluster = wait_until_async("the cluster", PATIENCE, async || {
        let cluster = client.describe_cluster().await?;
        let is_known = cluster.controller.is_some() && !cluster.brokers.is_empty();
        Ok(if is_known { Ok(cluster) } else { Err(format!("{cluster:?}")) })
    })
    .await?;
    ensure!(
        cluster.id.is_some() && cluster.controller == Some(0) && cluster.brokers.len() == 1,
        "{cluster:?}"
    );
    topics(&client).await.context("topics")?;
    described_topics(&client).await.context("described topics")?;
    configs(&client).await.context("configs")?;
    partitions(&client).await.context("partitions")?;
    groups(&client).await.context("groups")
}

fn against(kafka: Kafka, zookeeper: ZooKeeper) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (zk_port, port) = (free_port(), free_port());
    let zk_dir = dir.path().join("zk");
    let kafka_dir = dir.path().join("kafka");
    std::fs::create_dir_all(&zk_dir)?;
    std::fs::create_dir_all(&kafka_dir)?;
    let _zookeeper = zookeeper.start(&zk_dir, zk_port, "")?;
    let extra = "offsets.topic.replication.factor=1\noffsets.topic.num.partitions=3\n";
    let _kafka = kafka.start(&kafka_dir, port, &format!("127.0.0.1:{zk_port}"), extra)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(sweep(&format!("127.0.0.1:{port}"))).context(kafka.name())
}

#[test]
fn kafka_2_7_1() -> Result<()> {
    against(Kafka("2.7.1"), ZooKeeper("3.5.7"))
}

#[test]
fn kafka_3_9_1() -> Result<()> {
    against(Kafka("3.9.1"), ZooKeeper("3.9.3"))
}
