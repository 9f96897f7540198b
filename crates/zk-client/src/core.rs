//! The session: what to send, what a reply means, when to give up. No sockets, no clock, no randomness.
//!
//! The shell calls, in any order the network dictates: [`Core::on_connected`], [`Core::on_frame`],
//! [`Core::on_disconnected`], [`Core::submit`], [`Core::on_time`]; after each it sends [`Core::take_output`] and
//! carries out the effects in order. Times are milliseconds of any clock that does not go back.
//!
//! ```text
//! Disconnected ──on_connected──► Handshaking ──accepted──► Connected
//!      ▲  ▲                          │    │                    │
//!      │  └──────on_disconnected─────┘    └──refused──► Over ◄─┤ closed, authentication refused
//!      └─────────on_disconnected───────────────────────────────┘
//! ```

mod replies;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;
use zk_proto::header::xid;
use zk_proto::{ConnectRequest, KeeperState, OpCode, Request, RequestHeader, Response, Writer};

use crate::chroot::Chroot;
use crate::error::{Result, ZkError};
use crate::event::WatchEvent;
use crate::options::Session;
use crate::watches::{AddWatchMode, WatchType, Watches};

/// A quiet connection is pinged at least this often, whatever the timeout (as Java's client does).
const PING_INTERVAL_MS_MAX: u64 = 10_000;
/// So many connections are tried within a session's time.
const ATTEMPTS_MIN: usize = 3;
/// A server gets at least this long to answer the handshake.
const HANDSHAKE_MS_MIN: u64 = 500;
const PASSWD_BYTES: usize = 16;

/// What the shell has to do. `T` is the address of a reply.
#[derive(Debug)]
pub(crate) enum Effect<T> {
    Complete(T, Result<Response>),
    Event(WatchEvent),
    /// Break the connection, for this reason, and call `on_disconnected`.
    Disconnect(String),
    /// The session is over; nothing will be sent any more.
    End,
}

#[derive(Debug, Clone)]
pub(crate) struct CoreOptions {
    pub session_timeout_ms: i32,
    pub can_be_read_only: bool,
    pub session: Option<Session>,
    pub auth: Vec<(String, Bytes)>,
    pub chroot: Chroot,
    /// How many servers there are: they share the timeout.
    pub hosts: usize,
    pub in_flight_max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Disconnected {
        since_ms: u64,
    },
    Handshaking {
        since_ms: u64,
    },
    Connected,
    /// With what every later request fails.
    Over(ZkError),
}

/// A request with what its reply changes in the watches.
#[derive(Debug)]
struct Pending<T> {
    reply_to: T,
    request: Request,
}

#[derive(Debug)]
struct Sent<T> {
    xid: i32,
    op: OpCode,
    reply_to: T,
    intent: Intent,
}

/// What a reply does to the registry. Paths are the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Intent {
    None,
    Exists(String),
    Data(String),
    Children(String),
    Add(String, AddWatchMode),
    Remove(String, WatchType),
}

#[derive(Debug)]
pub(crate) struct Core<T> {
    options: CoreOptions,
    session: Session,
    last_zxid: i64,
    phase: Phase,
    next_xid: i32,
    /// Sent, in the order the replies will come.
    sent: VecDeque<Sent<T>>,
    /// Not sent yet.
    waiting: VecDeque<Pending<T>>,
    /// Credentials to send on every connection.
    auth: Vec<(String, Bytes)>,
    /// Who waits for the replies to credentials, in order; `None` for those sent anew.
    auth_sent: VecDeque<Option<T>>,
    watches: Watches,
    /// Whether the session is being closed.
    closing: bool,
    /// A server refused setWatches2: it is older than 3.6.
    without_set_watches2: bool,
    out: Writer,
    last_sent_ms: u64,
    last_heard_ms: u64,
}

impl<T> Core<T> {
    pub(crate) fn new(options: CoreOptions, now_ms: u64) -> Self {
        let session = options.session.clone().unwrap_or(Session {
            id: 0,
            passwd: Bytes::from_static(&[0; PASSWD_BYTES]),
            timeout_ms: options.session_timeout_ms,
        });
        Self {
            auth: options.auth.clone(),
            options,
            session,
            last_zxid: 0,
            phase: Phase::Disconnected { since_ms: now_ms },
            next_xid: 1,
            sent: VecDeque::new(),
            waiting: VecDeque::new(),
            auth_sent: VecDeque::new(),
            watches: Watches::default(),
            closing: false,
            without_set_watches2: false,
            out: Writer::new(),
            last_sent_ms: now_ms,
            last_heard_ms: now_ms,
        }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Requests that are not sent yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether every request was answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty() && self.auth_sent.iter().all(Option::is_none)
    }

    /// With what every request fails, once the session is over.
    pub(crate) fn over(&self) -> Option<&ZkError> {
        match &self.phase {
            Phase::Over(error) => Some(error),
            _ => None,
        }
    }

