//! Four-letter words side by side with Apache ZooKeeper 3.9.3: the same shapes, line by line.
//!
//! Both servers hold the same nodes, watches and sessions; numbers, times, ids and addresses are replaced by
//! placeholders, so what is compared is what a monitoring script parses.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use bytes::Bytes;
use tempfile::TempDir;
use testkit::originals::four_letter_word;
use testkit::{Server, ZooKeeper, Zoolog, free_port};
use zk_client::{ConnectOptions, CreateMode, ZkClient, open_acl};

/// A server with one session that owns a node and watches two paths.
struct Busy {
    server: Server,
    zk: ZkClient,
}

impl Busy {
    async fn new(server: Server) -> Result<Self> {
        let options = ConnectOptions::new(format!("127.0.0.1:{}", server.port)).session_timeout_ms(30_000);
        let (zk, _) = ZkClient::connect(options).await?;
        let data = Some(Bytes::from_static(b"some data"));
        zk.create("/a", data, open_acl(), CreateMode::Persistent).await?;
        zk.create("/a/e", None, open_acl(), CreateMode::Ephemeral).await?;
        zk.get_data("/a", true).await?;
        zk.get_children("/a", true).await?;
        zk.exists("/nope", true).await?;
        Ok(Self { server, zk })
    }

    fn ask(&self, word: &str) -> Result<String> {
        four_letter_word(self.server.port, word)
    }
}

async fn side_by_side(settings: &str) -> Result<(TempDir, Busy, Busy)> {
    let dir = TempDir::new()?;
    let ours = Zoolog::find()?.zookeeper(&dir.path().join("z"), free_port(), settings)?;
    let theirs = ZooKeeper("3.9.3").start(&dir.path().join("a"), free_port(), settings)?;
    Ok((dir, Busy::new(ours).await?, Busy::new(theirs).await?))
}

/// Digits become `N`, hexadecimal ids `X`, dates `D`; what follows a version's first three numbers is dropped.
/// Connections come in no order, so theirs are sorted. Those of earlier words may still be there, in buckets of their
/// own or already gone from them.
fn shape(answer: &str) -> String {
    let mut lines: Vec<String> =
        answer.split('\n').filter(|line| !line.starts_with("0 expire at ")).map(line_shape).collect();
    if let Some(at) = lines.iter().position(|line| line == "Connections dump:") {
        let connections: BTreeSet<String> = lines.drain(at..).collect();
        lines.extend(connections);
    }
    if lines.iter().any(|line| line.starts_with(" /")) {
        lines.sort();
    }
    lines.join("\n")
}

fn line_shape(line: &str) -> String {
    if let Some((head, _)) = line.split_once(" expire at ") {
        return format!("{} expire at D:", numbers(head));
    }
    for version in ["Zookeeper version: ", "zookeeper.version="] {
        if let Some(rest) = line.strip_prefix(version) {
            let (number, built) = rest.split_once(", built on ").unwrap_or((rest, "nothing"));
            let number = number.split('-').next().unwrap_or_default();
            return format!("{version}{number}-H, built on {}", if built == "nothing" { built } else { "D" });
        }
    }
    if line.starts_with("dataDir=") || line.starts_with("dataLogDir=") {
        return line.replace("/z/data", "/a/data");
    }
    numbers(line)
}

/// `0x1f` → `X`, `12.5` and `-1` → `N`.
fn numbers(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if let Some(hex) = rest.strip_prefix("0x") {
            out.push('X');
            rest = hex.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        } else if c.is_ascii_digit() {
            out.push('N');
            rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_have_apaches_shape() -> Result<()> {
    let (_dir, ours, theirs) = side_by_side("").await?;
    let words = [
        "ruok", "isro", "srvr", "stat", "cons", "dump", "wchs", "wchc", "wchp", "dirs", "gtmk", "hash",
        "conf", "srst", "crst", "nope",
    ];
    let mut different = Vec::new();
    for word in words {
        let (a, b) = (theirs.ask(word)?, ours.ask(word)?);
        if shape(&a) != shape(&b) {
            different.push(format!("==== {word}, Apache:\n{a}\n==== {word}, zoolog:\n{b}"));
        }
    }
    ensure!(different.is_empty(), "{}", different.join("\n"));
    ensure!(ours.ask("srvr")?.contains("\nNode count: 7\n"), "not the same nodes: {}", ours.ask("srvr")?);
    ours.zk.close().await?;
    Ok(theirs.zk.close().await?)
}

/// Keys as scrapers know them: `mntr` by name and kind of value, `envi` by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_those_of_apache() -> Result<()> {
    let (_dir, ours, theirs) = side_by_side("").await?;
    let keys = |text: &str| -> BTreeSet<String> {
        text.lines().map(|l| l.split('\t').next().unwrap_or_default().to_owned()).collect()
    };
    let (a, b) = (theirs.ask("mntr")?, ours.ask("mntr")?);
    let invented: Vec<_> = keys(&b).difference(&keys(&a)).cloned().collect();
    ensure!(invented.is_empty(), "Apache has no such keys: {invented:?}");
    // What every release since 3.5 shows for a standalone server; scrapers fail without them.
    for key in [
        "version",
        "avg_latency",
        "max_latency",
        "min_latency",
        "packets_received",
        "packets_sent",
        "num_alive_connections",
        "outstanding_requests",
        "server_state",
        "znode_count",
        "watch_count",
        "ephemerals_count",
        "approximate_data_size",
        "open_file_descriptor_count",
        "max_file_descriptor_count",
    ] {
        ensure!(b.contains(&format!("zk_{key}\t")), "zk_{key} is missing:\n{b}");
    }
    for line in b.lines() {
        let (key, value) = line.split_once('\t').unwrap_or((line, ""));
        let apaches = a.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('\t')).unwrap_or_default();
        let is_number = |v: &str| v.parse::<f64>().is_ok();
        ensure!(is_number(value) == is_number(apaches), "{key} is {value:?}, and Apache's is {apaches:?}");
    }
    let names =
        |text: &str| text.lines().map(|l| l.split('=').next().unwrap_or_default().to_owned()).collect();
    let (a, b): (Vec<String>, Vec<String>) = (names(&theirs.ask("envi")?), names(&ours.ask("envi")?));
    ensure!(a == b, "envi: Apache {a:?}, zoolog {b:?}");
    Ok(())
}

/// A whitelist that is set is obeyed, in Apache's words; `ruok` and the like are refused unless named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whitelist_is_obeyed_in_the_same_words() -> Result<()> {
    let (_dir, ours, theirs) = side_by_side("4lw.commands.whitelist=srvr, mntr").await?;
    for word in ["ruok", "stat", "conf", "wchp", "envi"] {
        let (a, b) = (theirs.ask(word)?, ours.ask(word)?);
        ensure!(a == b && a.contains("not in the whitelist"), "{word}: Apache {a:?}, zoolog {b:?}");
    }
    ensure!(ours.ask("mntr")?.contains("zk_server_state\tstandalone"), "mntr is on the list");
    Ok(())
}
