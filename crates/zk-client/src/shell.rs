//! One task a client: finds a server, carries bytes between its socket and the core, hands out replies and events.

mod hosts;
mod wire;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use zk_proto::{KeeperState, Response};

use crate::chroot::Chroot;
use crate::client::{Command, Shared};
use crate::core::{Core, CoreOptions, Effect};
use crate::error::{Result, ZkError};
use crate::event::WatchEvent;
use crate::options::ConnectOptions;
use hosts::Hosts;
use wire::Wire;

type ReplyTo = oneshot::Sender<Result<Response>>;

/// Requests the core may hold unsent before the channel, whose bound callers meet, is left to fill.
const WAITING_MAX: usize = 256;
/// Requests taken at one go, to leave in one write.
const BURST_MAX: usize = 256;
/// No more requests are taken while so many bytes wait to be written.
const OUTPUT_BYTES_MAX: usize = 4 << 20;
/// A connection that held the session for so long makes the next one worth trying at once.
const USEFUL_MS: u64 = 1000;
/// When nothing has a deadline.
const IDLE: Duration = Duration::from_secs(3600);

/// The client's task and all it owns.
pub(crate) struct Shell {
    core: Core<ReplyTo>,
    hosts: Hosts,
    commands: mpsc::Receiver<Command>,
    handles_left: bool,
    events: mpsc::Sender<WatchEvent>,
    /// Events the channel had no room for, in order. While there are any, no frame is looked at.
    held_events: VecDeque<WatchEvent>,
    shared: Arc<Shared>,
    started: Instant,
    frame_bytes_max: usize,
    opening: Option<Opening>,
    /// Why the current connection is to be left.
    break_off: Option<String>,
    over: bool,
}

/// Until the session is open: who waits for it, and how long.
struct Opening {
    ready: oneshot::Sender<Result<()>>,
    limit_ms: u64,
    host_list: String,
    last_failure: String,
}

/// What a connection waits for.
enum Happened {
    Io(std::result::Result<(), String>),
    Command(Option<Command>),
    /// The event channel takes something again, or nobody listens any more.
    Room,
    Time,
}

/// Starts the task and waits until the session is open.
pub(crate) async fn start(
    options: ConnectOptions,
    hosts: Vec<String>,
    chroot: Chroot,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<WatchEvent>,
    shared: Arc<Shared>,
) -> Result<()> {
    let core_options = CoreOptions {
        session_timeout_ms: options.session_timeout_ms,
        can_be_read_only: options.can_be_read_only,
        session: options.session,
        auth: options.auth,
        chroot,
        hosts: hosts.len(),
        in_flight_max: options.in_flight_max.max(1),
    };
    let (ready, is_ready) = oneshot::channel();
    let opening = Opening {
        ready,
        limit_ms: options.connect_timeout_ms.unwrap_or(options.session_timeout_ms.max(1) as u64),
        host_list: options.hosts,
        last_failure: "no answer yet".into(),
    };
    let shell = Shell {
        core: Core::new(core_options, 0),
        hosts: Hosts::new(hosts, fastrand::Rng::new()),
        commands,
        handles_left: true,
        events,
        held_events: VecDeque::new(),
        shared,
        started: Instant::now(),
        frame_bytes_max: options.frame_bytes_max,
        opening: Some(opening),
        break_off: None,
        over: false,
    };
    tokio::spawn(shell.run());
    is_ready.await.unwrap_or(Err(ZkError::Closed))
}

impl Shell {
    async fn run(mut self) {
        while !self.over {
            let (host, pause) = self.hosts.next();
            let outcome = match self.dial(&host, pause).await {
                None => continue,
                Some(Ok(stream)) => self.serve(stream).await,
                Some(Err(why)) => why,
            };
            if !self.over {
                tracing::info!(host, why = outcome, "not connected to ZooKeeper, trying the next server");
            }
            if let Some(opening) = &mut self.opening {
                opening.last_failure = format!("{host}: {outcome}");
            }
        }
        self.wind_up().await;
    }

    /// Connects to a server. `None` when the client was over first.
    async fn dial(&mut self, host: &str, pause: Duration) -> Option<std::result::Result<TcpStream, String>> {
        let budget = Duration::from_millis(self.core.handshake_ms());
        let dial = async {
            tokio::time::sleep(pause).await;
            match tokio::time::timeout(budget, connect(host)).await {
                Ok(connected) => connected.map_err(|e| e.to_string()),
                Err(_) => Err(format!("no connection within {} ms", budget.as_millis())),
            }
        };
        tokio::pin!(dial);
        while !self.over {
            let deadline = self.deadline();
            tokio::select! {
                connected = &mut dial => return Some(connected),
                command = self.commands.recv(), if self.takes_commands(0) => self.on_command(command),
                () = tokio::time::sleep_until(deadline) => self.on_time(),
            }
        }
        None
    }

    /// Runs the session on a connection until it breaks or all is over; returns why.
    async fn serve(&mut self, stream: TcpStream) -> String {
        let begun_ms = self.now_ms();
        self.core.on_connected(begun_ms);
        let mut wire = Wire::new(stream, self.frame_bytes_max);
        loop {
            self.take_frames(&mut wire);
            wire.queue(self.core.take_output());
            if let Some(why) = self.break_off.take() {
                self.on_broken(begun_ms);
                return why;
            }
            if self.over && !wire.has_output() {
                return "the session is over".into();
            }
            let deadline = self.deadline();
            let (has_output, output_bytes) = (wire.has_output(), wire.output_bytes());
            let (mut input, mut output) = wire.halves();
            let happened = tokio::select! {
                read = input.read(), if self.held_events.is_empty() => Happened::Io(read),
                written = output.write(), if has_output => Happened::Io(written),
                command = self.commands.recv(), if self.takes_commands(output_bytes) => Happened::Command(command),
                () = has_room(&self.events), if !self.held_events.is_empty() => Happened::Room,
                () = tokio::time::sleep_until(deadline) => Happened::Time,
            };
            match happened {
                Happened::Io(Ok(())) => {}
                Happened::Io(Err(why)) => self.break_off = Some(why),
                Happened::Command(command) => self.on_command(command),
                Happened::Room => self.release_held(),
                Happened::Time => self.on_time(),
            }
        }
    }

