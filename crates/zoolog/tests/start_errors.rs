//! What stops a server from starting is told in one line (what, why, what to do) and exit code 1.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use testkit::zoolog::{write_server_properties, write_zoo_cfg};
use testkit::{Server, free_port, wait_until};

/// A server that should have refused to start is ended after this.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sessions as short as the coordination server allows, so that waiting for one to expire takes a moment only.
const SHORT_SESSIONS: &str = "zookeeper.session.timeout.ms=1000\nzookeeper.connection.timeout.ms=5000";

fn zoolog(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zoolog"));
    command.args(args);
    command
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a server that cannot start, and returns the one line it ends with.
#[track_caller]
fn refusal(args: &[&str]) -> String {
    let output = run_to_the_end(args);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{args:?} must end with 1:\n{stdout}\n{stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{args:?} must say one line on stderr:\n{stderr}");
    assert!(lines[0].starts_with("zoolog: "), "{}", lines[0]);
    assert!(!stderr.contains("Error {") && !stderr.contains("Some("), "words, not a debug print: {stderr}");
    lines[0].to_owned()
}

fn run_to_the_end(args: &[&str]) -> Output {
    let dir = TempDir::new().unwrap();
    let (out, err) = (dir.path().join("out"), dir.path().join("err"));
    let mut command = zoolog(args);
    command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
    let mut child = command.spawn().unwrap();
    let ended = wait_until("its end", PATIENCE, || child.try_wait().transpose());
    if ended.is_err() {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    Output { status, stdout: fs::read(out).unwrap(), stderr: fs::read(err).unwrap() }
}

#[track_caller]
fn says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part:?} is not in: {line}");
    }
}

/// A coordination server with short ticks, for brokers to meet at.
fn coordination(dir: &Path) -> Server {
    let port = free_port();
    let config = write_zoo_cfg(dir, port, "tickTime=100").unwrap();
    Server::start(zoolog(&["zookeeper-server", text(&config)]), port, &dir.join("server.log")).unwrap()
}

fn broker(dir: &Path, zookeeper: u16, extra: &str) -> Server {
    let port = free_port();
    let config = broker_config(dir, port, zookeeper, extra);
    Server::start(zoolog(&["kafka-server", &config]), port, &dir.join("server.log")).unwrap()
}

fn broker_config(dir: &Path, port: u16, zookeeper: u16, extra: &str) -> String {
    let extra = format!("{SHORT_SESSIONS}\n{extra}");
    let path = write_server_properties(dir, port, &format!("127.0.0.1:{zookeeper}"), &extra).unwrap();
    text(&path).to_owned()
}

/// `dev` in a directory, ready when this returns.
fn dev(data: &Path) -> Server {
    let (zookeeper, kafka) = (free_port().to_string(), free_port());
    let port = kafka.to_string();
    let args = ["dev", "--data", text(data), "--zookeeper-port", &zookeeper, "--kafka-port", &port];
    let server = Server::start(zoolog(&args), kafka, &data.with_extension("out")).unwrap();
    server.await_log("Ctrl-C stops it").unwrap();
    server
}

fn refused_dev(data: &Path, zookeeper: u16, kafka: u16) -> String {
    let (zookeeper, kafka) = (zookeeper.to_string(), kafka.to_string());
    refusal(&["dev", "--data", text(data), "--zookeeper-port", &zookeeper, "--kafka-port", &kafka])
}

/// A path below a file: nobody can make a directory there, root included.
fn below_a_file(dir: &Path) -> std::path::PathBuf {
    let file = dir.join("a-file");
    fs::write(&file, "").unwrap();
    file.join("data")
}

#[test]
fn a_taken_port_is_named_with_its_owner() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (who, what) = (format!("process {}", std::process::id()), port.to_string());
    let expected = [who.as_str(), what.as_str()];

    let config = write_zoo_cfg(&dir.path().join("zk"), port, "").unwrap();
    says(&refusal(&["zookeeper-server", text(&config)]), &expected);

    let config = broker_config(&dir.path().join("kafka"), port, free_port(), "");
    says(&refusal(&["kafka-server", &config]), &expected);

    says(&refused_dev(&dir.path().join("dev1"), port, free_port()), &expected);
    says(&refused_dev(&dir.path().join("dev2"), free_port(), port), &expected);
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = TempDir::new().unwrap();
    let zookeeper = coordination(&dir.path().join("zk"));
    let config = write_zoo_cfg(&dir.path().join("zk"), free_port(), "").unwrap();
    let line = refusal(&["zookeeper-server", text(&config)]);
    says(&line, &[text(&dir.path().join("zk/data")), "another process"]);

    let _broker = broker(&dir.path().join("kafka"), zookeeper.port, "");
    let config = broker_config(&dir.path().join("kafka"), free_port(), zookeeper.port, "");
    let line = refusal(&["kafka-server", &config]);
    says(&line, &[text(&dir.path().join("kafka/logs")), "another process"]);

    let data = dir.path().join("dev");
    let _dev = dev(&data);
    says(&refused_dev(&data, free_port(), free_port()), &[text(&data), "another process"]);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = TempDir::new().unwrap();
    let nowhere = below_a_file(dir.path());
    let expected = [text(&nowhere), "Not a directory"];

    let cfg = dir.path().join("zoo.cfg");
    fs::write(&cfg, format!("dataDir={}\nclientPort={}\n", nowhere.display(), free_port())).unwrap();
    says(&refusal(&["zookeeper-server", text(&cfg)]), &expected);

    let config =
        broker_config(dir.path(), free_port(), free_port(), &format!("log.dirs={}", nowhere.display()));
    says(&refusal(&["kafka-server", &config]), &expected);

    says(&refused_dev(&nowhere, free_port(), free_port()), &[expected[0], expected[1], "--data"]);
}

