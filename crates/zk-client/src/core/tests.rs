//! The session against a server played frame by frame.

use zk_proto::header::xid;
use zk_proto::{
    ConnectResponse, ErrorCode, EventKind, MultiOp, MultiResult, Reader, ReplyHeader, Stat, WatcherEvent,
};

use super::*;

const TIMEOUT_MS: i32 = 9000;

/// A core with its clock, and what came out of it.
struct Net {
    core: Core<u32>,
    now_ms: u64,
    effects: Vec<Effect<u32>>,
}

/// A request as the server reads it.
#[derive(Debug, PartialEq, Eq)]
struct Got {
    xid: i32,
    request: Request,
}

impl Net {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut CoreOptions)) -> Self {
        let mut options = CoreOptions {
            session_timeout_ms: TIMEOUT_MS,
            can_be_read_only: false,
            session: None,
            auth: Vec::new(),
            chroot: Chroot::default(),
            hosts: 3,
            in_flight_max: 100,
        };
        change(&mut options);
        Self { core: Core::new(options, 0), now_ms: 0, effects: Vec::new() }
    }

    fn connected() -> Self {
        let mut net = Self::new();
        net.connect();
        net.effects.clear();
        net
    }

    /// Connects and accepts the session.
    fn connect(&mut self) -> zk_proto::ConnectRequest {
        self.core.on_connected(self.now_ms);
        let frames = frames(&self.core.take_output());
        assert_eq!(frames.len(), 1, "nothing may be sent before the session stands");
        let request = zk_proto::ConnectRequest::decode(&mut Reader::new(&frames[0])).expect("a handshake");
        self.answer_handshake(TIMEOUT_MS);
        request
    }

    fn answer_handshake(&mut self, timeout_ms: i32) {
        let passwd = Bytes::from_static(b"0123456789abcdef");
        let answer = ConnectResponse {
            protocol_version: 0,
            timeout_ms,
            session_id: 7,
            passwd,
            read_only: Some(false),
        };
        self.frame(|w| answer.encode(w));
    }

    fn frame(&mut self, write: impl FnOnce(&mut Writer)) {
        let mut w = Writer::new();
        write(&mut w);
        self.core.on_frame(w.as_slice(), self.now_ms, &mut self.effects);
    }

    fn submit(&mut self, id: u32, request: Request) {
        self.core.submit(request, id, self.now_ms, &mut self.effects);
    }

    fn reply(&mut self, xid: i32, zxid: i64, response: Response) {
        self.frame(|w| {
            ReplyHeader { xid, zxid, err: 0 }.encode(w);
            response.encode(w);
        });
    }

    fn refuse(&mut self, xid: i32, code: ErrorCode) {
        self.frame(|w| ReplyHeader { xid, zxid: 5, err: code.code() }.encode(w));
    }

    fn fire(&mut self, kind: EventKind, path: &str) {
        let event = WatcherEvent { kind, state: KeeperState::SyncConnected, path: path.into() };
        self.frame(|w| {
            ReplyHeader { xid: xid::NOTIFICATION, zxid: 9, err: 0 }.encode(w);
            event.encode(w);
        });
    }

    fn disconnect(&mut self) {
        self.core.on_disconnected(self.now_ms, &mut self.effects);
    }

    fn at(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.core.on_time(now_ms, &mut self.effects);
    }

    /// The requests sent since the last call.
    fn sent(&mut self) -> Vec<Got> {
        let read = |frame: &Vec<u8>| {
            let mut r = Reader::new(frame);
            let header = RequestHeader::decode(&mut r).expect("a header");
            Got { xid: header.xid, request: Request::decode(header.op, &mut r).expect("a request") }
        };
        frames(&self.core.take_output()).iter().map(read).collect()
    }

    fn sent_xids(&mut self) -> Vec<i32> {
        self.sent().into_iter().map(|got| got.xid).collect()
    }

    /// The outcomes since the last call, by address.
    fn outcomes(&mut self) -> Vec<(u32, Result<Response>)> {
        let mut outcomes = Vec::new();
        self.effects = std::mem::take(&mut self.effects)
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Complete(id, outcome) => {
                    outcomes.push((id, outcome));
                    None
                }
                other => Some(other),
            })
            .collect();
        outcomes
    }

    fn events(&mut self) -> Vec<WatchEvent> {
        let mut events = Vec::new();
        self.effects.retain(|effect| match effect {
            Effect::Event(event) => {
                events.push(event.clone());
                false
            }
            _ => true,
        });
        events
    }

    fn states(&mut self) -> Vec<KeeperState> {
        self.events().into_iter().filter(|e| e.kind == EventKind::None).map(|e| e.state).collect()
    }

    fn is_over(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::End))
    }

    fn wants_disconnect(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Disconnect(_)))
    }
}

