//! Sends one program to two servers and compares.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use zk_proto::{Request, Response};

use crate::program::{Program, SESSIONS, Step};
use crate::session::{Reply, Session};
use crate::shown::{Names, events};

/// The shortest session timeout both servers grant with tickTime=100.
const TIMEOUT_MS: i32 = 2_000;
/// Events are compared after so many steps, when every session has been asked for them.
const EVENTS_EVERY: usize = 10;

/// Where the two servers differ first.
#[derive(Debug)]
pub struct Difference {
    pub step: usize,
    pub what: String,
    pub left: String,
    pub right: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "step {}: {}", self.step, self.what)?;
        writeln!(f, "  left:  {}", self.left)?;
        write!(f, "  right: {}", self.right)
    }
}

/// What a run found.
#[derive(Debug)]
pub enum Outcome {
    Same { steps: usize, nodes: usize },
    Different(Box<Difference>),
}

/// One of the two servers, and the sessions it has.
struct Side {
    port: u16,
    sessions: Vec<Session>,
    names: Names,
}

impl Side {
    fn open(port: u16) -> Result<Self> {
        let mut side = Self { port, sessions: Vec::new(), names: Names::default() };
        for _ in 0..SESSIONS {
            let session = side.new_session()?;
            side.sessions.push(session);
        }
        Ok(side)
    }

    fn new_session(&mut self) -> Result<Session> {
        let session =
            Session::open(self.port, 0, &[0; 16], TIMEOUT_MS)?.context("a new session was refused")?;
        self.names.add(session.id);
        Ok(session)
    }

    /// Does a step and says in words what came of it.
    fn step(&mut self, step: &Step) -> Result<String> {
        match step {
            Step::Ask(index, request) => {
                let reply = self.sessions[*index].ask(request)?;
                self.after(*index, reply)
            }
            Step::Raw(index, op, body) => {
                let reply = self.sessions[*index].ask_raw(*op, body)?;
                self.after(*index, reply)
            }
            Step::Reconnect(index) => self.take_up(*index),
            Step::Renew(index) => {
                let reply = self.sessions[*index].ask(&Request::CloseSession)?;
                let shown = self.names.reply(&reply);
                self.sessions[*index] = self.new_session()?;
                Ok(format!("{shown}, then a new session"))
            }
            Step::Expire(_) => bail!("both sides wait together, see expire"),
        }
    }

    /// A closed connection is opened again, so that the program goes on.
    fn after(&mut self, index: usize, reply: Reply) -> Result<String> {
        let shown = self.names.reply(&reply);
        // −6 and −115 are followed by a close, which shows only at the next request: take it up at once.
        let closes = match &reply {
            Reply::Closed => true,
            Reply::Answer { zxid, err, .. } => (*err == -6 && *zxid == -1) || *err == -115,
        };
        if closes {
            return Ok(format!("{shown}, then {}", self.take_up(index)?));
        }
        Ok(shown)
    }

    fn take_up(&mut self, index: usize) -> Result<String> {
        let old = &self.sessions[index];
        match Session::open(self.port, old.id, &old.passwd, TIMEOUT_MS)? {
            Some(mut session) => {
                session.events.clone_from(&old.events);
                let timeout = session.timeout_ms;
                self.sessions[index] = session;
                Ok(format!("taken up with timeout {timeout}"))
            }
            None => {
                self.sessions[index] = self.new_session()?;
                Ok("refused, a new session".to_owned())
            }
        }
    }

    fn ping(&mut self) -> Result<()> {
        self.sessions.iter_mut().try_for_each(|session| session.ask(&Request::Ping).map(drop))
    }

    /// After a session has been left to die: is it refused? A new one takes its place.
    fn bury(&mut self, index: usize, dead: &Session) -> Result<String> {
        let refused = Session::open(self.port, dead.id, &dead.passwd, TIMEOUT_MS)?.is_none();
        let session = self.new_session()?;
        self.sessions.insert(index, session);
        Ok(format!("expired: {refused}"))
    }

