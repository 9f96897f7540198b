//! The tables of `docs/` are written by the code they speak of; this fails when they no longer say the same.
//!
//! `UPDATE_DOCS=1 cargo test -p zoolog --test docs` writes them. Each file has prose, which people write, and parts
//! between `<!-- generated: name -->` and `<!-- end -->`, which belong to this test.

mod docs {
    pub mod broker_configs;
    pub mod coordination;
    pub mod kafka_apis;
}

use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares the named parts of a document with `parts`, or writes them.
fn check(document: &str, parts: &[(&str, String)]) {
    let path = repository().join("docs").join(document);
    let old = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("docs/{document}: {e}"));
    let mut new = old.clone();
    for (name, text) in parts {
        new = replaced(&new, name, text).unwrap_or_else(|| panic!("docs/{document} has no part `{name}`"));
    }
    if new == old {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, new).unwrap_or_else(|e| panic!("docs/{document}: {e}"));
        return;
    }
    let (line, (is, ought)) = (1..)
        .zip(old.lines().zip(new.lines()))
        .find(|(_, (a, b))| a != b)
        .unwrap_or((0, ("(the end)", "(more lines)")));
    panic!(
        "docs/{document} line {line} is not what the code says.\n  there: {is}\n  code:  {ought}\n\
         Write it with: UPDATE_DOCS=1 cargo test -p zoolog --test docs"
    );
}

fn replaced(document: &str, part: &str, text: &str) -> Option<String> {
    let begin = format!("<!-- generated: {part} -->\n");
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once("<!-- end -->")?;
    Some(format!("{before}{begin}\n{text}\n<!-- end -->{after}"))
}

/// A Markdown table; cells must not break it.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | ").replace('\n', " "));
    let mut out = line(head.iter().map(|&h| h.to_owned()).collect());
    out += &format!("|{}\n", "---|".repeat(head.len()));
    for row in rows {
        assert_eq!(row.len(), head.len(), "{row:?}");
        out += &line(row);
    }
    out
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

#[test]
fn kafka_apis() {
    use docs::kafka_apis::{behaviour, not_served, served};
    check("kafka-apis.md", &[("served", served()), ("behaviour", behaviour()), ("not served", not_served())]);
}

#[test]
fn kafka_configs() {
    use docs::broker_configs::{counts, keys, statuses, topics};
    check(
        "kafka-configs.md",
        &[("statuses", statuses()), ("counts", counts()), ("keys", keys()), ("topics", topics())],
    );
}

#[test]
fn zookeeper_configs() {
    use docs::coordination::{families, keys, standings};
    check("zookeeper-configs.md", &[("standings", standings()), ("keys", keys()), ("families", families())]);
}

#[test]
fn four_letter_words() {
    check("four-letter-words.md", &[("words", docs::coordination::words())]);
}
