//! zkCli beside Apache 3.9.3's: the same commands against the same server, both streams and exit codes compared.

use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use testkit::originals::{home, run};
use testkit::{Server, ZooKeeper, Zoolog, free_port};

#[test]
fn on_apache_zookeeper_3_9_3() -> Result<()> {
    let (dir, port) = (TempDir::new()?, free_port());
    let server = ZooKeeper("3.9.3").start(dir.path(), port, "")?;
    compare_all(&server)
}

#[test]
fn on_zoolog() -> Result<()> {
    let (dir, port) = (TempDir::new()?, free_port());
    let server = Zoolog::find()?.zookeeper(dir.path(), port, "extendedTypesEnabled=true")?;
    compare_all(&server)
}

/// One command a call; TWIN is a subtree of one's own.
const ONE_SHOT: &[&str] = &[
    "create TWIN",
    "create TWIN/a hello",
    "create TWIN/a hello",
    "create TWIN/b",
    "create TWIN/none/below x",
    "create -s TWIN/seq- x",
    "create -c TWIN/container",
    "create -c -e TWIN/container2",
    "create -t 100000 TWIN/ttl x",
    "create -t x TWIN/ttl2 x",
    "create -t 5 -e TWIN/ttl3",
    "create TWIN/acl x world:anyone:r",
    "create TWIN/badacl x world:anyone",
    "create relative",
    "create //double",
    "create",
    "create TWIN/a/deep",
    "create TWIN/a/deep/deeper",
    "ls TWIN",
    "ls -R TWIN",
    "ls TWIN/a",
    "ls TWIN/nope",
    "ls",
    "ls -x TWIN",
    "get TWIN/a",
    "get TWIN/b",
    "get -b TWIN/a",
    "get -x TWIN/a",
    "get TWIN/nope",
    "get TWIN/a extra",
    "set TWIN/a world",
    "set -v 7 TWIN/a world",
    "set TWIN/a",
    "set TWIN/nope x",
    "set -b TWIN/a d29ybGQ=",
    "getAcl TWIN/a",
    "getAcl TWIN/nope",
    "setAcl TWIN/a world:anyone:cdrwa,ip:127.0.0.1:r",
    "setAcl -v 9 TWIN/a world:anyone:cdrwa",
    "setAcl TWIN/a nonsense",
    "getAcl TWIN/a",
    "setAcl -R TWIN world:anyone:cdrwa",
    "stat TWIN/nope",
    "getAllChildrenNumber TWIN",
    "getEphemerals",
    "getEphemerals TWIN",
    "sync TWIN",
    "sync TWIN/nope",
    "whoami",
    "delete TWIN",
    "delete -v 99 TWIN/b",
    "delete TWIN/b",
    "delete TWIN/nope",
    "deleteall TWIN/nope",
    "removewatches TWIN/a",
    "addauth digest me:secret",
    "addauth",
    "config",
    "config -c",
    "config -s -w",
    "create TWIN/quota x",
    "create TWIN/quota/below x",
    "setquota TWIN/quota",
    "setquota -n 5",
    "setquota -n 0 TWIN/quota",
    "setquota -b -1 TWIN/quota",
    "setquota -n x TWIN/quota",
    "setquota -n 5 -b 3 TWIN/quota",
    "setquota -n 5 TWIN/nope",
    "setquota -n 5 relative",
    "setquota -n 5 /zookeeper/quota/x",
    "setquota -n 1 TWIN/quota",
    "setquota -B 100 TWIN/quota",
    "setquota -N 7 TWIN/quota",
    "setquota -b 1 TWIN/quota",
    "setquota -n 5 TWIN/quota/below",
    "setquota -n 5 TWIN",
    "listquota TWIN/quota",
    "listquota TWIN/nope",
    "listquota",
    "create TWIN/quota/second abc",
    "listquota TWIN/quota",
    "delquota -n TWIN/quota",
    "delquota -b -n TWIN/quota",
    "delquota -N TWIN/quota",
    "listquota TWIN/quota",
    "delquota TWIN/nope",
    "delquota",
    "delquota TWIN/quota",
    "listquota TWIN/quota",
    "ls /zookeeper/quota",
    "reconfig",
    "reconfig -s",
    "reconfig -x",
    "reconfig -add 9=localhost:1:2;3 -members 1=localhost:1:2;3",
    "reconfig -members 1=localhost:1:2;3 -file /nowhere",
    "reconfig -file /nowhere",
    "reconfig -v zz -add 9=localhost:1:2;3",
    "reconfig -add",
    "reconfig -add 9=localhost:1:2;3",
    "reconfig -remove 1",
    "deleteall TWIN",
];

