//! The originals' clients against zoolog, and our zkCli beside theirs.
//!
//! Every script runs on a fresh server, so that even zxids are the same and only times are replaced before outputs are
//! compared.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use testkit::originals::{home, run};
use testkit::{Server, ZooKeeper, Zoolog, free_port};

const SETTINGS: &str = "extendedTypesEnabled=true";

/// Commands both releases know, with every error a user meets.
const SCRIPT: &str = "\
ls /
create /a hello
create /a again
create /no/parent x
create -s /a/s- x
create -e /a/e eph
create -c /a/c cont
create -t 100000 /a/t ttl
create /a/e/child x
create /a/acl data world:anyone:r
create /a/bad data nonsense:x:r
ls /a
ls -s /a
ls -R /a
ls /nope
get /a
get -s /a
get /nope
set /a world
set -s /a world2
set -v 99 /a nope
set -v 2 /a three
stat /a
stat /nope
getAcl /a
getAcl -s /a/acl
setAcl /a/acl world:anyone:cdrwa
setAcl /a world:anyone:cdrwa
set /a/acl x
sync /a
delete /a
delete /nope
delete -v 9 /a/c
delete /a/c
deleteall /a/t
addauth digest u:p
create /a/mine secret auth:u:p:cdrwa
getAcl /a/mine
redo 99
printwatches
printwatches off
printwatches
printwatches on
get -w /a
set /a changed
ls -w /a
create /a/new
ls a
get
ls
create
set /a
stat
deleteall /a
ls /
";

/// Commands that 3.5.7 lacks.
const NEWER: &str = "\
create /b x
getAllChildrenNumber /
getEphemerals
create -e /b/e
getEphemerals /b
whoami
setAcl -R /b world:anyone:cdrwa
create /b/locked x world:anyone:r
setAcl -R /b world:anyone:cdrwa
removewatches /nope
addWatch -m PERSISTENT /b
set /b y
set /b z
get -b /b
get -x /b
history
get /nope
";

/// One of the command lines.
#[derive(Debug, Clone, Copy)]
enum Tool {
    Ours,
    Apache(&'static str),
}

impl Tool {
    fn run(self, server: &Server, args: &[&str], script: &str) -> Result<Output> {
        let mut command = match self {
            Self::Ours => {
                let mut command = Zoolog::find()?.command();
                command.arg("zkCli");
                command
            }
            Self::Apache(version) => zoo_keeper_main(version)?,
        };
        command.arg("-server").arg(format!("127.0.0.1:{}", server.port)).args(args);
        run(command, script.as_bytes())
    }
}

/// Without JLine, which prints prompts and echoes what is not typed; and without its own log on stdout.
fn zoo_keeper_main(version: &str) -> Result<Command> {
    let home = home(&format!("zookeeper-{version}"))?;
    let mut jars = Vec::new();
    for entry in std::fs::read_dir(home.join("lib"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !["jline", "logback", "slf4j-log4j", "slf4j-reload4j"].iter().any(|skip| name.starts_with(skip)) {
            jars.push(path.to_string_lossy().into_owned());
        }
    }
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-cp"]).arg(jars.join(":"));
    command.arg("org.apache.zookeeper.ZooKeeperMain");
    Ok(command)
}

fn zoolog() -> Result<(TempDir, Server)> {
    let dir = TempDir::new()?;
    let server = Zoolog::find()?.zookeeper(dir.path(), free_port(), SETTINGS)?;
    Ok((dir, server))
}

fn apache() -> Result<(TempDir, Server)> {
    let dir = TempDir::new()?;
    let server = ZooKeeper("3.9.3").start(dir.path(), free_port(), SETTINGS)?;
    Ok((dir, server))
}

/// What a run printed, times and ports replaced.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    stdout: Vec<String>,
    /// Watches that fired. They come between the lines of stdout whenever they come.
    events: Vec<String>,
    stderr: Vec<String>,
    code: Option<i32>,
}

impl Shown {
    fn new(output: &Output, port: u16) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&port.to_string(), "PORT");
        let lines = |text: &str| -> Vec<String> {
            text.lines().filter(|l| !l.starts_with("SLF4J:")).map(without_times).collect()
        };
        // Another thread prints events, between any two lines of the first, and the end may cut it short.
        let (events, stdout): (Vec<_>, Vec<_>) = lines(&text(&output.stdout))
            .into_iter()
            .filter(|l| !l.is_empty() && l != "WATCHER::")
            .partition(|l| l.starts_with("WatchedEvent"));
        // The session's own come when they come, or too late.
        let events = events.into_iter().filter(|e| !e.contains("type:None")).collect();
        Self { stdout, events, stderr: lines(&text(&output.stderr)), code: output.status.code() }
    }

    fn same_as(&self, other: &Self, who: &str) -> Result<()> {
        let diff = |a: &[String], b: &[String]| {
            let at = (0..a.len().max(b.len())).find(|i| a.get(*i) != b.get(*i));
            at.map(|i| {
                let around = |l: &[String]| l[i.saturating_sub(3)..(i + 4).min(l.len())].join("\n");
                format!("line {i}\n---- expected\n{}\n---- got\n{}", around(a), around(b))
            })
        };
        if let Some(why) = diff(&self.stdout, &other.stdout) {
            anyhow::bail!("{who}: stdout differs at {why}");
        }
        if let Some(why) = diff(&self.events, &other.events) {
            anyhow::bail!("{who}: events differ at {why}");
        }
        if let Some(why) = diff(&self.stderr, &other.stderr) {
            anyhow::bail!("{who}: stderr differs at {why}");
        }
        ensure!(self.code == other.code, "{who}: exit code {:?} instead of {:?}", other.code, self.code);
        Ok(())
    }
}

