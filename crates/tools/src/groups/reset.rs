//! `--reset-offsets`: where a group shall go on.

use std::collections::BTreeMap;

use kafka_proto::ErrorCode;

use super::layout::{self, PartitionName};
use super::plan::{self, Plans};
use super::time::{parse_datetime, parse_duration};
use super::{GroupError, Groups, Result, parse_topic_partitions, print_error};
use crate::java_errors;
use crate::out::say;

/// Timestamps that ask for an end of the log.
pub(super) const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

type Offsets = BTreeMap<PartitionName, i64>;

impl Groups<'_> {
    pub(super) async fn reset(&self) -> Result<()> {
        let mut plans = Plans::new();
        for group in self.chosen().await? {
            let state = self.described(&group).await?.group_state;
            let plan = match state.as_str() {
                "Empty" | "Dead" => {
                    let partitions = self.scope(&group).await?;
                    let plan = self.planned(&group, partitions).await?;
                    if self.options.has("execute") {
                        self.commit(&group, &plan).await?;
                    }
                    plan
                }
                state => {
                    print_error(&format!(
                        "Assignments can only be reset if the group '{group}' is inactive, but the current state is \
                         {state}."
                    ));
                    Offsets::new()
                }
            };
            plans.insert(group, plan);
        }
        if self.options.has("export") {
            say!("{}\n", plan::export(&plans, self.single_group().is_some()));
        } else {
            say!("{}", layout::new_offsets(&plans));
        }
        Ok(())
    }

    fn single_group(&self) -> Option<&str> {
        let mut groups = self.options.values("group");
        groups.next().filter(|_| groups.next().is_none())
    }

    /// The partitions `--all-topics` or `--topic` mean; a plan from a file names its own.
    async fn scope(&self, group: &str) -> Result<Vec<PartitionName>> {
        if self.options.has("all-topics") {
            return Ok(self.committed(group).await?.into_keys().collect());
        }
        let mut partitions = Vec::new();
        for arg in self.options.values("topic") {
            match parse_topic_partitions(arg)? {
                Some(named) => partitions.extend(named),
                None => {
                    let found = self.partitions_of(arg).await;
                    let found =
                        found.map_err(|code| GroupError::Failed(java_errors::described(code, None)))?;
                    partitions.extend(found.into_iter().map(|partition| (arg.to_owned(), partition)));
                }
            }
        }
        partitions.sort();
        partitions.dedup();
        Ok(partitions)
    }

    async fn planned(&self, group: &str, partitions: Vec<PartitionName>) -> Result<Offsets> {
        let number = |name| self.options.number::<i64>(name).map_err(GroupError::Usage);
        let has = |name| self.options.has(name);
        if let Some(offset) = number("to-offset")? {
            return self.within_logs(partitions.into_iter().map(|name| (name, offset)).collect()).await;
        }
        if has("to-earliest") {
            return self.log_offsets(&partitions, EARLIEST).await;
        }
        if has("to-latest") {
            return self.log_offsets(&partitions, LATEST).await;
        }
        if let Some(shift) = number("shift-by")? {
            let committed = self.committed(group).await?;
            return self.within_logs(shifted(partitions, &committed, shift)?).await;
        }
        if let Some(text) = self.options.value("to-datetime") {
            let timestamp = parse_datetime(text).map_err(GroupError::Failed)?;
            return self.since(&partitions, timestamp).await;
        }
        if let Some(text) = self.options.value("by-duration") {
            let back = parse_duration(text).map_err(GroupError::Failed)?;
            let now = jiff::Timestamp::now().as_millisecond();
            return self.since(&partitions, now.saturating_sub(back)).await;
        }
        if let Some(path) = self.options.value("from-file") {
            return self.plan_in_file(group, path).await;
        }
        // --to-current; without an offset of its own a partition is read from its end.
        let mut committed = self.committed(group).await?;
        let (with, without): (Vec<_>, Vec<_>) =
            partitions.into_iter().partition(|name| committed.contains_key(name));
        let mut plan = self.log_offsets(&without, LATEST).await?;
        plan.extend(with.into_iter().filter_map(|name| committed.remove_entry(&name)));
        Ok(plan)
    }

    async fn plan_in_file(&self, group: &str, path: &str) -> Result<Offsets> {
        let text = std::fs::read_to_string(path).map_err(|e| GroupError::Failed(format!("{path}: {e}")))?;
        let mut plans = plan::parse(&text, self.single_group()).map_err(GroupError::Failed)?;
        match plans.remove(group) {
            Some(plan) => self.within_logs(plan).await,
            None => {
                print_error(&format!("No reset plan for group {group} found"));
                Ok(Offsets::new())
            }
        }
    }

    /// Offsets by time or end of log; a partition that does not exist fails the command.
    async fn log_offsets(&self, partitions: &[PartitionName], timestamp: i64) -> Result<Offsets> {
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        let mut offsets = Offsets::new();
        for listed in self.client.list_offsets(partitions, timestamp).await? {
            if listed.error != ErrorCode::None {
                return Err(GroupError::Failed(java_errors::described(listed.error, None)));
            }
            offsets.insert((listed.topic, listed.partition), listed.offset);
        }
        Ok(offsets)
    }

    async fn since(&self, partitions: &[PartitionName], timestamp: i64) -> Result<Offsets> {
        let mut offsets = self.log_offsets(partitions, timestamp).await?;
        let without: Vec<PartitionName> =
            offsets.iter().filter(|(_, offset)| **offset < 0).map(|(name, _)| name.clone()).collect();
        for (topic, partition) in &without {
            say!(
                "\nWarn: Partition {partition} from topic {topic} is empty. Falling back to latest known offset.\n"
            );
        }
        offsets.extend(self.log_offsets(&without, LATEST).await?);
        Ok(offsets)
    }

    async fn within_logs(&self, requested: Offsets) -> Result<Offsets> {
        let partitions: Vec<PartitionName> = requested.keys().cloned().collect();
        let starts = self.log_offsets(&partitions, EARLIEST).await?;
        let ends = self.log_offsets(&partitions, LATEST).await?;
        Ok(clamped(requested, &starts, &ends))
    }

    async fn commit(&self, group: &str, plan: &Offsets) -> Result<()> {
        if plan.is_empty() {
            return Ok(());
        }
        let offsets: Vec<(PartitionName, i64)> =
            plan.iter().map(|(name, offset)| (name.clone(), *offset)).collect();
        let results = self.client.commit_offsets(group, &offsets).await?;
        let failed: Vec<String> = results
            .iter()
            .filter(|(_, code)| *code != ErrorCode::None)
            .map(|((topic, partition), code)| format!("{topic}-{partition} ({})", code.name()))
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        Err(GroupError::Failed(format!(
            "Failed altering consumer group offsets for the following partitions: [{}]",
            failed.join(", ")
        )))
    }
}

