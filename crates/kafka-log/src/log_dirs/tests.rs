use super::*;
use crate::log::AppendInfo;
use crate::producers::AppendOrigin;
use crate::testing::{all_from, batch, config, files};

fn dirs(paths: &[&Path], overrides: &[(&str, &str)]) -> LogDirs {
    let mut options = LogDirsOptions::new(paths.iter().map(|p| p.to_path_buf()).collect());
    options.recovery_threads_per_dir = 2;
    options.open_files_max = 16;
    let dirs = LogDirs::prepare(options).unwrap();
    let config = config(overrides);
    dirs.load(|_| config.clone(), 0).unwrap();
    dirs
}

fn append(log: &LogHandle, value: &[u8]) -> AppendInfo {
    log.lock().append_as_leader(&batch(&[(1, value)]), 0, AppendOrigin::Client, 0).unwrap()
}

/// Logs, checkpoints and the marker are there after a clean stop, and logs alone after a crash; many at once are synced
/// together.
#[test]
fn survives_restarts() {
    let root = tempfile::tempdir().unwrap();
    let partitions: Vec<_> = (0..80).map(|i| TopicPartition::new("t", i)).collect();
    {
        let dirs = dirs(&[root.path()], &[]);
        for partition in &partitions {
            let log = dirs.get_or_create(partition, &config(&[]), None, 0).unwrap();
            append(&log, b"one");
            log.lock().set_high_watermark(1);
        }
        assert!(dirs.open_files() <= 16);
        dirs.checkpoint_high_watermarks().unwrap();
    }
    {
        let dirs = dirs(&[root.path()], &[]);
        for partition in &partitions {
            let log = dirs.get(partition).unwrap();
            assert_eq!(log.lock().high_watermark(), 1);
            append(&log, b"two");
        }
        dirs.shutdown(-1, 0).unwrap();
        let text = std::fs::read_to_string(root.path().join("recovery-point-offset-checkpoint")).unwrap();
        assert!(text.starts_with("0\n80\nt 0 2\nt 1 2\n"), "{text}");
        assert!(root.path().join(".kafka_cleanshutdown").exists());
    }
    let dirs = dirs(&[root.path()], &[]);
    assert!(!root.path().join(".kafka_cleanshutdown").exists());
    assert!(partitions.iter().all(|p| dirs.get(p).unwrap().lock().log_end_offset() == 2));
    assert_eq!(all_from(&dirs.get(&partitions[0]).unwrap().lock(), 0).len(), 2);
}

/// New partitions go where the fewest are; a directory in use is refused.
#[test]
fn spreads_and_locks() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dirs = dirs(&[a.path(), b.path()], &[]);
    for i in 0..6 {
        dirs.get_or_create(&TopicPartition::new("t", i), &config(&[]), None, 0).unwrap();
    }
    assert!(dirs.describe().iter().all(|d| d.partitions.len() == 3));
    let again = LogDirs::prepare(LogDirsOptions::new(vec![a.path().to_owned()]));
    assert!(matches!(again, Err(LogError::DirLocked { .. })));
    let twice = LogDirs::prepare(LogDirsOptions::new(vec![a.path().join("x"), a.path().join("./x")]));
    assert!(twice.is_err());
}

/// A deleted partition is renamed at once, removed after the delay, also when the delay spans a restart.
#[test]
fn deletes_partitions() {
    let root = tempfile::tempdir().unwrap();
    let partition = TopicPartition::new("t", 0);
    let delayed = [("file.delete.delay.ms", "50")];
    {
        let dirs = dirs(&[root.path()], &delayed);
        let log = dirs.get_or_create(&partition, &config(&delayed), None, 0).unwrap();
        append(&log, b"x");
        dirs.delete(&partition, 0).unwrap();
        assert!(dirs.get(&partition).is_none() && !root.path().join("t-0").exists());
        assert!(matches!(dirs.delete(&partition, 0), Err(LogError::UnknownPartition { .. })));
        let refused = log.lock().append_as_leader(&batch(&[(1, b"late")]), 0, AppendOrigin::Client, 0);
        assert!(refused.is_err(), "nothing is appended to a log that is gone");
        dirs.delete_pass(49);
        dirs.get_or_create(&partition, &config(&delayed), None, 0).unwrap();
    }
    let left = || {
        std::fs::read_dir(root.path())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().ends_with("-delete"))
            .count()
    };
    assert_eq!(left(), 1);
    let dirs = dirs(&[root.path()], &delayed);
    dirs.delete_pass(49);
    assert_eq!(left(), 1);
    dirs.delete_pass(50);
    assert_eq!(left(), 0);
    assert_eq!(dirs.partitions(), [partition]);
}

/// Rolled segments are synced and the recovery point follows; the passes leave healthy logs alone.
#[test]
fn passes() {
    let root = tempfile::tempdir().unwrap();
    let small = [("segment.bytes", "100"), ("retention.ms", "10")];
    let dirs = dirs(&[root.path()], &small);
    let log = dirs.get_or_create(&TopicPartition::new("t", 0), &config(&small), None, 0).unwrap();
    for _ in 0..3 {
        append(&log, b"x");
    }
    dirs.flush_pass(0);
    assert_eq!(log.lock().recovery_point(), 2);
    log.lock().set_high_watermark(3);
    assert_eq!(dirs.retention_pass(5), 0);
    assert_eq!(dirs.retention_pass(100), 3);
    log.lock().set_high_watermark(3);
    dirs.checkpoint_log_starts().unwrap();
    dirs.delete_pass(1_000_000);
    let dir = log.lock().dir().to_owned();
    assert_eq!(files(&dir, ".deleted").len(), 0);
    let text = std::fs::read_to_string(root.path().join("log-start-offset-checkpoint")).unwrap();
    assert_eq!(text, "0\n0\n", "a log that begins with its first segment is not listed");
}

/// A topic created again under the same name is not judged by its predecessor's checkpoints.
#[test]
fn recreated_partitions_start_afresh() {
    let root = tempfile::tempdir().unwrap();
    let (partition, other) = (TopicPartition::new("t", 0), TopicPartition::new("u", 0));
    let fill = |dirs: &LogDirs, partition: &TopicPartition, count: usize| {
        let log = dirs.get_or_create(partition, &config(&[]), None, 0).unwrap();
        (0..count).for_each(|_| {
            append(&log, b"x");
        });
        log.lock().set_high_watermark(i64::MAX);
        log
    };
    {
        let dirs = dirs(&[root.path()], &[]);
        for partition in [&partition, &other] {
            fill(&dirs, partition, 50).lock().delete_records_before(20).unwrap();
        }
        dirs.checkpoint_log_starts().unwrap();
        dirs.delete(&other, 0).unwrap();
        dirs.delete(&partition, 0).unwrap();
        fill(&dirs, &partition, 5);
    }
    {
        let dirs = dirs(&[root.path()], &[]);
        assert_eq!(dirs.get(&partition).unwrap().lock().log_end_offset(), 5);
        let text = "0\n1\nu 0 20\n";
        std::fs::write(root.path().join("log-start-offset-checkpoint"), text).unwrap();
    }
    {
        let dirs = dirs(&[root.path()], &[]);
        fill(&dirs, &other, 3);
    }
    let dirs = dirs(&[root.path()], &[]);
    assert_eq!(all_from(&dirs.get(&other).unwrap().lock(), 0).len(), 3);
}
