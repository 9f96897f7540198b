//! Keeps `docs/commands.md` from lying: every tool and every option in the tables stands there, and no other.

use std::collections::BTreeSet;
use std::path::Path;

use crate::TOOLS;

/// The options a section of the document lists: the first code span of each table row.
fn listed(section: &str) -> BTreeSet<String> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `--"));
    rows.filter_map(|row| Some(row.split(['`', ' ', '=']).next()?.to_owned())).collect()
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
        if !tool.specs.is_empty() {
            let expect: BTreeSet<String> = tool.specs.iter().map(|spec| spec.name.to_owned()).collect();
            assert_eq!(listed(section), expect, "options of{heading}");
        }
    }
}
