//! What the scripts say about the other servers of an ensemble, and the scripts around a server's directories
//! (`zkServer.sh status`, `zkServer-initialize.sh`, `zkCleanup.sh`). The servers are listeners that speak like one.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use testkit::free_port;
use testkit::zoolog::repository;

fn script(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env("ZOOLOG", env!("CARGO_BIN_EXE_zoolog"));
    for variable in ["ZOOCFGDIR", "ZOOCFG", "ZOOPIDFILE", "ZOO_LOG_DIR", "MYID", "JMXDISABLE"] {
        command.env_remove(variable);
    }
    command
}

fn bin(name: &str) -> PathBuf {
    repository().join("bin").join(name)
}

#[track_caller]
fn says(command: &mut Command, stdout: &str, code: i32) {
    let Output { stdout: said, stderr, status } = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert_eq!((String::from_utf8_lossy(&said).as_ref(), status.code()), (stdout, Some(code)), "{stderr}");
}

/// A client port that answers every word with `answer`.
fn client_port(answer: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut word = [0; 4];
            let _ = stream.read_exact(&mut word);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

fn serving(mode: &str) -> String {
    format!("Zookeeper version: 3.9.3-x, built on now\nConnections: 1\nZxid: 0x100000000\nMode: {mode}\n")
}

const WAITING: &str = "This ZooKeeper instance is not currently serving requests\n";

/// A directory laid out as an unpacked release, its `bin` a link into this checkout.
struct Installed {
    dir: TempDir,
}

impl Installed {
    fn new(config: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let installed = Self { dir };
        let home = installed.home();
        fs::create_dir_all(home.join("conf")).unwrap();
        fs::create_dir_all(home.join("data")).unwrap();
        std::os::unix::fs::symlink(repository().join("bin"), home.join("bin")).unwrap();
        let text = format!("tickTime=2000\ndataDir={}\n{config}", home.join("data").display());
        fs::write(home.join("conf/zoo.cfg"), text).unwrap();
        fs::write(home.join("data/myid"), "1\n").unwrap();
        installed
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("zookeeper-3.5.7")
    }

    fn status(&self) -> Command {
        let mut command = script(&self.home().join("bin/zkServer.sh"));
        command.arg("status");
        command
    }
}

#[test]
fn status_names_who_is_missing_before_the_last_line() {
    let own = client_port(serving("follower"));
    let (leading, waiting) = (client_port(serving("leader")), client_port(WAITING.into()));
    let (gone, other) = (free_port(), free_port());
    let config = format!(
        "clientPort={own}\nclientPortAddress=127.0.0.1\nserver.1=127.0.0.1:{other}:1\n\
         server.2=127.0.0.1:{other}:1:participant;{leading}\nserver.3=127.0.0.1:{other}:{gone}\n\
         server.4=127.0.0.1:{other}:1:participant;127.0.0.1:{waiting}\nserver.5=127.0.0.1:{other}:{gone}:observer\n"
    );
    let installed = Installed::new(&config);
    let expect = format!(
        "Client port found: {own}. Client address: 127.0.0.1. Client SSL: false.\n\
         Missing: server 3 (127.0.0.1:{gone}): nothing listens on 127.0.0.1:{gone}: the server is not running.\n\
         Not serving: server 4 (127.0.0.1:{waiting}) runs, and waits for a leader.\n\
         Missing: observer 5 (127.0.0.1:{gone}): nothing listens on 127.0.0.1:{gone}: the server is not running.\n\
         Mode: follower\n"
    );
    says(&mut installed.status(), &expect, 0);

    let output = installed.status().output().unwrap();
    let used = format!("Using config: {}/conf/zoo.cfg\n", installed.home().display());
    assert!(
        String::from_utf8(output.stderr).unwrap().ends_with(&used),
        "the directory beside the link is used"
    );
}

#[test]
fn status_without_a_quorum_says_why_and_ends_as_the_original() {
    let (own, gone, other) = (client_port(WAITING.into()), free_port(), free_port());
    let servers: String = (2..=3).map(|n| format!("server.{n}=127.0.0.1:{other}:{}\n", gone + n)).collect();
    let config =
        format!("clientPort={own}\nclientPortAddress=127.0.0.1\nserver.1=127.0.0.1:{other}:1\n{servers}");
    let installed = Installed::new(&config);
    let (two, three) = (gone + 2, gone + 3);
    let expect = format!(
        "Client port found: {own}. Client address: 127.0.0.1. Client SSL: false.\n\
         Missing: server 2 (127.0.0.1:{two}): nothing listens on 127.0.0.1:{two}: the server is not running.\n\
         Missing: server 3 (127.0.0.1:{three}): nothing listens on 127.0.0.1:{three}: the server is not running.\n\
         No quorum: 1 of 3 voters is up and none serves, 2 are needed: start server 2 (127.0.0.1:{two}) or server 3 \
         (127.0.0.1:{three}).\n\
         Error contacting service. It is probably not running.\n"
    );
    says(&mut installed.status(), &expect, 1);
}

#[test]
fn data_directories_are_made_as_by_the_original() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (data, logs, config) = (path("data"), path("logs"), path("zoo.cfg"));
    let initialize = |args: &[&str]| {
        let mut command = script(&bin("zkServer-initialize.sh"));
        command.args(args);
        command
    };
    let file = format!("--configfile={}", config.display());
    says(&mut initialize(&[&file]), &format!("Unable to find config file at {}\n", config.display()), 1);
    fs::write(&config, "clientPort=2181\n").unwrap();
    says(&mut initialize(&[&file]), &format!("Unable to determine dataDir from {}\n", config.display()), 1);

    fs::write(&config, format!("dataDir={}\ndataLogDir={}\n", data.display(), logs.display())).unwrap();
    let none = format!(
        "No myid provided, be sure to specify it in {}/myid if using non-standalone\n",
        data.display()
    );
    says(&mut initialize(&["--configfile", config.to_str().unwrap()]), &none, 0);
    assert!(data.join("version-2").is_dir() && logs.join("version-2").is_dir());
    assert!(data.join("initialize").is_file(), "the mark of a server that may vote while it is empty");

    fs::write(data.join("version-2/log.1"), "x").unwrap();
    let there = "(or use --force to force re-initialization)\n";
    let expect = format!("ZooKeeper data directory already exists at {} {there}", data.display());
    says(&mut initialize(&[&file, "--myid", "7"]), &expect, 1);
    fs::remove_dir_all(data.join("version-2")).unwrap();
    let expect = format!("ZooKeeper txnlog directory already exists at {} {there}", logs.display());
    says(&mut initialize(&[&file, "--myid", "7"]), &expect, 1);

    let expect = "Force enabled, data/txnlog directories will be re-initialized\nUsing myid of 7\n";
    says(&mut initialize(&[&file, "--myid=7", "--force"]), expect, 0);
    assert_eq!(fs::read_to_string(data.join("myid")).unwrap(), "7\n");
    assert_eq!(fs::read_dir(data.join("version-2")).unwrap().count(), 0);

    let unknown = initialize(&["--nonsense"]).output().unwrap();
    let said = String::from_utf8(unknown.stdout).unwrap();
    assert!(said.starts_with("Unknown option: --nonsense\nusage: "), "{said}");
    assert_eq!(unknown.status.code(), Some(1));
}

