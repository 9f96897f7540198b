//! The end of an epoch, without the four billion transactions before it.

use zk_proto::quorum::zxid;
use zk_proto::{ConnectRequest, ConnectResponse, Reader, Request, RequestHeader, Writer};
use zk_tree::{Tree, TreeConfig};

use super::world::config;
use crate::node::Node;
use crate::tests::harness::create;
use crate::{CloseReason, ConnId, Effect, Effects, Input, Now, Options};

const NOW: Now = Now { wall_ms: 1_700_000_000_000, mono_ms: 1_000 };
const CONN: ConnId = ConnId(1);

fn frame(node: &mut Node, write: impl FnOnce(&mut Writer)) -> Effects {
    let mut w = Writer::new();
    write(&mut w);
    let mut fx = Effects::new();
    node.step(NOW, Input::Frame { conn: CONN, frame: w.as_slice() }, &mut fx);
    fx
}

fn proposed(node: &mut Node) -> Vec<i64> {
    let zxid = |input| match input {
        zk_zab::Input::Propose { entry, .. } => entry.zxid,
        other => panic!("{other:?}"),
    };
    node.outbox.drain(..).map(zxid).collect()
}

/// ZOOKEEPER-1277, ZOOKEEPER-2789: the counter never wraps. The leader steps down once its last zxid is committed;
/// what is asked meanwhile takes none and ends with the connection.
#[test]
fn no_zxid_is_given_beyond_the_end_of_an_epoch() {
    let tree = Tree::new(TreeConfig::default());
    let mut node = Node::in_ensemble(Options::default(), tree, config(3, 0), None, NOW);
    node.begin_period(NOW, zk_zab::Role::Leading { epoch: 1 }, 1, &mut Effects::new());
    let last = zxid::of(1, zxid::COUNTER_MAX - 2);
    node.tree.set_last_zxid(last);
    node.last_proposed = last;

    node.step(NOW, Input::Connected { conn: CONN, peer: "10.0.0.1:1".parse().unwrap() }, &mut Effects::new());
    frame(&mut node, |w| {
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 10_000,
            session_id: 0,
            passwd: bytes::Bytes::from_static(&[0; 16]),
            read_only: None,
        }
        .encode(w);
    });
    assert_eq!(proposed(&mut node), [last + 1]);
    let mut fx = Effects::new();
    node.deliver(NOW, last + 1, None, &mut fx).unwrap();
    let (effects, bytes) = fx.take();
    let Some(Effect::Send { range, .. }) = effects.into_iter().next() else { panic!("an answer") };
    let response = ConnectResponse::decode(&mut Reader::new(bytes.frames(range)[0])).unwrap();
    assert_eq!(response.timeout_ms, 10_000);

    for (xid, zxids) in [(1, vec![last + 2]), (2, vec![]), (3, vec![])] {
        frame(&mut node, |w| {
            let request = if xid == 3 { Request::CloseSession } else { create(&format!("/{xid}"), 0) };
            RequestHeader { xid, op: request.op().code() }.encode(w);
            request.encode(w);
        });
        assert_eq!(proposed(&mut node), zxids);
        node.check();
    }
    let mut fx = Effects::new();
    node.deliver(NOW, last + 2, None, &mut fx).unwrap();
    node.begin_period(NOW, zk_zab::Role::Looking, 1, &mut fx);
    let (effects, _) = fx.take();
    let closed = |e: &Effect| matches!(e, Effect::Close { reason: CloseReason::RoleChanged { .. }, .. });
    assert!(effects.iter().any(closed), "{effects:?}");
    assert_eq!(node.tree().last_zxid(), zxid::of(1, zxid::COUNTER_MAX));
    node.check();
}
