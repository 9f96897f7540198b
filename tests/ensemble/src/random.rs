//! A seeded program of requests through all servers at once, with sessions that move between them.
//!
//! What the requests answer is not looked at (`tests/differential` does that); what must hold is that afterwards all
//! servers show one tree.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use differential::program::{Program, SESSIONS, Step};
use differential::session::{Reply, Session};
use zk_proto::{CreateKind, MultiOp, OpCode, Request};

const TIMEOUT_MS: i32 = 20_000;

/// No request of a program may take so long.
const HANG: Duration = Duration::from_secs(8);

/// What a program may contain, depending on who takes part.
#[derive(Debug, Clone, Copy)]
pub struct Taste {
    /// create2 inside a multi: releases before 3.7.2 and 3.8.2 lose it when a newer Apache server leads (Z-4026).
    pub create2_in_multi: bool,
}

/// What a program did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Done {
    pub answered: usize,
    pub refused: usize,
    pub moved: usize,
    pub closed: usize,
}

/// A server to ask.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub port: u16,
    /// Whether it takes writes whose body is cut off. Apache's followers forward them, and an Apache leader gives the
    /// zxid of such a write away twice and stops answering (3.9.3).
    pub takes_nonsense: bool,
}

/// Sessions over several servers, each at one of them at a time.
struct Runner<'a> {
    places: &'a [Place],
    sessions: Vec<Session>,
    at: Vec<usize>,
    done: Done,
}

/// Runs `steps` steps of a seed; session `i` begins at server `i` of `places`.
pub fn run(places: &[Place], seed: u64, steps: usize, taste: Taste) -> Result<Done> {
    let mut runner = Runner { places, sessions: Vec::new(), at: Vec::new(), done: Done::default() };
    for index in 0..SESSIONS {
        let at = index % places.len();
        runner.sessions.push(open_new(places[at].port)?);
        runner.at.push(at);
    }
    let mut program = Program::new(seed);
    for _ in 0..steps {
        if let Some(step) = tame(program.step(), taste) {
            let shown = format!("{step:?}");
            let begun = Instant::now();
            let outcome = runner.step(step);
            ensure!(begun.elapsed() < HANG, "{:?} for {shown}, sessions at {:?}", begun.elapsed(), runner.at);
            outcome.context(shown)?;
        }
    }
    for session in &mut runner.sessions {
        session.ask(&Request::CloseSession)?;
    }
    Ok(runner.done)
}

/// Leaves out what some release never answers, and what takes too long here.
fn tame(step: Step, taste: Taste) -> Option<Step> {
    match step {
        Step::Expire(_) => None,
        // 3.5.7 never answers a bare check (Z-2623).
        Step::Raw(_, op, _) if op == OpCode::Check.code() => None,
        Step::Ask(session, Request::Multi(mut ops)) if !taste.create2_in_multi => {
            for op in &mut ops {
                if let MultiOp::Create(create) = op
                    && create.kind == CreateKind::Create2
                {
                    create.kind = CreateKind::Create;
                }
            }
            Some(Step::Ask(session, Request::Multi(ops)))
        }
        step => Some(step),
    }
}

impl Runner<'_> {
    fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Ask(index, request) => {
                let reply = self.sessions[index].ask(&request)?;
                self.after(index, &reply)
            }
            Step::Raw(index, ..) if !self.places[self.at[index]].takes_nonsense => Ok(()),
            Step::Raw(index, op, body) => {
                let reply = self.sessions[index].ask_raw(op, &body)?;
                self.after(index, &reply)
            }
            Step::Reconnect(index) => {
                self.at[index] = (self.at[index] + 1) % self.places.len();
                self.done.moved += 1;
                self.take_up(index)
            }
            Step::Renew(index) => {
                self.sessions[index].ask(&Request::CloseSession)?;
                self.sessions[index] = open_new(self.places[self.at[index]].port)?;
                Ok(())
            }
            Step::Expire(_) => Ok(()),
        }
    }

    fn after(&mut self, index: usize, reply: &Reply) -> Result<()> {
        match reply {
            Reply::Closed => {
                self.done.closed += 1;
                self.take_up(index)
            }
            // −6 and −115 are followed by a close.
            Reply::Answer { zxid, err, .. } if (*err == -6 && *zxid == -1) || *err == -115 => {
                self.done.closed += 1;
                self.take_up(index)
            }
            Reply::Answer { err: 0, .. } => {
                self.done.answered += 1;
                Ok(())
            }
            Reply::Answer { .. } => {
                self.done.refused += 1;
                Ok(())
            }
        }
    }

    /// Takes the session up again wherever it is to be now.
    fn take_up(&mut self, index: usize) -> Result<()> {
        let port = self.places[self.at[index]].port;
        let old = &self.sessions[index];
        self.sessions[index] = match Session::open(port, old.id, &old.passwd, TIMEOUT_MS)? {
            Some(session) => session,
            None => open_new(port)?,
        };
        Ok(())
    }
}

fn open_new(port: u16) -> Result<Session> {
    let session = Session::open(port, 0, &[0; 16], TIMEOUT_MS)?;
    session.context("a new session was refused")
}