#[test]
fn cleanup_takes_the_directories_of_the_configuration() {
    let installed = Installed::new("");
    let cleanup = |args: &[&str]| {
        let mut command = script(&installed.home().join("bin/zkCleanup.sh"));
        command.args(args);
        command
    };
    says(&mut cleanup(&["-n", "3"]), "", 0);
    let output = cleanup(&["-n", "2"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "count should be greater than or equal to 3\n");
    assert!(
        String::from_utf8_lossy(&output.stdout)
            .starts_with("Usage:\nPurgeTxnLog dataLogDir [snapDir] -n count\n")
    );
    assert_eq!(output.status.code(), Some(1));
}

/// The command that `zkServer.sh status` is a part of, its exit codes as monitoring systems know them.
#[test]
fn the_exit_code_of_zk_ensemble_tells_the_state() {
    let ensemble = |addresses: String| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zoolog"));
        command.args(["zk", "ensemble", "--server", &addresses]);
        command.output().unwrap().status.code()
    };
    let (leads, follows, waits) =
        (client_port(serving("leader")), client_port(serving("follower")), client_port(WAITING.into()));
    let gone = free_port();
    let at =
        |ports: &[u16]| ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",");
    assert_eq!(ensemble(at(&[leads, follows])), Some(0));
    assert_eq!(ensemble(at(&[leads, follows, gone])), Some(1));
    assert_eq!(ensemble(at(&[waits, gone, gone])), Some(2));
    assert_eq!(ensemble("z1:port".into()), Some(3));
}
