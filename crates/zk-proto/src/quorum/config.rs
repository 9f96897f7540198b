//! The servers of an ensemble as text: zoo.cfg's `server.N` lines, `/zookeeper/config`, notifications, NEWLEADER.
//!
//! ```text
//! server.1=host:quorumPort:electionPort:participant;clientHost:clientPort
//! group.1=1:2:3
//! weight.1=1
//! version=100000000
//! ```
//! Printed as Apache prints it, byte for byte: the text is data on every server (`QuorumMaj`, `QuorumHierarchical`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use thiserror::Error;

use super::Sid;

/// Whether a server votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Participant,
    Observer,
}

/// A host and its quorum and election ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    pub quorum_port: u16,
    pub election_port: u16,
}

/// One `server.N` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// At least one; more only with `multiAddress.enabled`.
    pub addresses: Vec<Address>,
    pub role: Role,
    /// The part after `;`, its host `0.0.0.0` unless given.
    pub client: Option<(String, u16)>,
}

/// Who the servers are and what makes a quorum of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    pub members: BTreeMap<Sid, Member>,
    /// Group by server; empty means a plain majority.
    pub groups: BTreeMap<Sid, i64>,
    /// Weight by server, 1 unless given; counts only with groups.
    pub weights: BTreeMap<Sid, i64>,
    /// The zxid of the reconfig that made it.
    pub version: i64,
}

/// Why text is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    #[error("`{line}`: {what}")]
    Line { line: String, what: &'static str },
    #[error("server {0} is in no group, and others are")]
    NotInGroup(Sid),
    #[error("server {0} is in two groups")]
    InTwoGroups(Sid),
}

impl Config {
    /// Reads the lines that concern the ensemble; others are none of its business.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        Self::from_lines(lines.map(|(key, value)| (key.trim(), value.trim())))
    }

    /// The same from keys and values.
    pub fn from_lines<'a>(lines: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (key, value) in lines {
            config.take_line(key, value)?;
        }
        if !config.groups.is_empty()
            && let Some(sid) = config.voters().find(|sid| !config.groups.contains_key(sid))
        {
            return Err(ConfigError::NotInGroup(sid));
        }
        Ok(config)
    }

    fn take_line(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        let error = |what| ConfigError::Line { line: format!("{key}={value}"), what };
        let number = |text: &str| {
            text.trim().parse::<i64>().map_err(|_| error("a server or group is named by a number"))
        };
        if let Some(sid) = key.strip_prefix("server.") {
            self.members.insert(number(sid)?, Member::parse(value).map_err(error)?);
        } else if let Some(group) = key.strip_prefix("group.") {
            let group = number(group)?;
            for sid in value.split(':') {
                let sid = number(sid)?;
                if self.groups.insert(sid, group).is_some() {
                    return Err(ConfigError::InTwoGroups(sid));
                }
            }
        } else if let Some(sid) = key.strip_prefix("weight.") {
            self.weights.insert(number(sid)?, number(value)?);
        } else if key == "version" {
            self.version = i64::from_str_radix(value, 16).map_err(|_| error("a version is hexadecimal"))?;
        }
        Ok(())
    }

    pub fn voters(&self) -> impl Iterator<Item = Sid> + '_ {
        self.members.iter().filter(|(_, m)| m.role == Role::Participant).map(|(sid, _)| *sid)
    }

    pub fn is_voter(&self, sid: Sid) -> bool {
        self.members.get(&sid).is_some_and(|m| m.role == Role::Participant)
    }

    /// A voter of weight 0 never leads.
    pub fn weight(&self, sid: Sid) -> i64 {
        self.weights.get(&sid).copied().unwrap_or(1)
    }

    /// Whether these servers are a quorum: more than half of the voters, or with groups more than half of the
    /// weight in more than half of the groups that have any.
    pub fn is_quorum(&self, servers: &BTreeSet<Sid>) -> bool {
        if self.groups.is_empty() {
            let voters = self.voters().count();
            return servers.iter().filter(|sid| self.is_voter(**sid)).count() > voters / 2;
        }
        let mut sums: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for (sid, group) in self.groups.iter().filter(|(sid, _)| self.is_voter(**sid)) {
            let (present, all) = sums.entry(*group).or_default();
            *all += self.weight(*sid);
            if servers.contains(sid) {
                *present += self.weight(*sid);
            }
        }
        sums.retain(|_, (_, all)| *all > 0);
        sums.values().filter(|(present, all)| *present > all / 2).count() > sums.len() / 2
    }
}

/// As `QuorumVerifier.toString()`.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (sid, member) in &self.members {
            writeln!(f, "server.{sid}={member}")?;
        }
        let mut groups: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for (sid, group) in &self.groups {
            groups.entry(*group).or_default().push(sid.to_string());
        }
        for (group, sids) in &groups {
            writeln!(f, "group.{group}={}", sids.join(":"))?;
        }
        if !self.groups.is_empty() {
            for sid in self.voters() {
                writeln!(f, "weight.{sid}={}", self.weight(sid))?;
            }
        }
        write!(f, "version={:x}", self.version)
    }
}