fn shifted(partitions: Vec<PartitionName>, committed: &Offsets, shift: i64) -> Result<Offsets> {
    let shift_one = |name: PartitionName| match committed.get(&name) {
        Some(offset) => Ok((name, offset.saturating_add(shift))),
        None => Err(GroupError::Usage(format!(
            "Cannot shift offset for partition {}-{} since there is no current committed offset",
            name.0, name.1
        ))),
    };
    partitions.into_iter().map(shift_one).collect()
}

/// No offset lies outside its log; what had to be moved is said on stderr.
fn clamped(requested: Offsets, starts: &Offsets, ends: &Offsets) -> Offsets {
    let clamp = |(name, offset): (PartitionName, i64)| {
        let say_moved = |how: &str, to: i64| {
            eprintln!(
                "WARN New offset ({offset}) is {how} offset for topic partition {}-{}. Value will be set to {to}",
                name.0, name.1
            );
            to
        };
        let offset = match (starts.get(&name), ends.get(&name)) {
            (_, Some(end)) if offset > *end => say_moved("higher than latest", *end),
            (Some(start), _) if offset < *start => say_moved("lower than earliest", *start),
            _ => offset,
        };
        (name, offset)
    };
    requested.into_iter().map(clamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(pairs: &[(i32, i64)]) -> Offsets {
        pairs.iter().map(|(partition, offset)| (("t".to_owned(), *partition), *offset)).collect()
    }

    #[test]
    fn offsets_stay_within_their_logs() {
        let moved = clamped(
            offsets(&[(0, 3), (1, 99), (2, 0)]),
            &offsets(&[(0, 0), (1, 0), (2, 5)]),
            &offsets(&[(0, 10), (1, 10), (2, 10)]),
        );
        assert_eq!(moved, offsets(&[(0, 3), (1, 10), (2, 5)]));
    }

    #[test]
    fn only_committed_offsets_can_be_shifted() {
        let committed = offsets(&[(0, 7)]);
        let names = |partitions: &[i32]| partitions.iter().map(|p| ("t".to_owned(), *p)).collect::<Vec<_>>();
        assert_eq!(shifted(names(&[0]), &committed, -5).expect("shifts"), offsets(&[(0, 2)]));
        match shifted(names(&[0, 1]), &committed, 1) {
            Err(GroupError::Usage(message)) => assert!(message.contains("partition t-1 since"), "{message}"),
            other => panic!("must be refused: {other:?}"),
        }
    }
}
