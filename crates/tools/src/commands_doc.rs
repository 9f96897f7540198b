//! Keeps `docs/commands.md` from lying: every tool and every option in the tables stands there, and no other.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{Grammar, TOOLS, zk_cli};

/// The options (or commands) a section of the document lists: the first code span of each table row.
fn listed(section: &str, prefix: &str) -> BTreeSet<String> {
    let rows = section.lines().filter_map(|line| line.strip_prefix(prefix));
    rows.filter_map(|row| Some(row.split(['`', ' ', '=']).next()?.to_owned())).collect()
}

/// What the section of a tool with a grammar of its own lists.
fn arguments(tool: &str) -> BTreeSet<&'static str> {
    match tool {
        "zkCli" => zk_cli::names().collect(),
        "zkCleanup" => ["-n"].into(),
        "zkTxnLogToolkit" => crate::txn_log_toolkit::SPECS.iter().map(|spec| spec.name).collect(),
        "zkSnapShotToolkit" => ["-d", "-json"].into(),
        other => panic!("{other}: say here what its section lists"),
    }
}

#[test]
fn every_option_is_documented_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    let document = std::fs::read_to_string(&path).expect("docs/commands.md is there");
    for tool in TOOLS {
        let heading = format!("\n## {}", tool.names[0]);
        let Some((_, after)) = document.split_once(&heading) else {
            panic!("docs/commands.md has no section{heading}");
        };
        let section = after.split("\n## ").next().unwrap_or(after);
        for name in &tool.names[1..] {
            assert!(section.contains(&format!("`zoolog {name}`")), "{heading}: `zoolog {name}` is missing");
        }
        let (found, expect): (_, BTreeSet<&str>) = match tool.grammar {
            Grammar::Kafka { specs, .. } | Grammar::Native { specs, .. } => {
                (listed(section, "| `--"), specs.iter().map(|spec| spec.name).collect())
            }
            Grammar::Own(_) => (listed(section, "| `"), arguments(tool.names[0])),
        };
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, expect, "what{heading} lists");
    }
}
