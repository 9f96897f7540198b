//! Bytes that make other codecs of this protocol allocate gigabytes, or abort.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_proto::messages::{ApiKey, RequestBody};
use kafka_proto::wire::{Reader, WireError, default_budget};

fn decode(api: ApiKey, version: i16, body: impl Into<Bytes>) -> Result<RequestBody, WireError> {
    RequestBody::decode(api, &mut Reader::new(body.into()), version)
}

/// The most memory this process ever had, in KiB, where the system tells.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Runs `attack` and checks that memory did not grow by more than `mib`. One at a time: the peak is the
/// whole process's.
fn bounded(mib: u64, attack: impl FnOnce()) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let before = peak_kib();
    attack();
    if let (Some(before), Some(after)) = (before, peak_kib()) {
        let grown = after.saturating_sub(before) / 1024;
        assert!(grown <= mib, "grew by {grown} MiB");
    }
}

/// Tiny bodies with huge counts are refused before anything is allocated.
#[test]
fn lying_counts() {
    let check = |api, version, body: &'static [u8]| {
        let result = decode(api, version, Bytes::from_static(body));
        assert!(matches!(result, Err(WireError::ArrayTooLong { .. })), "{api} {version}: {result:?}");
    };
    bounded(64, || {
        check(ApiKey::Metadata, 1, &[0x7f, 0xff, 0xff, 0xff]);
        check(ApiKey::Metadata, 1, &[0x01, 0x00, 0x00, 0x00]);
        check(ApiKey::Metadata, 12, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
        check(ApiKey::FindCoordinator, 4, &[0, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        check(ApiKey::DescribeGroups, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0]);
        check(ApiKey::Fetch, 4, &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0x7f, 0, 0, 0]);
    });
}

/// Strings and bytes that claim more than there is.
#[test]
fn lying_lengths() {
    let check = |api, version, body: &'static [u8]| {
        let result = decode(api, version, Bytes::from_static(body));
        assert!(matches!(result, Err(WireError::Truncated { .. })), "{api} {version}: {result:?}");
    };
    check(ApiKey::SaslAuthenticate, 0, &[0x7f, 0xff, 0xff, 0xff, 1, 2]);
    check(ApiKey::SaslAuthenticate, 2, &[0xff, 0xff, 0xff, 0xff, 0x0f, 1]);
    check(ApiKey::SaslHandshake, 0, &[0x7f, 0xff, b'P']);
    // A tagged field longer than the frame, and more tagged fields than bytes.
    check(ApiKey::ApiVersions, 3, &[1, 1, 1, 9, 0xff, 0xff, 0x03]);
    check(ApiKey::ApiVersions, 3, &[1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 9, 0, 9, 0]);
}

/// A well-formed OffsetFetch of empty groups would take forty times its size in memory.
#[test]
fn amplification_stops_at_the_budget() {
    let groups = 4_000_000;
    let mut body = BytesMut::new();
    uvarint(&mut body, groups + 1);
    for _ in 0..groups {
        body.put_slice(&[1, 1, 0]);
    }
    body.put_slice(&[0, 0]);
    let frame = body.len();
    bounded(160, || {
        let result = decode(ApiKey::OffsetFetch, 8, body);
        assert!(matches!(result, Err(WireError::OverBudget { .. })), "{frame}");
    });
}

/// The same shape at a size real clients send is no trouble.
#[test]
fn small_requests_have_room() {
    let mut body = BytesMut::new();
    uvarint(&mut body, 1001);
    for _ in 0..1000 {
        body.put_slice(&[2, b'g', 1, 0]);
    }
    body.put_slice(&[0, 0]);
    assert!(decode(ApiKey::OffsetFetch, 8, body).is_ok());
}

/// The budget grows with the frame and ends at a ceiling.
#[test]
fn budgets_are_bounded() {
    assert!(default_budget(0) >= 1 << 20);
    assert!(default_budget(1 << 20) >= 8 << 20);
    assert_eq!(default_budget(usize::MAX), 512 << 20);
}

/// Kept bytes share the frame, so that a large batch is not copied on its way to the log.
#[test]
fn records_are_slices_of_the_frame() {
    let mut body = BytesMut::new();
    body.put_slice(&[0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1]);
    body.put_slice(&[0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4, 5]);
    let frame = body.freeze();
    let RequestBody::Produce(request) = decode(ApiKey::Produce, 3, frame.clone()).unwrap() else {
        panic!("a produce request");
    };
    let records = request.topic_data[0].partition_data[0].records.as_ref();
    let records = records.unwrap();
    assert_eq!(&records[..], &[1, 2, 3, 4, 5]);
    assert_eq!(records.as_ptr(), frame[frame.len() - 5..].as_ptr());
}

fn uvarint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8((value as u8) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}
