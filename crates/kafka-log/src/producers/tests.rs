use kafka_proto::records::batch::BatchHeader;

use super::*;
use crate::error::ProducerError;
use crate::scan::EndTxnMarker;

fn header(epoch: i16, sequence: i32, count: i32) -> BatchHeader {
    BatchHeader {
        base_offset: 0,
        batch_length: 49,
        partition_leader_epoch: 0,
        crc: 0,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp: 5,
        max_timestamp: 5,
        producer_id: 1,
        producer_epoch: epoch,
        base_sequence: sequence,
        records_count: count,
    }
}

fn state(dir: &Path) -> ProducerState {
    ProducerState::new("t-0".into(), dir, 1000, BTreeSet::new())
}

fn append(
    state: &mut ProducerState,
    header: BatchHeader,
    offset: i64,
) -> std::result::Result<(), ProducerError> {
    let mut append = state.prepare(1, AppendOrigin::Client);
    append.batch(&header, offset, None)?;
    let (entry, txn) = append.finish();
    state.update(1, entry, txn);
    state.set_map_end_offset(offset + i64::from(header.last_offset_delta) + 1);
    Ok(())
}

/// Sequences go up by one, wrap from 2³¹−1 to 0, and start at 0 in a new epoch; an unknown producer starts anywhere.
#[test]
fn sequence_rules() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = state(dir.path());
    append(&mut state, header(0, 7, 3), 0).unwrap();
    let gap = append(&mut state, header(0, 11, 1), 3).unwrap_err();
    assert!(matches!(gap, ProducerError::OutOfOrderSequence { sequence: 11, last: 9, .. }));
    append(&mut state, header(0, 10, 1), 3).unwrap();
    let nonzero = append(&mut state, header(1, 5, 1), 4).unwrap_err();
    assert!(matches!(nonzero, ProducerError::NonZeroSequenceInNewEpoch { .. }));
    append(&mut state, header(1, 0, 1), 4).unwrap();
    assert!(matches!(
        append(&mut state, header(0, 11, 1), 5),
        Err(ProducerError::InvalidEpoch { epoch: 0, current: 1, .. })
    ));
    let mut wrapping = self::state(dir.path());
    append(&mut wrapping, header(0, i32::MAX - 1, 2), 0).unwrap();
    append(&mut wrapping, header(0, 0, 1), 2).unwrap();
}

/// The last five batches are known again by epoch and sequences, with the offsets they got.
#[test]
fn duplicates_are_found_among_five() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = state(dir.path());
    for i in 0..7 {
        append(&mut state, header(0, i * 2, 2), i64::from(i) * 2).unwrap();
    }
    let entry = state.entry(1).unwrap();
    assert_eq!(entry.find_duplicate(0, 2, 3), None, "the sixth last is forgotten");
    assert_eq!(entry.find_duplicate(0, 4, 5).unwrap().first_offset(), 4);
    assert_eq!(entry.find_duplicate(0, 12, 13).unwrap().last_offset, 13);
    assert_eq!(entry.find_duplicate(0, 12, 12), None);
    assert_eq!(entry.find_duplicate(1, 12, 13), None);
}

/// An open transaction holds the last stable offset back until its marker is replicated.
#[test]
fn transactions_bound_the_stable_offset() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = state(dir.path());
    let transactional = BatchHeader { attributes: 0x10, ..header(0, 0, 2) };
    append(&mut state, transactional, 10).unwrap();
    assert_eq!(state.first_unstable_offset(), Some(10));
    let plain = append(&mut state, header(0, 2, 1), 12).unwrap_err();
    assert!(matches!(plain, ProducerError::ExpectedTransactional { .. }));
    let mut end = state.prepare(1, AppendOrigin::Coordinator);
    let marker = EndTxnMarker { abort: true, coordinator_epoch: 3 };
    let control = BatchHeader { attributes: 0x30, base_sequence: -1, ..header(0, 0, 1) };
    let completed = end.batch(&control, 12, Some(Some(marker))).unwrap().unwrap();
    let (entry, txn) = end.finish();
    state.update(1, entry, txn);
    assert_eq!(completed, CompletedTxn { producer_id: 1, first_offset: 10, last_offset: 12, aborted: true });
    assert_eq!(state.last_stable_offset(&completed), 13);
    state.complete(&completed);
    assert_eq!(state.first_unstable_offset(), Some(10), "the marker may still be lost");
    state.on_high_watermark(13);
    assert_eq!(state.first_unstable_offset(), None);
}

/// A snapshot brings back what counts; corrupt ones are passed over; silence expires.
#[test]
fn snapshots_and_expiry() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = state(dir.path());
    append(&mut state, header(0, 0, 3), 0).unwrap();
    assert!(state.take_snapshot().unwrap().is_some());
    assert!(state.take_snapshot().unwrap().is_none(), "nothing new");
    append(&mut state, header(0, 3, 1), 3).unwrap();
    let second = state.take_snapshot().unwrap().unwrap();
    std::fs::write(&second, b"damage").unwrap();
    let mut back = ProducerState::new("t-0".into(), dir.path(), 1000, BTreeSet::from([3, 4]));
    back.reload(0, 4, 10).unwrap();
    assert_eq!(back.map_end_offset(), 3);
    assert_eq!(back.entry(1).unwrap().last_sequence(), 2);
    assert!(!second.exists());
    back.remove_expired(1004);
    assert!(back.entry(1).is_some());
    back.remove_expired(1005);
    assert!(back.entry(1).is_none());
}
