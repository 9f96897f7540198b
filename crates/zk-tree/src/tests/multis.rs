//! All or nothing, and what the log shows of it.

use zk_proto::txn::{SubTxn, Txn, kind};
use zk_proto::{CreateKind, CreateRequest, ErrorCode, MultiOp, MultiReadOp, MultiResult, Request};

use super::harness::{Server, create_request, image};
use crate::*;

fn new(path: &str, flags: i32) -> MultiOp {
    MultiOp::Create(create_request(path, flags))
}

fn results(server: &mut Server, ops: Vec<MultiOp>) -> Vec<MultiResult> {
    match server.run(Request::Multi(ops)) {
        Ok(TxnResult::Multi(items)) => reply::multi_results(&items),
        other => panic!("{other:?}"),
    }
}

#[test]
fn items_see_what_the_ones_before_them_did() {
    let mut server = Server::new();
    let create2 = CreateRequest { kind: CreateKind::Create2, ..create_request("/a/n-", 2) };
    let got = results(
        &mut server,
        vec![
            new("/a", 0),
            MultiOp::Create(create2),
            new("/a/n-", 2),
            MultiOp::SetData { path: "/a".into(), data: None, version: 0 },
            MultiOp::Check { path: "/a".into(), version: 1 },
            MultiOp::Delete { path: "/a/n-0000000001".into(), version: -1 },
        ],
    );
    assert_eq!(got[0], MultiResult::Create { path: "/a".into() });
    assert!(matches!(&got[1], MultiResult::Create2 { path, .. } if path == "/a/n-0000000000"));
    assert_eq!(got[2], MultiResult::Create { path: "/a/n-0000000001".into() });
    assert!(matches!(&got[3], MultiResult::SetData { stat } if stat.version == 1));
    assert_eq!(got[4..], [MultiResult::Check, MultiResult::Delete]);
    let stat = server.stat("/a").expect("made");
    assert_eq!((stat.czxid, stat.mzxid, stat.pzxid), (1, 1, 1), "one zxid for all");
    assert_eq!(server.children("/a"), ["n-0000000000"]);
}

#[test]
fn a_refused_multi_is_logged_as_a_multi_with_the_records_before_the_culprit() {
    let mut server = Server::new();
    let ops = vec![new("/m1", 0), MultiOp::Delete { path: "/none".into(), version: -1 }, new("/m2", 0)];
    let decision = server.decide(Request::Multi(ops));
    assert_eq!(decision.header.kind, kind::MULTI);
    assert_eq!((decision.error, decision.digest), (None, None));
    let Txn::Multi(items) = &decision.txn else { panic!("{decision:?}") };
    assert_eq!(items[0].kind, kind::CREATE);
    assert!(matches!(items[0].record(), Ok(Txn::Create(create)) if create.path == "/m1"));
    assert_eq!(items[1], SubTxn::new(kind::ERROR, &Txn::Error { err: -101 }));
    assert_eq!(items[2], SubTxn::new(kind::ERROR, &Txn::Error { err: -2 }));

    let Some(TxnResult::Multi(applied)) = server.apply_next() else { panic!("a multi was decided") };
    assert_eq!(
        reply::multi_results(&applied),
        [
            MultiResult::Error(ErrorCode::Ok),
            MultiResult::Error(ErrorCode::NoNode),
            MultiResult::Error(ErrorCode::RuntimeInconsistency)
        ]
    );
    assert_eq!(server.stat("/m1"), Err(ErrorCode::NoNode));
    assert!(server.events.is_empty());
    assert_eq!(server.tree.last_zxid(), 1);
}

#[test]
fn a_refused_multi_leaves_no_trace_in_later_decisions() {
    // Z-1624: the parent's sequence must go on as if the multi had never been.
    let mut server = Server::new();
    server.create("/q", 0).expect("new");
    server.decide(Request::Create(create_request("/q/before-", 2)));
    let ops = vec![
        new("/q/n-", 2),
        MultiOp::SetData { path: "/q".into(), data: None, version: -1 },
        MultiOp::Check { path: "/q".into(), version: 99 },
    ];
    server.decide(Request::Multi(ops));
    let create = server.decide(Request::Create(create_request("/q/n-", 2)));
    assert!(matches!(create.txn, Txn::Create(create) if create.path == "/q/n-0000000001"));
    let set = server.decide(Request::SetData { path: "/q".into(), data: None, version: 0 });
    assert_eq!(set.error, None);
    while server.apply_next().is_some() {}
}

#[test]
fn a_multi_of_checks_changes_nothing_but_the_zxid() {
    let mut server = Server::new();
    let before = image(&server.tree);
    assert_eq!(
        results(&mut server, vec![MultiOp::Check { path: "/".into(), version: 0 }]),
        [MultiResult::Check]
    );
    assert_eq!(server.log[0].digest.map(|d| d.tree_digest), Some(before.digest));
    assert_eq!(image(&server.tree).nodes, before.nodes);
}

#[test]
fn a_session_that_moved_refuses_the_item() {
    let mut server = Server::new();
    let moved = server.decide_with(Request::Multi(vec![new("/a", 0)]), Err(ErrorCode::SessionMoved));
    let Txn::Multi(items) = &moved.txn else { panic!("{moved:?}") };
    assert_eq!(items[0], SubTxn::new(kind::ERROR, &Txn::Error { err: -118 }));
}

#[test]
fn an_empty_multi_succeeds() {
    assert_eq!(results(&mut Server::new(), Vec::new()), []);
}

#[test]
fn an_item_that_cannot_be_read_ends_a_multi_without_a_panic() {
    let mut server = Server::new();
    let header = zk_proto::txn::TxnHeader { client_id: 1, cxid: 1, zxid: 1, time: 1, kind: kind::MULTI };
    let txn = Txn::Multi(vec![SubTxn { kind: kind::CREATE, data: Default::default() }]);
    assert_eq!(server.tree.apply(&header, &txn, &mut Vec::new()), TxnResult::Multi(Vec::new()));
}

#[test]
fn a_multi_read_answers_each_item_by_itself() {
    let mut server = Server::new();
    server.create("/a", 0).expect("new");
    let get = |path: &str| MultiReadOp::GetData { path: path.into() };
    let list = MultiReadOp::GetChildren { path: "/".into() };
    let got = server.tree.multi_read(&[get("/none"), get("/a"), list], &[]);
    assert_eq!(got[0], MultiResult::Error(ErrorCode::NoNode));
    assert!(matches!(&got[1], MultiResult::GetData { data: Some(data), .. } if data == "data"));
    assert_eq!(got[2], MultiResult::GetChildren { children: vec!["a".into(), "zookeeper".into()] });
}
