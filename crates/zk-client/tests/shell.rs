//! The whole client against a server in the same process, over real sockets.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zk_client::{
    ConnectOptions, CreateMode, ErrorCode, EventKind, KeeperState, Stat, ZkClient, ZkError, open_acl,
};
use zk_proto::header::xid;
use zk_proto::{
    ConnectRequest, ConnectResponse, OpCode, Reader, ReplyHeader, Request, RequestHeader, Response,
    WatcherEvent, Writer,
};

/// One connection as the server sees it.
struct Peer {
    stream: TcpStream,
}

impl Peer {
    async fn accept(listener: &TcpListener) -> Self {
        Self { stream: listener.accept().await.expect("a client").0 }
    }

    /// The next frame; `None` when the client hung up.
    async fn read(&mut self) -> Option<Vec<u8>> {
        let length = self.stream.read_i32().await.ok()?;
        let mut frame = vec![0; length as usize];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(frame)
    }

    async fn write(&mut self, encode: impl FnOnce(&mut Writer)) {
        let mut w = Writer::new();
        let frame = w.begin_frame();
        encode(&mut w);
        w.end_frame(frame);
        self.stream.write_all(w.as_slice()).await.expect("the client reads");
    }

    /// Takes the handshake and answers it; a timeout of 0 refuses the session.
    async fn handshake(&mut self, timeout_ms: i32) -> ConnectRequest {
        let frame = self.read().await.expect("a handshake");
        let request = ConnectRequest::decode(&mut Reader::new(&frame)).expect("well formed");
        let passwd = Bytes::from_static(b"0123456789abcdef");
        let answer = ConnectResponse {
            protocol_version: 0,
            timeout_ms,
            session_id: 7,
            passwd,
            read_only: Some(false),
        };
        self.write(|w| answer.encode(w)).await;
        request
    }

    /// The next request that is no ping.
    async fn request(&mut self) -> Option<(i32, Request)> {
        loop {
            let frame = self.read().await?;
            let mut r = Reader::new(&frame);
            let header = RequestHeader::decode(&mut r).expect("a header");
            let request = Request::decode(header.op, &mut r).expect("a request");
            if request != Request::Ping {
                return Some((header.xid, request));
            }
            self.reply(xid::PING, Response::Empty).await;
        }
    }

    async fn reply(&mut self, xid: i32, response: Response) {
        self.write(|w| {
            ReplyHeader { xid, zxid: 0x11, err: 0 }.encode(w);
            response.encode(w);
        })
        .await;
    }

