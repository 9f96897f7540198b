//! What servers say about themselves: four-letter words at any address, parsed.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context, Result};

/// Long for a server that is up, short for one that is stopped by a signal or cut off.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The `Mode:` of `srvr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Leader,
    Follower,
    Observer,
    Standalone,
    ReadOnly,
}

/// The part of `srvr` tests look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srvr {
    pub mode: Mode,
    pub zxid: i64,
    pub nodes: u64,
}

impl Srvr {
    pub fn parse(answer: &str) -> Option<Self> {
        let value = |key: &str| answer.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let mode = match value("Mode:")? {
            "leader" => Mode::Leader,
            "follower" => Mode::Follower,
            "observer" => Mode::Observer,
            "standalone" => Mode::Standalone,
            "read-only" => Mode::ReadOnly,
            _ => return None,
        };
        let zxid = i64::from_str_radix(value("Zxid:")?.trim_start_matches("0x"), 16).ok()?;
        Some(Self { mode, zxid, nodes: value("Node count:")?.parse().ok()? })
    }
}

/// What a four-letter word answers, wherever the server is.
pub fn ask(address: &str, port: u16, word: &str) -> Result<String> {
    let at = (address, port).to_socket_addrs()?.next().context("no address")?;
    let mut stream = TcpStream::connect_timeout(&at, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// One number of `mntr`.
pub fn mntr(answer: &str, key: &str) -> Option<f64> {
    let line =
        answer.lines().find_map(|line| line.strip_prefix("zk_")?.strip_prefix(key)?.strip_prefix('\t'))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn srvr_and_mntr_are_read() {
        let answer =
            "Zookeeper version: 3.9.3-x, built on 2024\nZxid: 0x100000003\nMode: follower\nNode count: 7\n";
        let expect = Srvr { mode: Mode::Follower, zxid: 0x1_0000_0003, nodes: 7 };
        assert_eq!(Srvr::parse(answer), Some(expect));
        assert_eq!(Srvr::parse("This ZooKeeper instance is not currently serving requests"), None);
        assert_eq!(mntr("zk_digest_mismatches_count\t2\nzk_x\t1.5\n", "digest_mismatches_count"), Some(2.0));
    }
}
