//! The start scripts speak and end as the originals do (`zkServer.sh` of 3.9.3, Kafka's `zookeeper-server-*.sh`).

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use testkit::zoolog::repository;
use testkit::{free_port, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

/// A directory with a configuration, and whatever server the scripts leave behind is ended with it.
struct Site {
    dir: TempDir,
    port: u16,
}

impl Site {
    fn new(more: &str) -> Self {
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let site = Self { dir, port };
        let data = site.path("data");
        let text = format!("tickTime=2000\ndataDir={}\nclientPort={port}\n{more}", data.display());
        fs::write(site.config(), text).unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("zoo.cfg")
    }

    fn pid_file(&self) -> PathBuf {
        self.path("data/zookeeper_server.pid")
    }

    fn pid(&self) -> u32 {
        fs::read_to_string(self.pid_file()).unwrap().parse().expect("the pid and nothing else")
    }

    /// A script of `bin`, with logs going to this directory.
    fn script(&self, name: &str) -> Command {
        let mut command = Command::new(repository().join("bin").join(name));
        command.env("ZOOLOG", env!("CARGO_BIN_EXE_zoolog")).env("ZOO_LOG_DIR", self.path("logs"));
        command.env("LOG_DIR", self.path("logs"));
        for variable in ["ZOOCFGDIR", "ZOOCFG", "ZOOPIDFILE", "JVMFLAGS", "SERVER_JVMFLAGS", "JMXDISABLE"] {
            command.env_remove(variable);
        }
        command
    }

    fn zk_server(&self, word: &str) -> Said {
        Said::of(self.script("zkServer.sh").arg(word).arg(self.config()))
    }

    /// What stands on stderr whatever is asked.
    fn preamble(&self) -> String {
        format!("ZooKeeper JMX enabled by default\nUsing config: {}\n", self.config().display())
    }

    fn answers(&self, word: &str) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_zoolog"))
            .args(["four-letter-word", "127.0.0.1", &self.port.to_string(), word])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Ok(pid) = fs::read_to_string(self.pid_file()) {
            let _ = Command::new("kill").args(["-9", &pid]).output();
        }
    }
}

#[derive(Debug)]
struct Said {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

impl Said {
    fn of(command: &mut Command) -> Self {
        let Output { stdout, stderr, status } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { stdout: text(stdout), stderr: text(stderr), code: status.code() }
    }

