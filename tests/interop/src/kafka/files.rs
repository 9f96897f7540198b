//! The files of a stopped broker's log directory: which there are, and what the small text files say.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

/// Relative path → the lines of a text file that two makes must agree on; nothing for other files.
pub type Files = BTreeMap<String, Vec<String>>;

/// Text files; all but the last two lie in the directory itself. The clean marker is none: 2.7.1 leaves it empty and
/// reads nothing of it.
const TEXTS: [&str; 6] = [
    "meta.properties",
    "recovery-point-offset-checkpoint",
    "log-start-offset-checkpoint",
    "replication-offset-checkpoint",
    "leader-epoch-checkpoint",
    "partition.metadata",
];

/// Files whose presence means nothing: Kafka 3.9.1 removes its lock file at the end, 2.7.1 and ours do not; both write the
/// cleaner's checkpoint with nothing in it, ours once something was cleaned.
const LEFT_OUT: [&str; 2] = [".lock", "cleaner-offset-checkpoint"];

/// Directories that wait for their removal have names made by chance, and go when their time has come: they are left out.
pub fn list(logs: &Path) -> Result<Files> {
    let mut files = Files::new();
    for entry in std::fs::read_dir(logs)? {
        let path = entry?.path();
        if path.is_dir() && !path.to_string_lossy().ends_with("-delete") {
            for entry in std::fs::read_dir(&path)? {
                add(&mut files, logs, &entry?.path())?;
            }
        } else if path.is_file() {
            add(&mut files, logs, &path)?;
        }
    }
    Ok(files)
}

fn add(files: &mut Files, logs: &Path, path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if LEFT_OUT.contains(&name.as_str()) {
        return Ok(());
    }
    let mut lines = Vec::new();
    if TEXTS.contains(&name.as_str()) {
        let text = std::fs::read_to_string(path)?;
        lines.extend(text.lines().filter(|line| !line.starts_with('#')).map(even_out));
        // Java's properties and checkpoints come in the order of a hash map.
        let first_entry = if name.ends_with("checkpoint") { 2.min(lines.len()) } else { 0 };
        lines[first_entry..].sort();
    }
    files.insert(path.strip_prefix(logs)?.to_string_lossy().into_owned(), lines);
    Ok(())
}

/// Ids made by chance are compared by their shape.
fn even_out(line: &str) -> String {
    for key in ["cluster.id=", "topic_id: "] {
        if let Some(id) = line.strip_prefix(key) {
            return format!("{key}<{} characters>", id.len());
        }
    }
    line.to_owned()
}

/// The differences in words, empty if there are none.
pub fn differences(one: &Files, other: &Files) -> String {
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let different = names.into_iter().filter(|name| one.get(*name) != other.get(*name));
    let lines: Vec<String> =
        different.map(|n| format!("{n}\n  one:   {:?}\n  other: {:?}", one.get(n), other.get(n))).collect();
    lines.join("\n")
}
