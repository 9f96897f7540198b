//! The client against scripted brokers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kafka_proto::ErrorCode;
use kafka_proto::messages::api_versions::ApiVersionsResponse;
use kafka_proto::messages::create_topics::{CreatableTopic, CreatableTopicResult, CreateTopicsResponse};
use kafka_proto::messages::find_coordinator::{Coordinator, FindCoordinatorResponse};
use kafka_proto::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use kafka_proto::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use kafka_proto::messages::metadata::{MetadataResponse, MetadataResponsePartition, MetadataResponseTopic};
use kafka_proto::messages::offset_fetch::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_proto::messages::{ApiKey, RequestBody, ResponseBody};
use tokio::net::TcpListener;

use crate::fake::{Fake, Reply, all_versions, metadata, versions_up_to};
use crate::{ClientError, ClientOptions, KafkaClient, Node};

fn options(bootstrap: &str) -> ClientOptions {
    ClientOptions { retry_backoff: Duration::from_millis(1), ..ClientOptions::new(bootstrap) }
}

fn groups(names: &[&str]) -> Reply {
    let group = |name: &&str| ListedGroup { group_id: (*name).into(), ..Default::default() };
    Reply::Respond(ResponseBody::ListGroups(ListGroupsResponse {
        groups: names.iter().map(group).collect(),
        ..Default::default()
    }))
}

/// A broker that knows only itself, and answers the rest by `script`.
async fn lone_broker(script: impl Fn(&RequestBody, i16) -> Reply + Send + Sync + 'static) -> Fake {
    broker_with(all_versions, script).await
}

async fn broker_with(
    versions: impl Fn() -> ResponseBody + Send + Sync + 'static,
    script: impl Fn(&RequestBody, i16) -> Reply + Send + Sync + 'static,
) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    Fake::serve(listener, move |header, body| match body.unwrap() {
        RequestBody::ApiVersions(_) => Reply::Respond(versions()),
        RequestBody::Metadata(request) if request.topics.as_ref().is_some_and(Vec::is_empty) => {
            Reply::Respond(ResponseBody::Metadata(metadata(&[(0, port)], 0)))
        }
        RequestBody::FindCoordinator(request) => {
            let mut response = FindCoordinatorResponse::default();
            if header.version >= 4 {
                response.coordinators.push(Coordinator {
                    key: request.coordinator_keys[0].clone(),
                    host: "127.0.0.1".into(),
                    port: i32::from(port),
                    ..Default::default()
                });
            } else {
                response.host = "127.0.0.1".into();
                response.port = i32::from(port);
            }
            Reply::Respond(ResponseBody::FindCoordinator(response))
        }
        body => match script(&body, header.version) {
            Reply::Respond(ResponseBody::Metadata(mut response)) => {
                response.brokers = metadata(&[(0, port)], 0).brokers;
                Reply::Respond(ResponseBody::Metadata(response))
            }
            reply => reply,
        },
    })
}

/// Dead hosts in the bootstrap list are passed over; when all are dead, each is named.
#[tokio::test]
async fn bootstrap_tries_every_host() {
    let fake = lone_broker(|_, _| groups(&["g"])).await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead_address = dead.local_addr().unwrap().to_string();
    drop(dead);
    let list = format!("{dead_address},{}", fake.address());
    let client = KafkaClient::connect(options(&list)).await.unwrap();
    assert_eq!(client.controller_id(), Some(0));
    let refused = KafkaClient::connect(options(&dead_address)).await;
    let error = refused.err().unwrap().to_string();
    assert!(error.contains(&dead_address), "{error}");
    assert!(error.contains("is one running"), "{error}");
}

/// A broker too old for ApiVersions 3 answers error 35 in version 0; its own highest is used then.
#[tokio::test]
async fn versions_fall_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let fake = Fake::serve(listener, move |header, body| match header.api {
        ApiKey::ApiVersions if header.version > 2 => {
            let ResponseBody::ApiVersions(known) = versions_up_to(|_| 2) else {
                unreachable!("it makes no other");
            };
            let refusal = ApiVersionsResponse { error_code: ErrorCode::UnsupportedVersion.code(), ..known };
            Reply::RespondIn(0, ResponseBody::ApiVersions(refusal))
        }
        ApiKey::ApiVersions => Reply::Respond(versions_up_to(|_| 1)),
        _ => {
            assert!(body.is_some());
            Reply::Respond(ResponseBody::Metadata(metadata(&[(5, port)], 5)))
        }
    });
    let client = KafkaClient::connect(options(&fake.address())).await.unwrap();
    assert_eq!(client.brokers()[0].id, 5);
    let log = fake.log.lock().clone();
    let expect = [(ApiKey::ApiVersions, 3), (ApiKey::ApiVersions, 2), (ApiKey::Metadata, 1)];
    assert_eq!(log, expect);
}

