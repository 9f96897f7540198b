//! Everything a client can see of a server: nodes with data, ACL and Stat; sessions; who owns which ephemerals.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use testkit::originals::four_letter_word;
use zk_client::{Acl, Stat, ZkClient};

/// Nodes whose Stat every server makes up for itself (Apache's counts from its own start).
const OWN_STAT: &str = "/zookeeper/config";

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub data: Option<Bytes>,
    pub acl: Vec<Acl>,
    pub stat: Stat,
}

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub nodes: BTreeMap<String, Node>,
    /// Session ids as `0x…`, from `dump`.
    pub sessions: BTreeSet<String>,
    /// Session id → paths, from `dump`.
    pub ephemerals: BTreeMap<String, BTreeSet<String>>,
}

impl Picture {
    /// Looks at everything. `zk` must be a super user's client, else ACLs hide nodes.
    pub async fn take(zk: &ZkClient, port: u16) -> Result<Self> {
        let mut nodes = BTreeMap::new();
        let mut ahead = vec!["/".to_owned()];
        while let Some(path) = ahead.pop() {
            let node = look(zk, &path).await.with_context(|| path.clone())?;
            let children = zk.get_children(&path, false).await?;
            ahead.extend(children.iter().map(|c| format!("{}/{c}", path.trim_end_matches('/'))));
            nodes.insert(path, node);
        }
        let dump = four_letter_word(port, "dump")?;
        let (sessions, ephemerals) = read_dump(&dump)?;
        Ok(Self { nodes, sessions, ephemerals })
    }

    /// The first few differences in words, empty if there are none.
    pub fn differences(&self, other: &Self) -> String {
        let mut out = String::new();
        let paths: BTreeSet<&String> = self.nodes.keys().chain(other.nodes.keys()).collect();
        let different = paths.into_iter().filter(|p| self.nodes.get(*p) != other.nodes.get(*p));
        for path in different.take(5) {
            let (a, b) = (self.nodes.get(path), other.nodes.get(path));
            let _ = writeln!(out, "{path}\n  before: {a:?}\n  after:  {b:?}");
        }
        if self.sessions != other.sessions {
            let _ = writeln!(out, "sessions\n  before: {:?}\n  after:  {:?}", self.sessions, other.sessions);
        }
        if self.ephemerals != other.ephemerals {
            let _ = writeln!(
                out,
                "ephemerals\n  before: {:?}\n  after:  {:?}",
                self.ephemerals, other.ephemerals
            );
        }
        out
    }
}

async fn look(zk: &ZkClient, path: &str) -> Result<Node> {
    let (data, mut stat) = zk.get_data(path, false).await?;
    let (mut acl, acl_stat) = zk.get_acl(path).await?;
    if path == OWN_STAT {
        stat = Stat::default();
    } else {
        ensure!(stat == acl_stat, "getData's Stat {stat:?} is not getACL's {acl_stat:?}");
    }
    acl.sort_by_key(|entry| format!("{entry:?}"));
    Ok(Node { data, acl, stat })
}

type Owners = BTreeMap<String, BTreeSet<String>>;

/// Reads `dump`: `\t0x…` lines of the tracker, then `0x…:` followed by `\t/path` lines.
fn read_dump(dump: &str) -> Result<(BTreeSet<String>, Owners)> {
    let (tracker, rest) = dump.split_once("ephemeral nodes dump:").context("dump has ephemerals")?;
    let sessions =
        tracker.lines().filter_map(|l| l.strip_prefix('\t')).map(|l| l.trim().to_owned()).collect();
    let mut owners = Owners::new();
    let mut owner = String::new();
    // From 3.5 on connections follow, with a heading of their own.
    let rest = rest.split("Connections dump:").next().unwrap_or_default();
    for line in rest.lines() {
        if let Some(path) = line.strip_prefix('\t') {
            owners.entry(owner.clone()).or_default().insert(path.to_owned());
        } else if line.starts_with("0x") {
            owner = line.trim_end_matches(':').to_owned();
        }
    }
    Ok((sessions, owners))
}
