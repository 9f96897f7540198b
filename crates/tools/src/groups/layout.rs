//! How `kafka-consumer-groups.sh` lays out its tables: 2.7.1's widths.
//!
//! 3.9 prints the same columns, in parts with other spacing, and has lost some line ends; scripts that split at
//! blanks read both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A topic and one of its partitions.
pub type PartitionName = (String, i32);

/// What stands for a value that is not known.
pub const MISSING: &str = "-";

/// One line of `--describe --offsets`.
#[derive(Debug, Default, Clone)]
pub struct OffsetRow {
    pub topic: String,
    pub partition: i32,
    pub current: Option<i64>,
    pub log_end: Option<i64>,
    /// Consumer id, host and client id of the member that reads it.
    pub member: Option<(String, String, String)>,
}

/// Header and rows; `None` for no rows.
pub fn offsets(group: &str, rows: &[OffsetRow]) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let number = |value: Option<i64>| value.map_or_else(|| MISSING.to_owned(), |n| n.to_string());
    let missing = || (MISSING.to_owned(), MISSING.to_owned(), MISSING.to_owned());
    let mut table = Table::new(&[15, 15, 10, 15, 15, 15, 15, 15, 0], &[2, 3, 4, 5, 8]);
    table.row([
        "GROUP",
        "TOPIC",
        "PARTITION",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ]);
    for row in rows {
        let lag = row.current.filter(|offset| *offset != -1).and_then(|offset| Some(row.log_end? - offset));
        let (consumer, host, client) = row.member.clone().unwrap_or_else(missing);
        table.row([
            group,
            &row.topic,
            &row.partition.to_string(),
            &number(row.current),
            &number(row.log_end),
            &number(lag),
            &consumer,
            &host,
            &client,
        ]);
    }
    Some(format!("\n{}", table.text()))
}

/// One line of `--describe --members`.
#[derive(Debug, Default, Clone)]
pub struct MemberRow {
    pub consumer_id: String,
    /// Empty for a dynamic member.
    pub instance_id: String,
    pub host: String,
    pub client_id: String,
    pub assignment: BTreeSet<PartitionName>,
}

/// Header and rows, with the partitions of each member where asked for; `None` for no rows.
pub fn members(group: &str, rows: &[MemberRow], verbose: bool) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let with_instances = rows.iter().any(|row| !row.instance_id.is_empty());
    let mut table = match with_instances {
        true => Table::new(&[15, 15, 17, 15, 15, 15, 0], &[5, 6]),
        false => Table::new(&[15, 15, 15, 15, 15, 0], &[4, 5]),
    };
    let mut row = |consumer: &str, instance: &str, host: &str, client: &str, count: &str, assigned: &str| {
        let group = if consumer == "CONSUMER-ID" { "GROUP" } else { group };
        let assigned = if verbose { assigned } else { "" };
        match with_instances {
            true => table.row([group, consumer, instance, host, client, count, assigned]),
            false => table.row([group, consumer, host, client, count, assigned]),
        }
    };
    row("CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "ASSIGNMENT");
    for member in rows {
        row(
            &member.consumer_id,
            &member.instance_id,
            &member.host,
            &member.client_id,
            &member.assignment.len().to_string(),
            &assigned(&member.assignment),
        );
    }
    Some(format!("\n{}", table.text()))
}

/// `a(0,1), b(0)`.
fn assigned(partitions: &BTreeSet<PartitionName>) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(partition.to_string());
    }
    if topics.is_empty() {
        return MISSING.to_owned();
    }
    let shown: Vec<String> =
        topics.iter().map(|(topic, list)| format!("{topic}({})", list.join(","))).collect();
    shown.join(", ")
}

