use std::future::Future;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::LocalSet;
use zk_proto::quorum::Hello;

use super::*;

/// Only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    config: Config,
    listeners: BTreeMap<Sid, TcpListener>,
}

struct Server {
    mesh: Rc<Mesh>,
    heard: Rc<RefCell<Vec<Input>>>,
    news: Rc<Notify>,
}

impl World {
    /// Servers with ports of their own that nobody listens on yet.
    async fn new(sids: &[Sid]) -> Self {
        let mut listeners = BTreeMap::new();
        let mut text = String::new();
        for sid in sids {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            text.push_str(&format!("server.{sid}=127.0.0.1:1:{port}\n"));
            listeners.insert(*sid, listener);
        }
        Self { config: Config::parse(&text).unwrap(), listeners }
    }

    fn address(&self, sid: Sid) -> SocketAddr {
        let port = self.config.members[&sid].addresses[0].election_port;
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn start(&mut self, sid: Sid) -> Server {
        let (heard, news): (Rc<RefCell<Vec<Input>>>, _) = (Rc::default(), Rc::new(Notify::new()));
        let (list, bell) = (heard.clone(), news.clone());
        let sink: Sink = Rc::new(move |inputs| {
            list.borrow_mut().append(inputs);
            bell.notify_one();
        });
        let options = MeshOptions {
            sid,
            connect_timeout: PATIENCE,
            hello_timeout: Duration::from_millis(300),
            unanswered: PATIENCE,
            keep_alive: false,
        };
        let mesh = Mesh::new(options, Clock::start(), Rc::default(), sink);
        mesh.set_servers(&[&self.config]);
        let listener = self.listeners.remove(&sid).unwrap();
        spawn_local(accept(mesh.clone(), listener));
        Server { mesh, heard, news }
    }
}

impl Server {
    async fn until(&self, what: &str, wanted: impl Fn(&Input) -> bool) {
        let found = async {
            while !self.heard.borrow().iter().any(&wanted) {
                self.news.notified().await;
            }
        };
        if tokio::time::timeout(PATIENCE, found).await.is_err() {
            panic!("{what}: only heard {:?}", self.heard.borrow());
        }
    }

    async fn hears(&self, from: Sid, zxid: i64) {
        let what = format!("vote 0x{zxid:x} of {from}");
        self.until(&what, |input| {
            matches!(input, Input::Notification { from: f, notification } if *f == from && notification.zxid == zxid)
        })
        .await;
    }
}

fn vote(zxid: i64) -> Notification {
    let config = Some("server.1=h:1:2:participant\nversion=0".to_owned());
    Notification { state: PeerState::Looking, leader: 1, zxid, round: 1, peer_epoch: 0, config }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn votes_reach_everybody_whoever_speaks_first() {
    run(async {
        let mut world = World::new(&[1, 2, 3]).await;
        let (one, two, three) = (world.start(1), world.start(2), world.start(3));
        one.mesh.notify(3, &vote(0x13));
        three.hears(1, 0x13).await;
        three.mesh.notify(2, &vote(0x32));
        two.hears(3, 0x32).await;
        two.mesh.notify(1, &vote(0x21));
        two.mesh.notify(3, &vote(0x23));
        one.hears(2, 0x21).await;
        three.hears(2, 0x23).await;
    });
}

#[test]
fn the_newest_vote_is_told_when_a_server_comes_up_and_again_when_it_comes_back() {
    run(async {
        let mut world = World::new(&[1, 2]).await;
        let two = world.start(2);
        let (address, listener) = (world.address(1), world.listeners.remove(&1).unwrap());
        drop(listener);
        two.mesh.notify(1, &vote(1));
        two.until("refused", |input| matches!(input, Input::MeshDown { sid: 1 })).await;
        two.mesh.notify(1, &vote(2));
        for _ in 0..2 {
            let listener = TcpListener::bind(address).await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = vec![0; Hello::HEAD];
            stream.read_exact(&mut hello).await.unwrap();
            let length = Hello::address_length(hello.first_chunk().unwrap()).unwrap();
            let mut rest = vec![0; length];
            stream.read_exact(&mut rest).await.unwrap();
            assert_eq!(rest, sockets::shown(&("127.0.0.1".to_owned(), world.address(2).port())).as_bytes());
            let size = stream.read_i32().await.unwrap();
            let mut frame = vec![0; size as usize];
            stream.read_exact(&mut frame).await.unwrap();
            assert_eq!(Notification::decode(&frame).unwrap(), vote(2), "the older vote is forgotten");
        }
    });
}

/// Sends bytes to server 2's election port and waits until it has closed that connection.
async fn is_closed_on(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "{bytes:?} is kept");
}

fn hello(sid: Sid) -> Vec<u8> {
    let mut w = Writer::new();
    Hello { sid, addresses: vec!["127.0.0.1:1".to_owned()] }.encode(&mut w);
    w.into_vec()
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as i32).to_be_bytes(), body].concat()
}

