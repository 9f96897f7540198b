//! The server thread: the node and its place in an ensemble, its connections, and the carrying out of effects.
//!
//! Everything here lives on one thread; the log and a snapshot in the making have threads of their own and
//! are reached by queues. Nothing is borrowed across an await.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use foldhash::HashMap;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use zk_node::{ConnId, Effect, Effects, Input, Member, Now};
use zk_store::DataDir;

use crate::clock::Clock;
use crate::complaints::Complaints;
use crate::config::Config;
use crate::disk::DirectoryLock;
use crate::ensemble::Ensemble;
use crate::error::ServerError;
use crate::four_letter::mntr::Startup;
use crate::four_letter::{Word, answer};
use crate::link::{LINGER_MS, Link};
use crate::listener;
use crate::log_thread::{LogCommand, LogQueue};
use crate::snapshots::Snapshots;

/// Bytes read from a socket at once, into a buffer that all connections share.
const READ_BYTES: usize = 64 * 1024;

/// Java's default text trace mask, which `gtmk` shows.
const TRACE_MASK: i64 = 306;

/// See the module's header.
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) member: RefCell<Member>,
    /// `None` on a server alone.
    pub(crate) ensemble: Option<Ensemble>,
    pub(crate) data: Arc<DataDir>,
    pub(crate) scratch: RefCell<Box<[u8]>>,
    pub(crate) snapshots: Snapshots,
    pub(crate) directory_lock: DirectoryLock,
    pub(crate) startup: Startup,
    pub(crate) trace_mask: Cell<i64>,
    clock: Clock,
    links: RefCell<HashMap<ConnId, Rc<Link>>>,
    /// The task that accepts clients.
    accepting: RefCell<Option<AbortHandle>>,
    last_conn: Cell<u64>,
    /// Connections that are not read because too much is in progress.
    paused: RefCell<Vec<Rc<Link>>>,
    log: LogQueue,
    /// For the log, handed over when every connection that woke up has been served; so is what goes to other
    /// servers.
    appends: RefCell<Vec<LogCommand>>,
    to_hand_over: Notify,
    stopping: Cell<bool>,
    failure: RefCell<Option<ServerError>>,
    failed: Notify,
    complaints: Complaints,
}