    /// Bytes to send, in order; empty when there is nothing.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out).into_vec()
    }

    /// A connection stands: asks for the session.
    pub(crate) fn on_connected(&mut self, now_ms: u64) {
        debug_assert!(matches!(self.phase, Phase::Disconnected { .. }), "connected twice");
        self.out = Writer::new();
        self.phase = Phase::Handshaking { since_ms: now_ms };
        self.last_heard_ms = now_ms;
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms: self.options.session_timeout_ms,
            session_id: self.session.id,
            passwd: self.session.passwd.clone(),
            read_only: Some(self.options.can_be_read_only),
        };
        let frame = self.out.begin_frame();
        request.encode(&mut self.out);
        self.out.end_frame(frame);
        self.last_sent_ms = now_ms;
    }

    /// The connection is gone: what was sent is lost, what was not waits for the next one.
    pub(crate) fn on_disconnected(&mut self, now_ms: u64, effects: &mut Vec<Effect<T>>) {
        if matches!(self.phase, Phase::Over(_) | Phase::Disconnected { .. }) {
            return;
        }
        let was_connected = self.is_connected();
        self.out = Writer::new();
        self.phase = Phase::Disconnected { since_ms: now_ms };
        if self.closing {
            // The server may have closed the session and hung up before the reply was read; if not, it will expire.
            return self.become_over(ZkError::Closed, effects);
        }
        self.fail_sent(&ZkError::ConnectionLoss, effects);
        if was_connected {
            effects.push(Effect::Event(WatchEvent::session(KeeperState::Disconnected)));
        }
    }

    /// Takes a request. Its reply, or the reason there is none, comes as an effect, now or later.
    pub(crate) fn submit(
        &mut self,
        request: Request,
        reply_to: T,
        now_ms: u64,
        effects: &mut Vec<Effect<T>>,
    ) {
        if let Phase::Over(error) = &self.phase {
            return effects.push(Effect::Complete(reply_to, Err(error.clone())));
        }
        if self.closing {
            return effects.push(Effect::Complete(reply_to, Err(ZkError::Closed)));
        }
        let is_close = request == Request::CloseSession;
        self.closing |= is_close;
        if is_close && !self.is_connected() {
            effects.push(Effect::Complete(reply_to, Ok(Response::Empty)));
            return self.become_over(ZkError::Closed, effects);
        }
        self.waiting.push_back(Pending { reply_to, request });
        self.send_waiting(now_ms);
    }

    /// When [`Core::on_time`] wants to be called next.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        match &self.phase {
            Phase::Over(_) => None,
            Phase::Disconnected { since_ms } => {
                (!self.waiting.is_empty()).then(|| since_ms + self.timeout_ms())
            }
            Phase::Handshaking { since_ms } => Some(since_ms + self.handshake_ms()),
            Phase::Connected => Some(
                (self.last_sent_ms + self.ping_interval_ms()).min(self.last_heard_ms + self.silence_ms_max()),
            ),
        }
    }

    /// Pings, and gives up on who is silent for too long.
    pub(crate) fn on_time(&mut self, now_ms: u64, effects: &mut Vec<Effect<T>>) {
        match &self.phase {
            Phase::Over(_) => {}
            Phase::Disconnected { since_ms } if now_ms >= since_ms + self.timeout_ms() => {
                while let Some(pending) = self.waiting.pop_front() {
                    effects.push(Effect::Complete(pending.reply_to, Err(ZkError::ConnectionLoss)));
                }
            }
            Phase::Disconnected { .. } => {}
            Phase::Handshaking { since_ms } if now_ms >= since_ms + self.handshake_ms() => {
                effects.push(Effect::Disconnect(format!(
                    "no answer to the handshake in {} ms",
                    now_ms - since_ms
                )));
            }
            Phase::Handshaking { .. } => {}
            Phase::Connected if now_ms >= self.last_heard_ms + self.silence_ms_max() => {
                effects.push(Effect::Disconnect(format!(
                    "nothing heard for {} ms",
                    now_ms - self.last_heard_ms
                )));
            }
            Phase::Connected if now_ms >= self.last_sent_ms + self.ping_interval_ms() => {
                self.write(xid::PING, &Request::Ping, now_ms);
            }
            Phase::Connected => {}
        }
    }

    /// The client itself does not read for now: silence is not the server's fault.
    pub(crate) fn on_reading_paused(&mut self, now_ms: u64) {
        self.last_heard_ms = now_ms;
    }

    fn become_connected(&mut self, read_only: bool, now_ms: u64, effects: &mut Vec<Effect<T>>) {
        self.phase = Phase::Connected;
        let state = if read_only { KeeperState::ConnectedReadOnly } else { KeeperState::SyncConnected };
        effects.push(Effect::Event(WatchEvent::session(state)));
        for (scheme, auth) in self.auth.clone() {
            self.write_auth(scheme, auth, None, now_ms);
        }
        self.send_watches(now_ms, effects);
        self.send_waiting(now_ms);
    }

    /// Everything fails with `error` from now on.
    fn become_over(&mut self, error: ZkError, effects: &mut Vec<Effect<T>>) {
        self.fail_sent(&error, effects);
        while let Some(pending) = self.waiting.pop_front() {
            effects.push(Effect::Complete(pending.reply_to, Err(error.clone())));
        }
        match error {
            ZkError::SessionExpired => effects.push(Effect::Event(WatchEvent::session(KeeperState::Expired))),
            ZkError::AuthFailed => effects.push(Effect::Event(WatchEvent::session(KeeperState::AuthFailed))),
            _ => {}
        }
        self.phase = Phase::Over(error);
        effects.push(Effect::End);
    }

    fn fail_sent(&mut self, error: &ZkError, effects: &mut Vec<Effect<T>>) {
        for reply_to in self.auth_sent.drain(..).flatten() {
            effects.push(Effect::Complete(reply_to, Err(error.clone())));
        }
        for sent in self.sent.drain(..) {
            let closed = sent.op == OpCode::CloseSession && *error == ZkError::Closed;
            let result = if closed { Ok(Response::Empty) } else { Err(error.clone()) };
            effects.push(Effect::Complete(sent.reply_to, result));
        }
    }

    fn send_watches(&mut self, now_ms: u64, effects: &mut Vec<Effect<T>>) {
        if self.without_set_watches2 {
            for path in self.watches.take_persistent() {
                let path = self.options.chroot.strip(path);
                let event = WatchEvent {
                    kind: zk_proto::EventKind::PersistentWatchRemoved,
                    state: KeeperState::SyncConnected,
                    path,
                    zxid: -1,
                };
                effects.push(Effect::Event(event));
            }
        }
        for set in self.watches.to_requests(self.last_zxid) {
            let persistent = !set.persistent.is_empty() || !set.persistent_recursive.is_empty();
            let request = if persistent { Request::SetWatches2(set) } else { Request::SetWatches(set) };
            self.write(xid::SET_WATCHES, &request, now_ms);
        }
    }

    fn send_waiting(&mut self, now_ms: u64) {
        while self.is_connected() && self.sent.len() < self.options.in_flight_max {
            let Some(Pending { reply_to, request }) = self.waiting.pop_front() else { return };
            if let Request::Auth { scheme, auth, .. } = request {
                let auth = auth.unwrap_or_default();
                self.auth.push((scheme.clone(), auth.clone()));
                self.write_auth(scheme, auth, Some(reply_to), now_ms);
                continue;
            }
            let xid = self.take_xid();
            self.write(xid, &request, now_ms);
            self.sent.push_back(Sent { xid, op: request.op(), reply_to, intent: intent_of(request) });
        }
    }

    fn write_auth(&mut self, scheme: String, auth: Bytes, reply_to: Option<T>, now_ms: u64) {
        self.write(xid::AUTH, &Request::Auth { kind: 0, scheme, auth: Some(auth) }, now_ms);
        self.auth_sent.push_back(reply_to);
    }

    fn write(&mut self, xid: i32, request: &Request, now_ms: u64) {
        let frame = self.out.begin_frame();
        RequestHeader { xid, op: request.op().code() }.encode(&mut self.out);
        request.encode(&mut self.out);
        self.out.end_frame(frame);
        self.last_sent_ms = now_ms;
    }

    fn take_xid(&mut self) -> i32 {
        let xid = self.next_xid;
        self.next_xid = xid.checked_add(1).unwrap_or(1);
        xid
    }

    fn timeout_ms(&self) -> u64 {
        u64::try_from(self.session.timeout_ms).unwrap_or(0)
    }

    /// How long one server gets to take the connection and answer the handshake. Even a lone one gets a part of the
    /// session's time only: a server that is just starting may take a connection and forget it (Apache 3.8 does, by a
    /// NullPointerException in `NIOServerCnxn.close` before its database is there), and there must be time for another.
    pub(crate) fn handshake_ms(&self) -> u64 {
        (self.timeout_ms() / self.options.hosts.max(ATTEMPTS_MIN) as u64).max(HANDSHAKE_MS_MIN)
    }

    fn silence_ms_max(&self) -> u64 {
        self.timeout_ms() * 2 / 3
    }

    fn ping_interval_ms(&self) -> u64 {
        (self.timeout_ms() / 3).min(PING_INTERVAL_MS_MAX)
    }
}

fn intent_of(request: Request) -> Intent {
    match request {
        Request::Exists { path, watch: true } => Intent::Exists(path),
        Request::GetData { path, watch: true } => Intent::Data(path),
        Request::GetChildren { path, watch: true } | Request::GetChildren2 { path, watch: true } => {
            Intent::Children(path)
        }
        Request::AddWatch { path, mode: 0 } => Intent::Add(path, AddWatchMode::Persistent),
        Request::AddWatch { path, mode: 1 } => Intent::Add(path, AddWatchMode::PersistentRecursive),
        Request::RemoveWatches { path, kind: 1 } => Intent::Remove(path, WatchType::Children),
        Request::RemoveWatches { path, kind: 2 } => Intent::Remove(path, WatchType::Data),
        Request::RemoveWatches { path, kind: 3 } => Intent::Remove(path, WatchType::Any),
        _ => Intent::None,
    }
}
