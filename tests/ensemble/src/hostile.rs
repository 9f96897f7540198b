//! Peers that speak nonsense at the ports servers keep for each other. Only their own connection may suffer.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::ensemble::{Ensemble, Id};
use zk_proto::Writer;
use zk_proto::quorum::packet::LearnerInfo;
use zk_proto::quorum::{Hello, Notification, Packet, PacketKind, PeerState};

/// A number no server has; larger than all of theirs, so that its connections are not closed for being the smaller.
const STRANGER: i64 = 77;

/// How long a server may take to see that it is being fooled.
const CLOSE_LIMIT: Duration = Duration::from_secs(15);

/// One attack: what it is called, and its bytes.
struct Attack {
    name: &'static str,
    bytes: Vec<u8>,
    /// Apache itself does not live through it.
    kills_apache: bool,
    /// Nothing is wrong with the connection, so it may stay open.
    may_stay: bool,
}

fn attack(name: &'static str, bytes: Vec<u8>) -> Attack {
    Attack { name, bytes, kills_apache: false, may_stay: false }
}

/// Sends everything bad to one server. It must serve in the same role afterwards, in the same epoch.
pub fn attack_all(ensemble: &Ensemble, id: Id) -> Result<usize> {
    let (before, epochs) = (ensemble.mode(id), ensemble.epochs(id)?);
    let member = ensemble.member(id);
    let (election, quorum) = (member.site.election_port, member.site.quorum_port);
    let leads = before == Some(testkit::Mode::Leader);
    let mut count = 0;
    for (port, attacks) in [(election, at_election()), (quorum, at_quorum())] {
        // Only a leader listens for learners.
        if port == quorum && !leads {
            continue;
        }
        for attack in attacks {
            if attack.kills_apache && !member.kind.is_zoolog() {
                continue;
            }
            run(&attack, &member.site.address, port)
                .with_context(|| format!("{} at port {port} of server {id}", attack.name))?;
            let mode = ensemble.mode(id);
            ensure!(mode == before, "{}: server {id} was {before:?} and is {mode:?}", attack.name);
            count += 1;
        }
    }
    let after = ensemble.epochs(id)?;
    ensure!(after == epochs, "server {id} went from epochs {epochs:?} to {after:?}");
    Ok(count)
}

/// Sends it; unless the connection may stay, the server must close it once we have said all.
fn run(attack: &Attack, address: &str, port: u16) -> Result<()> {
    let mut stream = TcpStream::connect((address, port))?;
    stream.set_read_timeout(Some(CLOSE_LIMIT))?;
    // A server may close before it has read everything.
    let _ = stream.write_all(&attack.bytes);
    if attack.may_stay {
        std::thread::sleep(Duration::from_millis(100));
        return Ok(());
    }
    let mut rest = [0; 1024];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
            Err(e) => return Err(e).context("the connection is still open"),
        }
    }
}

fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::new();
    write(&mut w);
    w.into_vec()
}

fn hello() -> Vec<u8> {
    written(|w| Hello { sid: STRANGER, addresses: vec!["127.0.0.1:1".into()] }.encode(w))
}

/// A hello, then one frame.
fn after_hello(frame: Vec<u8>) -> Vec<u8> {
    let length = (frame.len() as u32).to_be_bytes();
    [hello(), length.to_vec(), frame].concat()
}

fn vote(config: &str) -> Vec<u8> {
    let vote = Notification {
        state: PeerState::Leading,
        leader: STRANGER,
        zxid: i64::MAX,
        round: i64::MAX,
        peer_epoch: i64::MAX >> 32,
        config: Some(config.to_owned()),
    };
    written(|w| vote.encode(w))
}

fn at_election() -> Vec<Attack> {
    let head = |protocol: i64, sid: i64, length: i32| {
        written(|w| {
            w.i64(protocol);
            w.i64(sid);
            w.i32(length);
        })
    };
    let stays = |attack: Attack| Attack { may_stay: true, ..attack };
    let deadly = |attack: Attack| Attack { kills_apache: true, may_stay: true, ..attack };
    vec![
        attack("another protocol", b"GET / HTTP/1.1\r\nHost: election\r\n\r\n".to_vec()),
        stays(attack("short hello", hello()[..11].to_vec())),
        attack("hello with a giant address", head(-65536, STRANGER, i32::MAX)),
        attack("hello with a negative length", head(-65536, STRANGER, -5)),
        attack("hello of a future protocol", head(-60000, STRANGER, 5)),
        attack("giant frame", [hello(), i32::MAX.to_be_bytes().to_vec()].concat()),
        attack("negative frame", [hello(), (-7_i32).to_be_bytes().to_vec()].concat()),
        stays(attack("short vote", after_hello(vec![0; 9]))),
        stays(attack("unknown state", after_hello(vec![9; 40]))),
        stays(attack(
            "a stranger that leads",
            after_hello(vote("server.77=127.0.0.1:1:2:participant\nversion=0")),
        )),
        deadly(attack("empty configuration", after_hello(vote("")))),
        deadly(attack("configuration without participants", after_hello(vote("version=0")))),
        deadly(attack("configuration of nonsense", after_hello(vote("server.x=::\u{0}\nversion=zz")))),
    ]
}

fn at_quorum() -> Vec<Attack> {
    let info = |version| {
        let info = LearnerInfo { sid: STRANGER, protocol: 0x10000, config_version: version };
        let data = written(|w| info.encode(w));
        written(|w| Packet::with_data(PacketKind::FollowerInfo, 0, data).encode(w))
    };
    let raw = |kind: i32, length: i32| {
        written(|w| {
            w.i32(kind);
            w.i64(0);
            w.i32(length);
        })
    };
    vec![
        attack("another protocol", b"GET / HTTP/1.1\r\nHost: quorum\r\n\r\n".to_vec()),
        Attack { may_stay: true, ..attack("short packet", raw(11, 20)[..7].to_vec()) },
        attack("unknown packet", [raw(99, -1), vec![0; 4]].concat()),
        attack("packet with giant data", raw(11, i32::MAX)),
        attack("packet with negative data", raw(11, -9)),
        attack("an ACK instead of a greeting", written(|w| Packet::new(PacketKind::Ack, 1).encode(w))),
        attack("a learner ahead of the configuration", info(i64::MAX)),
        Attack { may_stay: true, ..attack("a greeting, then silence", info(0)) },
    ]
}