/// An API the broker does not serve is refused before anything is sent.
#[tokio::test]
async fn unserved_apis_are_named() {
    let none = || ResponseBody::ApiVersions(ApiVersionsResponse::default());
    let fake = broker_with(none, |_, _| Reply::Silence).await;
    let error = KafkaClient::connect(options(&fake.address())).await.err().unwrap();
    assert!(error.to_string().contains("Metadata"), "{error}");
}

/// NOT_CONTROLLER sends the client back to metadata, and on to the new controller.
#[tokio::test]
async fn controller_is_followed() {
    let old = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let new = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = |l: &TcpListener| l.local_addr().unwrap().port();
    let brokers = [(0, port(&old)), (1, port(&new))];
    let moved = Arc::new(AtomicUsize::new(0));
    let serve = |listener, id: i32| {
        let moved = Arc::clone(&moved);
        Fake::serve(listener, move |_, body| {
            let controller = moved.load(Ordering::SeqCst) as i32;
            Reply::Respond(match body.unwrap() {
                RequestBody::ApiVersions(_) => all_versions(),
                RequestBody::Metadata(_) => ResponseBody::Metadata(metadata(&brokers, controller)),
                RequestBody::CreateTopics(request) => {
                    let code = match id {
                        1 => ErrorCode::None,
                        _ => ErrorCode::NotController,
                    };
                    moved.store(1, Ordering::SeqCst);
                    let result = CreatableTopicResult {
                        name: request.topics[0].name.clone(),
                        error_code: code.code(),
                        ..Default::default()
                    };
                    ResponseBody::CreateTopics(CreateTopicsResponse {
                        topics: vec![result],
                        ..Default::default()
                    })
                }
                other => panic!("not expected: {other:?}"),
            })
        })
    };
    let (old, new) = (serve(old, 0), serve(new, 1));
    let client = KafkaClient::connect(options(&old.address())).await.unwrap();
    let topic =
        CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let results = client.create_topics(&[topic], false).await.unwrap();
    assert_eq!((results[0].name.as_str(), results[0].error_code), ("t", 0));
    assert_eq!(old.asked(ApiKey::CreateTopics), 1);
    assert_eq!(new.asked(ApiKey::CreateTopics), 1);
}

/// A connection that breaks in the middle of a frame is named as lost; the operation is tried again on a new one.
#[tokio::test]
async fn broken_connections_are_replaced() {
    let count = AtomicUsize::new(0);
    let fake = lone_broker(move |_, _| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Break(vec![0, 0, 0, 9, 0]),
        1 => Reply::Break(vec![0x7f, 0xff, 0xff, 0xff, 1]),
        2 => Reply::Break(b"HTTP/1.1 400 Bad Request".to_vec()),
        _ => groups(&["b", "a"]),
    })
    .await;
    let client = KafkaClient::connect(options(&fake.address())).await.unwrap();
    let lost = client.call(Node::Id(0), &ListGroupsRequest::default()).await;
    let error = lost.unwrap_err();
    assert!(matches!(error, ClientError::ConnectionLost { .. }), "{error}");
    assert!(error.to_string().contains("1 of 9 bytes"), "{error}");
    let found = client.list_groups(&[]).await.unwrap();
    let names: Vec<_> = found.iter().map(|g| g.group_id.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(fake.asked(ApiKey::ListGroups), 4);
}

/// Without an answer the call ends with a timeout, and the next one gets a new connection.
#[tokio::test]
async fn silence_is_a_timeout() {
    let count = AtomicUsize::new(0);
    let fake = lone_broker(move |_, _| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Silence,
        _ => groups(&["g"]),
    })
    .await;
    let mut options = options(&fake.address());
    options.request_timeout = Duration::from_millis(300);
    let client = KafkaClient::connect(options).await.unwrap();
    let request = ListGroupsRequest::default();
    let error = client.call(Node::Id(0), &request).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { after_ms: 300, .. }), "{error}");
    assert_eq!(client.call(Node::Id(0), &request).await.unwrap().groups.len(), 1);
    assert_eq!(fake.asked(ApiKey::ApiVersions), 2);
}

