//! A server filled with one of everything, by sessions that stay.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use testkit::Server;
use zk_client::{Acl, ConnectOptions, CreateMode, ErrorCode, Id, ZkClient, ZkError, op, open_acl, perms};

/// The sessions are alive as long as this, so that a JVM can start in between.
const SESSION_MS: i32 = 40_000;

/// A second timeout, to tell that each session keeps its own.
const OTHER_SESSION_MS: i32 = 25_000;

/// Sessions on one port, whichever server holds it.
#[derive(Debug)]
pub struct World {
    /// The super user.
    pub root: ZkClient,
    /// Owns the ephemerals, and is `digest`-authenticated as `alice:secret`.
    pub alice: ZkClient,
    /// Owns nothing.
    pub idle: ZkClient,
    port: u16,
    /// Rounds of [`World::change`] so far.
    round: u32,
}

impl World {
    /// Connects the sessions to whatever serves `port`.
    pub async fn connect(port: u16) -> Result<Self> {
        let options = |ms| options(port, ms);
        let (root, _) = ZkClient::connect(with(options(SESSION_MS), "super:test")).await?;
        let (alice, _) = ZkClient::connect(with(options(SESSION_MS), "alice:secret")).await?;
        let (idle, _) = ZkClient::connect(options(OTHER_SESSION_MS)).await?;
        Ok(Self { root, alice, idle, port, round: 0 })
    }

    /// Waits until all sessions are held by the server that has taken over; fails if one did not survive.
    pub async fn reconnected(&self) -> Result<()> {
        for (name, zk) in [("root", &self.root), ("alice", &self.alice), ("idle", &self.idle)] {
            let end = Instant::now() + Duration::from_secs(20);
            loop {
                match zk.exists("/", false).await {
                    Ok(_) => break,
                    Err(ZkError::ConnectionLoss) if Instant::now() < end => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    Err(error) => bail!("the session of {name}: {error}"),
                }
            }
        }
        Ok(())
    }

    /// One node of every kind, every outcome of a write, enough of them for several snapshots.
    pub async fn fill(&self) -> Result<()> {
        self.make_plain().await?;
        self.make_special().await?;
        self.make_acls().await?;
        self.make_multis().await?;
        self.make_failures().await?;
        self.make_many().await?;
        self.end_a_session().await
    }

    /// More of the same, different each time; for use after a server was replaced.
    pub async fn change(&mut self) -> Result<()> {
        self.round += 1;
        let (n, root) = (self.round, &self.root);
        root.set_data("/plain", text(&format!("round {n}")), -1).await?;
        let name =
            root.create("/queue/item-", text("x"), open_acl(), CreateMode::PersistentSequential).await?;
        // fill made items 0 to 4 and removed 2: the counter goes on from the parent, whoever serves.
        ensure!(name == format!("/queue/item-{:010}", 4 + n), "{name}");
        let mine = format!("/services/alice-{n}");
        self.alice.create(&mine, text("here"), open_acl(), CreateMode::Ephemeral).await?;
        if n > 1 {
            self.alice.delete(&format!("/services/alice-{}", n - 1), -1).await?;
        }
        root.create(&format!("/containers/full/c{n}"), None, open_acl(), CreateMode::Persistent).await?;
        root.multi(vec![op::check("/plain", -1), op::set_data("/many/n7", text(&format!("{n}")), -1)])
            .await?;
        expect(root.delete("/many", -1).await, ErrorCode::NotEmpty)?;
        for i in 0..80 {
            root.set_data(&format!("/many/n{i}"), text(&format!("{n}.{i}")), -1).await?;
        }
        Ok(())
    }

    /// A change that matters to nobody; returns its zxid.
    pub async fn touch_many(&self) -> Result<i64> {
        Ok(self.root.set_data("/many/n0", None, -1).await?.mzxid)
    }

