//! `zkSnapShotToolkit.sh`: shows a snapshot's nodes and sessions, in Apache 3.9's words (`SnapshotFormatter`).
//!
//! Children and sessions are printed in order; the original prints them in that of a hash table.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use bytes::Bytes;
use zk_proto::StatPersisted;
use zk_store::{SnapshotPart, read_snapshot};

use crate::out::{say, say_line};
use crate::zk_cli::date;

const USAGE: &str = "USAGE: SnapshotFormatter [-d|-json] snapshot_file\n       \
    -d dump the data for each znode\n       -json dump znode info in json format";
const INVALID: i32 = 2;
/// Where the original's numbers of nodes in JSON begin.
const FIRST_INODE: u64 = 1001;

#[derive(Debug)]
struct Node {
    data: Option<Bytes>,
    stat: StatPersisted,
    /// Names, in order.
    children: Vec<String>,
}

#[derive(Debug, Default)]
struct Picture {
    nodes: BTreeMap<String, Node>,
    sessions: BTreeMap<i64, i32>,
    /// How many nodes each session owns.
    ephemerals: BTreeMap<i64, usize>,
}

/// Runs the tool; returns the exit code.
pub fn run(args: &[String]) -> i32 {
    let (options, files): (Vec<&str>, Vec<&str>) =
        args.iter().map(String::as_str).partition(|arg| matches!(*arg, "-d" | "-json"));
    // The file comes last.
    let [file] = files[..] else { return refuse(USAGE) };
    if args.last().map(String::as_str) != Some(file) {
        return refuse(USAGE);
    }
    let shown = std::path::absolute(file).unwrap_or_else(|_| file.into());
    let shown = shown.display();
    match std::fs::metadata(file) {
        Err(_) => return refuse(&format!("File '{shown}' does not exist.")),
        Ok(metadata) if metadata.is_dir() => {
            return refuse(&format!("'{shown}' is a directory. it must be a file."));
        }
        Ok(_) => {}
    }
    let (data, json) = (options.contains(&"-d"), options.contains(&"-json"));
    if data && json {
        return refuse("Cannot specify both data dump (-d) and json mode (-json) in same call");
    }
    let picture = match read(Path::new(file)) {
        Ok(picture) => picture,
        Err(error) => {
            eprintln!("{error}");
            return 1;
        }
    };
    match json {
        true => say_json(&picture),
        false => say_details(&picture, data, zxid_of_name(file)),
    }
    0
}

fn refuse(message: &str) -> i32 {
    eprintln!("{message}");
    INVALID
}

fn read(path: &Path) -> Result<Picture, zk_store::StoreError> {
    let mut picture = Picture::default();
    read_snapshot(path, &mut |part| {
        match part {
            SnapshotPart::Session { id, timeout_ms } => drop(picture.sessions.insert(id, timeout_ms)),
            SnapshotPart::Acl { .. } => {}
            SnapshotPart::Node { path, data, stat, .. } => {
                if stat.ephemeral_owner != 0 {
                    *picture.ephemerals.entry(stat.ephemeral_owner).or_default() += 1;
                }
                if let Some((parent, name)) = path.rsplit_once('/') {
                    let parent = picture.nodes.get_mut(parent).ok_or(format!("{path} has no parent"))?;
                    parent.children.push(name.to_owned());
                }
                picture.nodes.insert(path, Node { data, stat, children: Vec::new() });
            }
        }
        Ok(())
    })?;
    picture.nodes.values_mut().for_each(|node| node.children.sort_unstable());
    Ok(picture)
}

/// `snapshot.<hex>`, perhaps compressed; -1 under another name.
fn zxid_of_name(file: &str) -> i64 {
    let name = Path::new(file).file_name().unwrap_or_default().to_string_lossy();
    let number = name.strip_prefix("snapshot.").and_then(|rest| rest.split('.').next());
    number.and_then(|hex| i64::from_str_radix(hex, 16).ok()).unwrap_or(-1)
}

