//! The generated code against the schema it came from, walked by hand.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use kafka_codegen::sample;
use kafka_codegen::schema::{Kind, Message as Schema};
use kafka_proto::messages::data::{
    consumer_protocol_assignment::ConsumerProtocolAssignment,
    consumer_protocol_subscription::ConsumerProtocolSubscription,
    default_principal_data::DefaultPrincipalData,
    group_metadata::{GroupMetadataKey, GroupMetadataValue},
    leader_change_message::LeaderChangeMessage,
    offset_commit::{OffsetCommitKey, OffsetCommitValue},
    transaction_log::{TransactionLogKey, TransactionLogValue},
};
use kafka_proto::messages::fetch::{FetchRequest, FetchTopic};
use kafka_proto::messages::header::{RequestHeader, ResponseHeader};
use kafka_proto::messages::metadata::MetadataRequest;
use kafka_proto::messages::{ApiKey, Message, RequestBody, ResponseBody};
use kafka_proto::wire::{Reader, WireError, Writer};

const SCHEMA: &str = include_str!("../schema/messages.txt");

fn schema() -> Vec<Schema> {
    kafka_codegen::parse::parse(SCHEMA).unwrap()
}

/// Reads `body` and writes it again.
fn pass<M: Message>(body: Bytes, version: i16) -> Result<Bytes, WireError> {
    let mut r = Reader::new(body);
    let message = M::decode(&mut r, version)?;
    assert_eq!(r.remaining(), 0, "{} {version}", M::NAME);
    let mut w = Writer::new();
    message.encode(&mut w, version)?;
    Ok(w.finish().to_bytes().unwrap())
}

fn pass_any(schema: &Schema, body: Bytes, version: i16) -> Result<Bytes, WireError> {
    let api = ApiKey::try_from(schema.api.unwrap())?;
    let mut r = Reader::new(body);
    let mut w = Writer::new();
    match schema.kind {
        Kind::Response => {
            ResponseBody::decode(api, &mut r, version)?.encode(&mut w, version)?;
        }
        _ => RequestBody::decode(api, &mut r, version)?.encode(&mut w, version)?,
    }
    assert_eq!(r.remaining(), 0, "{} {version}", schema.name);
    Ok(w.finish().to_bytes().unwrap())
}

fn each_body(schema: &Schema, runs: usize, mut check: impl FnMut(i16, Bytes)) {
    let mut rng = fastrand::Rng::with_seed(7);
    for version in schema.versions.lo..=schema.versions.hi {
        check(version, sample::defaults(schema, version).into());
        for _ in 0..runs {
            let body = sample::sample(schema, version, &mut || rng.u64(..));
            check(version, body.into());
        }
    }
}

/// Every request and response in every version comes back as it was.
#[test]
fn requests_and_responses_round_trip() {
    for schema in schema().iter().filter(|m| m.api.is_some()) {
        each_body(schema, 10, |version, body| {
            let back = pass_any(schema, body.clone(), version);
            assert_eq!(back, Ok(body), "{} {version}", schema.name);
        });
    }
}

/// So do headers, the records of internal topics and the consumer protocol.
#[test]
fn data_messages_round_trip() {
    fn check<M: Message>(all: &[Schema]) {
        let schema = all.iter().find(|m| m.name == M::NAME).unwrap();
        assert_eq!((schema.versions.lo, schema.versions.hi), (M::MIN_VERSION, M::MAX_VERSION));
        each_body(schema, 100, |version, body| {
            assert_eq!(pass::<M>(body.clone(), version), Ok(body), "{}", M::NAME);
        });
    }
    let all = schema();
    check::<RequestHeader>(&all);
    check::<ResponseHeader>(&all);
    check::<OffsetCommitKey>(&all);
    check::<OffsetCommitValue>(&all);
    check::<GroupMetadataKey>(&all);
    check::<GroupMetadataValue>(&all);
    check::<TransactionLogKey>(&all);
    check::<TransactionLogValue>(&all);
    check::<ConsumerProtocolAssignment>(&all);
    check::<ConsumerProtocolSubscription>(&all);
    check::<LeaderChangeMessage>(&all);
    check::<DefaultPrincipalData>(&all);
}

/// Every proper prefix of a body is refused: nothing is made up for missing bytes.
#[test]
fn truncated_bodies_are_refused() {
    for schema in schema().iter().filter(|m| m.api.is_some()) {
        each_body(schema, 1, |version, body| {
            for len in 0..body.len().min(200) {
                let cut = pass_any(schema, body.slice(..len), version);
                assert!(cut.is_err(), "{} {version} cut at {len}", schema.name);
            }
        });
    }
}

/// Tagged fields of the future are skipped, wherever they stand.
#[test]
fn unknown_tags_are_skipped() {
    // Metadata 9: null topics, three flags, then two tags: 5 with "ab", 300 empty.
    let body: &[u8] = &[0, 1, 0, 0, 2, 5, 2, b'a', b'b', 0xac, 0x02, 0];
    let back = pass::<MetadataRequest>(Bytes::from_static(body), 9).unwrap();
    assert_eq!(&back[..], &[0, 1, 0, 0, 0]);
}

/// A field that a version lacks must be at its default there, unless it may be dropped.
#[test]
fn values_are_not_dropped_in_silence() {
    let encode = |request: &FetchRequest, version| request.encode(&mut Writer::new(), version);
    let mut request = FetchRequest { rack_id: "r1".into(), ..Default::default() };
    assert_eq!(encode(&request, 4), Ok(()), "rack_id may be dropped");
    request.forgotten_topics_data.push(Default::default());
    let field = "FetchRequest.forgotten_topics_data";
    let refused = Err(WireError::NotInVersion { field, version: 4 });
    assert_eq!(encode(&request, 4), refused);
    assert_eq!(encode(&request, 7), Ok(()));
    request.topics = vec![FetchTopic::default()];
    assert!(encode(&request, 18).is_err(), "there is no version 18");
}

/// Null topics mean "all topics" from Metadata 1 on; version 0 cannot say it.
#[test]
fn null_is_refused_where_the_version_has_none() {
    let all = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(all.encode(&mut Writer::new(), 0), Err(WireError::NullNotAllowed));
    assert_eq!(all.encode(&mut Writer::new(), 1), Ok(()));
    let wire = Bytes::from_static(&[0xff; 4]);
    assert!(matches!(
        MetadataRequest::decode(&mut Reader::new(wire), 0),
        Err(WireError::UnexpectedNull { .. })
    ));
}

/// The checked-in code is what the generator writes today.
#[test]
fn generated_code_is_current() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/messages/generated");
    for (name, text) in kafka_codegen::generate(SCHEMA).unwrap() {
        let on_disk = std::fs::read_to_string(dir.join(&name)).unwrap_or_default();
        assert!(on_disk == text, "{name}: run `cargo run -p kafka-codegen`");
    }
}
