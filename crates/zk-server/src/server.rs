//! The server thread: the node, its connections, and the carrying out of effects.
//!
//! Everything here lives on one thread; the log and a snapshot in the making have threads of their own and
//! are reached by queues. Nothing is borrowed across an await.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use foldhash::HashMap;
use tokio::sync::Notify;
use zk_node::{ConnId, Effect, Effects, Input, Node, Now};
use zk_store::DataDir;

use crate::clock::Clock;
use crate::complaints::Complaints;
use crate::config::Config;
use crate::four_letter::mntr::Startup;
use crate::four_letter::{Word, answer};
use crate::link::{LINGER_MS, Link};
use crate::log_thread::{LogCommand, LogQueue};
use crate::snapshots::Snapshots;

/// Bytes read from a socket at once, into a buffer that all connections share.
const READ_BYTES: usize = 64 * 1024;

/// Java's default text trace mask, which `gtmk` shows.
const TRACE_MASK: i64 = 306;

/// See the module's header.
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) node: RefCell<Node>,
    pub(crate) data: Arc<DataDir>,
    pub(crate) scratch: RefCell<Box<[u8]>>,
    pub(crate) snapshots: Snapshots,
    pub(crate) startup: Startup,
    pub(crate) trace_mask: Cell<i64>,
    clock: Clock,
    links: RefCell<HashMap<ConnId, Rc<Link>>>,
    last_conn: Cell<u64>,
    /// Connections that are not read because too much is in progress.
    paused: RefCell<Vec<Rc<Link>>>,
    log: LogQueue,
    /// For the log, handed over when every connection that woke up has been served.
    appends: RefCell<Vec<LogCommand>>,
    appended: Notify,
    stopping: Cell<bool>,
    failure: Notify,
    complaints: Complaints,
}

impl Server {
    pub(crate) fn new(
        config: Config,
        node: Node,
        data: Arc<DataDir>,
        log: LogQueue,
        clock: Clock,
        startup: Startup,
    ) -> Rc<Self> {
        Rc::new(Self {
            config,
            node: RefCell::new(node),
            data,
            scratch: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            snapshots: Snapshots::default(),
            startup,
            trace_mask: Cell::new(TRACE_MASK),
            clock,
            links: RefCell::default(),
            last_conn: Cell::new(0),
            paused: RefCell::default(),
            log,
            appends: RefCell::default(),
            appended: Notify::new(),
            stopping: Cell::new(false),
            failure: Notify::new(),
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
        self.node.borrow_mut().step(self.clock.now(), input, &mut fx);
        self.carry_out(&mut fx);
    }

    /// One frame; its effects are carried out by the caller, together with those of its neighbours.
    pub(crate) fn frame(&self, now: Now, conn: ConnId, frame: &[u8], fx: &mut Effects) {
        self.node.borrow_mut().step(now, Input::Frame { conn, frame }, fx);
    }

    pub(crate) fn takes_frames(&self, conn: ConnId) -> bool {
        !self.stopping.get() && self.node.borrow().takes_frames(conn)
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
                Effect::Append { zxid, payload } => {
                    self.appends.borrow_mut().push(LogCommand::Append { zxid, payload });
                    self.appended.notify_one();
                }
                Effect::Snapshot => {
                    self.appends.borrow_mut().push(LogCommand::Roll);
                    self.appended.notify_one();
                    self.snapshots.begin(self);
                }
                Effect::CancelSnapshot | Effect::Zab(_) | Effect::Fail { .. } => {}
            }
        }
        for link in touched {
            link.flush();
        }
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
    }

    /// Hands appends to the log, as often as there are any. Being a task, it runs after the connections that
    /// woke up with it, so their writes go out together.
    pub(crate) async fn feed_log(self: Rc<Self>) {
        loop {
            self.appended.notified().await;
            self.log.push_all(&mut self.appends.borrow_mut());
        }
    }

    /// Hands over the last appends and lets the log thread end after them.
    pub(crate) fn close_log(&self) {
        self.log.push_all(&mut self.appends.borrow_mut());
        self.log.close();
    }

    pub(crate) fn answer_word(self: &Rc<Self>, link: &Rc<Link>, word: Word, mask: Option<i64>) {
        self.node.borrow_mut().count_received(link.id, 4);
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

    /// A bug was met; the server must not go on with a state nobody vouches for.
    pub(crate) fn fail(&self) {
        self.failure.notify_one();
    }

    /// Resolves after [`Server::fail`].
    pub(crate) async fn failed(&self) {
        self.failure.notified().await;
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