    async fn make_plain(&self) -> Result<()> {
        let zk = &self.root;
        for (path, data) in [
            ("/plain", text("hello")),
            ("/null", None),
            ("/empty", Some(Bytes::new())),
            ("/large", Some(Bytes::from(vec![0xa5; 200_000]))),
            ("/binary", Some(Bytes::from((0..=255).collect::<Vec<u8>>()))),
            ("/ünïcødé-\u{4e2d}\u{6587}", text("путь \u{1f418}")),
            ("/deep", None),
            ("/deep/1", None),
            ("/deep/1/2", None),
            ("/deep/1/2/3", text("bottom")),
            ("/queue", None),
            ("/services", None),
            ("/many", None),
        ] {
            zk.create(path, data, open_acl(), CreateMode::Persistent).await?;
        }
        zk.set_data("/deep/1/2/3", text("v1"), 0).await?;
        zk.set_data("/deep/1/2/3", None, 1).await?;
        Ok(())
    }

    async fn make_special(&self) -> Result<()> {
        let zk = &self.root;
        for _ in 0..5 {
            zk.create("/queue/item-", text("x"), open_acl(), CreateMode::PersistentSequential).await?;
        }
        zk.delete("/queue/item-0000000002", 0).await?;
        zk.create("/containers", None, open_acl(), CreateMode::Persistent).await?;
        zk.create("/containers/full", text("c"), open_acl(), CreateMode::Container).await?;
        zk.create("/containers/full/child", None, open_acl(), CreateMode::Persistent).await?;
        zk.create("/containers/new", None, open_acl(), CreateMode::Container).await?;
        zk.create("/ttl", None, open_acl(), CreateMode::Persistent).await?;
        let hour = 3_600_000;
        zk.create_ttl("/ttl/one", text("t"), open_acl(), CreateMode::PersistentTtl, hour).await?;
        zk.create_ttl("/ttl/seq-", None, open_acl(), CreateMode::PersistentSequentialTtl, 2 * hour).await?;
        let alice = &self.alice;
        alice.create("/services/alice", text("me"), open_acl(), CreateMode::Ephemeral).await?;
        alice.create("/services/s-", None, open_acl(), CreateMode::EphemeralSequential).await?;
        alice.create2("/services/two", None, open_acl(), CreateMode::Ephemeral).await?;
        Ok(())
    }

    async fn make_acls(&self) -> Result<()> {
        let entry = |perms, scheme: &str, id: &str| Acl { perms, id: Id::new(scheme, id) };
        let zk = &self.alice;
        let read_only = vec![entry(perms::READ, "world", "anyone")];
        let mixed = vec![
            entry(perms::ALL, "digest", "bob:Gjm4SRLy9jEPRBTX8DLPTRgVBqw="),
            entry(perms::READ | perms::CREATE, "ip", "10.0.0.0/8"),
            entry(perms::READ, "world", "anyone"),
        ];
        zk.create("/acl", None, open_acl(), CreateMode::Persistent).await?;
        zk.create("/acl/read-only", text("r"), read_only.clone(), CreateMode::Persistent).await?;
        zk.create("/acl/mixed", text("m"), mixed.clone(), CreateMode::Persistent).await?;
        let own = vec![entry(perms::ALL, "auth", "")];
        zk.create("/acl/alice", text("a"), own, CreateMode::Persistent).await?;
        zk.create("/acl/changed", None, open_acl(), CreateMode::Persistent).await?;
        zk.set_acl("/acl/changed", mixed, 0).await?;
        zk.create("/acl/changed-twice", None, open_acl(), CreateMode::Persistent).await?;
        zk.set_acl("/acl/changed-twice", open_acl(), 0).await?;
        zk.set_acl("/acl/changed-twice", read_only, 1).await?;
        Ok(())
    }