    #[track_caller]
    fn is(&self, stdout: &str, stderr: &str, code: i32) {
        assert_eq!((self.stdout.as_str(), self.stderr.as_str(), self.code), (stdout, stderr, Some(code)));
    }
}

fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// The life of a server as an operator drives it, word for word.
#[test]
fn zk_server_starts_tells_and_stops() {
    let site = Site::new("clientPortAddress=127.0.0.1\n");
    let preamble = site.preamble();
    let found = format!("Client port found: {}. Client address: 127.0.0.1. Client SSL: false.\n", site.port);

    site.zk_server("status").is(
        &format!("{found}Error contacting service. It is probably not running.\n"),
        &preamble,
        1,
    );
    site.zk_server("start").is("Starting zookeeper ... STARTED\n", &preamble, 0);
    let pid = site.pid();
    assert!(is_alive(pid));
    site.zk_server("status").is(&format!("{found}Mode: standalone\n"), &preamble, 0);
    let again = site.zk_server("start");
    let script = repository().join("bin/zkServer.sh");
    let expect = format!("Starting zookeeper ... {} already running as process {pid}.\n", script.display());
    again.is(&expect, &preamble, 1);

    let restarted = site.zk_server("restart");
    assert!(restarted.stdout.contains("Stopping zookeeper ... STOPPED\n"), "{restarted:?}");
    assert!(restarted.stdout.ends_with("Starting zookeeper ... STARTED\n"), "{restarted:?}");
    assert_eq!(restarted.code, Some(0));
    assert!(!is_alive(pid) && site.pid() != pid);

    let pid = site.pid();
    site.zk_server("stop").is("Stopping zookeeper ... STOPPED\n", &preamble, 0);
    assert!(!is_alive(pid), "stopped means gone");
    let expect = format!(
        "Stopping zookeeper ... no zookeeper to stop (could not find file {})\n",
        site.pid_file().display()
    );
    site.zk_server("stop").is(&expect, &preamble, 0);
}

/// A server that cannot start says so, and why.
#[test]
fn a_failed_start_is_told() {
    let site = Site::new("");
    let _taken = std::net::TcpListener::bind(("0.0.0.0", site.port)).unwrap();
    let said = site.zk_server("start");
    assert_eq!((said.stdout.as_str(), said.code), ("Starting zookeeper ... FAILED TO START\n", Some(1)));
    let why = said.stderr.strip_prefix(&site.preamble()).expect("the usual lines first");
    assert!(why.contains(&format!("port {} is taken", site.port)), "{why}");
}

/// `-D` properties reach the server from the variables in which operators set them; JMX may be switched off.
#[test]
fn jvm_flags_are_heard() {
    let site = Site::new("");
    let mut start = site.script("zkServer.sh");
    start.arg("start").arg(site.config()).env("JMXDISABLE", "true");
    // The script of the original puts JVMFLAGS behind, so they win.
    start.env("SERVER_JVMFLAGS", "-Xmx1g -Dzookeeper.4lw.commands.whitelist=conf");
    start.env("JVMFLAGS", "-Dzookeeper.4lw.commands.whitelist=ruok,gtmk");
    let said = Said::of(&mut start);
    assert!(said.stderr.starts_with("JMX disabled by user request\n"), "{said:?}");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(site.answers("ruok"), "imok");
    assert_eq!(site.answers("conf"), "conf is not executed because it is not in the whitelist.\n");
}

/// A port in the server's own line, in this file or in the dynamic one; none at all; words nobody knows.
#[test]
fn status_looks_for_the_client_port_everywhere() {
    let site = Site::new("");
    fs::create_dir(site.path("data")).unwrap();
    let status = |text: String| {
        fs::write(site.config(), format!("dataDir={}\n{text}", site.path("data").display())).unwrap();
        site.zk_server("status")
    };
    let none = "Client port not found. Looking for secureClientPort in the static config.\n\
                Unable to find either secure or unsecure client port in any configs. Terminating.\n";
    let no_id = "myid could not be determined, will not able to locate clientPort in the server configs.\n";
    status(String::new()).is(&format!("{no_id}{none}"), &site.preamble(), 1);

    fs::write(site.path("data/myid"), "3\n").unwrap();
    let port = site.port;
    let said = status(format!("server.3=h:2888:3888;{port}\n"));
    assert!(
        said.stdout.starts_with(&format!("Client port found: {port}. Client address: localhost.")),
        "{said:?}"
    );

    let dynamic = site.path("zoo.cfg.dynamic");
    fs::write(&dynamic, format!("server.3=h:2888:3888:participant;[::1]:{port}\n")).unwrap();
    let said = status(format!("dynamicConfigFile={}\n", dynamic.display()));
    let expect = format!(
        "Client port not found in static config file. Looking in dynamic config file.\n\
         Client port found: {port}. Client address: ::1. Client SSL: false.\n\
         Error contacting service. It is probably not running.\n"
    );
    said.is(&expect, &site.preamble(), 1);

    let said = site.zk_server("dance");
    let words = "[--config <conf-dir>] {start|start-foreground|stop|version|restart|status|print-cmd}\n";
    assert!(said.stderr.ends_with(words) && said.stderr.contains("\nUsage: "), "{said:?}");
}

/// In the foreground the process is the server itself, so that signals reach it.
#[test]
fn start_foreground_is_the_server() {
    let site = Site::new("");
    let mut command = site.script("zkServer.sh");
    command.arg("start-foreground").arg(site.config());
    let server = testkit::Server::start(command, site.port, &site.path("out")).unwrap();
    assert_eq!(site.answers("ruok"), "imok");
    let status = server.stop().unwrap();
    assert_eq!(status.code(), Some(0), "SIGTERM ends it cleanly");
}

/// `--config` and a bare file name mean a file in that directory.
#[test]
fn a_configuration_directory_is_searched() {
    let site = Site::new("clientPortAddress=127.0.0.1\n");
    let mut status = site.script("zkServer.sh");
    status.arg("--config").arg(site.dir.path()).args(["status", "zoo.cfg"]);
    let said = Said::of(&mut status);
    assert_eq!(said.stderr, site.preamble());
    assert!(said.stdout.contains(&format!("Client port found: {}.", site.port)), "{said:?}");
}

/// Kafka's way to start and stop a coordination server.
#[test]
fn zookeeper_server_start_and_stop() {
    let site = Site::new("admin.enableServer=false\n");
    let usage = Said::of(&mut site.script("zookeeper-server-start.sh"));
    assert!(
        usage.stdout.starts_with("USAGE: ") && usage.stdout.ends_with(" [-daemon] zookeeper.properties\n")
    );
    assert_eq!(usage.code, Some(1));

    let mut start = site.script("zookeeper-server-start.sh");
    start.env("KAFKA_OPTS", "-Dzookeeper.4lw.commands.whitelist=ruok");
    Said::of(start.arg("-daemon").arg(site.config())).is("", "", 0);
    let out = site.path("logs/zookeeper.out");
    wait_until("the server", PATIENCE, || (site.answers("ruok") == "imok").then_some(())).unwrap();
    assert!(
        fs::read_to_string(&out).unwrap().contains("serving ZooKeeper clients"),
        "its output is in LOG_DIR"
    );
    assert!(site.answers("conf").contains("not in the whitelist"), "KAFKA_OPTS are heard");

    // The stop script ends every such server of the machine, as the original does. Here it may only see this one.
    let ps = site.path("ps");
    let config = site.config();
    fs::write(&ps, format!("#!/bin/sh\n/bin/ps \"$@\" | grep -F '{}'\nexit 0\n", config.display())).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&ps, mode).unwrap();
    let path = format!("{}:{}", site.dir.path().display(), std::env::var("PATH").unwrap());
    let stop = || Said::of(site.script("zookeeper-server-stop.sh").env("PATH", &path));
    stop().is("", "", 0);
    wait_until("its end", PATIENCE, || site.answers("ruok").is_empty().then_some(())).unwrap();
    stop().is("No zookeeper server to stop\n", "", 1);
}
