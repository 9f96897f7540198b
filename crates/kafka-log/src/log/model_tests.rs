//! Random lives of a log, compared after every step with a plain list of records.

use proptest::prelude::*;

use super::*;
use crate::producers::AppendOrigin;
use crate::testing::*;

#[derive(Debug, Clone)]
enum Step {
    Append { count: usize, size: usize, timestamp: i64 },
    AppendTwo { size: usize },
    Roll,
    Truncate { back: i64 },
    DeleteRecords { forward: i64 },
    Retention,
    Flush,
    RestartClean,
    RestartUnclean,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1usize..5, 0usize..300, 0i64..1000).prop_map(|(count, size, timestamp)| Step::Append { count, size, timestamp }),
        2 => (0usize..100).prop_map(|size| Step::AppendTwo { size }),
        1 => Just(Step::Roll),
        1 => (0i64..12).prop_map(|back| Step::Truncate { back }),
        1 => (0i64..8).prop_map(|forward| Step::DeleteRecords { forward }),
        1 => Just(Step::Retention),
        1 => Just(Step::Flush),
        1 => Just(Step::RestartClean),
        1 => Just(Step::RestartUnclean),
    ]
}

struct Model {
    root: tempfile::TempDir,
    config: Arc<LogConfig>,
    log: Option<Log>,
    records: Vec<Rec>,
    start: i64,
}

impl Model {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let config =
            config(&[("segment.bytes", "1500"), ("index.interval.bytes", "300"), ("retention.ms", "-1")]);
        let log = Some(Log::create(options(root.path(), &config)).unwrap());
        Self { root, config, log, records: Vec::new(), start: 0 }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn append(&mut self, batches: &[Vec<(i64, Vec<u8>)>]) {
        let mut bytes = Vec::new();
        for records in batches {
            let borrowed: Vec<(i64, &[u8])> = records.iter().map(|(t, v)| (*t, v.as_slice())).collect();
            bytes.extend(batch(&borrowed));
        }
        let info = self.log().append_as_leader(&bytes, 0, AppendOrigin::Client, 0).unwrap();
        for (i, (timestamp, value)) in batches.concat().into_iter().enumerate() {
            self.records.push(Rec { offset: info.first_offset + i as i64, timestamp, value });
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append { count, size, timestamp } => {
                self.append(&[(0..count).map(|i| (timestamp + i as i64, vec![i as u8; size])).collect()]);
            }
            Step::AppendTwo { size } => {
                self.append(&[vec![(1, vec![1; size])], vec![(2000, vec![2; size]), (3, vec![])]])
            }
            Step::Roll => self.log().roll(0).unwrap(),
            Step::Truncate { back } => self.truncate(back),
            Step::DeleteRecords { forward } => {
                let high_watermark = self.log().set_high_watermark(i64::MAX);
                self.start = (self.start + forward).min(high_watermark);
                let start = self.start;
                self.log().delete_records_before(start).unwrap();
            }
            Step::Retention => {
                self.log().set_high_watermark(i64::MAX);
                self.log().delete_old_segments(0).unwrap();
            }
            Step::Flush => {
                let end = self.log().log_end_offset();
                self.log().flush(end, 0).unwrap();
            }
            Step::RestartClean => self.restart(true),
            Step::RestartUnclean => self.restart(false),
        }
    }

    /// Truncation goes by batches: what is left is what the log says is left.
    fn truncate(&mut self, back: i64) {
        let offset = (self.log().log_end_offset() - back).max(self.start);
        let aligned = self
            .log()
            .read(offset, u32::MAX, true, i64::MAX)
            .map_or(offset, |read| records_of(&read).first().map_or(offset, |r| r.offset));
        let offset = aligned.max(self.start);
        self.log().truncate_to(offset, 0).unwrap();
        self.records.retain(|r| r.offset < offset);
    }

    fn restart(&mut self, clean: bool) {
        let mut log = self.log.take().unwrap();
        let mut options = options(self.root.path(), &self.config);
        options.log_start_offset = log.log_start_offset();
        options.recovery_point = log.recovery_point();
        options.high_watermark = Some(log.high_watermark());
        if clean {
            log.close(0).unwrap();
            options.recovery_point = log.recovery_point();
        }
        options.clean = clean;
        drop(log);
        self.log = Some(Log::open(options).unwrap());
    }

    fn compare(&mut self) {
        let start = self.log().log_start_offset();
        self.start = start;
        self.records.retain(|r| r.offset >= start);
        let log = self.log.as_ref().unwrap();
        log.check();
        let end = self.records.last().map_or(log.log_end_offset(), |r| r.offset + 1);
        assert_eq!(log.log_end_offset(), end);
        let got: Vec<Rec> = all_from(log, start);
        assert_eq!(got, self.records);
        if let Some(middle) = self.records.get(self.records.len() / 2) {
            let first = records_of(&log.read(middle.offset, 1, true, i64::MAX).unwrap());
            assert!(
                first.iter().any(|r| r == middle),
                "the read begins with the batch of offset {}",
                middle.offset
            );
        }
        for timestamp in [0, 500, 1999, 2001] {
            let expect = self.records.iter().find(|r| r.timestamp >= timestamp).map(|r| r.offset);
            let found = log.offset_for_timestamp(timestamp).unwrap().map(|f| f.offset);
            assert_eq!(found, expect, "timestamp {timestamp}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to it, the log holds what was appended and not deleted.
    #[test]
    fn agrees_with_a_list(steps in proptest::collection::vec(step(), 1..40)) {
        let mut model = Model::new();
        for step in steps {
            model.run(step);
            model.compare();
        }
    }
}