impl Member {
    /// The value of a `server.N` line.
    pub fn parse(value: &str) -> Result<Self, &'static str> {
        let (servers, client) = match value.split_once(';') {
            Some((servers, client)) => (servers, Some(client)),
            None => (value, None),
        };
        let mut member = Self { addresses: Vec::new(), role: Role::Participant, client: None };
        for server in servers.split('|') {
            let parts = split_host(server)?;
            let [host, quorum, election, rest @ ..] = &parts[..] else {
                return Err("expected host:quorumPort:electionPort[:role][;[clientHost:]clientPort]");
            };
            member.role = match rest {
                [] => member.role,
                [role] if role.eq_ignore_ascii_case("participant") => Role::Participant,
                [role] if role.eq_ignore_ascii_case("observer") => Role::Observer,
                _ => return Err("the role is participant or observer"),
            };
            let address =
                Address { host: host.clone(), quorum_port: port(quorum)?, election_port: port(election)? };
            if address.quorum_port == address.election_port {
                return Err("the quorum port and the election port must differ");
            }
            member.addresses.push(address);
        }
        member.client = client.map(client_address).transpose()?;
        Ok(member)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted: Vec<&Address> = self.addresses.iter().collect();
        sorted.sort();
        for (i, Address { host, quorum_port, election_port }) in sorted.into_iter().enumerate() {
            let separator = if i == 0 { "" } else { "|" };
            write!(f, "{separator}{}:{quorum_port}:{election_port}", Bracketed(host))?;
        }
        f.write_str(match self.role {
            Role::Participant => ":participant",
            Role::Observer => ":observer",
        })?;
        match &self.client {
            Some((host, port)) => write!(f, ";{}:{port}", Bracketed(host)),
            None => Ok(()),
        }
    }
}

/// An IPv6 address needs brackets before a port.
struct Bracketed<'a>(&'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

fn client_address(text: &str) -> Result<(String, u16), &'static str> {
    match &split_host(text)?[..] {
        [only] => Ok(("0.0.0.0".to_owned(), port(only)?)),
        [host, client_port] => Ok((host.clone(), port(client_port)?)),
        _ => Err("the part after `;` is [clientHost:]clientPort"),
    }
}

fn port(text: &str) -> Result<u16, &'static str> {
    text.trim().parse().map_err(|_| "a port is a number up to 65535")
}

/// Splits at colons, those inside brackets excepted.
fn split_host(text: &str) -> Result<Vec<String>, &'static str> {
    let text = text.trim();
    let Some(rest) = text.strip_prefix('[') else {
        return Ok(text.split(':').map(|part| part.trim().to_owned()).collect());
    };
    let (host, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
    let mut parts = vec![host.to_owned()];
    if let Some(rest) = rest.strip_prefix(':') {
        parts.extend(rest.split(':').map(|part| part.trim().to_owned()));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(sids: &[Sid]) -> BTreeSet<Sid> {
        sids.iter().copied().collect()
    }

    #[test]
    fn text_is_printed_as_apache_prints_it() {
        let text = "server.1=127.0.0.1:2888:3888:participant;0.0.0.0:2181\n\
                    server.2=[::1]:2889:3889:observer;[::1]:2182\n\
                    server.10=z3:2890:3890:participant\n\
                    version=100000003";
        let config = Config::parse(text).unwrap();
        assert_eq!(config.to_string(), text);
        assert_eq!(config.version, 0x1_0000_0003);
        assert_eq!(config.voters().collect::<Vec<_>>(), [1, 10]);
        let short = Config::parse("server.1=h:1:2;2181\nserver.2=h:3:4:Observer").unwrap();
        assert_eq!(
            short.to_string(),
            "server.1=h:1:2:participant;0.0.0.0:2181\nserver.2=h:3:4:observer\nversion=0"
        );
    }

    #[test]
    fn a_majority_counts_voters_only() {
        let config =
            Config::parse("server.1=h:1:2\nserver.2=h:3:4\nserver.3=h:5:6\nserver.4=h:7:8:observer").unwrap();
        assert!(config.is_quorum(&set(&[1, 3])));
        assert!(!config.is_quorum(&set(&[1, 4])), "an observer is no vote");
        assert!(!config.is_quorum(&set(&[1, 99])), "nor is a stranger");
    }

    #[test]
    fn groups_need_half_the_weight_in_half_the_groups() {
        let servers: String = (1..=9).map(|n| format!("server.{n}=h:{n}:9{n}\n")).collect();
        let text = format!("{servers}group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9\nweight.9=0");
        let config = Config::parse(&text).unwrap();
        assert!(config.is_quorum(&set(&[1, 2, 4, 5])));
        assert!(!config.is_quorum(&set(&[1, 2, 3, 4, 7])), "one whole group and parts");
        assert!(config.is_quorum(&set(&[1, 2, 7, 8])));
        assert!(!config.is_quorum(&set(&[1, 2, 7, 9])), "a weight of 0 adds nothing");
        assert_eq!(Config::parse(&config.to_string()).unwrap().to_string(), config.to_string());
        assert_eq!(
            Config::parse("server.1=h:1:2\nserver.2=h:3:4\ngroup.1=1"),
            Err(ConfigError::NotInGroup(2))
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_line() {
        for bad in
            ["server.x=h:1:2", "server.1=h:1", "server.1=h:1:1", "server.1=h:1:2:boss", "server.1=[::1:1:2"]
        {
            assert!(
                matches!(Config::parse(bad), Err(ConfigError::Line { line, .. }) if line == bad),
                "{bad}"
            );
        }
    }
}