impl Picture {
    /// Every node before its children, with how many of those above it end with it.
    fn walk(&self, mut visit: impl FnMut(&str, &Node, usize)) {
        // Path, and how many lists its end closes.
        let mut waiting = vec![(String::new(), 0)];
        while let Some((path, closes)) = waiting.pop() {
            let Some(node) = self.nodes.get(&path) else { continue };
            visit(&path, node, closes);
            let below = node.children.iter().rev().enumerate().map(|(index, name)| {
                // The last child closes its own list, and those its parent closes.
                (format!("{path}/{name}"), if index == 0 { closes + 1 } else { 0 })
            });
            waiting.extend(below.collect::<Vec<_>>());
        }
    }
}

fn say_details(picture: &Picture, with_data: bool, mut last_zxid: i64) {
    // The root stands in the original's table twice, as "" and as "/".
    say_line!("ZNode Details (count={}):", picture.nodes.len() + 1);
    picture.walk(|path, node, _| {
        let stat = &node.stat;
        last_zxid = last_zxid.max(stat.mzxid).max(stat.pzxid);
        say_line!("----\n{}", if path.is_empty() { "/" } else { path });
        say_line!("  cZxid = {}", hex(stat.czxid));
        say_line!("  ctime = {}", date(stat.ctime_ms));
        say_line!("  mZxid = {}", hex(stat.mzxid));
        say_line!("  mtime = {}", date(stat.mtime_ms));
        say_line!("  pZxid = {}", hex(stat.pzxid));
        say_line!("  cversion = {}", stat.cversion);
        say_line!("  dataVersion = {}", stat.version);
        say_line!("  aclVersion = {}", stat.aversion);
        say_line!("  ephemeralOwner = {}", hex(stat.ephemeral_owner));
        let data = node.data.as_deref().unwrap_or_default();
        match with_data {
            true => say_line!("  data = {}", base64::engine::general_purpose::STANDARD.encode(data)),
            false => say_line!("  dataLength = {}", data.len()),
        }
    });
    say_line!("----\nSession Details (sid, timeout, ephemeralCount):");
    for (id, timeout_ms) in &picture.sessions {
        let ephemerals = picture.ephemerals.get(id).copied().unwrap_or_default();
        say_line!("{}, {timeout_ms}, {ephemerals}", hex(*id));
    }
    say_line!("----\nLast zxid: 0x{last_zxid:x}");
}

/// Java's `%#016x`.
fn hex(number: i64) -> String {
    format!("{number:#016x}")
}

/// ncdu's export format: an array a node with children, an object a node.
fn say_json(picture: &Picture) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let millis = now.as_millis();
    say!("[1,0,{{\"progname\":\"SnapshotFormatter.java\",\"progver\":\"0.01\",\"timestamp\":{millis}}}");
    let mut inode = FIRST_INODE;
    picture.walk(|path, node, closes| {
        let name = path.rsplit_once('/').map_or("/", |(_, name)| name);
        let bytes = node.data.as_ref().map_or(0, Bytes::len);
        let name = serde_json::Value::from(name);
        let open = if node.children.is_empty() { "" } else { "[" };
        say!(",{open}{{\"name\":{name},\"asize\":{bytes},\"dsize\":{bytes},\"dev\":0,\"ino\":{inode}}}");
        inode += 1;
        if node.children.is_empty() {
            say!("{}", "]".repeat(closes));
        }
    });
    say!("]");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_as_the_originals() {
        assert_eq!(hex(0x1_0000_0002), "0x00000100000002");
        assert_eq!((zxid_of_name("/x/snapshot.1f.gz"), zxid_of_name("backup")), (0x1f, -1));
    }

    #[test]
    fn a_walk_visits_parents_first_and_counts_what_ends() {
        let mut picture = Picture::default();
        for (path, children) in [("", vec!["a", "b"]), ("/a", vec!["x"]), ("/a/x", vec![]), ("/b", vec![])] {
            let children = children.into_iter().map(str::to_owned).collect();
            picture.nodes.insert(path.into(), Node { data: None, stat: StatPersisted::default(), children });
        }
        let mut seen = Vec::new();
        picture.walk(|path, _, closes| seen.push((path.to_owned(), closes)));
        let expect = [("", 0), ("/a", 0), ("/a/x", 1), ("/b", 1)];
        assert_eq!(seen, expect.map(|(path, closes)| (path.to_owned(), closes)));
    }
}
