//! `kafka-consumer-groups`.

use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::wait_until;

use crate::bench::{
    CONSUMER, Cluster, GROUPS, Normal, PRODUCER, Ran, TOPICS, compare, exact, ours, ours_command, same,
    theirs, verdict, words_only,
};

/// The releases whose tools are the measure: 2.7.1's output exactly; of 3.9.1's, the words.
type Versions = &'static [(&'static str, Normal)];

#[test]
fn of_kafka_2_7_1() -> Result<()> {
    in_cluster(&Cluster::apache("2.7.1")?, &[("2.7.1", exact)])
}

#[test]
fn of_kafka_3_9_1() -> Result<()> {
    in_cluster(&Cluster::apache("3.9.1")?, &[("3.9.1", words_only)])
}

#[test]
fn of_zoolog() -> Result<()> {
    in_cluster(&Cluster::zoolog()?, &[("2.7.1", exact), ("3.9.1", words_only)])
}

fn in_cluster(cluster: &Cluster, versions: Versions) -> Result<()> {
    prepare(cluster)?;
    let call = |line: &str| format!("--bootstrap-server {} {line}", cluster.bootstrap);
    empty_groups(versions, &call)?;
    resets(versions, cluster, &call)?;
    busy_groups(versions, cluster, &call)?;
    deletions(versions, &call)?;
    verdict()
}

/// A topic with records, and groups of twins that have read some of them.
fn prepare(cluster: &Cluster) -> Result<()> {
    let server = format!("--bootstrap-server {}", cluster.bootstrap);
    for topic in ["orders", "empty"] {
        ensure!(
            ours(TOPICS, &format!("{server} --create --topic {topic} --partitions 2"), "")?.code == Some(0)
        );
    }
    let input: String = (0..40).map(|n| format!("k{n}:v{n}\n")).collect();
    let produce = format!("{server} --topic orders --property parse.key=true --property key.separator=:");
    ensure!(ours(PRODUCER, &produce, &input)?.code == Some(0));
    for group in ["ours", "theirs", "busy"] {
        let line = format!(
            "{server} --topic orders --group {group} --from-beginning --max-messages 40 --timeout-ms 20000"
        );
        let read = ours(CONSUMER, &line, "")?;
        ensure!(read.stdout.lines().count() == 40, "{read:?}");
    }
    Ok(())
}

fn empty_groups(versions: Versions, call: &dyn Fn(&str) -> String) -> Result<()> {
    for (version, normal) in versions.iter().copied() {
        for line in [
            "--describe --group ours",
            "--describe --group ours --offsets --verbose",
            "--describe --group ours --state",
            "--describe --group nobody",
            "--describe --group nobody --state",
            "--describe --group nobody --group ours",
        ] {
            same(version, GROUPS, &call(line), normal)?;
        }
        // Which group comes first is a matter of hashing there.
        let sorted: Normal = |text| {
            let mut lines: Vec<String> = text.lines().map(words_only).collect();
            lines.sort();
            lines.join("\n")
        };
        same(version, GROUPS, &call("--list"), sorted)?;
        same(version, GROUPS, &call("--list --state"), sorted)?;
        same(version, GROUPS, &call("--list --state Stable,Empty"), sorted)?;
        same(version, GROUPS, &call("--list --state odd"), exact)?;
        match version {
            // 3.9.1 prints a header even for no members.
            "2.7.1" => same(version, GROUPS, &call("--describe --group ours --members"), exact)?,
            _ => same(version, GROUPS, &call("--list --type --state empty"), sorted)?,
        };
    }
    Ok(())
}

