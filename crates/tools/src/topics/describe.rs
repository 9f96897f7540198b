//! How `--describe` shows topics: the shapes of 2.7.1 and of 3.9, and which partitions a report picks.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::options::Options;

/// Whose shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// 2.7.1's.
    Kafka2,
    /// 3.9's: with the topic's id, and columns for eligible leader replicas, which no ZooKeeper-mode broker has.
    Kafka3,
}

/// A topic as it is shown.
#[derive(Debug, Default)]
pub struct TopicView {
    pub name: String,
    pub topic_id: Option<String>,
    /// Those that are not Kafka's defaults.
    pub configs: Vec<(String, String)>,
    pub min_insync_replicas: Option<usize>,
    pub marked_for_deletion: bool,
    /// In order.
    pub partitions: Vec<PartitionView>,
}

/// One partition of it.
#[derive(Debug, Default)]
pub struct PartitionView {
    pub partition: i32,
    pub leader: Option<i32>,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub reassignment: Option<Reassignment>,
}

/// Replicas on the move.
#[derive(Debug, Default)]
pub struct Reassignment {
    pub replicas: Vec<i32>,
    pub adding: Vec<i32>,
    pub removing: Vec<i32>,
}

impl PartitionView {
    /// While replicas move, those that are being added do not count. A reassignment that has ended since counts no more.
    fn replication_factor(&self) -> usize {
        match &self.reassignment {
            Some(moving)
                if self
                    .replicas
                    .iter()
                    .any(|id| moving.adding.contains(id) || moving.removing.contains(id)) =>
            {
                moving.replicas.iter().filter(|id| !moving.adding.contains(id)).count()
            }
            _ => self.replicas.len(),
        }
    }
}

/// What of it is asked for.
#[derive(Debug, Default, Clone, Copy)]
pub struct Report {
    under_replicated: bool,
    unavailable: bool,
    under_min_isr: bool,
    at_min_isr: bool,
    overrides_only: bool,
}

impl Report {
    pub fn from_options(options: &Options) -> Self {
        Self {
            under_replicated: options.has("under-replicated-partitions"),
            unavailable: options.has("unavailable-partitions"),
            under_min_isr: options.has("under-min-isr-partitions"),
            at_min_isr: options.has("at-min-isr-partitions"),
            overrides_only: options.has("topics-with-overrides"),
        }
    }

    fn is_full(self) -> bool {
        !(self.under_replicated || self.unavailable || self.under_min_isr || self.at_min_isr)
    }

    fn picks(self, partition: &PartitionView, min_isr: Option<usize>, alive: &BTreeSet<i32>) -> bool {
        let in_sync = partition.isr.len();
        let leader = partition.leader;
        self.is_full()
            || self.under_replicated && partition.replication_factor() > in_sync
            || self.unavailable && leader.is_none_or(|id| !alive.contains(&id))
            || self.under_min_isr && (leader.is_none() || min_isr.is_some_and(|min| in_sync < min))
            || self.at_min_isr && min_isr == Some(in_sync)
    }
}

/// The lines about one topic; `alive` are the ids of the brokers there are.
pub fn describe(topic: &TopicView, report: Report, alive: &BTreeSet<i32>, layout: Layout) -> String {
    let mut out = String::new();
    if report.is_full() && (!report.overrides_only || !topic.configs.is_empty()) {
        write_header(&mut out, topic, layout);
    }
    if !report.overrides_only {
        let picked = topic.partitions.iter().filter(|p| report.picks(p, topic.min_insync_replicas, alive));
        for partition in picked {
            write_partition(&mut out, topic, partition, layout);
        }
    }
    out
}

fn write_header(out: &mut String, topic: &TopicView, layout: Layout) {
    let configs: Vec<String> = topic.configs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let factor = topic.partitions.first().map_or(0, PartitionView::replication_factor);
    let _ = write!(out, "Topic: {}", topic.name);
    if let (Layout::Kafka3, Some(id)) = (layout, &topic.topic_id) {
        let _ = write!(out, "\tTopicId: {id}");
    }
    let _ = write!(
        out,
        "\tPartitionCount: {}\tReplicationFactor: {factor}\tConfigs: {}",
        topic.partitions.len(),
        configs.join(",")
    );
    out.push_str(marked(topic));
}

fn write_partition(out: &mut String, topic: &TopicView, partition: &PartitionView, layout: Layout) {
    let leader = partition.leader.map_or_else(|| "none".to_owned(), |id| id.to_string());
    let _ = write!(
        out,
        "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}",
        topic.name,
        partition.partition,
        ids(&partition.replicas),
        ids(&partition.isr)
    );
    if let Some(moving) = &partition.reassignment {
        let _ = write!(
            out,
            "\tAdding Replicas: {}\tRemoving Replicas: {}",
            ids(&moving.adding),
            ids(&moving.removing)
        );
    }
    if layout == Layout::Kafka3 {
        out.push_str("\tElr: N/A\tLastKnownElr: N/A");
    }
    out.push_str(marked(topic));
}

