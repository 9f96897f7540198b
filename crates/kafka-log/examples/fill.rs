//! Writes a log directory to be looked at with Kafka's own tools: `fill DIR [partitions] [clean|crash] [batches]`.
//!
//! Segments roll, producers are idempotent, codecs and transactions vary, records have headers and odd timestamps.

use std::path::PathBuf;
use std::sync::Arc;

use kafka_log::{
    AppendOrigin, CleanerOptions, LogConfig, LogDirs, LogDirsOptions, MetaProperties, TopicPartition,
};
use kafka_proto::records::Compression;
use kafka_proto::records::builder::{BatchBuilder, BatchOptions, end_transaction_marker};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("fill DIR [partitions] [clean|crash] [batches]")?);
    let partitions: i32 = args.next().map_or(Ok(6), |n| n.parse())?;
    let clean = args.next().as_deref() != Some("crash");
    let batches: i64 = args.next().map_or(Ok(300), |n| n.parse())?;
    let now_ms = 1_700_000_000_000;
    let config =
        Arc::new(LogConfig::default().with_overrides([("segment.bytes", "60000"), ("retention.ms", "-1")])?);
    let started = std::time::Instant::now();
    let dirs = LogDirs::prepare(LogDirsOptions::new(vec![dir]))?;
    dirs.write_meta_properties(&MetaProperties { broker_id: Some(0), ..MetaProperties::default() }, now_ms)?;
    dirs.load(|_| config.clone(), now_ms)?;
    for partition in 0..partitions {
        let log = dirs.get_or_create(&TopicPartition::new("filled", partition), &config, None, now_ms)?;
        for i in 0..batches {
            let (bytes, origin) = batch(partition, i, now_ms)?;
            log.lock().append_as_leader(&bytes, (i / 100) as i32, origin, now_ms)?;
        }
    }
    let compacted =
        Arc::new(config.with_overrides([("cleanup.policy", "compact"), ("segment.bytes", "60000")])?);
    for partition in 0..partitions.min(5) {
        let log =
            dirs.get_or_create(&TopicPartition::new("compacted", partition), &compacted, None, now_ms)?;
        for i in 0..batches {
            let (bytes, origin) = batch(partition, i, now_ms)?;
            let mut log = log.lock();
            log.append_as_leader(&bytes, (i / 100) as i32, origin, now_ms)?;
            let end = log.log_end_offset();
            log.set_high_watermark(end);
        }
    }
    println!("{} logs compacted", dirs.clean_pass(&CleanerOptions::default(), now_ms));
    println!(
        "{partitions} partitions of {batches} batches in {:?}, {} files open",
        started.elapsed(),
        dirs.open_files()
    );
    for log in dirs.of_topic("filled") {
        let mut log = log.1.lock();
        let end = log.log_end_offset();
        log.set_high_watermark(end);
    }
    dirs.flush_pass(now_ms);
    if clean {
        dirs.shutdown(-1, now_ms)?;
    } else {
        dirs.checkpoint_recovery_points()?;
        dirs.checkpoint_high_watermarks()?;
    }
    Ok(())
}

/// The `i`th batch of a partition: one of two idempotent producers, a transactional one, or none.
fn batch(
    partition: i32,
    i: i64,
    now_ms: i64,
) -> Result<(Vec<u8>, AppendOrigin), kafka_proto::records::RecordsError> {
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let timestamp = now_ms + i * 10 - (i % 7) * 35;
    if i % 10 == 9 {
        let marker = end_transaction_marker(0, timestamp, 3000, 0, i % 20 == 9, 5)?;
        return Ok((marker, AppendOrigin::Coordinator));
    }
    let transactional = i % 10 == 8;
    let producer_id = if transactional { 3000 } else { [-1, 1000, 2000][(i % 3) as usize] };
    let idempotent = producer_id >= 0;
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: codecs[(partition as usize + i as usize) % codecs.len()],
        producer_id,
        producer_epoch: if idempotent { 0 } else { -1 },
        base_sequence: if !idempotent { -1 } else { 0 },
        transactional,
        ..BatchOptions::default()
    });
    let value = vec![b'a' + (i % 26) as u8; 200 + (i as usize * 37) % 900];
    for n in 0..=(i % 4) {
        builder.append(
            timestamp + n * 3,
            Some(format!("key-{n}").as_bytes()),
            Some(&value),
            &[(b"h", Some(b"1"))],
        )?;
    }
    // Sequences of several producers are not the point here: replication takes them as they are.
    Ok((builder.finish()?, AppendOrigin::Replication))
}
