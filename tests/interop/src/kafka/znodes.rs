//! Everything below `/` but `/zookeeper`, and its differences once clocks, ports and chosen ids are evened out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result};
use bytes::Bytes;
use zk_client::{Acl, ConnectOptions, ErrorCode, Stat, ZkClient, ZkError};

/// What two clusters that did the same must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Znode {
    /// `None` is null data, which is not empty data.
    pub data: Option<String>,
    pub data_version: i32,
    pub children_version: i32,
    pub ephemeral: bool,
    pub acl: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Znodes(pub BTreeMap<String, Znode>);

impl Znodes {
    pub async fn take(zookeeper: u16) -> Result<Self> {
        let (zk, _events) = ZkClient::connect(ConnectOptions::new(format!("127.0.0.1:{zookeeper}"))).await?;
        let mut nodes = BTreeMap::new();
        let mut ahead = vec!["/".to_owned()];
        while let Some(path) = ahead.pop() {
            if path == "/zookeeper" {
                continue;
            }
            let Some((data, stat, acl, children)) = look(&zk, &path).await.with_context(|| path.clone())?
            else {
                continue;
            };
            ahead.extend(children.iter().map(|child| format!("{}/{child}", path.trim_end_matches('/'))));
            let node = Znode {
                data: data.map(|data| String::from_utf8_lossy(&data).into_owned()),
                data_version: stat.version,
                children_version: stat.cversion,
                ephemeral: stat.ephemeral_owner != 0,
                acl: format!("{acl:?}"),
            };
            nodes.insert(path, node);
        }
        zk.close().await?;
        Ok(Self(nodes))
    }

    /// Evens out what no two runs share: times, ids made by chance, the broker's port, and the order of a hash map.
    pub fn normalised(mut self, broker: u16) -> Self {
        for node in self.0.values_mut() {
            if let Some(data) = &mut node.data {
                *data = data.replace(&broker.to_string(), "PORT");
                for key in ["\"timestamp\":\"", "\"topic_id\":\"", "\"id\":\""] {
                    replace_value(data, key);
                }
                ["\"partitions\":{", "\"config\":{"].into_iter().for_each(|map| sort_entries(data, map));
            }
        }
        self
    }

    /// The differences in words, empty if there are none.
    pub fn differences(&self, other: &Self, left_out: &[&str]) -> String {
        let paths: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let mut out = String::new();
        let paths = paths.into_iter().filter(|path| !left_out.contains(&path.as_str()));
        let different: Vec<&String> = paths.filter(|path| self.0.get(*path) != other.0.get(*path)).collect();
        for path in different.iter().take(12) {
            let _ = writeln!(
                out,
                "{path}\n  one:   {}\n  other: {}",
                shown(self.0.get(*path)),
                shown(other.0.get(*path))
            );
        }
        if different.len() > 12 {
            let _ = writeln!(out, "and {} more", different.len() - 12);
        }
        out
    }
}

/// Sorts the entries of the map that `opening` opens; Java's hash maps have them in any order.
fn sort_entries(data: &mut String, opening: &str) {
    let Some(start) = data.find(opening).map(|at| at + opening.len()) else { return };
    let Some(length) = data[start..].find('}') else { return };
    let entries = data[start..start + length].replace(",\"", "\n\"");
    let mut entries: Vec<&str> = entries.lines().collect();
    entries.sort_unstable();
    data.replace_range(start..start + length, &entries.join(","));
}

type Look = (Option<Bytes>, Stat, Vec<Acl>, Vec<String>);

/// One node, unless it went away meanwhile.
async fn look(zk: &ZkClient, path: &str) -> Result<Option<Look>> {
    let read = async {
        let (data, stat) = zk.get_data(path, false).await?;
        let (acl, _) = zk.get_acl(path).await?;
        Ok((data, stat, acl, zk.get_children(path, false).await?))
    };
    match read.await {
        Ok(look) => Ok(Some(look)),
        Err(error) if ZkError::is(&error, ErrorCode::NoNode) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn shown(node: Option<&Znode>) -> String {
    node.map_or_else(
        || "none".to_owned(),
        |n| {
            let data = n.data.as_deref().unwrap_or("null");
            let (v, c, e) = (n.data_version, n.children_version, n.ephemeral);
            format!("{data}, dataVersion {v}, cversion {c}, ephemeral {e}, {}", n.acl)
        },
    )
}

/// Replaces the string after `key` by its length: it must at least have the same shape.
fn replace_value(data: &mut String, key: &str) {
    let Some(start) = data.find(key).map(|at| at + key.len()) else { return };
    let Some(length) = data[start..].find('"') else { return };
    data.replace_range(start..start + length, &format!("<{length} characters>"));
}
