//! The records of `__consumer_offsets`: an int16 version, then a struct, in key and value each.
//!
//! Written exactly as Kafka 2.7 to 3.9 write them: offset key 1 with value 3 (value 1 where the client
//! chose a retention), group key 2 with value 3. Read: every version that exists, 4 (flexible) included.
//! A tombstone is a key without a value.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_proto::messages::Message;
use kafka_proto::messages::data::group_metadata::{GroupMetadataKey, GroupMetadataValue};
use kafka_proto::messages::data::offset_commit::{OffsetCommitKey, OffsetCommitValue};
use kafka_proto::wire::{Reader, WireError, Writer};

use crate::group::CommittedOffset;

const OFFSET_KEY_VERSION: i16 = 1;
const GROUP_KEY_VERSION: i16 = 2;
/// IBP 2.1-IV1 and later.
const OFFSET_VALUE_VERSION: i16 = 3;
/// The only version with a field for the client's own retention; lacks the leader epoch.
const OFFSET_VALUE_VERSION_WITH_EXPIRY: i16 = 1;
/// IBP 2.3-IV0 and later.
const GROUP_VALUE_VERSION: i16 = 3;
/// "No expiry" in version 1 of the offset value.
const NO_EXPIRY: i64 = -1;

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: Bytes,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Key {
    Offset {
        group: String,
        topic: String,
        partition: i32,
    },
    Group {
        group: String,
    },
    /// A newer coordinator's record, left over from an upgrade that was undone.
    Unknown {
        version: i16,
    },
}

/// The record of a committed offset.
pub fn offset_record(
    group: &str,
    topic: &str,
    partition: i32,
    committed: &CommittedOffset,
) -> Result<Record, WireError> {
    let value = OffsetCommitValue {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata.clone(),
        commit_timestamp: committed.commit_timestamp_ms,
        expire_timestamp: committed.expire_timestamp_ms.unwrap_or(NO_EXPIRY),
    };
    let version = match committed.expire_timestamp_ms {
        Some(_) => OFFSET_VALUE_VERSION_WITH_EXPIRY,
        None => OFFSET_VALUE_VERSION,
    };
    Ok(Record { key: offset_key(group, topic, partition)?, value: Some(versioned(&value, version)?) })
}

/// Says that a partition's offset is gone.
pub fn offset_tombstone(group: &str, topic: &str, partition: i32) -> Result<Record, WireError> {
    Ok(Record { key: offset_key(group, topic, partition)?, value: None })
}

/// The record of a group with its members and their assignments.
pub fn group_record(group: &str, value: &GroupMetadataValue) -> Result<Record, WireError> {
    Ok(Record { key: group_key(group)?, value: Some(versioned(value, GROUP_VALUE_VERSION)?) })
}

/// Says that a group is gone.
pub fn group_tombstone(group: &str) -> Result<Record, WireError> {
    Ok(Record { key: group_key(group)?, value: None })
}

fn offset_key(group: &str, topic: &str, partition: i32) -> Result<Bytes, WireError> {
    let key = OffsetCommitKey { group: group.to_owned(), topic: topic.to_owned(), partition };
    versioned(&key, OFFSET_KEY_VERSION)
}

fn group_key(group: &str) -> Result<Bytes, WireError> {
    versioned(&GroupMetadataKey { group: group.to_owned() }, GROUP_KEY_VERSION)
}

fn versioned<M: Message>(message: &M, version: i16) -> Result<Bytes, WireError> {
    let mut writer = Writer::new();
    writer.i16(version);
    message.encode(&mut writer, version)?;
    let frame = writer.finish();
    let mut out = BytesMut::with_capacity(frame.len);
    for chunk in frame.chunks {
        match chunk {
            kafka_proto::wire::Chunk::Bytes(bytes) => out.put(bytes),
            kafka_proto::wire::Chunk::File(_) => unreachable!("no file was written"),
        }
    }
    Ok(out.freeze())
}

/// Reads a key. An unknown version is not an error: Kafka skips such records too.
pub fn parse_key(bytes: Bytes) -> Result<Key, WireError> {
    let mut reader = Reader::new(bytes);
    match reader.i16()? {
        version @ 0..=OFFSET_KEY_VERSION => {
            let key = OffsetCommitKey::decode(&mut reader, version)?;
            Ok(Key::Offset { group: key.group, topic: key.topic, partition: key.partition })
        }
        GROUP_KEY_VERSION => {
            Ok(Key::Group { group: GroupMetadataKey::decode(&mut reader, GROUP_KEY_VERSION)?.group })
        }
        version => Ok(Key::Unknown { version }),
    }
}

