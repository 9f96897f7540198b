//! Several servers in one process, on loopback ports of their own.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use properties::Properties;
use zk_server::{Config, Handle, SystemProperties, start};

use super::{Client, try_word, word};

/// Longer than anything here takes; only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(30);

/// One server, running or not.
pub struct Server {
    pub sid: i64,
    pub dir: PathBuf,
    pub client: SocketAddr,
    pub quorum: u16,
    pub election: u16,
    is_observer: bool,
    handle: Option<Handle>,
}

/// Servers that know each other.
pub struct Trio {
    root: tempfile::TempDir,
    pub servers: Vec<Server>,
    more: String,
}

/// Ports nobody has at the moment.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|l| l.local_addr().unwrap().port()).collect()
}

pub fn free_port() -> u16 {
    free_ports(1)[0]
}

impl Trio {
    /// Voters 1 to `voters`, then `observers` more; none is started. `more` is added to each zoo.cfg.
    pub fn new(voters: usize, observers: usize, more: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let ports = free_ports(3 * (voters + observers));
        let servers = ports.chunks(3).enumerate().map(|(n, ports)| {
            let sid = n as i64 + 1;
            let dir = root.path().join(format!("{sid}"));
            std::fs::create_dir(&dir).unwrap();
            std::fs::write(dir.join("myid"), format!("{sid}\n")).unwrap();
            let client = SocketAddr::from(([127, 0, 0, 1], ports[0]));
            let (quorum, election) = (ports[1], ports[2]);
            Server { sid, dir, client, quorum, election, is_observer: n >= voters, handle: None }
        });
        let servers = servers.collect();
        Self { root, servers, more: more.to_owned() }
    }

    pub fn server_lines(&self) -> String {
        let line = |s: &Server| {
            let role = if s.is_observer { ":observer" } else { "" };
            format!("server.{}=127.0.0.1:{}:{}{role}\n", s.sid, s.quorum, s.election)
        };
        self.servers.iter().map(line).collect()
    }

    pub fn zoo_cfg(&self, sid: i64) -> String {
        let server = self.server(sid);
        format!(
            "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\ntickTime=500\ninitLimit=20\nsyncLimit=10\n\
             preAllocSize=64\n{}{}",
            server.dir.display(),
            server.client.port(),
            self.server_lines(),
            self.more
        )
    }

    pub fn root(&self) -> &std::path::Path {
        self.root.path()
    }

    pub fn server(&self, sid: i64) -> &Server {
        &self.servers[sid as usize - 1]
    }

    pub fn start(&mut self, sid: i64) {
        let text = self.zoo_cfg(sid);
        let config = Config::from_properties(&Properties::parse(&text).unwrap(), &SystemProperties::new());
        self.start_with(sid, config.unwrap());
    }

    pub fn start_with(&mut self, sid: i64, config: Config) {
        let handle = start(config).unwrap();
        self.servers[sid as usize - 1].handle = Some(handle);
    }

    pub fn start_all(&mut self) {
        for sid in 1..=self.servers.len() as i64 {
            self.start(sid);
        }
    }

    /// As a crash would.
    pub fn abort(&mut self, sid: i64) {
        self.servers[sid as usize - 1].handle.take().unwrap().abort();
    }

    pub fn stop(&mut self, sid: i64) {
        let handle = self.servers[sid as usize - 1].handle.take().unwrap();
        handle.stop();
        handle.wait().unwrap();
    }

    pub fn mode(&self, sid: i64) -> Option<String> {
        self.server(sid).handle.as_ref()?;
        let text = try_word(self.server(sid).client, "srvr")?;
        Some(text.lines().find_map(|l| l.strip_prefix("Mode: "))?.to_owned())
    }

    /// Waits until all running servers serve; who leads.
    pub fn leader(&self) -> i64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let running: Vec<&Server> = self.servers.iter().filter(|s| s.handle.is_some()).collect();
            let modes: Vec<_> = running.iter().map(|s| (s.sid, self.mode(s.sid))).collect();
            if modes.iter().all(|(_, mode)| mode.as_deref().is_some_and(|mode| mode != "read-only")) {
                let mut leaders = modes.iter().filter(|(_, mode)| mode.as_deref() == Some("leader"));
                if let (Some((sid, _)), None) = (leaders.next(), leaders.next()) {
                    return *sid;
                }
            }
            assert!(Instant::now() < deadline, "no leader: {modes:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A session on that server.
    pub fn client(&self, sid: i64) -> Client {
        Client::connect(self.server(sid).client)
    }

    /// `srvr`'s zxid and number of znodes.
    pub fn state(&self, sid: i64) -> (String, String) {
        let text = word(self.server(sid).client, "srvr");
        let of = |key: &str| {
            text.lines()
                .find_map(|l| l.strip_prefix(key))
                .unwrap_or_else(|| panic!("{key} in {text}"))
                .to_owned()
        };
        (of("Zxid: "), of("Node count: "))
    }

    /// Waits until a condition holds.
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