fn resets(versions: Versions, cluster: &Cluster, call: &dyn Fn(&str) -> String) -> Result<()> {
    let file = cluster.dir().join("plan.csv");
    std::fs::write(&file, "orders,0,3\norders,1,4\n")?;
    let from_file = format!("--from-file {}", file.display());
    for (version, normal) in versions.iter().copied() {
        // Rows come in hash order there, and without line ends in 3.9.1.
        for line in [
            "--to-offset 2 --topic orders:0",
            "--to-offset 999 --topic orders:1",
            "--to-earliest --topic orders:1",
            "--to-latest --topic orders:1",
            "--to-current --topic orders:0",
            "--to-current --topic empty:1",
            "--shift-by -3 --topic orders:0",
            "--shift-by -3 --topic empty:0",
            "--to-datetime 2020-01-01T00:00:00.000 --topic orders:0",
            "--by-duration PT1H --topic orders:0",
            "--to-earliest --topic orders:0 --export",
        ] {
            let line = call(&format!("--reset-offsets --group ours --dry-run {line}"));
            same(version, GROUPS, &line, normal)?;
        }
        // 2.7.1 falls back to the end without a word.
        let future = "--reset-offsets --group ours --dry-run --to-datetime 2099-01-01T00:00:00.000+01:00 --topic orders:0";
        same(version, GROUPS, &call(future), |text| {
            words_only(text).replace(
                "Warn: Partition 0 from topic orders is empty. Falling back to latest known offset. ",
                "",
            )
        })?;
        let unordered: Normal = |text| {
            let mut words: Vec<&str> = text.split_whitespace().collect();
            words.sort_unstable();
            words.join(" ")
        };
        for line in ["--to-earliest --all-topics", "--to-latest --topic orders --topic empty", &from_file] {
            let line = call(&format!("--reset-offsets --group ours --dry-run {line}"));
            same(version, GROUPS, &line, unordered)?;
        }
        twins(
            version,
            &call("--reset-offsets --group TWIN --execute --shift-by -1 --topic orders:0"),
            normal,
        )?;
        same(version, GROUPS, &call("--describe --group ours"), normal)?;
    }
    let mine = ours(GROUPS, &call("--describe --group ours"), "")?;
    let other = ours(GROUPS, &call("--describe --group theirs"), "")?;
    ensure!(
        words_only(&mine.stdout) == words_only(&other.stdout.replace("theirs", "ours")),
        "{mine:?} {other:?}"
    );
    Ok(())
}

/// A group with a member.
fn busy_groups(versions: Versions, cluster: &Cluster, call: &dyn Fn(&str) -> String) -> Result<()> {
    let _member = Member::join(cluster, "busy")?;
    wait_until("the group is stable", Duration::from_secs(30), || {
        let described = ours(GROUPS, &call("--describe --group busy --state"), "").ok()?;
        described.stdout.contains("Stable").then_some(())
    })?;
    for (version, normal) in versions.iter().copied() {
        for line in [
            "--describe --group busy",
            "--describe --group busy --state",
            "--describe --group busy --members",
        ] {
            same(version, GROUPS, &call(line), normal)?;
        }
        same(
            version,
            GROUPS,
            &call("--reset-offsets --group busy --dry-run --to-earliest --topic orders"),
            normal,
        )?;
        same(version, GROUPS, &call("--delete --group busy"), normal)?;
        same(version, GROUPS, &call("--delete-offsets --group busy --topic orders:0"), |text| {
            // The status is `Error: :` in one, `Error: ` in the other.
            words_only(text).replace("Error: :", "Error: ")
        })?;
    }
    // 3.9.1 leaves the topic's name out.
    let verbose = |text: &str| words_only(text).replace("orders(0,1)", "(0,1)");
    for (version, _) in versions {
        same(version, GROUPS, &call("--describe --group busy --members --verbose"), verbose)?;
    }
    Ok(())
}

fn deletions(versions: Versions, call: &dyn Fn(&str) -> String) -> Result<()> {
    for (version, normal) in versions.iter().copied() {
        let line = match version {
            "2.7.1" => "--delete-offsets --group TWIN --topic orders:0",
            _ => "--delete-offsets --group TWIN --topic orders:1",
        };
        twins(version, &call(line), normal)?;
        same(version, GROUPS, &call("--delete-offsets --group nobody --topic orders:0"), |text| {
            words_only(text).replace("Error: :", "Error: ")
        })?;
        same(version, GROUPS, &call("--delete --group nobody"), normal)?;
    }
    let (version, normal) = versions[0];
    twins(version, &call("--delete --group TWIN"), normal)
}

/// Runs a call that changes something: ours on group `ours`, the release's on `theirs`.
fn twins(version: &str, line: &str, normal: Normal) -> Result<()> {
    let mine = ours(GROUPS, &line.replace("TWIN", "ours"), "")?;
    let other = theirs(version, GROUPS, &line.replace("TWIN", "theirs"), "")?;
    // Same width, so that columns stay where they are.
    let renamed = other.stdout.replace("theirs", "ours  ");
    let renamed = renamed.replace("ours  '", "ours'").replace("group ours  ", "group ours");
    compare(line, &mine, &Ran { stdout: renamed, ..other }, normal);
    Ok(())
}

/// A consumer that stays until it is dropped.
struct Member(Child);

impl Member {
    fn join(cluster: &Cluster, group: &str) -> Result<Self> {
        let line = format!("--bootstrap-server {} --topic orders --group {group}", cluster.bootstrap);
        let mut command = ours_command(CONSUMER, &line)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
