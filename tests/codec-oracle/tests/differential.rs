//! Every API in every version: the same bytes through our codec, the schema and the other codec.
//!
//! `CODEC_ORACLE_RUNS` (default 40) is the number of random bodies for each message and version.

use bytes::Bytes;
use codec_oracle::{Target, rng, runs, schema};
use kafka_codegen::sample;
use kafka_codegen::schema::Message;

fn versions(m: &Message) -> std::ops::RangeInclusive<i16> {
    m.versions.lo..=m.versions.hi
}

/// Random bodies, written from the schema, pass through both codecs unchanged. What the other codec writes is
/// what ours wrote, so each also reads what the other writes.
#[test]
fn random_bodies_pass_unchanged() {
    let mut rng = rng();
    let runs = runs("CODEC_ORACLE_RUNS", 40);
    let (mut ours, mut theirs) = (0u64, 0u64);
    for message in &schema() {
        for version in versions(message) {
            let target = Target::new(message, version);
            for _ in 0..runs {
                let body = sample::sample(message, version, &mut || rng.u64(..));
                ours += 1;
                theirs += u64::from(check_body(target, Bytes::from(body)));
            }
        }
    }
    println!("{ours} bodies through our codec, {theirs} of them through the other one");
    assert!(theirs * 10 > ours * 8, "the other codec knows most APIs");
}

/// Whether the other codec was asked as well.
fn check_body(target: Target, body: Bytes) -> bool {
    let (bytes, rest) = match target.ours(body.clone()) {
        Ok(done) => done,
        Err(e) => panic!("{target:?} refuses {body:x?}: {e}"),
    };
    assert_eq!((&bytes, rest), (&body, 0), "{target:?} changed the body");
    if !target.known_to_theirs() {
        return false;
    }
    match target.theirs(bytes.clone()) {
        Ok(theirs) => assert_eq!(theirs, (bytes, 0), "{target:?}: the other codec differs"),
        Err(e) => panic!("{target:?}: the other codec refuses {bytes:x?}: {e}"),
    }
    true
}

/// A message with nothing set has the defaults of the schema.
#[test]
fn defaults_agree_with_the_schema() {
    for message in &schema() {
        for version in versions(message) {
            let body = Bytes::from(sample::defaults(message, version));
            check_body(Target::new(message, version), body);
        }
    }
}

/// Both codecs know the same versions of the same APIs.
#[test]
fn version_ranges_agree() {
    use kafka_protocol::messages::ApiKey as Theirs;
    let mut compared = 0;
    for api in kafka_proto::messages::ApiKey::ALL {
        let Ok(theirs) = Theirs::try_from(api.code()) else {
            continue;
        };
        let range = theirs.valid_versions();
        let info = api.info();
        assert_eq!((info.min_version, info.max_version), (range.min, range.max), "{api}");
        for version in range.min..=range.max {
            let ours = (api.request_header_version(version), api.response_header_version(version));
            let theirs = (theirs.request_header_version(version), theirs.response_header_version(version));
            assert_eq!(ours, theirs, "{api} {version}");
        }
        compared += 1;
    }
    assert!(compared >= 70, "{compared} APIs compared");
}

/// The control: a body in which one byte was changed is not the same body to either codec.
#[test]
fn a_changed_byte_is_noticed() {
    let mut rng = rng();
    let all = schema();
    let message = all.iter().find(|m| m.name == "FetchRequest");
    let message = message.expect("the schema has it");
    let target = Target::new(message, 4);
    for _ in 0..200 {
        let body = sample::sample(message, 4, &mut || rng.u64(..));
        let mut changed = body.clone();
        changed[0] ^= 1;
        let (bytes, _) = target.ours(Bytes::from(changed)).expect("max_wait_ms may be anything");
        assert_ne!(bytes, body);
    }
}