    async fn fire(&mut self, kind: EventKind, path: &str) {
        let event = WatcherEvent { kind, state: KeeperState::SyncConnected, path: path.into() };
        self.write(|w| {
            ReplyHeader { xid: xid::NOTIFICATION, zxid: 0x12, err: 0 }.encode(w);
            event.encode(w);
        })
        .await;
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    (listener, address)
}

/// The future's output if it is ready now.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    poll_fn(|cx| {
        Poll::Ready(match Pin::new(&mut *future).poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

fn data(text: &'static str) -> Response {
    Response::Data { data: Some(Bytes::from_static(text.as_bytes())), stat: Stat::default() }
}

#[tokio::test]
async fn requests_go_out_when_called_not_when_awaited() {
    let (listener, address) = listen().await;
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        peer.handshake(6000).await;
        let (first, request) = peer.request().await.expect("the create");
        assert!(matches!(&request, Request::Create(create) if create.path == "/app/a"), "{request:?}");
        let (second, request) = peer.request().await.expect("the read");
        assert_eq!(request, Request::GetData { path: "/app/a".into(), watch: true });
        peer.reply(first, Response::Path { path: "/app/a".into() }).await;
        peer.reply(second, data("x")).await;
        peer
    };
    let client = async {
        let options = ConnectOptions::new(format!("{address}/app")).session_timeout_ms(6000);
        let (zk, mut events) = ZkClient::connect(options).await.expect("connected");
        assert_eq!((zk.session().id, zk.session().timeout_ms, zk.is_connected()), (7, 6000, true));
        assert_eq!(events.recv().await.map(|e| e.state), Some(KeeperState::SyncConnected));
        let create = zk.create("/a", Some("x".into()), open_acl(), CreateMode::Persistent);
        let read = zk.get_data("/a", true);
        // Awaited the other way round: the order of the calls counts.
        assert_eq!(read.await.expect("read").0, Some("x".into()));
        assert_eq!(create.await, Ok("/a".into()));
        (zk, events)
    };
    let (mut peer, (zk, mut events)) = tokio::join!(server, client);
    peer.fire(EventKind::NodeDeleted, "/app/a").await;
    let event = events.recv().await.expect("the watch");
    assert_eq!((event.kind, event.path.as_str(), event.zxid), (EventKind::NodeDeleted, "/a", 0x12));

    let closing = zk.close();
    let (close, request) = peer.request().await.expect("the close");
    assert_eq!(request, Request::CloseSession);
    peer.reply(close, Response::Empty).await;
    assert_eq!(closing.await, Ok(()));
    assert_eq!(zk.sync("/").await, Err(ZkError::Closed));
    assert_eq!(events.recv().await, None);
    assert!(peer.request().await.is_none(), "the connection is closed");
}

#[tokio::test]
async fn another_server_takes_over_session_and_watches() {
    let (first, first_address) = listen().await;
    let (second, second_address) = listen().await;
    let server = async {
        // Whichever the client tries first; the other one is next.
        let (mut peer, other) = tokio::select! {
            peer = Peer::accept(&first) => (peer, &second),
            peer = Peer::accept(&second) => (peer, &first),
        };
        peer.handshake(6000).await;
        let (id, _) = peer.request().await.expect("the read");
        peer.reply(id, data("x")).await;
        let _lost = peer.request().await.expect("the write");
        drop(peer);
        let mut peer = Peer::accept(other).await;
        let handshake = peer.handshake(6000).await;
        assert_eq!((handshake.session_id, handshake.last_zxid_seen), (7, 0x11));
        let (id, request) = peer.request().await.expect("the watches");
        assert_eq!(id, xid::SET_WATCHES);
        assert!(matches!(request, Request::SetWatches(set) if set.data == ["/a"]));
        peer.reply(id, Response::Empty).await;
        peer.fire(EventKind::NodeDataChanged, "/a").await;
        peer
    };
    let client = async {
        let hosts = format!("{first_address},{second_address}");
        let (zk, mut events) =
            ZkClient::connect(ConnectOptions::new(hosts).session_timeout_ms(6000)).await.expect("on");
        zk.get_data("/a", true).await.expect("read");
        assert_eq!(zk.set_data("/a", None, -1).await, Err(ZkError::ConnectionLoss));
        let mut seen = Vec::new();
        while seen.last() != Some(&(EventKind::NodeDataChanged, KeeperState::SyncConnected)) {
            let event = events.recv().await.expect("the session goes on");
            seen.push((event.kind, event.state));
        }
        let session = |state| (EventKind::None, state);
        let states = [KeeperState::SyncConnected, KeeperState::Disconnected, KeeperState::SyncConnected];
        assert_eq!(seen[..3], states.map(session));
        zk
    };
    let (_peer, zk) = tokio::join!(server, client);
    assert!(zk.is_connected());
}

#[tokio::test]
async fn an_expired_session_fails_all_that_follows() {
    let (listener, address) = listen().await;
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        peer.handshake(6000).await;
        drop(peer);
        Peer::accept(&listener).await.handshake(0).await;
    };
    let client = async {
        let (zk, mut events) =
            ZkClient::connect(ConnectOptions::new(address.as_str())).await.expect("connected");
        while let Some(event) = events.recv().await {
            if event.state == KeeperState::Expired {
                break;
            }
        }
        assert_eq!(events.recv().await, None, "nothing follows");
        assert_eq!(zk.sync("/").await, Err(ZkError::SessionExpired));
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn a_refused_session_is_told_by_connect() {
    let (listener, address) = listen().await;
    let mut options = ConnectOptions::new(address);
    options.session = Some(zk_client::Session {
        id: 99,
        passwd: Bytes::from_static(b"0123456789abcdef"),
        timeout_ms: 6000,
    });
    let server = async {
        let handshake = Peer::accept(&listener).await.handshake(0).await;
        assert_eq!(handshake.session_id, 99);
    };
    let (connected, ()) = tokio::join!(ZkClient::connect(options), server);
    assert_eq!(connected.map(drop), Err(ZkError::SessionExpired));
}

#[tokio::test]
async fn connect_gives_up_and_says_what_happened() {
    let (listener, address) = listen().await;
    drop(listener);
    let options = ConnectOptions::new(address.as_str()).connect_timeout_ms(150);
    let Err(ZkError::ConnectTimeout { hosts, timeout_ms, last }) = ZkClient::connect(options).await.map(drop)
    else {
        panic!("nobody listens there");
    };
    assert_eq!((hosts, timeout_ms), (address.clone(), 150));
    assert!(last.starts_with(&address), "{last}");
    assert!(matches!(ZkClient::connect(ConnectOptions::new("")).await, Err(ZkError::BadArgument(_))));
}

#[tokio::test]
async fn a_client_nobody_holds_hangs_up_without_ending_the_session() {
    let (listener, address) = listen().await;
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        peer.handshake(6000).await;
        let (id, request) = peer.request().await.expect("the read");
        assert_eq!(request.op(), OpCode::GetData);
        peer.reply(id, data("late")).await;
        assert!(peer.request().await.is_none(), "no closeSession");
    };
    let client = async {
        let (zk, _events) =
            ZkClient::connect(ConnectOptions::new(address.as_str())).await.expect("connected");
        let read = zk.get_data("/a", false);
        drop(zk);
        assert_eq!(read.await.expect("a reply still owed").0, Some("late".into()));
    };
    tokio::join!(server, client);
}

/// Nobody takes the events: the client stops reading, so its memory stays bounded, and nothing is lost.
#[tokio::test]
async fn events_nobody_takes_hold_up_the_server() {
    let (listener, address) = listen().await;
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        peer.handshake(6000).await;
        for _ in 0..500 {
            peer.fire(EventKind::NodeCreated, "/e").await;
        }
        let (id, _) = peer.request().await.expect("the read");
        peer.reply(id, data("x")).await;
        peer
    };
    let client = async {
        let mut options = ConnectOptions::new(address.as_str());
        options.events_max = 10;
        let (zk, mut events) = ZkClient::connect(options).await.expect("connected");
        let mut read = zk.get_data("/a", false);
        // The reply stands behind 500 events, of which 10 have room and one is held.
        for taken in 0..500 {
            assert!(taken > 480 || poll_once(&mut read).await.is_none(), "no reply may overtake an event");
            let event = events.recv().await.expect("an event");
            assert_eq!(event.kind == EventKind::None, taken == 0, "event {taken}");
        }
        read.await.expect("the reply behind them");
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn a_full_queue_and_a_bad_path_refuse_at_the_call() {
    let (listener, address) = listen().await;
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        peer.handshake(6000).await;
        peer
    };
    let mut options = ConnectOptions::new(address);
    options.queued_max = 2;
    let (_peer, connected) = tokio::join!(server, ZkClient::connect(options));
    let (zk, _events) = connected.expect("connected");
    // On one thread the client's task cannot run between these calls.
    let (_first, _second) = (zk.sync("/"), zk.sync("/"));
    assert_eq!(zk.sync("/").await, Err(ZkError::QueueFull(2)));
    assert!(matches!(zk.delete("a", -1).await, Err(ZkError::BadArgument(_))));
    assert!(!ZkError::QueueFull(2).is(ErrorCode::ConnectionLoss));
}
