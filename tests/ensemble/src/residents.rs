//! Sessions that live through everything: each owns an ephemeral node, stands in the queue of a lock and watches.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use zk_client::{CreateMode, EventKind, Events, KeeperState, ZkClient, open_acl};

use crate::client::{again, connect, make};

/// How long a watch may take to tell.
const EVENT_LIMIT: Duration = Duration::from_secs(30);

const BELL: &str = "/residents/bell";
const LOCK: &str = "/residents/lock";

#[derive(Debug)]
struct Resident {
    zk: ZkClient,
    events: Events,
    session: i64,
    mine: String,
    ticket: String,
}

/// See the module's header. The first in the queue holds the lock.
#[derive(Debug)]
pub struct Residents {
    all: Vec<Resident>,
    rung: u32,
}

impl Residents {
    /// `per_host` sessions that begin at each of `hosts` and may move among `all_hosts`.
    pub async fn move_in(hosts: &[String], per_host: usize) -> Result<Self> {
        let all_hosts = hosts.join(",");
        let (zk, _) = connect(&all_hosts).await?;
        for path in ["/residents", BELL, LOCK] {
            make(&zk, path).await?;
        }
        let mut all = Vec::new();
        for n in 0..hosts.len() * per_host {
            all.push(Resident::move_in(&all_hosts, n).await.with_context(|| format!("resident {n}"))?);
        }
        zk.close().await?;
        Ok(Self { all, rung: 0 })
    }

    /// Everybody is who they were, with what they owned; each watch tells of one change, exactly once.
    pub async fn check(&mut self) -> Result<()> {
        for (n, resident) in self.all.iter_mut().enumerate() {
            resident.check().await.with_context(|| format!("resident {n}"))?;
        }
        self.ring().await?;
        self.check_queue().await
    }

    /// Changes what everybody watches.
    async fn ring(&mut self) -> Result<()> {
        self.rung += 1;
        let text = Bytes::from(self.rung.to_string());
        // Not blindly again: a second change could meet watches that were set anew after the first.
        let zk = &self.all[0].zk;
        let version = again(|| zk.get_data(BELL, false)).await?.1.version;
        loop {
            match zk.set_data(BELL, Some(text.clone()), version).await {
                Ok(_) => break,
                Err(e) if e.is(zk_client::ErrorCode::BadVersion) => break,
                Err(zk_client::ZkError::ConnectionLoss) => {
                    tokio::time::sleep(Duration::from_millis(20)).await
                }
                Err(e) => bail!(e),
            }
        }
        for (n, resident) in self.all.iter_mut().enumerate() {
            resident.hear(&text).await.with_context(|| format!("resident {n}, bell {}", self.rung))?;
        }
        Ok(())
    }

    /// The queue is as it was when they drew their tickets.
    async fn check_queue(&self) -> Result<()> {
        let zk = &self.all[0].zk;
        again(|| zk.sync(LOCK)).await?;
        let mut queue = again(|| zk.get_children(LOCK, false)).await?;
        queue.sort();
        let expect: Vec<_> = self.all.iter().map(|r| r.ticket.clone()).collect();
        ensure!(queue == expect, "the lock's queue is {queue:?}, it was {expect:?}");
        Ok(())
    }

    /// Ends: closed sessions take their nodes with them.
    pub async fn move_out(self) -> Result<()> {
        for resident in &self.all {
            again(|| resident.zk.close()).await?;
        }
        Ok(())
    }
}

impl Resident {
    async fn move_in(hosts: &str, n: usize) -> Result<Self> {
        let (zk, events) = connect(hosts).await?;
        let mine = format!("/residents/r{n}");
        zk.create(&mine, None, open_acl(), CreateMode::Ephemeral).await?;
        let ticket =
            zk.create(&format!("{LOCK}/t-"), None, open_acl(), CreateMode::EphemeralSequential).await?;
        let ticket = ticket.rsplit('/').next().unwrap_or_default().to_owned();
        zk.get_data(BELL, true).await?;
        let session = zk.session().id;
        Ok(Self { zk, events, session, mine, ticket })
    }

    async fn check(&mut self) -> Result<()> {
        again(|| self.zk.sync(&self.mine)).await?;
        let stat = again(|| self.zk.exists(&self.mine, false)).await?;
        let owner = stat.context("its ephemeral node is gone")?.ephemeral_owner;
        let session = self.zk.session().id;
        ensure!(
            owner == self.session && session == self.session,
            "0x{:x} became 0x{session:x}",
            self.session
        );
        Ok(())
    }

    /// Waits for the bell, and sets the watch again.
    async fn hear(&mut self, text: &Bytes) -> Result<()> {
        loop {
            let event = tokio::time::timeout(EVENT_LIMIT, self.events.recv()).await;
            let event = event.context("the watch told nothing")?.context("the session is over")?;
            match (event.kind, event.state) {
                (EventKind::NodeDataChanged, _) if event.path == BELL => break,
                (EventKind::None, KeeperState::Expired) => bail!("the session has expired"),
                (EventKind::None, _) => {}
                other => bail!("an event nobody waited for: {other:?} {}", event.path),
            }
        }
        let (data, _) = again(|| self.zk.get_data(BELL, true)).await?;
        ensure!(data.as_ref() == Some(text), "told of a change, {data:?} is read, {text:?} was written");
        while let Some(event) = self.events.try_recv() {
            ensure!(event.kind == EventKind::None, "told twice: {event:?}");
        }
        Ok(())
    }
}