fn without_times(line: &str) -> String {
    for key in ["ctime = ", "mtime = "] {
        if let Some(time) = line.strip_prefix(key) {
            let shape: String = time.chars().map(|c| if c.is_ascii_digit() { 'N' } else { c }).collect();
            // Names of days and months have three letters, as in `Thu Nov 26 01:31:41 UTC 2026`.
            return format!("{key}{} characters, {}", shape.len(), shape.matches("NN:NN:NN").count());
        }
    }
    line.to_owned()
}

fn script(tool: Tool, (_dir, server): &(TempDir, Server), text: &str) -> Result<Shown> {
    let shown = Shown::new(&tool.run(server, &[], text)?, server.port);
    ensure!(shown.stdout.len() > 20, "{tool:?} printed next to nothing: {shown:?}");
    Ok(shown)
}

#[test]
fn apaches_zkcli_3_9_3_and_ours_print_the_same() -> Result<()> {
    let text = format!("{SCRIPT}{NEWER}");
    let original = script(Tool::Apache("3.9.3"), &apache()?, &text)?;
    let on_zoolog = script(Tool::Apache("3.9.3"), &zoolog()?, &text)?;
    original.same_as(&on_zoolog, "Apache's zkCli 3.9.3 on zoolog")?;
    let ours = script(Tool::Ours, &zoolog()?, &text)?;
    original.same_as(&ours, "our zkCli")
}

#[test]
fn apaches_zkcli_3_5_7_works_as_on_apache() -> Result<()> {
    let original = script(Tool::Apache("3.5.7"), &apache()?, SCRIPT)?;
    let on_zoolog = script(Tool::Apache("3.5.7"), &zoolog()?, SCRIPT)?;
    original.same_as(&on_zoolog, "Apache's zkCli 3.5.7 on zoolog")
}

/// One command on the command line: what scripts do most.
#[test]
fn one_shot_commands_print_and_end_alike() -> Result<()> {
    let server = zoolog()?;
    Tool::Ours.run(&server.1, &[], "create /one 1\ncreate /one/a\ncreate /one/b\n")?;
    for args in [&["ls", "/one"][..], &["get", "/one"], &["get", "/nope"], &["create", "/one", "x"], &["ls"]]
    {
        let [ours, theirs] = [Tool::Ours, Tool::Apache("3.9.3")]
            .map(|tool| -> Result<Shown> { Ok(Shown::new(&tool.run(&server.1, args, "")?, server.1.port)) });
        theirs?.same_as(&ours?, &format!("{args:?}"))?;
    }
    Ok(())
}

/// An unknown command shows the list of commands: all of ours are Apache's, or known from 3.4.
#[test]
fn the_list_of_commands_is_apaches() -> Result<()> {
    let server = zoolog()?;
    let list = |tool: Tool| -> Result<BTreeSet<String>> {
        let output = tool.run(&server.1, &[], "help\n")?;
        let shown = Shown::new(&output, server.1.port);
        ensure!(shown.stderr.iter().any(|l| l == "Command not found: Command not found help"), "{shown:?}");
        Ok(shown.stderr.iter().filter(|l| l.starts_with('\t')).cloned().collect())
    };
    let (ours, theirs) = (list(Tool::Ours)?, list(Tool::Apache("3.9.3"))?);
    let own: Vec<_> = ours.difference(&theirs).map(|l| l.trim()).collect();
    ensure!(own.is_empty(), "commands Apache does not have: {own:?}");
    ensure!(ours.len() > 20, "the list is short: {ours:?}");
    Ok(())
}

/// Debian's C client (`libzookeeper-mt-dev`), which most other languages build on.
#[test]
fn the_c_client_works() -> Result<()> {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/c/zookeeper_client.c");
    let dir = TempDir::new()?;
    let program = dir.path().join("client");
    let mut cc = Command::new("cc");
    cc.args(["-Wall", "-DTHREADED", "-o"]).arg(&program).arg(&source).arg("-lzookeeper_mt");
    let built = run(cc, b"").context("a C compiler is needed")?;
    let why = String::from_utf8_lossy(&built.stderr).into_owned();
    ensure!(
        built.status.success(),
        "the C client does not build (apt-get install libzookeeper-mt-dev):\n{why}"
    );
    for (_dir, server) in [apache()?, zoolog()?] {
        let mut client = Command::new(&program);
        client.arg(format!("127.0.0.1:{}", server.port));
        let output = run(client, b"")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "after\n{said}\n{why}\n{}", server.log_text());
    }
    Ok(())
}