/// Reads the value of an offset record.
pub fn parse_offset_value(bytes: Bytes) -> Result<CommittedOffset, WireError> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16()?;
    let value = OffsetCommitValue::decode(&mut reader, version)?;
    Ok(CommittedOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata,
        commit_timestamp_ms: value.commit_timestamp,
        expire_timestamp_ms: (value.expire_timestamp != NO_EXPIRY).then_some(value.expire_timestamp),
    })
}

/// Reads the value of a group record. Version 0 knows no rebalance timeout; the session timeout stands in.
pub fn parse_group_value(bytes: Bytes) -> Result<GroupMetadataValue, WireError> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16()?;
    let mut value = GroupMetadataValue::decode(&mut reader, version)?;
    if version == 0 {
        for member in &mut value.members {
            member.rebalance_timeout = member.session_timeout;
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(expire_timestamp_ms: Option<i64>) -> CommittedOffset {
        CommittedOffset {
            offset: 42,
            leader_epoch: 7,
            metadata: "m".into(),
            commit_timestamp_ms: 1000,
            expire_timestamp_ms,
        }
    }

    /// Byte for byte what Kafka 3.9 appends for a commit.
    #[test]
    fn an_offset_is_written_as_key_1_and_value_3() {
        let record = offset_record("g", "t", 3, &offset(None)).unwrap();
        assert_eq!(&record.key[..], &[0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 3]);
        let value = record.value.unwrap();
        assert_eq!(&value[..14], &[0, 3, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 7]);
        assert_eq!(&value[14..], &[0, 1, b'm', 0, 0, 0, 0, 0, 0, 3, 232]);
        assert_eq!(parse_offset_value(value).unwrap(), offset(None));
        let key = parse_key(record.key).unwrap();
        assert_eq!(key, Key::Offset { group: "g".into(), topic: "t".into(), partition: 3 });
    }

    /// A client's own retention survives, at the price of the leader epoch.
    #[test]
    fn an_offset_with_its_own_expiry_is_written_as_value_1() {
        let value = offset_record("g", "t", 3, &offset(Some(2000))).unwrap().value.unwrap();
        assert_eq!(&value[..2], &[0, 1]);
        let read = parse_offset_value(value).unwrap();
        assert_eq!(read, CommittedOffset { leader_epoch: -1, ..offset(Some(2000)) });
    }

    /// Values 0, 2 and 4 come from other releases.
    #[test]
    fn every_offset_value_version_is_read() {
        for version in 0..=4 {
            let value = OffsetCommitValue { offset: 9, commit_timestamp: 5, ..Default::default() };
            let read = parse_offset_value(versioned(&value, version).unwrap()).unwrap();
            assert_eq!((read.offset, read.commit_timestamp_ms, read.expire_timestamp_ms), (9, 5, None));
        }
        assert!(parse_offset_value(Bytes::from_static(&[0, 5, 0, 0])).is_err());
    }

    /// Group values of every version are read; version 0 takes the session timeout for both.
    #[test]
    fn every_group_value_version_is_read() {
        let member = kafka_proto::messages::data::group_metadata::MemberMetadata {
            member_id: "m".into(),
            session_timeout: 10,
            rebalance_timeout: 60,
            ..Default::default()
        };
        for version in 0..=4 {
            let value =
                GroupMetadataValue { generation: 3, members: vec![member.clone()], ..Default::default() };
            let read = parse_group_value(versioned(&value, version).unwrap()).unwrap();
            let expect = if version == 0 { 10 } else { 60 };
            assert_eq!(
                (read.generation, read.members[0].rebalance_timeout),
                (3, expect),
                "version {version}"
            );
        }
    }

    /// Names longer than a 16-bit length are refused, not cut.
    #[test]
    fn strings_that_do_not_fit_are_refused() {
        assert!(group_tombstone(&"x".repeat(32_767)).is_ok());
        assert!(group_tombstone(&"x".repeat(32_768)).is_err());
    }

    /// A share group's record is skipped, not an error.
    #[test]
    fn keys_of_newer_coordinators_are_unknown() {
        assert_eq!(parse_key(Bytes::from_static(&[0, 10, 1])).unwrap(), Key::Unknown { version: 10 });
        assert!(parse_key(Bytes::from_static(&[0])).is_err());
    }
}