/// What `--describe --state` shows; `coordinator` is `host:port (id)`.
pub fn state(group: &str, coordinator: &str, strategy: &str, state: &str, members: usize) -> String {
    let width = coordinator.len().max(25);
    let mut out = String::new();
    let mut line = |cells: [&str; 5]| {
        let [group, coordinator, strategy, state, members] = cells;
        let _ = write!(out, "\n{group:<width$} {coordinator:<25} {strategy:<20} {state:<15} {members}");
    };
    line(["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "#MEMBERS"]);
    line([group, coordinator, strategy, state, &members.to_string()]);
    out.push('\n');
    out
}

/// A group in `--list` with `--state` or `--type`.
#[derive(Debug, Default, Clone)]
pub struct ListRow {
    pub group: String,
    pub kind: String,
    pub state: String,
}

/// The list with the columns that were asked for: 2.7.1's shape for states alone, 3.9's as soon as types are shown.
pub fn list(rows: &[ListRow], with_type: bool, with_state: bool) -> String {
    let longest = rows.iter().map(|row| row.group.len()).max().unwrap_or(0).max(15);
    let mut out = String::new();
    let mut line = |row: &ListRow| {
        let ListRow { group, kind, state } = row;
        let _ = match (with_type, with_state) {
            (false, _) => writeln!(out, "{group:<longest$} {state}"),
            (true, false) => writeln!(out, "{group:<width$} {kind:<20}", width = longest + 10),
            (true, true) => writeln!(out, "{group:<width$} {kind:<20} {state:<20}", width = longest + 10),
        };
    };
    line(&ListRow { group: "GROUP".into(), kind: "TYPE".into(), state: "STATE".into() });
    rows.iter().for_each(&mut line);
    out
}

/// New offsets by group, as `--reset-offsets` shows them.
pub fn new_offsets(plans: &BTreeMap<String, BTreeMap<PartitionName, i64>>) -> String {
    let mut out = String::new();
    if !plans.is_empty() {
        let _ = writeln!(out, "\n{:<30} {:<30} {:<10} {:<15}", "GROUP", "TOPIC", "PARTITION", "NEW-OFFSET");
    }
    for (group, plan) in plans {
        for ((topic, partition), offset) in plan {
            let _ = writeln!(out, "{group:<30} {topic:<30} {partition:<10} {offset:<15}");
        }
    }
    out
}

/// The outcome of `--delete-offsets` by partition; partition -1 where only the topic was named.
pub fn deleted_offsets(results: &BTreeMap<PartitionName, Option<String>>) -> String {
    let mut out = String::new();
    let mut line = |topic: &str, partition: &str, status: &str| {
        let _ = writeln!(out, "{topic:<30} {partition:<15} {status:<15}");
    };
    line("TOPIC", "PARTITION", "STATUS");
    for ((topic, partition), error) in results {
        let partition = if *partition < 0 { "Not Provided".to_owned() } else { partition.to_string() };
        match error {
            None => line(topic, &partition, "Successful"),
            Some(error) => line(topic, &partition, &format!("Error: {error}")),
        }
    }
    format!("\n{out}")
}

/// Left-aligned columns, one blank apart. Some grow with their content, the others keep their width.
struct Table<'a> {
    widths: &'a [usize],
    fixed: &'a [usize],
    rows: Vec<Vec<String>>,
}

impl<'a> Table<'a> {
    /// `widths` are minima; columns in `fixed` stay at them. Width 0 is the last column, not padded.
    fn new(widths: &'a [usize], fixed: &'a [usize]) -> Self {
        Self { widths, fixed, rows: Vec::new() }
    }

    fn row<const N: usize>(&mut self, cells: [&str; N]) {
        debug_assert_eq!(N, self.widths.len(), "a cell for every column");
        self.rows.push(cells.map(str::to_owned).to_vec());
    }

    fn text(&self) -> String {
        let width = |column: usize| {
            let longest = self.rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
            if self.fixed.contains(&column) { self.widths[column] } else { longest.max(self.widths[column]) }
        };
        let widths: Vec<usize> = (0..self.widths.len()).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            let _ = writeln!(out, "{}", cells.join(" "));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_have_a_dash_for_what_is_not_known() {
        let member = Some(("consumer-1-0123456789".into(), "/127.0.0.1".into(), "consumer-1".into()));
        let rows = [
            OffsetRow { topic: "t".into(), partition: 0, current: Some(3), log_end: Some(10), member },
            OffsetRow { topic: "t".into(), partition: 1, current: None, log_end: Some(4), member: None },
        ];
        assert_eq!(
            offsets("g", &rows).expect("rows"),
            "\n\
             GROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID           HOST            CLIENT-ID\n\
             g               t               0          3               10              7               consumer-1-0123456789 /127.0.0.1      consumer-1\n\
             g               t               1          -               4               -               -                     -               -\n"
        );
        assert_eq!(offsets("g", &[]), None);
    }

    #[test]
    fn instance_ids_have_a_column_only_if_there_are_any() {
        let mut row = MemberRow {
            consumer_id: "c".into(),
            host: "/h".into(),
            client_id: "cl".into(),
            assignment: BTreeSet::from([("b".into(), 0), ("a".into(), 10), ("a".into(), 9)]),
            ..MemberRow::default()
        };
        assert_eq!(
            members("g", &[row.clone()], false).expect("rows"),
            "\n\
             GROUP           CONSUMER-ID     HOST            CLIENT-ID       #PARTITIONS     \n\
             g               c               /h              cl              3               \n"
        );
        row.instance_id = "i".into();
        assert_eq!(
            members("g", &[row], true).expect("rows"),
            "\n\
             GROUP           CONSUMER-ID     GROUP-INSTANCE-ID HOST            CLIENT-ID       #PARTITIONS     ASSIGNMENT\n\
             g               c               i                 /h              cl              3               a(9,10), b(0)\n"
        );
    }

    #[test]
    fn states_and_lists() {
        assert_eq!(
            state("g", "127.0.0.1:9092 (0)", "range", "Stable", 2),
            "\n\
             GROUP                     COORDINATOR (ID)          ASSIGNMENT-STRATEGY  STATE           #MEMBERS\n\
             g                         127.0.0.1:9092 (0)        range                Stable          2\n"
        );
        let row = ListRow { group: "g".into(), kind: "Classic".into(), state: "Empty".into() };
        let rows = [row];
        assert_eq!(list(&rows, false, true), "GROUP           STATE\ng               Empty\n");
        assert_eq!(
            list(&rows, true, true),
            "GROUP                     TYPE                 STATE               \n\
             g                         Classic              Empty               \n"
        );
    }

    #[test]
    fn resets_and_deletions() {
        let plan = BTreeMap::from([(("t".to_owned(), 0), 5)]);
        assert_eq!(
            new_offsets(&BTreeMap::from([("g".to_owned(), plan)])),
            "\n\
             GROUP                          TOPIC                          PARTITION  NEW-OFFSET     \n\
             g                              t                              0          5              \n"
        );
        assert_eq!(new_offsets(&BTreeMap::new()), "");
        let results =
            BTreeMap::from([(("t".to_owned(), 0), None), (("u".to_owned(), -1), Some("no".to_owned()))]);
        assert_eq!(
            deleted_offsets(&results),
            "\n\
             TOPIC                          PARTITION       STATUS         \n\
             t                              0               Successful     \n\
             u                              Not Provided    Error: no      \n"
        );
    }
}