/// Whole conversations, by standard input. Ephemerals are here because the original leaves its one-shot session to expire.
const SPOKEN: &[&str] = &[
    "create TWIN\ncreate -e TWIN/e x\ncreate TWIN/e/below\ncreate -s -e TWIN/e-\ngetEphemerals TWIN\nquit\n",
    "set TWIN x\nget -s TWIN\nls /nope\nquit\n",
    "ls TWIN\nredo 0\nhistory\nredo 99\n\nquit\n",
    "get -w TWIN\nset TWIN y\nprintwatches\nprintwatches off\nset TWIN z\nquit\n",
    "addauth digest me:secret\ncreate TWIN/mine x auth::cdrwa\ngetAcl TWIN/mine\nquit\n",
    "create TWIN/q 'two words'\nget TWIN/q\ncreate TWIN/p \"it's\"\nget TWIN/p\nquit\n",
    "deleteall TWIN\nclose\nls /\nquit\n",
];

fn compare_all(server: &Server) -> Result<()> {
    let mut differences = Vec::new();
    let mut check = |what: &str, mine: String, other: String| {
        if mine != other {
            differences.push(format!("==== {what}\n-- ours\n{mine}\n-- theirs\n{other}"));
        }
    };
    for line in ONE_SHOT {
        let words = |twin: &str| -> Vec<String> {
            line.split_whitespace().map(|word| word.replace("TWIN", twin)).collect()
        };
        let mine = shown(ours(server, &words("/ours"), "")?, "");
        let other = shown(theirs(server, &words("/theirs"), "")?, "").replace("/theirs", "/ours");
        check(line, mine, other);
    }
    for text in SPOKEN {
        let (mine, other) = (text.replace("TWIN", "/ours"), text.replace("TWIN", "/theirs"));
        let mine = shown(ours(server, &[], &mine)?, &mine);
        let other = shown(theirs(server, &[], &other)?, &other).replace("/theirs", "/ours");
        check(text, mine, other);
    }
    ensure!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
    Ok(())
}

fn ours(server: &Server, words: &[String], input: &str) -> Result<std::process::Output> {
    let mut command = Zoolog::find()?.command();
    command.args(["zkCli", "-server"]).arg(format!("127.0.0.1:{}", server.port)).args(words);
    run(command, input.as_bytes())
}

fn theirs(server: &Server, words: &[String], input: &str) -> Result<std::process::Output> {
    let home = home("zookeeper-3.9.3")?;
    let silent = std::env::temp_dir().join(format!("zoolog-interop-{}.xml", std::process::id()));
    std::fs::write(&silent, "<configuration><root level=\"OFF\"/></configuration>\n")?;
    let mut command = Command::new("java");
    command.args([
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Xmx128m",
        "-Dzookeeper.jline.disable=true",
    ]);
    command.arg(format!("-Dlogback.configurationFile={}", silent.display()));
    command.arg("-cp").arg(format!("{}/lib/*", home.display()));
    command.args(["org.apache.zookeeper.ZooKeeperMain", "-server"]);
    command.arg(format!("127.0.0.1:{}", server.port)).args(words);
    run(command, input.as_bytes())
}

/// Both streams and the code, without what differs from call to call: times, transaction ids, session ids.
fn shown(output: std::process::Output, typed: &str) -> String {
    let stream = |bytes: &[u8]| -> String {
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        for exception in ["UnrecognizedOption", "MissingOption", "MissingArgument", "AlreadySelected"] {
            text = text.replace(&format!("org.apache.commons.cli.{exception}Exception: "), "");
        }
        // Another thread prints events, between any two lines of the first, and the end may cut it short.
        let (events, lines): (Vec<_>, Vec<_>) = text
            .lines()
            .filter(|line| !is_dialogue(line, typed))
            .map(steady)
            .partition(|line| line.starts_with("WatchedEvent"));
        [lines, events].concat().join("\n")
    };
    format!("({:?})\n{}\n--\n{}", output.status.code(), stream(&output.stdout), stream(&output.stderr))
}

/// Prompts with what was typed, which only the original shows where nobody types, and the session's own events, which may
/// come too late to be printed.
fn is_dialogue(line: &str, typed: &str) -> bool {
    let echoed = typed.lines().any(|words| words == line);
    let of_the_session =
        line == "WATCHER::" || (line.starts_with("WatchedEvent") && line.contains("type:None"));
    echoed
        || of_the_session
        || line.starts_with("[zk: ")
        || line.starts_with("JLine support is ")
        || line.is_empty()
}

fn steady(line: &str) -> String {
    let varies = ["cZxid", "ctime", "mZxid", "mtime", "pZxid", "ephemeralOwner"];
    match line.split_once(" = ") {
        Some((name, _)) if varies.contains(&name) => format!("{name} = …"),
        _ => match line.split_once(" zxid: ") {
            Some((event, _)) => format!("{event} zxid: …"),
            None => line.to_owned(),
        },
    }
}
