//! Writes at servers that do not lead: sent on, answered in order, the same everywhere.

use zk_proto::{CreateKind, ErrorCode, EventKind, MultiOp, MultiResult, OpCode, Request, Response};

use super::world::World;
use crate::tests::harness::{create, create_request, delete, exists, get, set};

#[test]
fn a_write_at_any_server_reaches_all() {
    let mut w = World::started(3, 1);
    for (sid, path) in [(1, "/a"), (2, "/b"), (3, "/c"), (4, "/d")] {
        let (conn, _) = w.connect(sid);
        assert_eq!(w.ask(conn, 1, &create(path, 0)), ErrorCode::Ok);
        assert_eq!(w.ask(conn, 2, &create(path, 0)), ErrorCode::NodeExists);
        assert_eq!(w.ask(conn, 3, &exists(path, false)), ErrorCode::Ok);
    }
    w.settle();
    for sid in 1..=4 {
        for path in ["/a", "/b", "/c", "/d"] {
            assert!(w.has(sid, path), "{path} at server {sid}");
        }
    }
    w.check_equal();
}

#[test]
fn the_epoch_is_shown_before_its_first_transaction() {
    let w = World::started(3, 0);
    let leader = w.leader().unwrap();
    assert_eq!(w.member(leader).node().tree().last_zxid(), 0x1_0000_0000);
    for sid in w.followers() {
        assert_eq!(w.member(sid).node().tree().last_zxid(), 0, "a DIFF of nothing leaves it where it was");
    }
}
