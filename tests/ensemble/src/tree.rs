//! The whole tree as one server shows it to the super user.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use testkit::Ensemble;
use testkit::ensemble::Id;
use zk_client::{Acl, Stat};

use crate::client::{again, connect_super, make};

/// The node whose Stat every server makes up for itself.
const OWN_STAT: &str = "/zookeeper/config";

/// Nodes asked for at once.
const BATCH: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub data: Option<Bytes>,
    pub acl: Vec<Acl>,
    pub stat: Stat,
}

pub type Tree = BTreeMap<String, Node>;

/// Reads the tree of the server at `hosts`, after it has caught up with everything committed so far.
pub async fn read(hosts: &str) -> Result<Tree> {
    let zk = connect_super(hosts).await?;
    again(|| zk.sync("/")).await?;
    let mut tree = Tree::new();
    let mut ahead = vec!["/".to_owned()];
    while !ahead.is_empty() {
        let batch = ahead.split_off(ahead.len().saturating_sub(BATCH));
        let asked: Vec<_> = batch
            .into_iter()
            .map(|p| {
                let replies = (zk.get_data(&p, false), zk.get_acl(&p), zk.get_children(&p, false));
                (p, replies)
            })
            .collect();
        for (path, (data, acl, children)) in asked {
            let ((data, mut stat), (mut acl, _)) =
                (data.await.with_context(|| path.clone())?, acl.await.with_context(|| path.clone())?);
            let base = path.trim_end_matches('/');
            ahead.extend(children.await?.iter().map(|c| format!("{base}/{c}")));
            if path == OWN_STAT {
                stat = Stat::default();
            }
            acl.sort();
            tree.insert(path, Node { data, acl, stat });
        }
    }
    zk.close().await?;
    Ok(tree)
}

/// The first differences in words; empty if there are none.
pub fn differences(a: &Tree, b: &Tree) -> String {
    let mut out = String::new();
    let paths: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
    for path in paths.into_iter().filter(|p| a.get(*p) != b.get(*p)).take(5) {
        let _ = writeln!(out, "{path}\n  {:?}\n  {:?}", a.get(path), b.get(path));
    }
    out
}

/// Fails unless all running servers show the same tree and none sees a digest of its leader's that does not match its
/// own. Returns the tree. Nobody else may write meanwhile.
pub async fn all_equal(ensemble: &Ensemble) -> Result<Tree> {
    check_digests(ensemble).await?;
    let mut first: Option<(Id, Tree)> = None;
    for id in ensemble.running() {
        let tree = read(&ensemble.connect(&[id])).await.with_context(|| format!("server {id}"))?;
        match &first {
            None => first = Some((id, tree)),
            Some((other, expect)) => {
                let different = differences(expect, &tree);
                let (a, b) = (ensemble.member(*other).kind, ensemble.member(id).kind);
                ensure!(different.is_empty(), "server {other} ({a}) and {id} ({b}) differ:\n{different}");
            }
        }
    }
    Ok(first.context("no server runs")?.1)
}

/// Every transaction carries the digest of the leader's tree, for those who know what that is (3.6 and later). Trees that
/// differ have digests that differ after every transaction, so the growth of the count tells; an Apache server that was
/// killed counts one now and then while it replays its own log (seen with 3.8.4 under an Apache leader).
async fn check_digests(ensemble: &Ensemble) -> Result<()> {
    let count = |id: Id| ensemble.mntr(id, "digest_mismatches_count").map(|n| n.unwrap_or(0.0));
    let running = ensemble.running();
    let zk = connect_super(&ensemble.connect(&running)).await?;
    make(&zk, "/digests").await?;
    let mut before = Vec::new();
    for round in 0..2 {
        for _ in 0..3 {
            again(|| zk.set_data("/digests", None, -1)).await?;
        }
        ensemble.await_same_zxid()?;
        let now = running.iter().map(|id| count(*id)).collect::<Result<Vec<_>>>()?;
        ensure!(
            round == 0 || now == before,
            "digests unlike the leader's: {before:?}, then {now:?} of {running:?}"
        );
        before = now;
    }
    Ok(zk.close().await?)
}