impl Server {
    pub(crate) fn new(
        config: Config,
        member: Member,
        data: Arc<DataDir>,
        (log, directory_lock): (LogQueue, DirectoryLock),
        clock: Clock,
        startup: Startup,
    ) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            ensemble: config.ensemble.clone().map(|settings| Ensemble::new(&config, settings, clock, this)),
            config,
            member: RefCell::new(member),
            data,
            scratch: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            snapshots: Snapshots::default(),
            directory_lock,
            startup,
            trace_mask: Cell::new(TRACE_MASK),
            clock,
            links: RefCell::default(),
            accepting: RefCell::default(),
            last_conn: Cell::new(0),
            paused: RefCell::default(),
            log,
            appends: RefCell::default(),
            to_hand_over: Notify::new(),
            stopping: Cell::new(false),
            failure: RefCell::default(),
            failed: Notify::new(),
            complaints: Complaints::default(),
        })
    }

    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    pub(crate) fn next_connection(&self) -> ConnId {
        self.last_conn.set(self.last_conn.get() + 1);
        ConnId(self.last_conn.get())
    }

    /// Accepts clients here from now on, and nowhere else.
    pub(crate) fn accept_clients(self: &Rc<Self>, listener: TcpListener) {
        let accepting = spawn_local(listener::accept(self.clone(), listener));
        if let Some(before) = self.accepting.replace(Some(accepting.abort_handle())) {
            before.abort();
        }
    }

    /// Nobody is accepted any more; the port is free when the task has ended.
    pub(crate) fn stop_accepting(&self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
    }

    pub(crate) fn add(&self, link: Rc<Link>) {
        self.links.borrow_mut().insert(link.id, link);
    }

    pub(crate) fn remove(&self, id: ConnId) {
        self.links.borrow_mut().remove(&id);
    }

    pub(crate) fn link(&self, id: ConnId) -> Option<Rc<Link>> {
        self.links.borrow().get(&id).cloned()
    }

    /// One input and what follows from it.
    pub(crate) fn step(self: &Rc<Self>, input: Input<'_>) {
        let mut fx = Effects::new();
        self.member.borrow_mut().step(self.clock.now(), input, &mut fx);
        self.carry_out(&mut fx);
    }

    /// What was heard of other servers, all at once; the list is left empty.
    pub(crate) fn zab(self: &Rc<Self>, inputs: &mut Vec<zk_zab::Input>) {
        let (now, mut fx) = (self.clock.now(), Effects::new());
        {
            let mut member = self.member.borrow_mut();
            for input in inputs.drain(..) {
                member.step(now, Input::Zab(input), &mut fx);
            }
        }
        self.carry_out(&mut fx);
    }

    /// One frame; its effects are carried out by the caller, together with those of its neighbours.
    pub(crate) fn frame(&self, now: Now, conn: ConnId, frame: &[u8], fx: &mut Effects) {
        if self.refuses_clients()
            && let Some(link) = self.link(conn)
        {
            return link.cut();
        }
        self.member.borrow_mut().step(now, Input::Frame { conn, frame }, fx);
    }

    pub(crate) fn takes_frames(&self, conn: ConnId) -> bool {
        !self.stopping.get() && self.member.borrow().takes_frames(conn)
    }

    /// `leaderServes=no`: clients go to the others.
    pub(crate) fn refuses_clients(&self) -> bool {
        let Some(ensemble) = &self.ensemble else { return false };
        !ensemble.settings.leader_serves && matches!(ensemble.role(), zk_zab::Role::Leading { .. })
    }

    /// Why this server has no leader, for the log.
    pub(crate) fn why_looking(&self) -> String {
        let member = self.member.borrow();
        member.peer().and_then(|peer| peer.status().left).unwrap_or_default()
    }

    /// Remembers to wake a connection when there is room for its requests again.
    pub(crate) fn pause(&self, link: Rc<Link>) {
        if !link.is_paused.replace(true) {
            self.paused.borrow_mut().push(link);
        }
    }

    /// Does what the node wants done, in order.
    pub(crate) fn carry_out(self: &Rc<Self>, fx: &mut Effects) {
        if fx.is_empty() {
            return;
        }
        let (effects, bytes) = fx.take();
        let mut touched: Vec<Rc<Link>> = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send { conn, range } => {
                    let Some(link) = self.recent(&touched, conn) else { continue };
                    link.push(bytes.get(range));
                    touch(&mut touched, link);
                }
                Effect::Close { conn, reason } => {
                    let Some(link) = self.recent(&touched, conn) else { continue };
                    if reason.is_worth_a_warning() {
                        self.complaints.closing(self.clock.now().mono_ms, link.peer, &reason);
                    } else {
                        tracing::debug!(peer = %link.peer, "closing a connection: {reason}");
                    }
                    link.close_after_sending(self.clock.now().mono_ms + LINGER_MS);
                    touch(&mut touched, link);
                }
                Effect::Complain { conn, what } => {
                    let Some(link) = self.recent(&touched, conn) else { continue };
                    self.complaints.keeping(self.clock.now().mono_ms, link.peer, &what);
                }
                Effect::Append { zxid, payload } => self.to_disk(LogCommand::Append { zxid, payload }),
                Effect::Snapshot => {
                    self.to_disk(LogCommand::Roll);
                    self.snapshots.begin(self);
                }
                Effect::CancelSnapshot => self.snapshots.cancel(),
                Effect::Zab(effect) => {
                    if let Some(ensemble) = &self.ensemble {
                        ensemble.carry_out(self, effect);
                    }
                    self.to_hand_over.notify_one();
                }
                Effect::Fail { what } => self.fail(ServerError::Disagreement(what)),
            }
        }
        for link in touched {
            link.flush();
        }
    }

    /// Adds a command for the disk.
    pub(crate) fn to_disk(&self, command: LogCommand) {
        self.appends.borrow_mut().push(command);
        self.to_hand_over.notify_one();
    }

    /// The link of `conn`, mostly the one touched last.
    fn recent(&self, touched: &[Rc<Link>], conn: ConnId) -> Option<Rc<Link>> {
        match touched.last() {
            Some(last) if last.id == conn => Some(last.clone()),
            _ => self.link(conn),
        }
    }

    /// After an fsync: applied, answered, and whoever waited for room is read again.
    pub(crate) fn durable(self: &Rc<Self>, durable: zk_node::Durable) {
        self.step(Input::Durable(durable));
        self.wake_paused();
    }

    /// The disk has done something else.
    pub(crate) fn stored(self: &Rc<Self>, stored: zk_zab::Stored) {
        self.zab(&mut vec![zk_zab::Input::Stored(stored)]);
    }

    /// The tree is another one.
    pub(crate) fn reloaded(self: &Rc<Self>, tree: Box<zk_tree::Tree>, stored: zk_zab::Stored) {
        self.snapshots.replaced();
        self.step(Input::Reloaded { tree, stored });
    }

    /// Those that waited for room, or for an answer of the leader's, look anew.
    fn wake_paused(&self) {
        if self.paused.borrow().is_empty() {
            return;
        }
        for link in std::mem::take(&mut *self.paused.borrow_mut()) {
            link.is_paused.set(false);
            link.wake();
        }
    }

    pub(crate) fn tick(self: &Rc<Self>) {
        self.step(Input::Tick);
        let now = self.clock.now();
        self.complaints.roll(now.mono_ms);
        for link in self.links.borrow().values() {
            link.cut_if_late(now.mono_ms);
        }
        if let Some(ensemble) = &self.ensemble {
            ensemble.explain_waiting(self);
        }
    }

    /// Hands appends to the log and packets to other servers, as often as there are any. Being a task, it runs after
    /// the connections that woke up with it, so their writes go out together.
    pub(crate) async fn hand_over(self: Rc<Self>) {
        loop {
            self.to_hand_over.notified().await;
            self.log.push_all(&mut self.appends.borrow_mut());
            if let Some(ensemble) = &self.ensemble {
                ensemble.flush();
                ensemble.learners.wake_waiting();
                self.wake_paused();
            }
        }
    }

    /// Hands over the last appends and lets the log thread end after them.
    pub(crate) fn close_log(&self) {
        self.log.push_all(&mut self.appends.borrow_mut());
        self.log.close();
    }

    pub(crate) fn answer_word(self: &Rc<Self>, link: &Rc<Link>, word: Word, mask: Option<i64>) {
        self.member.borrow_mut().node_mut().count_received(link.id, 4);
        tracing::debug!(peer = %link.peer, word = word.name(), "four-letter word");
        link.push(answer::answer(self, link.id, word, mask).as_bytes());
        link.close_after_sending(self.clock.now().mono_ms + LINGER_MS);
        link.flush();
    }

    /// Closes a connection whose bytes are no protocol of ours.
    pub(crate) fn refuse(&self, link: &Link, why: &str) {
        self.complaints.closing(self.clock.now().mono_ms, link.peer, &why);
        link.cut();
    }

    /// No request is taken any more; those on their way are still answered.
    pub(crate) fn stop_reading(&self) {
        self.stopping.set(true);
    }

    /// The server must not go on: a bug was met and nobody vouches for its state, or the ensemble agreed on what it
    /// does not understand.
    pub(crate) fn fail(&self, error: ServerError) {
        self.failure.borrow_mut().get_or_insert(error);
        self.failed.notify_one();
    }

    /// Resolves after [`Server::fail`].
    pub(crate) async fn failed(&self) -> ServerError {
        self.failed.notified().await;
        self.failure.borrow().clone().unwrap_or(ServerError::Thread)
    }

    /// Requests of clients on their way.
    pub(crate) fn outstanding(&self) -> usize {
        self.member.borrow().node().outstanding()
    }

    /// Closes every connection without waiting.
    pub(crate) fn cut_all(&self) {
        for link in self.links.borrow().values() {
            link.cut();
        }
    }
}

fn touch(touched: &mut Vec<Rc<Link>>, link: Rc<Link>) {
    if touched.last().is_none_or(|last| last.id != link.id) {
        touched.push(link);
    }
}
