//! Reset plans as comma-separated values: what `--export` prints and `--from-file` reads.
//!
//! `topic,partition,offset` for a single group, `group,topic,partition,offset` for several.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::layout::PartitionName;

/// New offsets by group.
pub type Plans = BTreeMap<String, BTreeMap<PartitionName, i64>>;

/// One line a partition.
pub fn export(plans: &Plans, single_group: bool) -> String {
    let mut out = String::new();
    for (group, plan) in plans {
        for ((topic, partition), offset) in plan {
            if !single_group {
                let _ = write!(out, "{},", quoted(group));
            }
            let _ = writeln!(out, "{},{partition},{offset}", quoted(topic));
        }
    }
    out
}

fn quoted(text: &str) -> String {
    let plain = |c: char| !matches!(c, ',' | '"') && c > ' ';
    if text.chars().all(plain) { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// Reads a plan; lines without a group belong to `single_group`.
pub fn parse(text: &str, single_group: Option<&str>) -> Result<Plans, String> {
    let mut plans = Plans::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fields = fields(line);
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let (group, topic, partition, offset) = match (fields.as_slice(), single_group) {
            ([topic, partition, offset], Some(group)) => (group, *topic, *partition, *offset),
            ([group, topic, partition, offset], _) => (*group, *topic, *partition, *offset),
            ([_, _, _], None) => return Err(bad(index, "names no group, which several groups need")),
            _ => return Err(bad(index, "is not [group,]topic,partition,offset")),
        };
        let partition = partition.trim().parse().map_err(|_| bad(index, "has no number for a partition"))?;
        let offset = offset.trim().parse().map_err(|_| bad(index, "has no number for an offset"))?;
        plans.entry(group.to_owned()).or_default().insert((topic.to_owned(), partition), offset);
    }
    Ok(plans)
}

fn bad(index: usize, what: &str) -> String {
    format!("line {} of the plan {what}", index + 1)
}

/// Cuts at commas outside of quotes; a doubled quote inside stands for itself.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut in_quotes = false;
    let mut chars = line.trim_end_matches('\r').chars().peekable();
    while let Some(c) = chars.next() {
        let field = fields.last_mut().expect("there is always a field");
        match c {
            '"' if in_quotes && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' => in_quotes = !in_quotes,
            ',' if !in_quotes => fields.push(String::new()),
            c => field.push(c),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plans(group: &str) -> Plans {
        let plan = BTreeMap::from([(("t".to_owned(), 0), 5), (("t".to_owned(), 1), 7)]);
        Plans::from([(group.to_owned(), plan)])
    }

    #[test]
    fn what_is_exported_can_be_read_back() {
        let text = export(&plans("g"), true);
        assert_eq!(text, "t,0,5\nt,1,7\n");
        assert_eq!(parse(&text, Some("g")), Ok(plans("g")));
        let text = export(&plans("a \"b\", c"), false);
        assert_eq!(text.lines().next(), Some("\"a \"\"b\"\", c\",t,0,5"));
        assert_eq!(parse(&text, None), Ok(plans("a \"b\", c")));
    }

    #[test]
    fn lines_that_make_no_sense_are_named() {
        let error = |text, group| parse(text, group).unwrap_err();
        assert!(error("t,0,5\n", None).starts_with("line 1 of the plan names no group"));
        assert!(
            error("t,0,5\n\nt,x,5", Some("g"))
                .starts_with("line 3 of the plan has no number for a partition")
        );
        assert!(error("t", Some("g")).contains("[group,]topic,partition,offset"));
    }
}