#[test]
fn nonsense_costs_its_own_connection_only() {
    run(async {
        let mut world = World::new(&[1, 2, 3]).await;
        let (one, two) = (world.start(1), world.start(2));
        one.mesh.notify(2, &vote(7));
        two.hears(1, 7).await;
        let at = world.address(2);
        let mut huge = hello(3);
        huge[16..20].copy_from_slice(&i32::MAX.to_be_bytes());
        let mut empty = vote(1);
        empty.config = Some("version=0".to_owned());
        let mut w = Writer::new();
        empty.encode(&mut w);
        let lists_nobody = [hello(3), framed(w.as_slice())].concat();
        let hostile: Vec<Vec<u8>> = vec![
            vec![],
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            vec![0x16; 40],
            vec![0; 20],
            huge,
            hello(2),
            hello(-7),
            [hello(3), i32::MAX.to_be_bytes().to_vec()].concat(),
            [hello(3), (-1i32).to_be_bytes().to_vec()].concat(),
            [hello(3), framed(&[9; 12])].concat(),
            lists_nobody,
        ];
        for bytes in &hostile {
            is_closed_on(at, bytes).await;
        }
        one.mesh.notify(2, &vote(8));
        two.hears(1, 8).await;
    });
}

#[test]
fn strangers_are_heard_up_to_a_number() {
    run(async {
        let mut world = World::new(&[1]).await;
        let one = world.start(1);
        let mut kept = Vec::new();
        for sid in 0..STRANGERS_MAX as Sid {
            let mut stream = TcpStream::connect(world.address(1)).await.unwrap();
            stream.write_all(&hello(100 + sid)).await.unwrap();
            let mut w = Writer::new();
            vote(sid).encode(&mut w);
            stream.write_all(&framed(w.as_slice())).await.unwrap();
            one.hears(100 + sid, sid).await;
            kept.push(stream);
        }
        is_closed_on(world.address(1), &hello(999)).await;
        drop(kept.pop());
        one.until("gone", |input| matches!(input, Input::MeshDown { sid: 115 })).await;
        let mut stream = TcpStream::connect(world.address(1)).await.unwrap();
        stream.write_all(&hello(999)).await.unwrap();
        one.until("room again", |input| matches!(input, Input::MeshUp { sid: 999 })).await;
    });
}

#[test]
fn a_second_connection_of_a_server_takes_the_place_of_the_first() {
    run(async {
        let mut world = World::new(&[1, 2]).await;
        let one = world.start(1);
        let mut first = TcpStream::connect(world.address(1)).await.unwrap();
        first.write_all(&hello(2)).await.unwrap();
        one.until("up", |input| matches!(input, Input::MeshUp { sid: 2 })).await;
        let mut second = TcpStream::connect(world.address(1)).await.unwrap();
        second.write_all(&hello(2)).await.unwrap();
        let mut rest = Vec::new();
        first.read_to_end(&mut rest).await.unwrap();
        one.mesh.notify(2, &vote(5));
        let size = second.read_i32().await.unwrap();
        assert!(size > 40);
        let downs = one.heard.borrow().iter().filter(|i| matches!(i, Input::MeshDown { .. })).count();
        assert_eq!(downs, 0, "the server can be heard all the time");
    });
}
