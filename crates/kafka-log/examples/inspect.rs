//! Opens a log directory as a broker would and counts what is in it: `inspect DIR`.
//!
//! The directory is opened for writing: leftovers of a crash are repaired, and it is left as after a clean stop.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use kafka_log::{Log, LogConfig, LogDirs, LogDirsOptions};
use kafka_proto::records::reader::RecordReader;
use kafka_proto::records::{BatchIter, RecordsError};
use std::os::unix::fs::FileExt;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("inspect DIR")?);
    let now_ms = 1_795_650_000_000;
    let config = Arc::new(LogConfig::default());
    let started = std::time::Instant::now();
    let dirs = LogDirs::prepare(LogDirsOptions::new(vec![dir]))?;
    dirs.load(|_| config.clone(), now_ms)?;
    println!("opened {} logs in {:?}", dirs.len(), started.elapsed());
    let mut total = 0;
    let mut partitions = dirs.partitions();
    partitions.sort();
    for partition in partitions {
        let Some(log) = dirs.get(&partition) else { continue };
        let log = log.lock();
        let (data, control) = count(&log)?;
        total += data;
        println!(
            "{partition}: {}..{} high watermark {} recovery point {} segments {} epochs {:?} producers {} topic id {:?}: {data} records, {control} control",
            log.log_start_offset(),
            log.log_end_offset(),
            log.high_watermark(),
            log.recovery_point(),
            log.segment_count(),
            log.latest_epoch(),
            log.active_producers().len(),
            log.topic_id().map(|id| id.to_string()),
        );
    }
    println!("{total} records");
    dirs.shutdown(-1, now_ms)?;
    Ok(())
}

fn count(log: &Log) -> Result<(usize, usize), Box<dyn std::error::Error>> {
    let (mut data, mut control) = (0, 0);
    let mut offset = log.log_start_offset();
    let mut reader = RecordReader::new(1 << 28);
    while offset < log.log_end_offset() {
        let Some(region) = log.read(offset, 1 << 20, true, log.log_end_offset())?.records else { break };
        let mut bytes = vec![0; region.len];
        region.file.read_exact_at(&mut bytes, region.offset)?;
        for batch in BatchIter::new(&bytes) {
            let batch = batch?;
            batch.check_crc()?;
            let counter = if batch.is_control() { &mut control } else { &mut data };
            reader.for_each(&batch, |_| {
                *counter += 1;
                Ok::<_, RecordsError>(ControlFlow::Continue(()))
            })?;
            offset = batch.last_offset() + 1;
        }
    }
    Ok((data, control))
}
