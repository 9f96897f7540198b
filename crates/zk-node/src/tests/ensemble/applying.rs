//! What a server makes of what the ensemble has agreed on.

use bytes::Bytes;
use zk_proto::txn::{DIGEST_VERSION, Txn, TxnDigest, TxnEntry, TxnHeader, kind};
use zk_tree::{Tree, TreeConfig};

use super::world::config;
use crate::node::Node;
use crate::{Effects, Now, Options};

const NOW: Now = Now { wall_ms: 1_700_000_000_000, mono_ms: 1_000 };

fn learner() -> Node {
    let tree = Tree::new(TreeConfig::default());
    Node::in_ensemble(Options::default(), tree, config(3, 0), None, NOW)
}

fn payload(zxid: i64, tree_digest: i64) -> Bytes {
    let header = TxnHeader { client_id: 9, cxid: 1, zxid, time: 5, kind: kind::CREATE_SESSION };
    let digest = Some(TxnDigest { version: DIGEST_VERSION, tree_digest });
    TxnEntry { header, txn: Txn::CreateSession { timeout_ms: 4000 }, digest }.encode()
}

fn deliver(node: &mut Node, zxid: i64, tree_digest: i64) {
    let payload = payload(zxid, tree_digest);
    node.deliver(NOW, zxid, Some(&payload), &mut Effects::new()).unwrap();
}

#[test]
fn data_that_differ_from_the_leaders_are_counted() {
    let mut node = learner();
    let digest = node.tree().digest();
    deliver(&mut node, 1, digest);
    assert_eq!(node.stats().digest_mismatches, 0);
    deliver(&mut node, 2, digest + 1);
    deliver(&mut node, 3, digest + 1);
    assert_eq!(node.stats().digest_mismatches, 2);
    assert_eq!(node.tree().last_zxid(), 3, "it goes on: nobody repairs in silence");
}

#[test]
fn a_tree_from_a_fuzzy_snapshot_is_compared_once_it_has_caught_up() {
    let mut node = learner();
    let tree = Tree::new(TreeConfig::default());
    node.replace_tree(NOW, tree, true, &mut Effects::new());
    let digest = node.tree().digest();
    deliver(&mut node, 1, digest + 1);
    assert_eq!(node.stats().digest_mismatches, 0, "ahead of its zxid");
    deliver(&mut node, 2, digest);
    deliver(&mut node, 3, digest + 1);
    assert_eq!(node.stats().digest_mismatches, 1);
}

#[test]
fn serving_ends_the_doubt_about_a_snapshot() {
    let mut node = learner();
    node.replace_tree(NOW, Tree::new(TreeConfig::default()), true, &mut Effects::new());
    node.begin_period(NOW, zk_zab::Role::Following { leader: 3 }, 1, &mut Effects::new());
    let digest = node.tree().digest();
    deliver(&mut node, 0x1_0000_0001, digest + 1);
    assert_eq!(node.stats().digest_mismatches, 1);
}

#[test]
fn what_was_applied_is_not_applied_again() {
    let mut node = learner();
    let digest = node.tree().digest();
    deliver(&mut node, 7, digest);
    deliver(&mut node, 7, digest + 1);
    deliver(&mut node, 6, digest + 1);
    assert_eq!((node.tree().last_zxid(), node.stats().digest_mismatches), (7, 0));
}

#[test]
fn what_nobody_understands_stops_the_server() {
    let mut node = learner();
    let refused = |node: &mut Node, payload: Option<&Bytes>| {
        node.deliver(NOW, 1, payload, &mut Effects::new()).unwrap_err()
    };
    let cut = payload(1, 0).slice(..30);
    assert!(refused(&mut node, Some(&cut)).contains("cannot be read"));
    assert!(refused(&mut node, Some(&payload(2, 0))).contains("says 0x2"));
    assert!(refused(&mut node, None).contains("not proposed by this leader"));
    assert_eq!(node.tree().last_zxid(), 0);
}