/// The end of a line.
fn marked(topic: &TopicView) -> &'static str {
    if topic.marked_for_deletion { "\tMarkedForDeletion: true\n" } else { "\n" }
}

fn ids(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> TopicView {
        let partition = |partition, leader, isr: &[i32]| PartitionView {
            partition,
            leader,
            replicas: vec![1, 2, 3],
            isr: isr.to_vec(),
            reassignment: None,
        };
        TopicView {
            name: "t".into(),
            topic_id: Some("AAAAAAAAAAAAAAAAAAAAAQ".into()),
            configs: vec![("cleanup.policy".into(), "compact".into()), ("retention.ms".into(), "5".into())],
            min_insync_replicas: Some(2),
            marked_for_deletion: false,
            partitions: vec![
                partition(0, Some(1), &[1, 2, 3]),
                partition(1, Some(2), &[2, 3]),
                partition(2, Some(3), &[3]),
                partition(3, None, &[3]),
            ],
        }
    }

    fn shown(report: Report, layout: Layout) -> String {
        describe(&topic(), report, &BTreeSet::from([1, 3]), layout)
    }

    #[test]
    fn the_shape_of_2_7_1() {
        assert_eq!(
            shown(Report::default(), Layout::Kafka2),
            "Topic: t\tPartitionCount: 4\tReplicationFactor: 3\tConfigs: cleanup.policy=compact,retention.ms=5\n\
             \tTopic: t\tPartition: 0\tLeader: 1\tReplicas: 1,2,3\tIsr: 1,2,3\n\
             \tTopic: t\tPartition: 1\tLeader: 2\tReplicas: 1,2,3\tIsr: 2,3\n\
             \tTopic: t\tPartition: 2\tLeader: 3\tReplicas: 1,2,3\tIsr: 3\n\
             \tTopic: t\tPartition: 3\tLeader: none\tReplicas: 1,2,3\tIsr: 3\n"
        );
    }

    #[test]
    fn the_shape_of_3_9() {
        let text = shown(Report::default(), Layout::Kafka3);
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some(
                "Topic: t\tTopicId: AAAAAAAAAAAAAAAAAAAAAQ\tPartitionCount: 4\tReplicationFactor: 3\t\
                 Configs: cleanup.policy=compact,retention.ms=5"
            )
        );
        assert_eq!(
            lines.next(),
            Some(
                "\tTopic: t\tPartition: 0\tLeader: 1\tReplicas: 1,2,3\tIsr: 1,2,3\tElr: N/A\tLastKnownElr: N/A"
            )
        );
    }

    #[test]
    fn replicas_on_the_move_and_deletions_are_shown() {
        let mut topic = topic();
        topic.marked_for_deletion = true;
        topic.configs.clear();
        topic.partitions.truncate(1);
        topic.partitions[0].reassignment =
            Some(Reassignment { replicas: vec![4, 1, 2, 3], adding: vec![4], removing: vec![3] });
        assert_eq!(
            describe(&topic, Report::default(), &BTreeSet::new(), Layout::Kafka2),
            "Topic: t\tPartitionCount: 1\tReplicationFactor: 3\tConfigs: \tMarkedForDeletion: true\n\
             \tTopic: t\tPartition: 0\tLeader: 1\tReplicas: 1,2,3\tIsr: 1,2,3\tAdding Replicas: 4\t\
             Removing Replicas: 3\tMarkedForDeletion: true\n"
        );
    }

    #[test]
    fn reports_pick_partitions_and_leave_the_header_out() {
        let partitions = |report| -> Vec<String> {
            let text = shown(report, Layout::Kafka2);
            let field = |line: &str| line.split('\t').nth(2).expect("a partition").to_owned();
            text.lines().map(field).collect()
        };
        let with = |set: fn(&mut Report)| {
            let mut report = Report::default();
            set(&mut report);
            partitions(report)
        };
        let names = |ids: &[i32]| ids.iter().map(|id| format!("Partition: {id}")).collect::<Vec<_>>();
        assert_eq!(with(|r| r.under_replicated = true), names(&[1, 2, 3]));
        assert_eq!(with(|r| r.unavailable = true), names(&[1, 3]));
        assert_eq!(with(|r| r.under_min_isr = true), names(&[2, 3]));
        assert_eq!(with(|r| r.at_min_isr = true), names(&[1]));
        let overrides = Report { overrides_only: true, ..Report::default() };
        assert_eq!(shown(overrides, Layout::Kafka2).lines().count(), 1);
        let plain = TopicView { configs: Vec::new(), ..topic() };
        assert_eq!(describe(&plain, overrides, &BTreeSet::new(), Layout::Kafka2), "");
    }
}