    /// Everything the watches have told since the last time.
    fn take_events(&mut self) -> Result<Vec<Vec<String>>> {
        let mut all = Vec::new();
        for session in &mut self.sessions {
            // Whatever fired before this is answered has come with it.
            session.ask(&Request::Exists { path: "/".into(), watch: false })?;
            all.push(events(&std::mem::take(&mut session.events)));
        }
        Ok(all)
    }

    /// The whole tree in words, a line a node, read as super.
    fn tree(&mut self) -> Result<Vec<String>> {
        let mut reader = self.new_session()?;
        let auth = Some(crate::program::SUPER_AUTH.as_bytes().into());
        reader.ask(&Request::Auth { kind: 0, scheme: "digest".into(), auth })?;
        let mut lines = Vec::new();
        let mut waiting = vec!["/".to_owned()];
        while let Some(path) = waiting.pop() {
            if path == "/zookeeper/config" || path.starts_with("/zookeeper/quota/") {
                continue;
            }
            let data = reader.ask(&Request::GetData { path: path.clone(), watch: false })?;
            let acl = reader.ask(&Request::GetAcl { path: path.clone() })?;
            let children = reader.ask(&Request::GetChildren { path: path.clone(), watch: false })?;
            let Reply::Answer { body: Some(Response::Children { mut children }), .. } = children else {
                bail!("{path} cannot be listed: {children:?}");
            };
            lines.push(format!("{path}: {} {}", self.names.reply(&data), self.names.reply(&acl)));
            children.sort();
            let prefix = if path == "/" { "" } else { &path };
            waiting.extend(children.iter().rev().map(|child| format!("{prefix}/{child}")));
        }
        reader.ask(&Request::CloseSession)?;
        Ok(lines)
    }
}

/// Runs `steps` steps of a seed against two fresh servers. `tamper` sees every reply of the left one before it is
/// compared: the identity in earnest, a lie in the test that shows that lies are caught.
pub fn run(
    ports: (u16, u16),
    seed: u64,
    steps: usize,
    mut tamper: impl FnMut(usize, String) -> String,
) -> Result<Outcome> {
    let (mut left, mut right) = (Side::open(ports.0)?, Side::open(ports.1)?);
    let mut program = Program::new(seed);
    for number in 0..steps {
        let step = program.step();
        let (ours, theirs) = match step {
            Step::Expire(index) => expire(&mut left, &mut right, index)?,
            ref step => (
                left.step(step).with_context(|| format!("left, step {number}: {step:?}"))?,
                right.step(step).with_context(|| format!("right, step {number}: {step:?}"))?,
            ),
        };
        let ours = tamper(number, ours);
        if ours != theirs {
            return Ok(different(number, format!("{step:?}"), ours, theirs));
        }
        if number % EVENTS_EVERY == 0 {
            let (ours, theirs) = (left.take_events()?, right.take_events()?);
            if ours != theirs {
                let what = format!("events up to {step:?}");
                return Ok(different(number, what, format!("{ours:?}"), format!("{theirs:?}")));
            }
        }
    }
    let (ours, theirs) = (left.tree()?, right.tree()?);
    for (a, b) in ours.iter().zip(&theirs) {
        if a != b {
            return Ok(different(steps, "final tree".into(), a.clone(), b.clone()));
        }
    }
    if ours.len() != theirs.len() {
        let count = |lines: &Vec<String>| format!("{} nodes", lines.len());
        return Ok(different(steps, "final tree".into(), count(&ours), count(&theirs)));
    }
    Ok(Outcome::Same { steps, nodes: ours.len() })
}

/// Lets the same session die of silence on both sides; the others are kept alive meanwhile.
fn expire(left: &mut Side, right: &mut Side, index: usize) -> Result<(String, String)> {
    let (mut ours, mut theirs) = (left.sessions.remove(index), right.sessions.remove(index));
    ours.hang_up()?;
    theirs.hang_up()?;
    let end = Instant::now() + 2 * Duration::from_millis(TIMEOUT_MS as u64);
    while Instant::now() < end {
        left.ping()?;
        right.ping()?;
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok((left.bury(index, &ours)?, right.bury(index, &theirs)?))
}

fn different(step: usize, what: String, left: String, right: String) -> Outcome {
    Outcome::Different(Box::new(Difference { step, what, left, right }))
}