/// Overlapping calls get their own answers, and a call that is dropped does not shift the others'.
#[tokio::test]
async fn overlapping_calls_keep_their_answers() {
    let fake = lone_broker(|body, _| {
        let RequestBody::ListGroups(request) = body else {
            panic!("not expected: {body:?}");
        };
        groups(&[&request.states_filter[0]])
    })
    .await;
    let client = Arc::new(KafkaClient::connect(options(&fake.address())).await.unwrap());
    let ask = |n: usize| {
        let client = Arc::clone(&client);
        tokio::spawn(async move {
            let request = ListGroupsRequest { states_filter: vec![n.to_string()], ..Default::default() };
            client.call(Node::Any, &request).await.unwrap().groups[0].group_id.clone()
        })
    };
    let calls: Vec<_> = (0..60).map(|n| (n, ask(n))).collect();
    for (n, call) in calls {
        if n % 7 == 3 {
            call.abort();
            continue;
        }
        assert_eq!(call.await.unwrap(), n.to_string());
    }
    assert_eq!(fake.asked(ApiKey::ApiVersions), 1);
}

/// Both shapes of OffsetFetch, before and from version 8, yield the same offsets.
#[tokio::test]
async fn offsets_in_old_and_new_versions() {
    let script = |_: &RequestBody, version: i16| {
        let mut response = OffsetFetchResponse::default();
        if version >= 8 {
            let partition = OffsetFetchResponsePartitions {
                partition_index: 2,
                committed_offset: 77,
                ..Default::default()
            };
            response.groups.push(OffsetFetchResponseGroup {
                group_id: "g".into(),
                topics: vec![OffsetFetchResponseTopics { name: "t".into(), partitions: vec![partition] }],
                ..Default::default()
            });
        } else {
            let partition = OffsetFetchResponsePartition {
                partition_index: 2,
                committed_offset: 77,
                ..Default::default()
            };
            response.topics.push(OffsetFetchResponseTopic { name: "t".into(), partitions: vec![partition] });
        }
        Reply::Respond(ResponseBody::OffsetFetch(response))
    };
    for max in [3, 7, 9] {
        let versions = move || versions_up_to(|api| api.info().max_version.min(max));
        let fake = broker_with(versions, script).await;
        let client = KafkaClient::connect(options(&fake.address())).await.unwrap();
        let offsets = client.fetch_offsets("g", None).await.unwrap();
        assert_eq!(offsets.len(), 1, "max version {max}");
        let found = &offsets[0];
        assert_eq!((found.topic.as_str(), found.partition, found.offset), ("t", 2, 77));
        let asked = client.fetch_offsets("g", Some(&[("t".into(), 2)])).await;
        assert_eq!(asked.unwrap(), offsets);
    }
}

/// Offsets are asked of the leader; partitions without one are told apart from those that do not exist.
#[tokio::test]
async fn offsets_by_leader() {
    let fake = lone_broker(|body, _| {
        Reply::Respond(match body {
            RequestBody::Metadata(_) => {
                let partition = |partition_index, leader_id| MetadataResponsePartition {
                    partition_index,
                    leader_id,
                    ..Default::default()
                };
                ResponseBody::Metadata(MetadataResponse {
                    topics: vec![MetadataResponseTopic {
                        name: Some("t".into()),
                        partitions: vec![partition(0, 0), partition(1, -1)],
                        ..Default::default()
                    }],
                    ..Default::default()
                })
            }
            RequestBody::ListOffsets(request) => {
                assert_eq!(request.replica_id, -1);
                let partition = ListOffsetsPartitionResponse { offset: 42, ..Default::default() };
                ResponseBody::ListOffsets(ListOffsetsResponse {
                    topics: vec![ListOffsetsTopicResponse { name: "t".into(), partitions: vec![partition] }],
                    ..Default::default()
                })
            }
            other => panic!("not expected: {other:?}"),
        })
    })
    .await;
    let client = KafkaClient::connect(options(&fake.address())).await.unwrap();
    let wanted: Vec<_> = (0..3).map(|p| ("t".to_owned(), p)).collect();
    let result = client.list_offsets(&wanted, -1).await.unwrap();
    let mut found: Vec<_> = result.iter().map(|o| (o.partition, o.offset, o.error)).collect();
    found.sort();
    let expect = [
        (0, 42, ErrorCode::None),
        (1, -1, ErrorCode::LeaderNotAvailable),
        (2, -1, ErrorCode::UnknownTopicOrPartition),
    ];
    assert_eq!(found, expect);
}

/// What tools spawn onto the runtime must be `Send`.
#[test]
fn futures_are_send() {
    fn check<T: Send>(_: impl FnOnce(&'static KafkaClient) -> T) {}
    check(|c| c.describe_topics(None));
    check(|c| c.list_groups(&[]));
    check(|c| c.create_topics(&[], false));
    check(|c| c.fetch_offsets("g", None));
    check(|c| c.list_offsets(&[], -1));
}
