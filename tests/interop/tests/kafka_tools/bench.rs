//! A cluster, and two sets of tools to run against it.

use std::cell::RefCell;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use testkit::originals::{home, run};
use testkit::{Kafka, Server, ZooKeeper, Zoolog, free_port, wait_until};

/// A broker with its ZooKeeper.
pub struct Cluster {
    pub bootstrap: String,
    pub zookeeper: String,
    _servers: Vec<Server>,
    dir: TempDir,
}

impl Cluster {
    pub fn apache(version: &'static str) -> Result<Self> {
        let dir = TempDir::new()?;
        let (zookeeper_port, port) = (free_port(), free_port());
        let zookeeper = format!("127.0.0.1:{zookeeper_port}");
        let servers = vec![
            ZooKeeper("3.9.3").start(&dir.path().join("zookeeper"), zookeeper_port, "")?,
            Kafka(version).start(&dir.path().join("kafka"), port, &zookeeper, "")?,
        ];
        Ok(Self { bootstrap: format!("127.0.0.1:{port}"), zookeeper, _servers: servers, dir })
    }

    pub fn zoolog() -> Result<Self> {
        let dir = TempDir::new()?;
        let (server, zookeeper_port) = Zoolog::find()?.dev(&dir.path().join("dev"))?;
        let bootstrap = format!("127.0.0.1:{}", server.port);
        let cluster =
            Self { bootstrap, zookeeper: format!("127.0.0.1:{zookeeper_port}"), _servers: vec![server], dir };
        // The port is open before the broker has registered.
        let registered = format!("-server {} ls /brokers/ids", cluster.zookeeper);
        wait_until("the broker is registered", Duration::from_secs(10), || {
            ours(ZK_CLI, &registered, "").ok()?.stdout.ends_with("[0]\n").then_some(())
        })?;
        Ok(cluster)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// A tool's name here, and its class in a release.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    name: &'static str,
    class_2_7: &'static str,
    class_3_9: &'static str,
}

pub const TOPICS: Tool = Tool {
    name: "kafka-topics",
    class_2_7: "kafka.admin.TopicCommand",
    class_3_9: "org.apache.kafka.tools.TopicCommand",
};
pub const GROUPS: Tool = Tool {
    name: "kafka-consumer-groups",
    class_2_7: "kafka.admin.ConsumerGroupCommand",
    class_3_9: "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
};
pub const PRODUCER: Tool = Tool {
    name: "kafka-console-producer",
    class_2_7: "kafka.tools.ConsoleProducer",
    class_3_9: "kafka.tools.ConsoleProducer",
};
pub const CONSUMER: Tool = Tool {
    name: "kafka-console-consumer",
    class_2_7: "kafka.tools.ConsoleConsumer",
    class_3_9: "org.apache.kafka.tools.consumer.ConsoleConsumer",
};

const ZK_CLI: Tool = Tool { name: "zkCli", class_2_7: "", class_3_9: "" };

/// What a tool did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { stdout: text(&output.stdout), stderr: text(&output.stderr), code: output.status.code() }
    }
}

pub fn ours_command(tool: Tool, line: &str) -> Result<Command> {
    let mut command = Zoolog::find()?.command();
    command.arg(tool.name).args(words(line));
    Ok(command)
}

/// Runs our tool; `line` is split at blanks, `'…'` keeps them.
pub fn ours(tool: Tool, line: &str, input: &str) -> Result<Ran> {
    Ok(run(ours_command(tool, line)?, input.as_bytes())?.into())
}

/// Runs a release's tool, its log switched off: with it would come stack traces.
pub fn theirs(version: &str, tool: Tool, line: &str, input: &str) -> Result<Ran> {
    let home = home(&format!("kafka-{version}"))?;
    let silent = std::env::temp_dir().join(format!("zoolog-interop-{}.log4j", std::process::id()));
    std::fs::write(&silent, "log4j.rootLogger=OFF\n")?;
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]);
    command.arg(format!("-Dlog4j.configuration=file:{}", silent.display()));
    command.arg("-cp").arg(format!("{}/lib/*", home.display()));
    command.arg(if version.starts_with('2') { tool.class_2_7 } else { tool.class_3_9 });
    command.args(words(line));
    Ok(run(command, input.as_bytes()).context("java")?.into())
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// How outputs are made comparable.
pub type Normal = fn(&str) -> String;

pub fn exact(text: &str) -> String {
    text.to_owned()
}

/// Blank runs are one blank, lines and blank lines at the ends do not count: for 3.9's other spacing.
pub fn words_only(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same call by both: exit codes and standard output must be the same.
pub fn same(version: &str, tool: Tool, line: &str, normal: Normal) -> Result<Ran> {
    let (one, other) = (ours(tool, line, "")?, theirs(version, tool, line, "")?);
    compare(&format!("{version} {line}"), &one, &other, normal);
    Ok(one)
}

thread_local! {
    /// Found in this thread's test, to be shown all together.
    static DIFFERENCES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Notes a difference, for [`verdict`].
pub fn compare(what: &str, ours: &Ran, theirs: &Ran, normal: Normal) {
    if normal(&ours.stdout) == normal(&theirs.stdout) && ours.code == theirs.code {
        return;
    }
    let shown = |ran: &Ran| format!("({:?})\n{}{}", ran.code, ran.stdout, ran.stderr);
    let text = format!("==== {what}\n-- ours {}\n-- theirs {}", shown(ours), shown(theirs));
    DIFFERENCES.with_borrow_mut(|all| all.push(text));
}

/// Fails if a comparison of this test has.
pub fn verdict() -> Result<()> {
    let all = DIFFERENCES.take();
    ensure!(all.is_empty(), "{} differences\n{}", all.len(), all.join("\n"));
    Ok(())
}