    /// Hands whole frames to the core, as long as their events find room.
    fn take_frames(&mut self, wire: &mut Wire) {
        while self.held_events.is_empty() && self.break_off.is_none() && !self.over {
            match wire.next_frame() {
                Ok(None) => return,
                Ok(Some(frame)) => {
                    let now_ms = self.now_ms();
                    self.step(|core, effects| core.on_frame(&frame, now_ms, effects));
                }
                Err(why) => self.break_off = Some(why),
            }
        }
    }

    fn on_command(&mut self, command: Option<Command>) {
        let Some(command) = command else {
            self.handles_left = false;
            return self.end_if_forgotten();
        };
        let now_ms = self.now_ms();
        self.step(|core, effects| core.submit(command.request, command.reply_to, now_ms, effects));
        for _ in 1..BURST_MAX {
            let Ok(next) = self.commands.try_recv() else { break };
            self.step(|core, effects| core.submit(next.request, next.reply_to, now_ms, effects));
        }
    }

    fn on_time(&mut self) {
        let now_ms = self.now_ms();
        if self.opening.as_ref().is_some_and(|opening| now_ms >= opening.limit_ms) {
            self.over = true;
            return self.tell_ready(|opening| {
                let Opening { host_list: hosts, limit_ms: timeout_ms, last_failure: last, .. } = opening;
                Err(ZkError::ConnectTimeout {
                    hosts: hosts.clone(),
                    timeout_ms: *timeout_ms,
                    last: last.clone(),
                })
            });
        }
        if !self.held_events.is_empty() {
            self.core.on_reading_paused(now_ms);
        }
        self.step(|core, effects| core.on_time(now_ms, effects));
    }

    fn on_broken(&mut self, begun_ms: u64) {
        let now_ms = self.now_ms();
        if self.core.is_connected() && now_ms - begun_ms >= USEFUL_MS {
            self.hosts.was_useful();
        }
        self.step(|core, effects| core.on_disconnected(now_ms, effects));
    }

    /// One call of the core and what follows from it.
    fn step(&mut self, call: impl FnOnce(&mut Core<ReplyTo>, &mut Vec<Effect<ReplyTo>>)) {
        let mut effects = Vec::new();
        call(&mut self.core, &mut effects);
        for effect in effects {
            match effect {
                // Who dropped the future does not want to know.
                Effect::Complete(reply_to, result) => drop(reply_to.send(result)),
                Effect::Event(event) => self.on_event(event),
                Effect::Disconnect(why) => self.break_off = Some(why),
                Effect::End => self.over = true,
            }
        }
        self.end_if_forgotten();
    }

    fn on_event(&mut self, event: WatchEvent) {
        if event.kind == zk_proto::EventKind::None {
            self.on_session_event(event.state);
        }
        if !self.held_events.is_empty() {
            return self.held_events.push_back(event);
        }
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            self.held_events.push_back(event);
        }
    }

    fn on_session_event(&mut self, state: KeeperState) {
        let connected = self.core.is_connected();
        self.shared.connected.store(connected, Ordering::Relaxed);
        if connected {
            let mut session = self.shared.session.lock().unwrap_or_else(PoisonError::into_inner);
            *session = self.core.session().clone();
        }
        match state {
            KeeperState::Expired => self.tell_ready(|_| Err(ZkError::SessionExpired)),
            KeeperState::AuthFailed => self.tell_ready(|_| Err(ZkError::AuthFailed)),
            _ if connected => self.tell_ready(|_| Ok(())),
            _ => {}
        }
    }

    fn tell_ready(&mut self, outcome: impl FnOnce(&Opening) -> Result<()>) {
        if let Some(opening) = self.opening.take() {
            let outcome = outcome(&opening);
            // Nobody there: the caller gave up, and its handle is gone too.
            drop(opening.ready.send(outcome));
        }
    }

    fn release_held(&mut self) {
        while let Some(event) = self.held_events.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                return self.held_events.push_front(event);
            }
        }
    }

    /// Without handles the task goes on only for replies that are still owed.
    fn end_if_forgotten(&mut self) {
        self.over |= !self.handles_left && self.core.is_idle();
    }

    fn takes_commands(&self, output_bytes: usize) -> bool {
        self.handles_left && self.core.waiting() < WAITING_MAX && output_bytes < OUTPUT_BYTES_MAX
    }

    fn deadline(&self) -> Instant {
        let opening = self.opening.as_ref().map(|opening| opening.limit_ms);
        match self.core.deadline_ms().into_iter().chain(opening).min() {
            Some(at_ms) => self.started + Duration::from_millis(at_ms),
            None => Instant::now() + IDLE,
        }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Answers what is still queued, and delivers the last events.
    async fn wind_up(mut self) {
        self.shared.connected.store(false, Ordering::Relaxed);
        let error = self.core.over().cloned().unwrap_or(ZkError::Closed);
        *self.shared.over.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            drop(command.reply_to.send(Err(error.clone())));
        }
        for event in self.held_events.drain(..) {
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// Waits until an event can be sent or is not wanted. This task is the only sender, so the room stays.
async fn has_room(events: &mpsc::Sender<WatchEvent>) {
    drop(events.reserve().await);
}

async fn connect(host: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