    async fn make_multis(&self) -> Result<()> {
        let zk = &self.root;
        let plain = CreateMode::Persistent;
        zk.multi(vec![
            op::create("/multi", None, open_acl(), plain),
            op::create("/multi/a", text("1"), open_acl(), plain),
            op::create("/multi/b-", text("2"), open_acl(), CreateMode::PersistentSequential),
            op::create("/multi/c", None, open_acl(), CreateMode::Container),
            op::check("/multi/a", 0),
            op::set_data("/multi/a", text("3"), 0),
            op::set_data("/multi/a", text("4"), 1),
            op::create("/multi/gone", None, open_acl(), plain),
            op::delete("/multi/gone", 0),
        ])
        .await?;
        let ephemeral = op::create("/multi/e", None, open_acl(), CreateMode::Ephemeral);
        self.alice.multi(vec![ephemeral]).await?;
        // Refused ones consume a zxid and are logged, at every position.
        let refused = [
            vec![op::delete("/nope", -1), op::create("/never1", None, open_acl(), plain)],
            vec![op::create("/never2", None, open_acl(), plain), op::check("/plain", 77)],
            vec![
                op::create("/never3", None, open_acl(), plain),
                op::set_data("/plain", text("never"), -1),
                op::create("/plain", None, open_acl(), plain),
                op::delete("/queue", -1),
            ],
        ];
        for ops in refused {
            ensure!(matches!(zk.multi(ops).await, Err(ZkError::Multi { .. })), "a multi went through");
        }
        Ok(())
    }

    async fn make_failures(&self) -> Result<()> {
        let (zk, plain) = (&self.root, CreateMode::Persistent);
        expect(zk.create("/plain", None, open_acl(), plain).await, ErrorCode::NodeExists)?;
        expect(zk.create("/no/parent", None, open_acl(), plain).await, ErrorCode::NoNode)?;
        expect(
            zk.create("/services/alice/x", None, open_acl(), plain).await,
            ErrorCode::NoChildrenForEphemerals,
        )?;
        expect(zk.set_data("/plain", None, 99).await, ErrorCode::BadVersion)?;
        expect(zk.delete("/deep", -1).await, ErrorCode::NotEmpty)?;
        expect(self.idle.set_data("/acl/read-only", None, -1).await, ErrorCode::NoAuth)?;
        expect(zk.create("/bad", None, vec![], plain).await, ErrorCode::InvalidAcl)
    }

    async fn make_many(&self) -> Result<()> {
        for i in 0..150 {
            let (path, data) = (format!("/many/n{i}"), text(&i.to_string()));
            self.root.create(&path, data, open_acl(), CreateMode::Persistent).await?;
        }
        for i in (0..150).filter(|i| i % 10 == 9) {
            self.root.delete(&format!("/many/n{i}"), 0).await?;
        }
        // Deleted above as n79 among others; changes go over n0 to n79.
        for i in (0..80).filter(|i| i % 10 == 9) {
            self.root.create(&format!("/many/n{i}"), None, open_acl(), CreateMode::Persistent).await?;
        }
        Ok(())
    }

    /// A session that had ephemerals and was closed.
    async fn end_a_session(&self) -> Result<()> {
        let (guest, _) = ZkClient::connect(options(self.port, SESSION_MS)).await?;
        guest.create("/services/guest", None, open_acl(), CreateMode::Ephemeral).await?;
        guest.create("/services/g-", None, open_acl(), CreateMode::EphemeralSequential).await?;
        guest.close().await?;
        ensure!(self.root.exists("/services/guest", false).await?.is_none(), "a closed session's node stays");
        Ok(())
    }
}

fn with(mut options: ConnectOptions, login: &'static str) -> ConnectOptions {
    options.auth.push(("digest".to_owned(), Bytes::from_static(login.as_bytes())));
    options
}

fn options(port: u16, session_ms: i32) -> ConnectOptions {
    ConnectOptions::new(format!("127.0.0.1:{port}")).session_timeout_ms(session_ms)
}

fn text(s: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(s.as_bytes()))
}

fn expect<T: std::fmt::Debug>(got: Result<T, ZkError>, code: ErrorCode) -> Result<()> {
    ensure!(matches!(&got, Err(e) if e.is(code)), "{code:?} was expected, and it is {got:?}");
    Ok(())
}

/// Replaces the server on its port: `stop` by the signal's grace, else by kill -9.
pub fn end(server: Server, gracefully: bool) -> Result<()> {
    if gracefully { server.stop().map(drop) } else { server.kill() }
}