fn frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
        let (frame, rest) = rest.split_at(i32::from_be_bytes(*head) as usize);
        frames.push(frame.to_vec());
        bytes = rest;
    }
    frames
}

fn get(path: &str, watch: bool) -> Request {
    Request::GetData { path: path.into(), watch }
}

fn sync(path: &str) -> Request {
    Request::Sync { path: path.into() }
}

fn data() -> Response {
    Response::Data { data: None, stat: Stat::default() }
}

#[test]
fn requests_wait_for_the_session_and_then_leave_in_order() {
    let mut net = Net::new();
    net.submit(1, get("/a", false));
    net.submit(2, sync("/b"));
    let handshake = net.connect();
    assert_eq!((handshake.session_id, handshake.timeout_ms, handshake.last_zxid_seen), (0, TIMEOUT_MS, 0));
    net.submit(3, get("/c", false));
    let expect = [get("/a", false), sync("/b"), get("/c", false)];
    let sent = net.sent();
    assert_eq!(sent.iter().map(|got| got.xid).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(sent.into_iter().map(|got| got.request).eq(expect));
    assert_eq!(net.states(), [KeeperState::SyncConnected]);

    net.reply(1, 4, data());
    net.refuse(2, ErrorCode::NoNode);
    net.reply(3, 6, data());
    let expect = [(1, Ok(data())), (2, Err(ZkError::Code(ErrorCode::NoNode))), (3, Ok(data()))];
    assert_eq!(net.outcomes(), expect);
}

#[test]
fn a_lost_connection_fails_what_was_sent_and_keeps_what_was_not() {
    let mut net = Net::connected();
    net.submit(1, get("/a", false));
    net.reply(1, 0x77, data());
    net.submit(2, get("/b", false));
    net.outcomes();
    net.disconnect();
    net.submit(3, get("/c", false));
    assert_eq!(net.outcomes(), [(2, Err(ZkError::ConnectionLoss))]);
    assert_eq!(net.states(), [KeeperState::Disconnected]);

    let handshake = net.connect();
    assert_eq!((handshake.session_id, handshake.last_zxid_seen), (7, 0x77), "the session is taken up");
    assert_eq!(handshake.passwd, Bytes::from_static(b"0123456789abcdef"));
    assert_eq!(net.sent().into_iter().map(|got| got.request).collect::<Vec<_>>(), [get("/c", false)]);
}

#[test]
fn nobody_waits_for_a_connection_longer_than_the_session_lives() {
    let mut net = Net::connected();
    net.now_ms = 1000;
    net.disconnect();
    net.submit(1, get("/a", false));
    assert_eq!(net.core.deadline_ms(), Some(1000 + TIMEOUT_MS as u64));
    net.at(1000 + TIMEOUT_MS as u64 - 1);
    assert_eq!(net.outcomes(), []);
    net.at(1000 + TIMEOUT_MS as u64);
    assert_eq!(net.outcomes(), [(1, Err(ZkError::ConnectionLoss))]);
    assert_eq!(net.core.deadline_ms(), None);
}

#[test]
fn one_shot_watches_that_did_not_fire_are_set_anew() {
    let mut net = Net::connected();
    net.submit(1, get("/data", true));
    net.submit(2, Request::Exists { path: "/none".into(), watch: true });
    net.submit(3, Request::GetChildren { path: "/dir".into(), watch: true });
    net.submit(4, get("/fires", true));
    net.submit(5, get("/refused", true));
    net.reply(1, 3, data());
    net.refuse(2, ErrorCode::NoNode);
    net.reply(3, 3, Response::Children { children: vec![] });
    net.reply(4, 0x33, data());
    net.refuse(5, ErrorCode::NoNode);
    net.fire(EventKind::NodeDataChanged, "/fires");
    net.sent();
    net.disconnect();
    net.connect();
    let set = Request::SetWatches(zk_proto::SetWatchesRequest {
        relative_zxid: 5, // of the last reply
        data: vec!["/data".into()],
        exist: vec!["/none".into()],
        child: vec!["/dir".into()],
        ..Default::default()
    });
    assert_eq!(net.sent(), [Got { xid: xid::SET_WATCHES, request: set }]);
}

#[test]
fn a_server_before_3_6_costs_the_persistent_watches_and_says_so() {
    let mut net = Net::connected();
    net.submit(1, Request::AddWatch { path: "/p".into(), mode: 1 });
    net.submit(2, get("/data", true));
    net.reply(1, 3, Response::Error { err: 0 });
    net.reply(2, 3, data());
    net.disconnect();
    net.connect();
    let sent = net.sent();
    assert!(
        matches!(&sent[..], [.., Got { request: Request::SetWatches2(set), .. }] if set.persistent_recursive == ["/p"])
    );
    net.refuse(xid::SET_WATCHES, ErrorCode::Unimplemented);
    net.disconnect();
    net.events();
    net.connect();
    let removed: Vec<_> =
        net.events().into_iter().filter(|e| e.kind == EventKind::PersistentWatchRemoved).collect();
    assert_eq!(removed.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["/p"]);
    let sent = net.sent();
    assert!(
        matches!(&sent[..], [Got { request: Request::SetWatches(set), .. }] if set.data == ["/data"]),
        "{sent:?}"
    );
}

#[test]
fn a_removed_watch_is_told_and_not_set_anew() {
    let mut net = Net::connected();
    net.submit(1, get("/a", true));
    net.submit(2, Request::RemoveWatches { path: "/a".into(), kind: 3 });
    net.reply(1, 3, data());
    net.reply(2, 3, Response::Empty);
    assert_eq!(net.events().into_iter().map(|e| e.kind).collect::<Vec<_>>(), [EventKind::DataWatchRemoved]);
    net.sent();
    net.disconnect();
    net.connect();
    assert_eq!(net.sent(), []);
}

#[test]
fn an_expired_session_ends_everything() {
    let mut net = Net::connected();
    net.submit(1, get("/a", false));
    net.disconnect();
    net.submit(2, get("/b", false));
    net.outcomes();
    net.events();
    net.core.on_connected(net.now_ms);
    net.answer_handshake(0);
    assert_eq!(net.outcomes(), [(2, Err(ZkError::SessionExpired))]);
    assert_eq!(net.states(), [KeeperState::Expired]);
    assert!(net.is_over());
    net.submit(3, get("/c", false));
    assert_eq!(net.outcomes(), [(3, Err(ZkError::SessionExpired))]);
}

#[test]
fn credentials_come_first_on_every_connection() {
    let auth = |user: &str| Request::Auth {
        kind: 0,
        scheme: "digest".into(),
        auth: Some(Bytes::from(user.to_owned())),
    };
    let mut net = Net::with(|options| options.auth = vec![("digest".into(), Bytes::from_static(b"a:1"))]);
    net.connect();
    net.submit(1, auth("b:2"));
    net.submit(2, get("/a", true));
    let expect = |request, xid| Got { xid, request };
    let first = [expect(auth("a:1"), xid::AUTH), expect(auth("b:2"), xid::AUTH), expect(get("/a", true), 1)];
    assert_eq!(net.sent(), first);
    net.reply(xid::AUTH, 0, Response::Empty);
    assert_eq!(net.outcomes(), [], "nobody asked for the first");
    net.reply(xid::AUTH, 0, Response::Empty);
    assert_eq!(net.outcomes(), [(1, Ok(Response::Empty))]);
    net.reply(1, 3, data());
    net.disconnect();
    net.connect();
    assert_eq!(net.sent_xids(), [xid::AUTH, xid::AUTH, xid::SET_WATCHES]);

    net.refuse(xid::AUTH, ErrorCode::AuthFailed);
    assert!(net.is_over());
    assert!(net.states().ends_with(&[KeeperState::AuthFailed]));
}

#[test]
fn a_quiet_connection_is_pinged_and_a_silent_server_left() {
    let mut net = Net::connected();
    assert_eq!(net.core.deadline_ms(), Some(3000));
    net.at(2999);
    assert_eq!(net.sent(), []);
    net.at(3000);
    assert_eq!(net.sent(), [Got { xid: xid::PING, request: Request::Ping }]);
    net.now_ms = 3010;
    net.reply(xid::PING, 5, Response::Empty);
    assert_eq!(net.outcomes(), []);
    net.at(6000);
    assert_eq!(net.sent_xids(), [xid::PING]);
    net.at(3010 + 6000 - 1);
    assert!(!net.wants_disconnect());
    net.at(3010 + 6000);
    assert!(net.wants_disconnect());
}

#[test]
fn a_paused_reader_does_not_blame_the_server() {
    let mut net = Net::connected();
    net.core.on_reading_paused(5999);
    net.at(6000);
    assert!(!net.wants_disconnect());
}

#[test]
fn a_server_that_does_not_answer_the_handshake_is_left() {
    let mut net = Net::new();
    net.core.on_connected(0);
    assert_eq!(net.core.deadline_ms(), Some(3000), "three servers share the timeout");
    net.at(3000);
    assert!(net.wants_disconnect());
}

/// It may be just starting, and have forgotten the connection; the session must not end over waiting for it.
#[test]
fn a_lone_server_that_does_not_answer_the_handshake_is_asked_again_in_time() {
    let mut net = Net::with(|options| options.hosts = 1);
    net.core.on_connected(0);
    net.at(3000);
    assert!(net.wants_disconnect(), "at a third of the session's time");
}

#[test]
fn a_refused_multi_names_its_culprit() {
    let mut net = Net::connected();
    let delete = |path: &str| MultiOp::Delete { path: path.into(), version: -1 };
    net.submit(1, Request::Multi(vec![delete("/a"), delete("/b"), delete("/c")]));
    let results = vec![
        MultiResult::Error(ErrorCode::Ok),
        MultiResult::Error(ErrorCode::NoNode),
        MultiResult::Error(ErrorCode::RuntimeInconsistency),
    ];
    net.reply(1, 3, Response::Multi(results.clone()));
    let refused = ZkError::Multi { index: 1, code: ErrorCode::NoNode, results };
    assert_eq!(net.outcomes(), [(1, Err(refused))]);
    net.submit(2, Request::Multi(vec![delete("/a")]));
    net.reply(2, 4, Response::Multi(vec![MultiResult::Delete]));
    assert_eq!(net.outcomes(), [(2, Ok(Response::Multi(vec![MultiResult::Delete])))]);
}

#[test]
fn replies_and_events_lose_the_chroot() {
    let mut net = Net::with(|options| options.chroot = Chroot::new("/app").expect("well formed"));
    net.connect();
    net.submit(1, sync("/app/x"));
    net.reply(1, 3, Response::Path { path: "/app/x".into() });
    assert_eq!(net.outcomes(), [(1, Ok(Response::Path { path: "/x".into() }))]);
    net.events();
    net.fire(EventKind::NodeDeleted, "/app/x");
    assert_eq!(net.events()[0].path, "/x");
    assert_eq!(net.core.watches.to_requests(0), []);
}

#[test]
fn closing_carries_out_what_was_asked_before_and_refuses_the_rest() {
    let mut net = Net::connected();
    net.submit(1, sync("/a"));
    net.submit(2, Request::CloseSession);
    net.submit(3, sync("/b"));
    assert_eq!(net.outcomes(), [(3, Err(ZkError::Closed))]);
    net.reply(1, 3, Response::Path { path: "/a".into() });
    net.reply(2, 4, Response::Empty);
    assert_eq!(net.outcomes(), [(1, Ok(Response::Path { path: "/a".into() })), (2, Ok(Response::Empty))]);
    assert!(net.is_over());

    let mut net = Net::connected();
    net.submit(1, Request::CloseSession);
    net.disconnect();
    assert_eq!(net.outcomes(), [(1, Ok(Response::Empty))], "the server hung up first");
    assert!(net.is_over());

    let mut net = Net::new();
    net.submit(1, Request::CloseSession);
    assert_eq!(net.outcomes(), [(1, Ok(Response::Empty))]);
    assert!(net.is_over());
}

#[test]
fn no_more_than_the_limit_are_in_flight() {
    let mut net = Net::with(|options| options.in_flight_max = 2);
    net.connect();
    for id in 1..=4 {
        net.submit(id, sync("/a"));
    }
    assert_eq!(net.sent_xids(), [1, 2]);
    assert_eq!(net.core.waiting(), 2);
    net.reply(1, 3, Response::Path { path: "/a".into() });
    assert_eq!(net.sent_xids(), [3]);
}

#[test]
fn a_reply_nobody_waits_for_ends_the_connection() {
    let mut net = Net::connected();
    net.submit(1, sync("/a"));
    net.reply(2, 3, Response::Empty);
    assert!(net.wants_disconnect());
    net.disconnect();
    assert_eq!(net.outcomes(), [(1, Err(ZkError::ConnectionLoss))]);
}

/// Whatever a server sends, nothing panics and every request gets exactly one outcome.
#[test]
fn random_frames_break_connections_and_nothing_else() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut net = Net::new();
        let (mut asked, mut answered) = (0, 0);
        for _ in 0..60 {
            match rng.u8(0..6) {
                0 if matches!(net.core.phase, Phase::Disconnected { .. }) => {
                    net.core.on_connected(net.now_ms)
                }
                1 => net.answer_handshake(if rng.u8(0..50) == 0 { 0 } else { TIMEOUT_MS }),
                2 => net.disconnect(),
                3 => {
                    asked += 1;
                    net.submit(asked, if rng.bool() { get("/a", true) } else { Request::WhoAmI });
                }
                4 => {
                    let xid =
                        [xid::NOTIFICATION, xid::AUTH, xid::SET_WATCHES, rng.i32(1..9)][rng.usize(0..4)];
                    let body: Vec<u8> = (0..rng.usize(0..90)).map(|_| rng.u8(0..4)).collect();
                    net.frame(|w| {
                        ReplyHeader { xid, zxid: 1, err: [0, -101][rng.usize(0..2)] }.encode(w);
                        w.raw(&body);
                    });
                }
                _ => {
                    let garbage: Vec<u8> = (0..rng.usize(0..30)).map(|_| rng.u8(..)).collect();
                    net.frame(|w| w.raw(&garbage));
                }
            }
            answered += net.outcomes().len() as u32;
        }
        net.disconnect();
        net.at(u64::MAX / 4);
        answered += net.outcomes().len() as u32;
        assert_eq!(asked, answered, "seed {seed}");
    }
}