#[test]
fn configuration_errors_name_file_and_key() {
    let dir = TempDir::new().unwrap();
    let missing = dir.path().join("missing");
    for server in ["zookeeper-server", "kafka-server"] {
        says(&refusal(&[server, text(&missing)]), &[text(&missing), "No such file"]);
    }
    let file = dir.path().join("config");
    for (server, content, key) in [
        ("zookeeper-server", "clientPort=2181\n", "dataDir"),
        ("zookeeper-server", "dataDir=/tmp/x\nclientPort=soon\n", "clientPort"),
        ("kafka-server", "broker.id=0\n", "zookeeper.connect"),
        ("kafka-server", "zookeeper.connect=127.0.0.1:1\nnum.partitions=many\n", "num.partitions"),
        ("kafka-server", "zookeeper.connect=127.0.0.1:1\nlisteners=nonsense\n", "listeners"),
    ] {
        fs::write(&file, content).unwrap();
        says(&refusal(&[server, text(&file)]), &[text(&file), key]);
    }
}

#[test]
fn a_broker_without_zookeeper_says_where_it_looked() {
    let dir = TempDir::new().unwrap();
    let nobody = free_port();
    let extra = "zookeeper.connection.timeout.ms=300";
    let config = broker_config(dir.path(), free_port(), nobody, extra);
    says(&refusal(&["kafka-server", &config]), &[&format!("127.0.0.1:{nobody}"), "zookeeper.connect"]);
}

#[test]
fn a_second_broker_is_refused() {
    let dir = TempDir::new().unwrap();
    let zookeeper = coordination(&dir.path().join("zk"));
    let first = broker(&dir.path().join("first"), zookeeper.port, "");
    first.await_log("started").unwrap();
    let address = format!("127.0.0.1:{}", first.port);

    let config = broker_config(&dir.path().join("second"), free_port(), zookeeper.port, "broker.id=1");
    says(&refusal(&["kafka-server", &config]), &["broker 0", &address, "one broker"]);

    let config = broker_config(&dir.path().join("third"), free_port(), zookeeper.port, "broker.id=0");
    says(&refusal(&["kafka-server", &config]), &["/brokers/ids/0", &address, "broker.id"]);
    // Neither attempt left a registration behind.
    assert_eq!(registered(zookeeper.port), "[0]");
}

#[test]
fn of_two_brokers_that_start_at_once_one_stays() {
    let dir = TempDir::new().unwrap();
    let zookeeper = coordination(&dir.path().join("zk"));
    let start = |id: usize| {
        let home = dir.path().join(id.to_string());
        let port = free_port();
        let config = broker_config(&home, port, zookeeper.port, &format!("broker.id={id}"));
        Server::spawn(&mut zoolog(&["kafka-server", &config]), port, &home.join("server.log")).unwrap()
    };
    let mut brokers = [start(0), start(1)];
    let ended = wait_until("the end of one of them", PATIENCE, || {
        brokers.iter_mut().position(|broker| broker.wait_exit(Duration::ZERO).is_ok())
    });
    let stays = 1 - ended.unwrap();
    brokers[stays].await_log("started").unwrap();
    says(&brokers[1 - stays].log_text(), &[&format!("zoolog: broker {stays} ("), "one broker"]);
    assert_eq!(registered(zookeeper.port), format!("[{stays}]"));
}

/// The children of `/brokers/ids`.
fn registered(zookeeper: u16) -> String {
    let address = format!("127.0.0.1:{zookeeper}");
    let ids = zoolog(&["zk", "-server", &address, "ls", "/brokers/ids"]).output().unwrap();
    let stdout = String::from_utf8_lossy(&ids.stdout);
    stdout.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_directory_of_another_broker_or_cluster_is_refused() {
    let dir = TempDir::new().unwrap();
    let zookeeper = coordination(&dir.path().join("zk"));
    let home = dir.path().join("kafka");
    let meta = home.join("logs/meta.properties");
    broker(&home, zookeeper.port, "").stop().unwrap();
    let own = fs::read_to_string(&meta).unwrap();

    let config = broker_config(&home, free_port(), zookeeper.port, "broker.id=7");
    says(&refusal(&["kafka-server", &config]), &["broker.id 7", "broker.id 0", text(&meta)]);

    let other: String = own
        .lines()
        .map(|line| if line.starts_with("cluster.id=") { "cluster.id=AAAAAAAAAAAAAAAAAAAAAA" } else { line })
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&meta, other).unwrap();
    let config = broker_config(&home, free_port(), zookeeper.port, "");
    let line = refusal(&["kafka-server", &config]);
    says(&line, &["AAAAAAAAAAAAAAAAAAAAAA", text(&meta), "zookeeper.connect"]);

    let mixed = format!("log.dirs={},{}", dir.path().join("x").display(), home.join("logs").display());
    fs::create_dir_all(dir.path().join("x")).unwrap();
    fs::write(dir.path().join("x/meta.properties"), "version=0\nbroker.id=5\n").unwrap();
    fs::write(&meta, own).unwrap();
    let config = broker_config(&home, free_port(), zookeeper.port, &mixed);
    says(&refusal(&["kafka-server", &config]), &["not consistent", "log.dirs"]);
}
